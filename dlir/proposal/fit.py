"""Tries the settings of a dataset on some of its tiles, as the steps `tiles` and `survey` do, and corrects them by the pixels.

Tiles of which only the numbers are known are compared in all the ways in which a stage may scan. Where the pixels show another
corner, another direction, or other axes or units of a table, the settings are changed, and tried again.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dlir.core.progress import quiet
from dlir.reading import found_tiles, patterns
from dlir.reading.filenames import Tile
from dlir.reading.inventory import find_tiles
from dlir.reading.settings import Dataset
from dlir.survey import advice, grid, scans
from dlir.survey.advice import SurveyError
from dlir.survey.blocks import blocks
from dlir.survey.survey import survey_tiles

MOST_TILES = 100  # that are read
LONGEST_LINE = 100_000  # tiles
MOST_CHANGES = 4  # of the settings, until they fit


class Fit(NamedTuple):
    """The settings of a dataset, as the pixels show them."""

    keys: dict[str, Any]
    found: pd.DataFrame | None  # tables.SURVEY; None where the tiles do not fit
    changed: frozenset[str]  # the keys that the pixels told
    problem: str  # why the settings cannot be used as they are; empty where they can


def fitted(keys: Mapping[str, Any]) -> Fit:
    """Returns the settings of a dataset with which its tiles fit together.

    Args:
        keys: what is known of the settings, at least `images`. Numbered tiles may lack `columns` and `rows`.

    Raises:
        TileError, ImageError: when the tiles cannot be read, or contradict each other.
    """
    known, changed = dict(keys), set[str]()
    with quiet("dlir"):
        if numbered(known) and not {"rows", "columns"} & {*known}:
            told = _scan_of(known)
            if told is None:
                return Fit(known, None, frozenset(), "")
            known, changed = {**known, **told}, {*told}
        for _ in range(MOST_CHANGES):
            dataset = Dataset.checked(known)
            try:
                _, found = survey_tiles(find_tiles(dataset, _left_out(dataset)), dataset)
                return Fit(known, found, frozenset(changed), "")
            except SurveyError as error:
                if not error.settings:
                    return Fit(known, None, frozenset(changed), str(error))
                told = dict(error.settings)
                if told.pop("exchange", False):
                    known["images"] = exchanged(known["images"])
                    changed.add("images")
                known |= told
                changed |= {*told}
    return Fit(known, None, frozenset(changed), "the tiles do not fit together in any layout that was tried")


def numbered(keys: Mapping[str, Any]) -> bool:
    """Whether the names only number the tiles, one after the other."""
    return "index" in patterns.placeholders(keys["images"]) and "positions" not in keys


def exchanged(images: str) -> str:
    """Returns a pattern in which {row} and {col} have changed places."""
    return images.replace("{row", "{\0").replace("{col", "{row").replace("{\0", "{col")


def shares(found: pd.DataFrame) -> str:
    """Returns the overlaps that the pixels show (tables.SURVEY) in words: 10 % along y and 26 % along x."""
    rows = found.to_dict("records")
    return " and ".join(f"{100 * row['overlap']:.0f} % along {'y' if row['side'] == 'down' else 'x'}" for row in rows)


def _scan_of(keys: Mapping[str, Any]) -> dict[str, Any] | None:
    """Returns the settings of the scan of numbered tiles; None where the pixels do not show it."""
    tiles = found_tiles.find(_in_one_line(keys, LONGEST_LINE)).tiles
    numbers = [int(tile.numbers["index"]) for tile in tiles]
    dataset = _in_one_line(keys, min(max(numbers) - min(numbers) + 1, LONGEST_LINE))  # some of the numbers may be missing
    table = find_tiles(dataset, _left_out(dataset))
    if len(table) < 3:
        return None
    first = min(numbers)
    missing = [first - number for number in (0, 1) if 0 < first - number <= grid.MOST_MISSING]
    block = next(blocks(table))
    found = scans.find_scan(block.correlator, table["col"].to_numpy(np.int64), block.unrelated, missing)
    if found is None:
        return None
    size = table[["height", "width"]].iloc[0].to_numpy(float)
    told = advice.for_scan(found.steps * block.factor, found.scan, first - found.scan.missing, dataset, size).settings
    line = "rows" if told.get("order") == "columns" else "columns"
    return {**{key: value for key, value in told.items() if key not in ("rows", "columns")}, line: found.scan.length}


def _in_one_line(keys: Mapping[str, Any], count: int) -> Dataset:
    return Dataset.checked({**keys, "columns": count})


def _left_out(dataset: Dataset) -> Collection[Path]:
    """Returns the files of all tiles but some that lie beside each other, where there are too many."""
    found = found_tiles.find(dataset)
    tiles = [tile for tile in found.tiles if tile.path in found.places] or list(found.tiles)
    if len(tiles) <= MOST_TILES:
        return ()
    if "index" in tiles[0].numbers:
        tiles = sorted(tiles, key=lambda tile: tile.numbers["index"])
    elif found.places:
        places = np.array([found.places[tile.path] for tile in tiles], float)
        extent = np.maximum(np.ptp(places, axis=0), 1e-9)
        tiles = [tiles[k] for k in np.argsort(np.abs((places - np.median(places, axis=0)) / extent).max(axis=1), kind="stable")]
    return _files(tiles[MOST_TILES:])


def _files(tiles: list[Tile]) -> list[Path]:
    return [file for tile in tiles for file in tile.files]
