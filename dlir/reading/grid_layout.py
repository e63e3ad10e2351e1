"""Finds the files of the tiles, and the nominal place of each tile from its file name or from a table of positions.

`filenames.py` says what the pattern `images` means. Rows and columns are counted from the smallest number that is found; a
number without a file is a missing tile. `first_index` says which number comes first where that one is missing. This module
imports nothing heavy, since the Snakefile finds the files with it when it builds the graph of jobs.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from dlir.core import text_tables
from dlir.core.text_tables import TextTableError
from dlir.reading.filenames import PLACEHOLDER, Tile, as_glob, listed_names, match, same_text
from dlir.reading.named_tiles import NamedTiles
from dlir.reading.settings import Dataset

FIJI_LINE = re.compile(r"(?P<path>[^;]+);[^;]*;\s*\(\s*(?P<x>[^,\s]+)\s*,\s*(?P<y>[^,\s]+)\s*(?:,\s*(?P<z>[^,\s]+)\s*)?\)")
IMAGE_SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".j2k", ".gif", ".bmp", ".webp")
LARGEST_NUMBER = 2**53  # up to which a table keeps every whole number
Place = tuple[float, float]  # (y, x), px
TableRows = tuple[list[tuple[int, str, Place]], list[str]]  # line, name and place of each tile; a message for each problem


class TileError(ValueError):
    """The tiles of a dataset cannot be used; the message has a line for each problem, with the file and the remedy."""


def find(settings: Dataset) -> list[Path]:
    """Returns the files that match `settings.images`, sorted by name.

    Raises:
        TileError: when no file matches; the message says which folder was searched and what it holds.
    """
    pattern, start = PurePosixPath(settings.images), folder(settings)
    rough = "/".join(as_glob(part) for part in pattern.parts[len(start.parts) :])
    paths = meant(_on_disk(start).glob(rough), settings)
    if not paths:
        raise TileError(_nothing_found(settings.images, _on_disk(start)))
    return paths


def folder(settings: Dataset) -> Path:
    """Returns the deepest folder that holds all files which `settings.images` can match, as `images` names it."""
    parts = PurePosixPath(settings.images).parts
    return Path(*parts[: next((i for i, part in enumerate(parts) if PLACEHOLDER.search(part)), len(parts) - 1)])


def meant(paths: Iterable[Path], settings: Dataset) -> list[Path]:
    """Returns those of the paths that match `settings.images`, sorted by name."""
    hidden = PurePosixPath(settings.images).name.startswith(".")  # else files such as ._tile.tif of macOS would be tiles
    return sorted(path for path in paths if (hidden or not path.name.startswith(".")) and match(path, settings.images))


def other_images(settings: Dataset) -> list[Path]:
    """Returns the images in the folders of the tiles that do not match `settings.images`, sorted by name."""
    tiles = {*find(settings)}
    beside = (path for folder in {tile.parent for tile in tiles} for path in folder.iterdir())
    images = (path for path in beside if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith("."))
    return sorted(path for path in images if path not in tiles)


def grid(tiles: list[Tile], settings: Dataset) -> tuple[dict[Path, tuple[int, int]], list[str]]:
    """Returns the (row, col) of each tile, from the numbers in its name, and a message for each problem.

    Row 0, column 0 is at the top left.
    """
    if problems := _unusable_numbers(tiles):
        return {}, problems
    numbers = [tile.numbers for tile in tiles]
    first = {key: min(number[key] for number in numbers) for key in numbers[0]}
    if settings.first_index is not None and "index" in first:
        if first["index"] < settings.first_index:
            early = next(tile.path for tile in tiles if tile.numbers["index"] < settings.first_index)
            return {}, [f"{early}: its number is below first_index, which is {settings.first_index}: correct first_index"]
        first["index"] = settings.first_index
    counts = [{key: number[key] - first[key] for key in first} for number in numbers]
    cells = [_cell(c["index"], settings) if "index" in c else (c["row"], c["col"]) for c in counts]
    rows = settings.rows or max(row for row, _ in cells) + 1
    columns = settings.columns or max(col for _, col in cells) + 1
    places, problems = {}, []
    for (path, *_), (row, col) in zip(tiles, cells, strict=True):
        if row >= rows or col >= columns:
            size = f"{rows} rows x {columns} columns"
            problems.append(f"{path}: lies outside the grid of {size}: correct rows and columns, or images")
        row = rows - 1 - row if settings.start.startswith("bottom") else row
        col = columns - 1 - col if settings.start.endswith("right") else col
        places[path] = (row, col)
    by_place = defaultdict(list)
    for path, place in places.items():
        by_place[place].append(path)
    for (row, col), paths in by_place.items():
        if len(paths) > 1:
            what = f"have one place in the grid, row {row}, column {col}, counted from 0"
            problems.append(f"{listed_names(paths)} {what}: move the extra file away, or make images match fewer files")
    return places, problems


def positions(table: Path, tiles: list[Tile]) -> tuple[dict[Path, Place], list[str]]:
    """Returns the place of each tile that `table` lists, in its unit and along its axes, and a message for each problem.

    Args:
        table: a TileConfiguration.txt of Fiji, or a CSV file (.csv) with the columns path, y and x.
        tiles: all tiles; the table may name a tile by any of its files, in any folder.

    Raises:
        TileError: when the table cannot be read.
    """
    try:
        rows, problems = _csv_rows(table) if table.suffix.lower() == ".csv" else _fiji_rows(table)
    except TextTableError as error:
        raise TileError(f"positions cannot be used:\n  {error}") from None
    named = NamedTiles([tile.path, *tile.files] for tile in tiles)
    places: dict[Path, Place] = {}
    names = set()
    for line, name, place in rows:
        found = [tiles[number].path for number in named.named(name)]
        if not found:
            problems.append(f"{table}, line {line}: {name} is not among the files of images: add it, or delete the line")
        elif len(found) > 1:
            what = f"means {listed_names(found)}: give more of the path of one"
            problems.append(f"{table}, line {line}: {name} {what}")
        elif name in names or places.get(found[0], place) != place:  # other files of a tile may repeat its place
            problems.append(f"{table}, line {line}: {name} is listed twice: delete one of the lines")
        else:
            places[found[0]] = place
        names.add(name)
    if not rows and not problems:
        problems.append(f"{table}: lists no tile: correct positions")
    return places, problems


def _cell(count: int, settings: Dataset) -> tuple[int, int]:
    """Returns the (row, col), counted from the start corner, of the tile that the stage took after `count` others."""
    length = settings.columns if settings.order == "rows" else settings.rows
    assert length, "the settings are checked to give the length of a line"
    line, place = divmod(count, length)
    if settings.snake and line % 2:
        place = length - 1 - place
    return (line, place) if settings.order == "rows" else (place, line)


def _unusable_numbers(tiles: list[Tile]) -> list[str]:
    """Returns a message for each number that is too large, and for rows or columns that seem to be negative."""
    problems = [
        f"{tile.path}: its number {number} is too large: rename the file"
        for tile in tiles
        for number in tile.numbers.values()
        if abs(number) > LARGEST_NUMBER
    ]
    for key in ("row", "col"):
        if all(tile.numbers.get(key, 0) < 0 for tile in tiles):
            what = f"every number of {{{key}}} has a minus before it, as in {tiles[0].path}"
            problems.append(f"{what}: write -{{{key}}} in images if it is a hyphen, else give the places in a table, positions")
    return problems


def _on_disk(folder: Path) -> Path:
    """Returns the folder as the disk names it, where an accent may be part of its letter or follow it."""
    found = Path(folder.anchor)
    for part in folder.parts[len(found.parts) :]:
        if not (found / part).exists() and not part.isascii() and found.is_dir():
            names = re.compile(same_text(part))
            part = next((path.name for path in found.iterdir() if names.fullmatch(path.name)), part)
        found /= part
    return found


def _nothing_found(images: str, folder: Path) -> str:
    if not folder.is_dir():
        return f"no tile found: images is {images}, and there is no folder {folder}: correct images"
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    what = f"the folder holds {listed_names(names)}" if names else "the folder is empty"
    digits = [piece for piece in PLACEHOLDER.findall(images) if piece[0] == "{" and piece != "{channel}"]
    if names and digits:
        what += f", and {' and '.join(digits)} {'stand' if len(digits) > 1 else 'stands'} for digits"
    return f"no tile found: images is {images}, and nothing in {folder} matches; {what}: correct images"


def _fiji_rows(table: Path) -> TableRows:
    """Returns the rows of a table of Fiji; z, of a table with dim = 3, must be the same for all tiles."""
    rows, problems, heights = [], [], set()
    dim = "2"
    for number, line in enumerate(map(str.strip, text_tables.lines(table)), 1):
        if not line or line.startswith("#"):
            continue
        if told := re.fullmatch(r"dim\s*=\s*([23])", line):
            dim = told[1]
            continue
        match = FIJI_LINE.fullmatch(line)
        place = _place(match["y"], match["x"]) if match else None
        z = text_tables.number(match["z"]) if match and match["z"] else None
        if match and place and (z is None) == (dim == "2"):
            rows.append((number, match["path"].strip(), place))
            heights.add(z)
        else:
            form = "'name; ; (x, y)'" if dim == "2" else "'name; ; (x, y, z)'"
            problems.append(f"{table}, line {number}: {line[:200]!r} is not of the form {form} with dim = {dim}: correct it")
    if len(heights) > 1:
        problems.append(f"{table}: the tiles lie at several z, and dlir stitches one plane: list the tiles of one z only")
    return rows, problems


def _csv_rows(table: Path) -> TableRows:
    rows, problems = [], []
    for line, cells in text_tables.rows(table, ["path", "y", "x"]):
        place = _place(cells["y"], cells["x"])
        if cells["path"] and place:
            rows.append((line, cells["path"], place))
        else:
            what = "needs a path and two numbers, y and x, with a point before decimals"
            problems.append(f"{table}, line {line}: {what}: correct it")
    return rows, problems


def _place(y: str, x: str) -> Place | None:
    """Returns the place in two cells of a table; None unless both are numbers, and not absurd ones."""
    place = text_tables.number(y), text_tables.number(x)
    return None if place[0] is None or place[1] is None else (place[0], place[1])
