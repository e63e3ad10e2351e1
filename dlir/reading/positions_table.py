"""Finds the nominal places of the tiles in a table of positions, in any of the forms that people have.

The form is told by what the table holds, not by its name: a table of Fiji (`fiji_table.py`), a position list of Micro-Manager
(`micro_manager_list.py`), or columns (`csv_positions.py`). This module finds the tiles that the table names.

This module imports nothing heavy, since the Snakefile reads the table before any job starts.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from dlir.core import text_tables
from dlir.core.text_tables import TextTableError
from dlir.reading import csv_positions, fiji_table, grid_layout, micro_manager_list
from dlir.reading.filenames import IMAGE, Tile, listed_names
from dlir.reading.grid_layout import TileError
from dlir.reading.listed_places import Listed, ListedPlace, Place, Unit
from dlir.reading.named_tiles import NamedTiles
from dlir.reading.settings import Dataset


class Positions(NamedTuple):
    """The tiles and their places by a table."""

    tiles: list[Tile]  # those given; where the table lists images in a file, one tile for each
    places: dict[Path, Place]  # of the tiles that the table lists, in `unit` and along the axes of the table
    problems: list[str]
    unit: Unit
    notes: list[str]  # what was taken, for the log


def positions(settings: Dataset, tiles: list[Tile]) -> Positions:
    """Returns the places of the tiles by the table `settings.positions`.

    Args:
        tiles: all tiles; the table may name a tile by any of its files, in any folder, with or without the ending of the name.

    Raises:
        TileError: when the table cannot be read, or is not clear.
    """
    names = _Names(tiles)
    listed = _listed(settings, lambda name: bool(names.meant(name)))
    assert settings.table
    if listed.by_label:
        meant, wrong = _by_label(settings.table, listed.rows, tiles)
    else:
        meant, wrong = _by_name(settings.table, listed.rows, names)
    problems = listed.problems + wrong
    if not listed.rows and not problems:
        problems.append(f"{settings.positions}: lists no tile: correct positions")
    places = {tile.path: place for tile, place in meant}
    whole_files = {file for tile, _ in meant if IMAGE.fullmatch(str(tile.path)) for file in tile.files}
    images = [tile for tile, _ in meant if whole_files.intersection(tile.files)]
    found = [tile for tile in tiles if not whole_files.intersection(tile.files)] + list(
        {tile.path: tile for tile in images}.values()
    )
    if listed.unit != "cells" or problems:
        return Positions(found, places, problems, listed.unit, listed.notes)
    numbered = [tile._replace(numbers=_cell(places[tile.path])) for tile in found if tile.path in places]
    cells, wrong = grid_layout.grid(numbered, settings) if numbered else ({}, [])
    return Positions(found, dict(cells), wrong, listed.unit, listed.notes)


def unit(settings: Dataset) -> Unit:
    """Returns the unit of the places, or that they are cells of the grid, by the names or by the table `settings.positions`."""
    if settings.on_grid:
        return "cells"
    if settings.table is None:
        return settings.unit or ("um" if settings.positions else "px")
    return _listed(settings, bool).unit


def _listed(settings: Dataset, is_tile: Callable[[str], bool]) -> Listed:
    """Returns what the table says; raises TileError when it cannot be read, or is not clear."""
    table = settings.table
    assert table
    try:
        texts = text_tables.lines(table)
        if micro_manager_list.is_list(texts):
            found = micro_manager_list.read(table, texts)
        elif fiji_table.is_fiji(texts) or not any(text.strip() and not text.startswith("#") for text in texts):
            found = fiji_table.read(table, texts)
        else:
            return csv_positions.read(table, texts, settings, is_tile)
    except TextTableError as error:
        raise TileError(f"positions cannot be used:\n  {error}") from None
    # People also save places of the stage in the form of Fiji, so there the setting counts
    if settings.unit and found.by_label and settings.unit != found.unit:
        raise TileError(f"{table}: is in micrometres, and the setting unit is {settings.unit}: delete unit")
    return found if found.by_label else found._replace(unit=settings.unit or found.unit)


class _Names:
    """The tiles by the names that a table may give them."""

    def __init__(self, tiles: list[Tile]) -> None:
        paths = [[tile.path, *tile.files] for tile in tiles]
        self.tiles = tiles
        self.whole = NamedTiles(paths)
        self.without_ending = NamedTiles([[_stem(path) for path in each] for each in paths])

    def meant(self, name: str) -> list[Tile]:
        """Returns the tiles that a name may mean; an image in a file as a tile of its own."""
        if not name:
            return []
        found = self.whole.named(name) or self.without_ending.named(name)
        if found or not (image := IMAGE.fullmatch(name)):
            return [self.tiles[number] for number in found]
        files = [self.tiles[number] for number in self.whole.named(image["file"])]
        return [
            tile._replace(path=Path(f"{tile.path}#{int(image['number'])}")) if len(tile.files) == 1 else tile for tile in files
        ]


def _by_name(table: Path, rows: list[ListedPlace], names: _Names) -> tuple[list[tuple[Tile, Place]], list[str]]:
    """Returns the tiles that the rows name, with their places, and a message for each row that is wrong."""
    meant, problems = [], []
    listed: set[str] = set()
    places: dict[Path, Place] = {}
    for where, name, place in rows:
        found = names.meant(name)
        if not found:
            problems.append(f"{table}, {where}: {name} is not among the files of images: add it, or delete the line")
        elif len(found) > 1:
            what = f"means {listed_names([tile.path for tile in found])}: give more of the path of one"
            problems.append(f"{table}, {where}: {name} {what}")
        elif IMAGE.fullmatch(name) and len(found[0].files) > 1:
            what = f"{name} is an image in one of several files of a tile: make images match one file a tile"
            problems.append(f"{table}, {where}: {what}")
        elif name in listed or places.get(found[0].path, place) != place:  # other files of a tile may repeat its place
            problems.append(f"{table}, {where}: {name} is listed twice: delete one of the lines")
        else:
            places[found[0].path] = place
            meant.append((found[0], place))
        listed.add(name)
    return meant, problems


def _by_label(table: Path, rows: list[ListedPlace], tiles: list[Tile]) -> tuple[list[tuple[Tile, Place]], list[str]]:
    """Returns the tiles whose folder or file carries the labels, with their places, and a message for each that is wrong."""
    meant, problems = [], []
    taken: dict[Path, str] = {}
    for where, label, place in rows:
        found = _labelled(label, tiles)
        if len(found) != 1:
            what = (
                f"stands in the paths of {listed_names([tile.path for tile in found])}"
                if found
                else "stands in no path of a tile"
            )
            remedy = "make images match one tile for each position" if found else "add its files, or delete the position"
            problems.append(f"{table}, {where}: the label {label} {what}: {remedy}")
        elif taken.setdefault(found[0].path, where) != where:
            problems.append(f"{table}, {where}: the label {label} means the tile of {taken[found[0].path]}, too: delete one")
        else:
            meant.append((found[0], place))
    return meant, problems


def _labelled(label: str, tiles: list[Tile]) -> list[Tile]:
    """Returns the tiles in a folder called like the label; else those whose file names end with it; else those that have it."""
    alone = re.compile(rf"(?<![^\W_]){re.escape(label)}(?![^\W_])", re.IGNORECASE)
    ways: list[Callable[[Path], bool]] = [
        lambda path: label in path.parts[:-1],
        lambda path: _stem(path).name.endswith(f"_MMStack_{label}"),
        lambda path: bool(alone.search(path.name)),
    ]
    return next((found for way in ways if (found := [tile for tile in tiles if way(tile.files[0])])), [])


def _stem(path: Path) -> Path:
    """Returns the path without the ending of its name, .ome.tif in whole; the path of an image in a file stays."""
    whole = path.with_suffix("")
    return whole.with_suffix("") if whole.suffix.lower() == ".ome" else whole


def _cell(place: Place) -> dict[str, int]:
    return {"row": int(place[0]), "col": int(place[1])}
