"""Mends a placement by hand: what the solve would make of rows of overrides, and the table of overrides that is saved.

A row is a dictionary with the keys fixed, moving, y and x, as a row of the table (`placement/overrides_table.py`), but with the
numbers of the tiles in place of their names; what is empty there is None. The rows that are given are always the whole table:
those that it had before, and those that are new.
"""

import csv
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dlir.core import affine, hashing, tables, text_tables, time_points
from dlir.core.affine import Array
from dlir.core.atomic import atomically
from dlir.core.lens import read_for as read_lenses
from dlir.placement import overrides_table
from dlir.placement.overrides import read_overrides
from dlir.placement.overrides_table import COLUMNS, OverridesError
from dlir.placement.place import place_times
from dlir.reading import filenames
from dlir.reporting.accuracy import common_affine
from dlir.reporting.finished_run import OF_ROUNDS, FinishedRun

MOVED = 0.5  # px: a tile has moved if the solve places it further than this from where it was
Row = dict[str, Any]


class MendError(ValueError):
    """The placement cannot be mended, or not any more from where the user began; the message has the remedy."""


class Saved(NamedTuple):
    """What was saved, and how it comes into effect."""

    table: str  # path of the table
    kept: int  # rows that it had before
    added: int
    dropped: int
    settings: str  # lines that the user has to add to the settings; empty where they name the table
    command: str  # command that applies the table
    state: str


def start(run: FinishedRun) -> dict[str, Any]:
    """Returns what a page needs to begin.

    - rows: those of the table that is there
    - pairs: for each pair its number, the two tiles, by how much the moving tile lies from the fixed one at the middle of the
      overlap (y, x), px of a tile, whether the pair is accepted, and its time point where each is registered by itself
    - table: the path of the table
    - state: a hash that changes with the placement and the table; `solve` and `save` take it

    Raises:
        MendError: when the placement was taken over from another run.
        OverridesError, TextTableError: when the table that is there has a mistake.
    """
    if run.adopted:
        raise MendError(f"the tiles lie as in another run, {run.adopted}: mend that one, and run this one again")
    pairs = tables.read(run.results / "affines.csv", tables.AFFINES)
    centre = pairs[["centre_y", "centre_x"]].to_numpy()[:, None]
    offset = (affine.apply(affine.from_table(pairs), centre) - centre)[:, 0].round(3)
    shown = pairs[["pair", "fixed", "moving"]].assign(y=offset[:, 0], x=offset[:, 1], accepted=pairs["accepted"])
    shown["time"] = pairs.get("time")
    return {
        "rows": [row for row, _ in _present(run, _tiles(run))],
        "pairs": shown.astype(object).to_numpy().tolist(),
        "table": str(run.table),
        "state": _state(run),
    }


def solve(run: FinishedRun, rows: list[Row], state: str, time: int | None = None) -> dict[str, Any]:
    """Returns what the solve makes of the rows, at one time point where each is placed by itself.

    - tiles: for each tile its number, its affine (yy, yx, y0, xy, xx, x0) to the mosaic, residual, deviation, group, and what
      places it, as in tables.PLACEMENT. A mosaic begins at its outermost tiles, so one tile that moves there shifts all others;
      therefore the new affines are shifted together until as many tiles as possible are where they were. A round is solved
      alone, and then turned and scaled, too, as most of its tiles lie among those of all rounds.
    - moved: the number of tiles that are elsewhere than before
    - groups: the number of groups
    - largest: the largest residual of a tile, px; None without pairs

    Raises:
        MendError: when the results or the table have changed since the page got `state`.
        OverridesError: when a row has a mistake.
    """
    _check(run, state)
    tiles, pairs = _tiles(run), tables.read(run.results / "affines.csv", tables.AFFINES)
    survey = tables.read(run.results / "survey.csv", tables.SURVEY)
    with _as_table(run, rows, tiles) as table:
        user = read_overrides(table, tiles)
    lens = run.results / "lens.csv"
    lenses = read_lenses(lens if lens.is_file() else None, tiles)
    placed, _ = place_times(tiles, pairs, run.place, user, survey, lenses)
    before = tables.read(run.results / "placement.csv", tables.PLACEMENT)
    if times := time_points.listed(placed):
        shown_time = time if time in times else times[0]
        placed, before = (time_points.at(table, shown_time) for table in (placed, before))
    middle = (tables.sizes(tiles) - 1)[:, None] / 2
    new, old = affine.from_table(placed), affine.from_table(before)
    if (run.results.parent / OF_ROUNDS).is_file():
        corners = affine.corners(*tables.sizes(tiles).T)
        new = affine.compose(common_affine(*(affine.apply(each, corners).reshape(-1, 2) for each in (new, old))), new)
    moved = (affine.apply(new, middle) - affine.apply(old, middle))[:, 0]
    common = _commonest(moved)
    new[:, :, 2] -= common
    shown = placed[["tile"]].assign(**affine.to_columns(new))
    shown = shown.assign(**placed[["residual", "deviation", "group", "placed_by"]])
    return {
        "tiles": shown.astype(object).where(shown.notna(), None).to_numpy().tolist(),
        "moved": int((np.linalg.norm(moved - common, axis=1) > MOVED).sum()),
        "groups": int(placed["group"].nunique()),
        "largest": float(placed["residual"].max()) if placed["residual"].notna().any() else None,
    }


def save(run: FinishedRun, rows: list[Row], state: str) -> Saved:
    """Writes the rows as the table of overrides, whole or not at all, and returns how they come into effect.

    A row that was there before stays as the user wrote it, with all columns that the table has.

    Raises:
        MendError, OverridesError: as `solve` does; nothing is written then.
    """
    _check(run, state)
    tiles = _tiles(run)
    before = [row for row, _ in _present(run, tiles)]
    with _as_table(run, rows, tiles) as table:
        text = table.read_text(encoding="utf-8")
    with atomically(run.table) as partial:
        partial.write_text(text, encoding="utf-8")
    kept = sum(row in before for row in rows)
    settings = run.name_table()
    return Saved(str(run.table), kept, len(rows) - kept, len(before) - kept, settings, run.command(), _state(run))


def _commonest(moved: Array) -> Array:
    """Returns the shift (2,) that most of the shifts (n, 2) share to within MOVED."""
    alike = np.linalg.norm(moved[:, None] - moved, axis=2) < MOVED
    return np.asarray(np.median(moved[alike[alike.sum(axis=1).argmax()]], axis=0))


def _tiles(run: FinishedRun) -> pd.DataFrame:
    return tables.read(run.results / "tiles.csv", tables.TILES)


def _state(run: FinishedRun) -> str:
    table = hashing.of_file(run.table) if run.table.is_file() else ""
    return hashing.of_file(run.results / "placement.csv") + table


def _check(run: FinishedRun, state: str) -> None:
    """Raises MendError when the placement or the table have changed since a page got `state`."""
    if state != _state(run):
        raise MendError("the results or the table of overrides have changed since this page was opened: load it again")


def _present(run: FinishedRun, tiles: pd.DataFrame) -> list[tuple[Row, int]]:
    """Returns the rows of the table that is there, each with its line."""
    if not (run.named_table or run.table.is_file()):
        return []
    return _rows(run.table, tiles)


def _rows(table: Path, tiles: pd.DataFrame) -> list[tuple[Row, int]]:
    """Returns the rows of a table, each with its line; raises OverridesError, TextTableError as `overrides_table.read` does."""
    numbers = tiles["tile"].tolist()
    return [
        (
            {
                "fixed": None if row.fixed is None else numbers[row.fixed],
                "moving": numbers[row.moving],
                "y": row.place and row.place[0],
                "x": row.place and row.place[1],
            },
            row.line,
        )
        for row in overrides_table.read(table, [filenames.paths_of(tile) for tile in tiles.to_dict("records")])
    ]


@contextmanager
def _as_table(run: FinishedRun, rows: list[Row], tiles: pd.DataFrame) -> Iterator[Path]:
    """Yields a table of overrides with the rows, which is checked as a run does it, and which is deleted in the end.

    Raises:
        OverridesError: when a row has a mistake.
    """
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, run.table.name)
        table.write_text(_text(run, rows, tiles), encoding="utf-8")
        try:
            read_overrides(table, tiles)
            yield table
        except OverridesError as error:
            raise OverridesError(str(error).replace(str(table), run.table.name)) from None


def _text(run: FinishedRun, rows: list[Row], tiles: pd.DataFrame) -> str:
    """Returns the rows as a table. Those that are in the present table are written as there, and in its order."""
    present = _present(run, tiles)
    lines = text_tables.lines(run.table) if present else [",".join(COLUMNS)]
    separator = max(text_tables.SEPARATORS, key=lines[0].count)
    header = [name.strip().lower() for name in next(csv.reader(lines[:1], delimiter=separator, skipinitialspace=True))]
    kept = [lines[line - 1] for row, line in present if row in rows]
    new = io.StringIO()
    writer = csv.DictWriter(new, header, delimiter=separator, restval="", lineterminator="\n")
    names = {None: "", **dict(zip(tiles["tile"], tiles["path"], strict=True))}
    known = [row for row, _ in present]
    for row in (row for row in rows if row not in known):
        ends = {end: names.get(row[end], f"tile {row[end]}") for end in ("fixed", "moving")}
        writer.writerow({**row, **ends})
    return "\n".join([lines[0], *kept, new.getvalue()])
