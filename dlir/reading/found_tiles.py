"""Finds the tiles of a dataset by their file names and its table of positions, before any file is read.

This module imports nothing heavy, since the Snakefile calls it, so that a mistake is named before any job starts.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dlir.reading import filenames, grid_layout, micro_manager_metadata, positions_table
from dlir.reading.filenames import Tile
from dlir.reading.grid_layout import TileError
from dlir.reading.image_facts import ImageFacts
from dlir.reading.listed_places import Place, Unit
from dlir.reading.settings import Dataset

MOST_PROBLEMS = 10  # lines in an error message


class FoundTiles(NamedTuple):
    """The tiles of a dataset, before their files are read."""

    tiles: list[Tile]
    values: Mapping[str, list[str]]  # of the placeholders in the file names
    places: Mapping[Path, Place]  # (y, x) by a table of positions, or (row, col) in the grid
    unit: Unit  # of the places; cells: (row, col)
    problems: list[str]
    notes: list[str]  # what the user should know of the names, and of the table of positions
    left_out: list[Path]  # files that the table of positions does not list
    centred: bool = False  # whether a place is that of the centre of a tile, else that of its first pixel
    facts: Sequence[ImageFacts] = ()  # what is told of each tile, where the places come from the metadata

    def raise_problems(self) -> None:
        """Raises TileError with the problems, where there are any."""
        raise_if_any(self.problems)


def find(settings: Dataset, without: Collection[Path] = ()) -> FoundTiles:
    """Finds the tiles and their places by their file names and the table of positions.

    Args:
        without: files whose tiles are left out.

    Raises:
        TileError: when no file matches, a path cannot be used, or the table of positions cannot be read. All other mistakes
            are in `problems`.
    """
    paths = grid_layout.find(settings)
    raise_if_any(filenames.unusable(paths))
    listed, values, missing = filenames.group(paths, settings.files)
    if without:
        paths = [file for tile in listed if not {*tile.files} & {*without} for file in tile.files]
        if not paths:
            raise TileError(f"all files of {settings.images} are still being written: run again when they are finished")
        listed, values, missing = filenames.group(paths, settings.files)
    if settings.in_files:
        return FoundTiles(listed, values, {}, "px", missing, [], [])  # `image_places.py` finds the tiles in them
    if settings.placement and not settings.tells_cells:
        any_cells = {tile.path: (0.0, float(number)) for number, tile in enumerate(listed)}
        return FoundTiles(listed, values, any_cells, "cells", missing, [], [])
    if settings.on_grid:
        cells, problems = grid_layout.grid(listed, settings)
        remarks = grid_layout.remarks(cells.values(), listed, settings) if cells else []
        return FoundTiles(listed, values, cells, "cells", problems + missing, remarks, [])
    if settings.positions is None:
        told = {tile.path: (tile.numbers["y"], tile.numbers["x"]) for tile in listed}
        return FoundTiles(listed, values, told, settings.unit or "px", missing, [], [])
    found = positions_table.positions(settings, listed)
    left_out = [file for tile in found.tiles if tile.path not in found.places for file in tile.files]
    if left_out and found.places:  # without any place, the problems say why
        others = set(left_out)
        listed, values, missing = filenames.group([path for path in paths if path not in others], settings.files)
        found = positions_table.positions(settings, listed)
    problems = found.problems + missing
    return FoundTiles(found.tiles, values, found.places, found.unit, problems, found.notes, left_out if found.places else [])


def tables(settings: Dataset, files: Iterable[Path]) -> list[Path]:
    """Returns the tables that tell the places of tiles in these files, beside what the files tell themselves."""
    if settings.positions == "metadata":
        return micro_manager_metadata.beside(files)
    return [settings.table] if settings.table else []


def raise_if_any(problems: list[str]) -> None:
    """Raises TileError with the first MOST_PROBLEMS messages, where there are any."""
    if problems:
        more = [f"  ... and {len(problems) - MOST_PROBLEMS} more"] if len(problems) > MOST_PROBLEMS else []
        raise TileError("\n".join(["the tiles cannot be used:", *(f"  {line}" for line in problems[:MOST_PROBLEMS]), *more]))
