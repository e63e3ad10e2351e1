"""A table that is written is read back the same; an error names the file and the column."""

from pathlib import Path

import pandas as pd
import pytest

from dlir.core import tables

ROW = {"tile": 0, "path": "a.tif", "yy": 1.0, "yx": 0.0, "y0": 0.25, "xy": 0.0, "xx": 1.0, "x0": 1 / 3,
       "pairs": 2, "residual": None, "deviation": 0.5, "group": 0, "slip_y": 0.0, "slip_x": 0.0, "loop": None,
       "placed_by": "stage"}  # fmt: skip


def test_a_written_table_is_read_back(tmp_path: Path) -> None:
    tables.write(pd.DataFrame([ROW]), tables.PLACEMENT, tmp_path / "deep" / "placement.csv")
    back = tables.read(tmp_path / "deep" / "placement.csv", tables.PLACEMENT)
    assert back.loc[0, "x0"] == 1 / 3
    assert pd.isna(back.loc[0, "residual"])
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["placement.csv"]


def test_an_empty_table_keeps_its_columns(tmp_path: Path) -> None:
    tables.write(pd.DataFrame(columns=list(tables.PAIRS.columns)), tables.PAIRS, tmp_path / "pairs.csv")
    assert tables.read(tmp_path / "pairs.csv", tables.PAIRS).columns.tolist() == list(tables.PAIRS.columns)


def test_a_method_has_one_row_for_each_side(tmp_path: Path) -> None:
    row = {"side": "down", "method": "phase", "pairs": 48, "median": 0.5, "p95": 2.5, "over_2px": 0.1}
    tables.write(pd.DataFrame([row, row | {"side": "right"}]), tables.SELFCHECK, tmp_path / "selfcheck.csv")
    assert len(tables.read(tmp_path / "selfcheck.csv", tables.SELFCHECK)) == 2
    with pytest.raises(tables.TableError, match="method"):
        tables.write(pd.DataFrame([row, row]), tables.SELFCHECK, tmp_path / "selfcheck.csv")


@pytest.mark.parametrize(
    ("change", "words"),
    [({"y0": "left"}, "y0"), ({"pairs": "two"}, "pairs"), ({"path": None}, "path"), ({"extra": 1}, "extra")],
)
def test_the_error_names_the_file_and_the_column(tmp_path: Path, change: dict[str, object], words: str) -> None:
    path = tmp_path / "placement.csv"
    pd.DataFrame([ROW | change]).to_csv(path, index=False)
    with pytest.raises(tables.TableError, match=words) as error:
        tables.read(path, tables.PLACEMENT)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"tile,path\n1,2,3,4\n1\n1,2,3,4,5\n", b"\xff\xfe\x00\x81", b"\0" * 100, b'"' * 99]
)
def test_a_damaged_table_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "placement.csv").write_bytes(content)
    with pytest.raises(tables.TableError, match=r"placement\.csv: "):
        tables.read(tmp_path / "placement.csv", tables.PLACEMENT)


def test_a_table_with_errors_does_not_replace_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "placement.csv"
    tables.write(pd.DataFrame([ROW]), tables.PLACEMENT, path)
    with pytest.raises(tables.TableError):
        tables.write(pd.DataFrame([ROW, ROW]), tables.PLACEMENT, path)
    assert len(tables.read(path, tables.PLACEMENT)) == 1
