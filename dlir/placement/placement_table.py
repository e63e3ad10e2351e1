"""Finds the place of each tile in the placement of another run, or in any table with the columns path, yy, yx, y0, xy, xx, x0.

A tile is found by its name: the longest end that its path and one in the table have in common, without the ending of the file
name where that differs. Where the names of all tiles do not decide, their rows and columns do, if the tiles.csv of the other
run lies beside the table and both grids have the same number of rows and columns.

This module imports nothing heavy, since the Snakefile reads the table before any job starts.
"""

import csv
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from dlir.core import text_tables
from dlir.reading.filenames import listed_names
from dlir.reading.named_tiles import NamedTiles

AFFINE = ("yy", "yx", "y0", "xy", "xx", "x0")  # the columns of dlir.core.affine
LEAST_AREA = 1e-3  # of a pixel of the tile in the mosaic, in pixels of that
MOST_PROBLEMS = 10  # lines in an error message
Cell = tuple[int, int]  # (row, col)


class PlacementError(ValueError):
    """The placement of another run does not tell the place of each tile; the message has a line for each problem."""


class PlacedRow(NamedTuple):
    """A row of the table."""

    path: str
    affine: tuple[float, ...]  # in the order of AFFINE


def read(table: Path, tiles: Sequence[Sequence[Path | str]], cells: Sequence[Cell] | None) -> list[PlacedRow]:
    """Returns the row of each tile.

    Args:
        tiles: the paths of each tile, as `NamedTiles` takes them.
        cells: the place of each tile in its grid; None where nothing tells it.

    Raises:
        PlacementError: when a row is wrong, or when a tile has not exactly one row.
        TextTableError: when the table cannot be read.
    """
    rows = read_rows(table)
    for with_ending in (True, False):
        by_name = _by_name(rows, tiles, with_ending)
        if all(len(found) == 1 for found in by_name) and len({found[0].path for found in by_name}) == len(tiles):
            return [found[0] for found in by_name]
    own = tiles_beside(table)
    by_cell = _by_cell(rows, own, cells) if own and cells else None
    if by_cell:
        return by_cell
    number = next((n for n, found in enumerate(_by_name(rows, tiles, False)) if len(found) != 1), 0)
    raise PlacementError(f"placement cannot be used:\n  {table}: tells no place for {tiles[number][0]}: {_remedy(own, cells)}")


def tiles_beside(table: Path) -> dict[str, dict[str, str]]:
    """Returns the rows of the tiles.csv beside the table, by the paths of the tiles; none where there is no such file."""
    path = table.parent / "tiles.csv"
    if not path.is_file():
        return {}
    return {row.get("path", ""): row for row in csv.DictReader(text_tables.lines(path))}


def read_rows(table: Path) -> list[PlacedRow]:
    """Returns the rows of the table; raises PlacementError when one is wrong."""
    if "time" in [name.strip().lower() for name in (text_tables.lines(table) or [""])[0].split(",")]:
        what = "places each time point by itself, and one placement for all is needed"
        raise PlacementError(
            f"placement cannot be used:\n  {table}: {what}: leave the rows of one time point, without the column time"
        )
    rows: dict[str, PlacedRow] = {}
    problems = []
    for line, cells in text_tables.rows(table, ("path", *AFFINE)):
        numbers = [text_tables.number(cells[name]) for name in AFFINE]
        affine = tuple(number for number in numbers if number is not None)
        if not cells["path"] or len(affine) < len(AFFINE):
            problems.append(f"{table}, line {line}: needs a path and six numbers, {', '.join(AFFINE)}: correct it")
        elif abs(affine[0] * affine[4] - affine[1] * affine[3]) < LEAST_AREA:
            problems.append(f"{table}, line {line}: the affine makes a line of the tile: correct yy, yx, xy and xx")
        elif cells["path"] in rows:
            problems.append(f"{table}, line {line}: {cells['path']} is listed twice: delete one of the lines")
        rows[cells["path"]] = PlacedRow(cells["path"], affine)
    if not rows:
        problems.append(f"{table}: lists no tile: give the placement.csv of a finished run")
    if problems:
        more = [f"... and {len(problems) - MOST_PROBLEMS} more"] if len(problems) > MOST_PROBLEMS else []
        raise PlacementError("\n  ".join(["placement cannot be used:", *problems[:MOST_PROBLEMS], *more]))
    return list(rows.values())


def _by_name(rows: list[PlacedRow], tiles: Sequence[Sequence[Path | str]], with_ending: bool) -> list[list[PlacedRow]]:
    """Returns the rows whose names mean each tile."""
    named = NamedTiles([path if with_ending else _without_ending(path) for path in paths] for paths in tiles)
    found: list[tuple[int, list[PlacedRow]]] = [(0, []) for _ in tiles]  # with how many parts of the paths are alike
    for row in rows:
        path = row.path if with_ending else _without_ending(row.path)
        parts = PurePosixPath(path.replace("\\", "/")).parts
        for start in range(len(parts)):
            if meant := named.at("/".join(parts[start:])):
                alike = len(parts) - start
                for number in meant:
                    if alike > found[number][0]:
                        found[number] = alike, [row]
                    elif alike == found[number][0]:
                        found[number][1].append(row)
                break
    return [alike_rows for _, alike_rows in found]


def _without_ending(path: Path | str) -> str:
    whole = PurePosixPath(str(path).replace("\\", "/"))
    whole = whole.with_suffix("") if whole.suffix else whole
    return str(whole.with_suffix("") if whole.suffix == ".ome" else whole)


def _by_cell(rows: list[PlacedRow], own: dict[str, dict[str, str]], cells: Sequence[Cell]) -> list[PlacedRow] | None:
    """Returns the row of each tile by its place in the grid; None where the grids differ or a place is empty."""
    places: dict[Cell, PlacedRow] = {}
    for row in rows:
        tile = own.get(row.path, {})
        if not (tile.get("row", "").isdecimal() and tile.get("col", "").isdecimal()):
            return None
        places[int(tile["row"]), int(tile["col"])] = row
    same_grid = _extent(list(places)) == _extent(cells) and len(places) == len(rows)
    return [places[cell] for cell in cells] if same_grid and set(cells) <= set(places) else None


def _extent(cells: Sequence[Cell]) -> Cell:
    """Returns the number of rows and columns."""
    return 1 + max(row for row, _ in cells), 1 + max(col for _, col in cells)


def _remedy(own: dict[str, dict[str, str]], cells: Sequence[Cell] | None) -> str:
    """Returns what the user can do."""
    names = "name the tiles as there"
    if cells is None:
        return f"{names}, or give images with {{row}} and {{col}}, so that their places in the grid can be compared"
    if not own:
        return f"{names}, or put the tiles.csv of that run beside the table, so that rows and columns can be compared"
    rows, columns = _extent(cells)
    listed = listed_names(list(own))
    return (
        f"{names} ({listed}), or correct images: its grid of {rows} rows and {columns} columns is not that of the tiles there"
    )
