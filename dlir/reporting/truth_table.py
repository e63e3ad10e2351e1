"""Reads the true places of the tiles, with which the step `accuracy` compares a placement.

This module imports nothing heavy, since the Snakefile reads the table with it before any job starts.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from dlir.core import text_tables
from dlir.reading.named_tiles import NamedTiles

AFFINE = ("yy", "yx", "y0", "xy", "xx", "x0")  # the columns of dlir.core.affine
Numbers = tuple[float, ...]


class TruthError(ValueError):
    """The truth does not have exactly one place for each tile."""


def read(table: Path, tiles: Sequence[Sequence[Path | str]]) -> list[Numbers]:
    """Returns the six numbers of the true affine of each tile.

    Args:
        table: a CSV file with the columns of tables.TRUTH. A row names a tile by the path of any of its files; the name will do
            where no other tile has it. There may be rows of other tiles.
        tiles: the paths of each tile, its own first, as `NamedTiles` takes them.

    Raises:
        TruthError: when a row lacks a number, or a tile has no row or several places.
        TextTableError: when the table cannot be read.
    """
    named = NamedTiles(tiles)
    by_path, by_name = defaultdict(set), defaultdict(set)  # number of a tile: its affines
    for line, cells in text_tables.rows(table, ("path", *AFFINE)):
        affine = _numbers([cells[name] for name in AFFINE])
        if affine is None:
            raise TruthError(f"{table}, line {line}: needs six numbers, {', '.join(AFFINE)}: correct it")
        for tile in named.at(cells["path"]):
            by_path[tile].add(affine)
        for tile in named.named(cells["path"]):
            by_name[tile].add(affine)
    return [_only(by_path[tile] or by_name[tile], paths, table) for tile, paths in enumerate(tiles)]


def _numbers(cells: Iterable[str]) -> Numbers | None:
    numbers = [text_tables.number(cell) for cell in cells]
    found = tuple(number for number in numbers if number is not None)
    return found if len(found) == len(numbers) else None


def _only(found: set[Numbers], paths: Sequence[Path | str], table: Path) -> Numbers:
    """Returns the one affine that is found for a tile."""
    if not found:
        raise TruthError(f"{table}: there is no row for {paths[0]}: add its true place, or leave the tile out")
    if len(found) > 1:
        raise TruthError(f"{table}: {paths[0]} has several places: leave one row for it, or give more of the paths")
    return next(iter(found))
