"""Schemas: what fits is returned in its types, and each thing that does not is named with its row."""

import pandas as pd
import pytest

from dlir.core.schema import Column, Schema, SchemaError

SCHEMA = Schema(
    {
        "name": Column("str"),
        "note": Column("str", nullable=True),
        "count": Column("int64"),
        "some": Column("Int64", nullable=True),
        "length": Column("float64", nullable=True),
        "gain": Column("float64", above=0),
        "done": Column("bool"),
        "time": Column("int64", required=False),
    },
    unique=["name"],
)
ROW = {"name": "007", "note": None, "count": 2.0, "some": None, "length": 3, "gain": "1.5", "done": "True"}


def test_what_fits_is_returned_in_its_types() -> None:
    found = SCHEMA.validate(pd.DataFrame([ROW, ROW | {"name": "b", "note": "x", "some": 4, "length": None, "done": False}]))
    assert found["name"].tolist() == ["007", "b"] and found["note"].isna().tolist() == [True, False]
    assert found["count"].dtype == "int64" and found["count"].tolist() == [2, 2]
    assert found["some"].dtype == "Int64" and found["some"].isna().tolist() == [True, False] and found["some"][1] == 4
    assert found["length"].isna().tolist() == [False, True] and found["gain"].tolist() == [1.5, 1.5]
    assert found["done"].dtype == bool and found["done"].tolist() == [True, False]


def test_an_empty_table_has_the_types() -> None:
    found = SCHEMA.validate(pd.DataFrame(columns=[name for name in SCHEMA.columns if name != "time"]))
    assert [str(found[name].dtype) for name in ("count", "some", "length", "done")] == ["int64", "Int64", "float64", "bool"]


@pytest.mark.parametrize(
    ("change", "column", "why"),
    [
        ({"name": None}, "name", "is empty"),
        ({"count": 2.5}, "count", "is 2.5, and no whole number"),
        ({"count": "two"}, "count", "is two, and no whole number"),
        ({"some": "x"}, "some", "is x, and no whole number"),
        ({"length": "wide"}, "length", "is wide, and no number"),
        ({"gain": 0}, "gain", "is 0, and not above 0"),
        ({"gain": None}, "gain", "is empty"),
        ({"done": "perhaps"}, "done", "is perhaps, and not True or False"),
        ({"time": 1.5}, "time", "is 1.5, and no whole number"),
    ],
)
def test_a_wrong_value_is_named_with_its_row(change: dict[str, object], column: str, why: str) -> None:
    table = pd.DataFrame([ROW | {"time": 0} if "time" in change else ROW, (ROW | {"name": "b"}) | change], index=[4, 9])
    with pytest.raises(SchemaError) as error:
        SCHEMA.validate(table)
    assert [(case.column, case.row, case.why) for case in error.value.cases] == [(column, 9, why)]


def test_what_has_the_types_already_is_checked_too() -> None:
    fits = SCHEMA.validate(pd.DataFrame([ROW, ROW | {"name": "b"}]))
    pd.testing.assert_frame_equal(SCHEMA.validate(fits), fits)
    for column, value, why in (
        ("gain", 0.0, "is 0.0, and not above 0"),
        ("gain", None, "is empty"),
        ("name", None, "is empty"),
    ):
        wrong = fits.copy()
        wrong.loc[1, column] = value
        assert str(wrong[column].dtype) == SCHEMA.columns[column].dtype
        with pytest.raises(SchemaError) as error:
            SCHEMA.validate(wrong)
        assert [(case.column, case.row, case.why) for case in error.value.cases] == [(column, 1, why)]


def test_columns_and_rows_that_should_not_be_are_named() -> None:
    with pytest.raises(SchemaError) as error:
        SCHEMA.validate(pd.DataFrame([ROW | {"extra": 1}]).drop(columns="gain"))
    assert [(case.column, case.why) for case in error.value.cases] == [
        ("gain", "the column is missing"),
        ("extra", "there is no such column"),
    ]
    with pytest.raises(SchemaError, match="is there twice"):
        SCHEMA.validate(pd.DataFrame([ROW, ROW]))
    assert "extra" in SCHEMA._replace(strict=False).validate(pd.DataFrame([ROW | {"extra": 1}]))
