"""Reads the table of the user that corrects pairs and tiles (`overrides.py` uses it), and finds every mistake in it.

The table has the columns fixed, moving, y and x. A tile is named by the path of one of its files, or by the end of that path,
down to the bare file name; it must mean that tile alone. A row means

    fixed and moving, y and x empty     ignore the pair
    fixed and moving, y and x           the moving tile lies y, x px from the fixed one
    moving alone, y and x               the position of that tile by the stage is y, x px, and certain

This module imports nothing heavy, since the Snakefile reads the table with it before any job starts.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dlir.core import text_tables
from dlir.core.text_tables import Row
from dlir.reading.filenames import listed_names
from dlir.reading.named_tiles import NamedTiles

COLUMNS = ("fixed", "moving", "y", "x")
LARGEST = 1e7  # px: no place of a tile is further from 0
MOST_PROBLEMS = 10  # lines in an error message


class OverridesError(ValueError):
    """The overrides have a mistake; the message has a line for each, with the file, the line and the remedy."""


class Correction(NamedTuple):
    """A row of the table. Tiles are numbered in the order in which they are given to `read`."""

    line: int
    fixed: int | None
    moving: int
    place: tuple[float, float] | None  # (y, x), px, of the tile, or its offset from the fixed one; None ignores the pair


def read(table: Path, tiles: Sequence[Iterable[Path | str]]) -> list[Correction]:
    """Returns the rows of the table, each pair and each tile once.

    Args:
        tiles: the paths of each tile, as `NamedTiles` takes them.

    Raises:
        OverridesError: with all mistakes in the rows.
        TextTableError: when the table cannot be read.
    """
    named = NamedTiles(tiles)
    corrections: dict[tuple[int | None, int], Correction] = {}
    problems = []
    for row in text_tables.rows(table, COLUMNS):
        wrong = [*_wrong_names(row, named), *_wrong_numbers(row)]
        if not wrong:
            correction = _correction(row, named)
            key, earlier = _key(correction), corrections.setdefault(_key(correction), correction)
            if correction.fixed == correction.moving:
                wrong.append(f"fixed and moving are both {row.cells['moving']}, one tile: name two, or leave fixed empty")
            elif earlier is not correction and (key[0] is None or _from_first(earlier) != _from_first(correction)):
                what = "places a tile" if key[0] is None else "is about a pair"
                wrong.append(f"{what} that line {earlier.line} is about, too: delete one of the lines")
        problems += [f"{table}, line {row.line}: {what}" for what in wrong]
    if problems:
        more = [f"... and {len(problems) - MOST_PROBLEMS} more"] if len(problems) > MOST_PROBLEMS else []
        raise OverridesError("\n  ".join(["the overrides cannot be used:", *problems[:MOST_PROBLEMS], *more]))
    return list(corrections.values())


def _wrong_names(row: Row, named: NamedTiles) -> Iterator[str]:
    """Yields what is wrong with the names of the tiles in a row."""
    for end in ("fixed", "moving"):
        name = row.cells[end]
        found = named.at(name)
        if end == "moving" and not name:
            yield "moving is empty: name a tile"
        elif name and not found:
            yield f"{end} is {name[:200]}, which is no tile of this dataset: give the path of its file, as tiles.csv has it"
        elif len(found) > 1:
            yield f"{end} is {name}, which means {listed_names(list(found.values()))}: give more of the path of one"


def _wrong_numbers(row: Row) -> Iterator[str]:
    """Yields what is wrong with y and x in a row."""
    given = [row.cells[axis] for axis in ("y", "x") if row.cells[axis]]
    numbers = [text_tables.number(cell) for cell in given]
    if len(given) == 1:
        yield "give both y and x, or neither"
    elif not given and not row.cells["fixed"]:
        yield "a tile without a fixed one needs y and x, in px"
    elif any(number is None or abs(number) > LARGEST for number in numbers):
        yield f"y and x are {' and '.join(given)[:200]}: give two numbers, px, between -{LARGEST:.0f} and {LARGEST:.0f}"


def _correction(row: Row, named: NamedTiles) -> Correction:
    fixed, moving = (next(iter(named.at(row.cells[end])), None) for end in ("fixed", "moving"))
    y, x = (text_tables.number(row.cells[axis]) for axis in ("y", "x"))
    assert moving is not None, "the row is checked to name a tile"
    return Correction(row.line, fixed, moving, None if y is None or x is None else (y, x))


def _key(correction: Correction) -> tuple[int | None, int]:
    """The pair, the tile with the smaller number first; or the tile that is placed alone."""
    if correction.fixed is None:
        return None, correction.moving
    return min(correction.fixed, correction.moving), max(correction.fixed, correction.moving)


def _from_first(correction: Correction) -> tuple[float, float] | None:
    """The offset of the tile with the larger number from the other one."""
    if correction.place is None or correction.fixed is None or correction.fixed < correction.moving:
        return correction.place
    return -correction.place[0], -correction.place[1]
