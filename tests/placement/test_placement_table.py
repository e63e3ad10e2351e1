"""Each tile finds its row in the placement of another run, by name or by its place in the grid."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from dlir.placement import placement_table
from dlir.placement.placement_table import PlacementError

HEADER = "path,yy,yx,y0,xy,xx,x0\n"


def write(folder: Path, *paths: str, cells: Sequence[tuple[int, int]] = ()) -> Path:
    """Writes a placement whose tile k lies at y0 = k, and the tiles.csv beside it where the cells are given."""
    (folder / "placement.csv").write_text(HEADER + "".join(f"{path},1,0,{k},0,1,5\n" for k, path in enumerate(paths)))
    if cells:
        rows = [f"{path},{row},{col}\n" for path, (row, col) in zip(paths, cells, strict=True)]
        (folder / "tiles.csv").write_text("path,row,col\n" + "".join(rows))
    return folder / "placement.csv"


def numbers(table: Path, *tiles: str, cells: Sequence[tuple[int, int]] | None = None) -> list[int]:
    """Returns the numbers of the rows of the tiles."""
    return [int(row.affine[2]) for row in placement_table.read(table, [[tile] for tile in tiles], cells)]


@pytest.mark.parametrize(
    ("there", "here", "found"),
    [
        (["in/a.tif", "in/b.tif", "in/c.tif"], ["masks/c.tif", "masks/a.tif"], [2, 0]),
        (["in/a.ome.tif", "in/b.ome.tif"], ["masks/b.png", "masks/a.tif"], [1, 0]),
        (["in/1/a.tif", "in/2/a.tif"], ["masks/2/a.tif"], [1]),
        (["in/1/a.tif", "in/2/a.tif"], ["masks/2/a.png", "masks/1/a.png"], [1, 0]),
        (["C:\\in\\a.tif", "C:\\in\\b.tif"], ["b.tif"], [1]),
        (["in/s1_{channel}.tif", "in/s2_{channel}.tif"], ["new/s2_{channel}.tif"], [1]),
    ],
)
def test_tiles_are_found_by_the_end_of_their_paths(tmp_path: Path, there: list[str], here: list[str], found: list[int]) -> None:
    assert numbers(write(tmp_path, *there), *here) == found


def test_else_tiles_are_found_by_row_and_column(tmp_path: Path) -> None:
    table = write(tmp_path, "in/a.tif", "in/b.tif", "in/c.tif", cells=[(0, 0), (0, 1), (1, 1)])
    assert numbers(table, "m_11.png", "m_00.png", cells=[(1, 1), (0, 0)]) == [2, 0]


@pytest.mark.parametrize(
    ("beside", "cells", "words"),
    [
        (True, [(0, 0)], "its grid of 1 rows and 1 columns is not that of the tiles there"),  # which of them is not known
        (True, None, "or give images with {row} and {col}, so that their places in the grid can be compared"),
        (False, [(0, 1)], "or put the tiles.csv of that run beside the table"),
    ],
)
def test_a_tile_without_a_place_is_an_error(
    tmp_path: Path, beside: bool, cells: list[tuple[int, int]] | None, words: str
) -> None:
    table = write(tmp_path, "in/a.tif", "in/b.tif", cells=[(0, 0), (0, 1)] if beside else [])
    with pytest.raises(PlacementError) as caught:
        numbers(table, "m.png", cells=cells)
    assert f"{table}: tells no place for m.png: name the tiles as there" in str(caught.value) and words in str(caught.value)


def test_one_row_for_two_tiles_is_an_error(tmp_path: Path) -> None:
    table = write(tmp_path, "in/a.tif", "in/b.tif")
    with pytest.raises(PlacementError, match=r"tells no place for"):
        numbers(table, "1/a.tif", "2/a.tif")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HEADER, "lists no tile: give the placement.csv of a finished run"),
        (HEADER + "a.tif,1,0,0,0,1\n", "line 2: needs a path and six numbers"),
        (HEADER + "a.tif,1,0,0,1,0,0\n", "line 2: the affine makes a line of the tile"),
        (HEADER + "a.tif,1,0,0,0,1,0\na.tif,1,0,9,0,1,0\n", "line 3: a.tif is listed twice"),
    ],
)
def test_a_wrong_table_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(PlacementError) as caught:
        numbers(tmp_path / "p.csv", "a.tif")
    assert str(tmp_path / "p.csv") in str(caught.value) and words in str(caught.value)
