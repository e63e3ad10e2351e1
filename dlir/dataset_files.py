"""Finds the files of a dataset and reads what the user wrote about them, so that a mistake is named before any job starts.

This module imports nothing heavy, since the Snakefile calls it.
"""

from collections.abc import Collection
from pathlib import Path

from dlir.placement import overrides_table, placement_table
from dlir.reading import found_tiles
from dlir.reading.settings import Dataset
from dlir.reporting import truth_table


class DatasetError(ValueError):
    """A file that the settings of a dataset name is missing."""


def tile_files(dataset: Dataset, made: Collection[Path] = ()) -> list[Path]:
    """Returns the files of the tiles of a dataset.

    Args:
        made: placements that the same run makes, and which cannot be read yet.

    Raises:
        TileError: when there are none, or when their names or the table of positions are wrong.
        OverridesError, PlacementError, TruthError, TextTableError: when such a table has a mistake.
        DatasetError: when there is no flat-field, dark-field or distortion where the settings say.
    """
    found = found_tiles.find(dataset)
    found.raise_problems()
    tiles = [[tile.path, *tile.files] for tile in found.tiles]
    if dataset.overrides and not dataset.in_files:  # then the step `place` checks the names
        overrides_table.read(dataset.overrides, tiles)
    if dataset.placement and dataset.placement not in made and not dataset.in_files:
        cells = [(int(row), int(col)) for row, col in (found.places[tile.path] for tile in found.tiles)]
        placement_table.read(dataset.placement, tiles, cells if dataset.tells_cells else None)
    if dataset.truth and not dataset.in_files:
        truth_table.read(dataset.truth, tiles)
    for key, field in {"flat": dataset.flat, "dark": dataset.dark, "distortion": dataset.known_lens}.items():
        if field and not field.is_file():
            raise DatasetError(f"{key} is {field}, and there is no such file: correct it, or delete the key")
    return list(dict.fromkeys(file for tile in found.tiles for file in tile.files))
