"""The words that explain the columns: every column has some, and they are those of the comments in tables.py."""

import pytest

from dlir.core import tables
from dlir.reporting import columns, facts


@pytest.mark.parametrize("file", columns.FILES)
def test_every_column_is_explained_and_no_other(file: str) -> None:
    files = {name: columns.explained(schema) for name, schema in columns.FILES.items()}
    words = columns.by_column(file, files)
    assert set(words) == set(getattr(tables, columns.FILES[file]).columns)
    assert all(text and "#" not in text and ".py" not in text for text in words.values())
    assert files[file].rows.startswith(("One row", "What the survey found: one row"))


def test_the_tables_of_the_page_are_explained() -> None:
    found = columns.columns_explained()
    assert set(facts.TILE_COLUMNS) <= set(found["tiles"])
    assert set(facts.PAIR_COLUMNS) <= set(found["pairs"])
    assert found["pairs"]["side"] == "down: the moving tile lies below the fixed one; right: it lies to the right"
    assert found["tiles"]["tile"] == "number of the tile, from 0"


def test_names_may_mean_several_columns() -> None:
    row = ["pair", "yy", "yx", "y0", "xy", "xx", "x0", "cov_yy_yy", "cov_yy_yx", "bow_y"]
    assert columns.named("yy, ..., x0", row) == ["yy", "yx", "y0", "xy", "xx", "x0"]
    assert columns.named("cov_yy_yy, ...", row) == ["cov_yy_yy", "cov_yy_yx"]
    assert columns.named("pair, bow_y", row) == ["pair", "bow_y"]


def test_a_schema_without_a_comment_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"tables\.py: NO_SUCH"):
        columns.explained("NO_SUCH")
