"""Overrides: what the user gives replaces measurements, and the message names a mistake in it."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.pair_graphs import Graph, make_graph
from support.placements import place_graph

from dlir.placement import overrides_table
from dlir.placement.overrides import read_overrides
from dlir.placement.overrides_table import OverridesError

COLUMNS = ["fixed", "moving", "y", "x"]


def write_overrides(folder: Path, *rows: tuple[str | None, str, float | None, float | None]) -> Path:
    pd.DataFrame(list(rows), columns=COLUMNS).to_csv(folder / "overrides.csv", index=False)
    return folder / "overrides.csv"


def offset_of(table: pd.DataFrame, name: str) -> np.ndarray:
    """The place (2,), px, of the first pixel of a tile in the mosaic."""
    return np.asarray(table.set_index("path").loc[name, ["y0", "x0"]], float)


def graph() -> Graph:
    return make_graph(3, 3, stage_error=2.0)


def test_an_ignored_pair_is_not_used(tmp_path: Path) -> None:
    all_pairs = place_graph(graph(), tmp_path)
    fewer = place_graph(
        graph(), tmp_path, write_overrides(tmp_path, ("0.tif", "1.tif", None, None), ("4.tif", "1.tif", None, None))
    )
    by_tile = fewer.set_index("path")["pairs"]
    assert (all_pairs.set_index("path")["pairs"] - by_tile).loc[["0.tif", "1.tif", "4.tif"]].tolist() == [1, 2, 1]


def test_the_tiles_of_a_pair_lie_at_the_offset_that_the_user_gives(tmp_path: Path) -> None:
    pairs = [("1.tif", "0.tif", -3.0, -190.0), ("0.tif", "3.tif", None, None)]
    table = place_graph(graph(), tmp_path, write_overrides(tmp_path, *pairs))
    assert offset_of(table, "0.tif") - offset_of(table, "1.tif") == pytest.approx([-3, -190], abs=0.1)
    assert table.set_index("path").loc["0.tif", "placed_by"] == "user"


def test_an_offset_holds_at_every_time_point(tmp_path: Path) -> None:
    measured = graph()
    pairs = pd.concat([measured.pairs.assign(time=time) for time in (0, 1)], ignore_index=True)
    overrides = write_overrides(tmp_path, ("1.tif", "0.tif", -3.0, -190.0), ("0.tif", "3.tif", None, None))
    table = place_graph(measured._replace(pairs=pairs), tmp_path, overrides)
    for time in (0, 1):
        there = table[table["time"] == time]
        assert offset_of(there, "0.tif") - offset_of(there, "1.tif") == pytest.approx([-3, -190], abs=0.1)


def test_a_tile_lies_at_the_position_that_the_user_gives(tmp_path: Path) -> None:
    alone = graph()
    pairs = alone.pairs[~alone.pairs[["fixed", "moving"]].isin([18]).any(axis=1)]
    alone = alone._replace(pairs=pairs)
    before, after = (
        place_graph(alone, tmp_path),
        place_graph(alone, tmp_path, write_overrides(tmp_path, (None, "8.tif", 430.0, 380.0))),
    )
    moved = offset_of(after, "8.tif") - offset_of(after, "4.tif") - offset_of(before, "8.tif") + offset_of(before, "4.tif")
    assert moved == pytest.approx([30, -20], abs=2.5)
    assert after.set_index("path").loc["8.tif", "placed_by"] == "user"


def test_a_tile_is_named_by_any_of_its_files(tmp_path: Path) -> None:
    tiles = graph().tiles.assign(path=lambda table: "s" + table["tile"].astype(str) + "_{channel}.tif", channel_names="a|b")
    found = read_overrides(write_overrides(tmp_path, ("s10_b.tif", "s11_a.tif", None, None)), tiles)
    assert found.rows[["fixed", "moving"]].to_numpy().tolist() == [[10, 11]]


FOLDERS = [[f"in/r{row}/c{col}.tif"] for row in (0, 1) for col in (0, 1)]


def read(folder: Path, *rows: str, tiles: list[list[str]] = FOLDERS) -> list[overrides_table.Correction]:
    """The corrections in a table with these rows."""
    (folder / "o.csv").write_text("\n".join(["fixed,moving,y,x", *rows]))
    return overrides_table.read(folder / "o.csv", tiles)


@pytest.mark.parametrize("name", ["in/r1/c0.tif", "r1/c0.tif", "./r1//c0.tif", "r1\\c0.tif", str(Path.cwd() / "in/r1/c0.tif")])
def test_a_path_names_one_of_several_files_with_the_same_name(tmp_path: Path, name: str) -> None:
    assert [row.moving for row in read(tmp_path, f",{name},1,2")] == [2]


def test_a_pair_that_is_given_in_both_directions_counts_once(tmp_path: Path) -> None:
    rows = read(
        tmp_path, "r0/c0.tif,r0/c1.tif,0,96", "r0/c1.tif,r0/c0.tif,0,-96", "r0/c1.tif,r1/c1.tif,,", "r1/c1.tif,r0/c1.tif,,"
    )
    assert [(row.line, row.place) for row in rows] == [(2, (0, 96)), (4, None)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([",c0.tif,1,1"], "line 2: moving is c0.tif, which means in/r0/c0.tif, in/r1/c0.tif: give more of the path of one"),
        ([",r2/c0.tif,1,1"], "line 2: moving is r2/c0.tif, which is no tile of this dataset: give the path"),
        ([",elsewhere/in/r0/c0.tif,1,1"], "line 2: moving is elsewhere/in/r0/c0.tif, which is no tile"),
        (["r0/c0.tif,,1,1"], "line 2: moving is empty: name a tile"),
        (["r0/c0.tif,in/r0/c0.tif,1,1"], "line 2: fixed and moving are both in/r0/c0.tif, one tile: name two"),
        ([",r0/c0.tif,1,1", ",in/r0/c0.tif,1,1"], "line 3: places a tile that line 2 is about, too: delete one of the lines"),
        (["r0/c0.tif,r0/c1.tif,0,96", "r0/c1.tif,r0/c0.tif,0,96"], "line 3: is about a pair that line 2 is about, too"),
        (["r0/c0.tif,r0/c1.tif,0,96", "r0/c0.tif,r0/c1.tif,,"], "line 3: is about a pair that line 2 is about, too"),
        ([",r0/c0.tif,1,inf"], "line 2: y and x are 1 and inf: give two numbers, px, between -10000000 and 10000000"),
        ([",r0/c0.tif,1e12,1"], "line 2: y and x are 1e12 and 1: give two numbers"),
        ([",r0/c0.tif,one,1"], "line 2: y and x are one and 1: give two numbers"),
        ([f",r{i}/x.tif,1,1" for i in range(30)], "line 11: moving is r9/x.tif, which is no tile"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_named(tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(OverridesError, match=re.escape(f"{tmp_path / 'o.csv'}, {message}")):
        read(tmp_path, *rows)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("0.tif", "no.tif", 1.0, 1.0), "line 2: moving is no.tif, which is no tile"),
        (("0.tif", "1.tif", 1.0, None), "line 2: give both y and x"),
        ((None, "1.tif", None, None), "line 2: a tile without a fixed one needs y and x"),
    ],
)
def test_a_mistake_is_reported_with_its_row(
    row: tuple[str | None, str, float | None, float | None], message: str, tmp_path: Path
) -> None:
    with pytest.raises(OverridesError, match=message):
        read_overrides(write_overrides(tmp_path, row), graph().tiles)


@pytest.mark.parametrize(
    ("row", "given"),
    [
        ((None, "1.tif", 1e6, 0.0), "1e+06, 0"),
        ((None, "1.tif", 0.0, -1e6), "0, -1e+06"),
        (("0.tif", "1.tif", 0.0, 1e6), "0, 1e+06"),
    ],
)
def test_a_place_far_outside_the_mosaic_is_an_error(
    row: tuple[str | None, str, float | None, float | None], given: str, tmp_path: Path
) -> None:
    with pytest.raises(
        OverridesError, match=rf"line 2: y, x is {re.escape(given)} px, far outside the mosaic: give y between -"
    ):
        read_overrides(write_overrides(tmp_path, row), graph().tiles)
