"""Finds the files of a dataset and reads what the user wrote about them, so that a mistake is named before any job starts.

This module imports nothing heavy, since the Snakefile calls it.
"""

from pathlib import Path

from dlir.placement import overrides_table
from dlir.reading import found_tiles
from dlir.reading.settings import Dataset
from dlir.reporting import truth_table


class DatasetError(ValueError):
    """A file that the settings of a dataset name is missing."""


def tile_files(dataset: Dataset) -> list[Path]:
    """Returns the files of the tiles of a dataset.

    Raises:
        TileError: when there are none, or when their names or the table of positions are wrong.
        OverridesError, TruthError, TextTableError: when such a table has a mistake.
        DatasetError: when there is no flat-field or dark-field where the settings say.
    """
    found = found_tiles.find(dataset)
    found.raise_problems()
    tiles = [[tile.path, *tile.files] for tile in found.tiles]
    if dataset.overrides:
        overrides_table.read(dataset.overrides, tiles)
    if dataset.truth:
        truth_table.read(dataset.truth, tiles)
    for key, field in {"flat": dataset.flat, "dark": dataset.dark}.items():
        if field and not field.is_file():
            raise DatasetError(f"{key} is {field}, and there is no such file: correct it, or delete the key")
    return [file for tile in found.tiles for file in tile.files]
