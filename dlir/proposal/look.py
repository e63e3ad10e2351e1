"""What lies in a folder: images, tables that may hold positions, and others; told by the names of the files alone."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dlir.reading import micro_manager_metadata
from dlir.reading.grid_layout import IMAGE_SUFFIXES

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".pos")
MOST_FOLDERS = 4  # below each other that are looked into


class Contents(NamedTuple):
    """The files below a folder; hidden ones, and the results of dlir, are not among them."""

    images: list[Path]
    tables: list[Path]
    others: list[Path]


def look(folder: Path) -> Contents:
    """Returns the files below a folder, sorted by name."""
    found = Contents([], [], [])
    for path in sorted(_files(folder, MOST_FOLDERS)):
        suffix = path.suffix.lower()
        is_table = suffix in TABLE_SUFFIXES and path.name != micro_manager_metadata.NAME  # that one belongs to the images
        (found.images if suffix in IMAGE_SUFFIXES else found.tables if is_table else found.others).append(path)
    return found


def _files(folder: Path, depth: int) -> Iterator[Path]:
    with os.scandir(folder) as entries:
        listed = [entry for entry in entries if not entry.name.startswith(".")]
    for entry in listed:
        path = folder / entry.name
        if entry.is_dir() and path.suffix.lower() not in IMAGE_SUFFIXES:
            made_here = entry.name == "results" and any(path.glob("*/cache"))
            if depth and not made_here:
                yield from _files(path, depth - 1)
        else:
            yield path
