"""Finds the files of the tiles, and the nominal place of each tile from its file name.

`patterns.py` says what the pattern `images` means. Rows and columns are counted from the smallest number that is found, in the
steps that all of them keep (0, 100, 200); a number without a file is a missing tile. `first_index` says which number comes
first where that one is missing. This module imports nothing heavy, since the Snakefile finds the files with it when it builds
the graph of jobs.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice, pairwise, product
from pathlib import Path, PurePosixPath

from dlir.reading import patterns
from dlir.reading.filenames import MOST_NAMES, Tile, listed_names
from dlir.reading.patterns import PLACEHOLDER, as_glob
from dlir.reading.settings import Dataset

IMAGE_SUFFIXES = (
    *(".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".j2k", ".gif", ".bmp", ".webp"),
    *(".czi", ".lif", ".nd2", ".zarr"),
)
LARGEST_NUMBER = 2**53  # up to which a table keeps every whole number


class TileError(ValueError):
    """The tiles of a dataset cannot be used; the message has a line for each problem, with the file and the remedy."""


def find(settings: Dataset) -> list[Path]:
    """Returns the files that match `settings.images`, sorted by name.

    Raises:
        TileError: when no file matches; the message says which folder was searched and what it holds.
    """
    start = _on_disk(folder(settings))
    paths = meant(candidates(settings), settings)
    if not paths:
        raise TileError(f"no tile found: {_nothing_found(settings.images, start)}")
    return paths


def nothing_found(settings: Dataset) -> str:
    """Returns the words for that no file matches `settings.images`: the pattern, the folder, what it holds, and the remedy."""
    return _nothing_found(settings.images, _on_disk(folder(settings)))


def candidates(settings: Dataset) -> list[Path]:
    """Returns the files and folders that match `settings.images`, or nearly do: with any texts in place of the placeholders."""
    pattern, start = PurePosixPath(settings.files), folder(settings)
    rough = "/".join(as_glob(part) for part in pattern.parts[len(start.parts) :])
    return list(_on_disk(start).glob(rough))


def folder(settings: Dataset) -> Path:
    """Returns the deepest folder that holds all files which `settings.images` can match, as `images` names it."""
    parts = PurePosixPath(settings.files).parts
    return Path(*parts[: next((i for i, part in enumerate(parts) if PLACEHOLDER.search(part)), len(parts) - 1)])


def meant(paths: Iterable[Path], settings: Dataset) -> list[Path]:
    """Returns those of the paths that match `settings.images`, sorted by name."""
    hidden = PurePosixPath(settings.files).name.startswith(".")  # else files such as ._tile.tif of macOS would be tiles
    return sorted(patterns.matches((path for path in paths if hidden or not path.name.startswith(".")), settings.files))


def other_images(settings: Dataset, tiles: Iterable[Path]) -> list[Path]:
    """Returns the images that do not match `settings.images` and nearly do, or lie beside the tiles, sorted by name."""
    matching = {*tiles}
    beside = [path for folder in {tile.parent for tile in matching} for path in folder.iterdir()]
    images = {path for path in [*beside, *candidates(settings)] if path.suffix.lower() in IMAGE_SUFFIXES}
    return sorted(path for path in images if path not in matching and not path.name.startswith("."))


def grid(tiles: list[Tile], settings: Dataset) -> tuple[dict[Path, tuple[int, int]], list[str]]:
    """Returns the (row, col) of each tile, from the numbers in its name, and a message for each problem.

    Row 0, column 0 is at the top left.
    """
    if problems := _unusable_numbers(tiles):
        return {}, problems
    numbers = [{key: int(number) for key, number in tile.numbers.items()} for tile in tiles]
    first = {key: min(number[key] for number in numbers) for key in numbers[0]}
    if settings.first_index is not None and "index" in first:
        if first["index"] < settings.first_index:
            early = next(tile.path for tile in tiles if tile.numbers["index"] < settings.first_index)
            return {}, [f"{early}: its number is below first_index, which is {settings.first_index}: correct first_index"]
        first["index"] = settings.first_index
    steps = steps_of(tiles, settings)
    counts = [{key: (number[key] - first[key]) // steps[key] for key in first} for number in numbers]
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


def steps_of(tiles: Sequence[Tile], settings: Dataset) -> dict[str, int]:
    """Returns the step (`step_of`) in which the numbers in the names count, for each of row and col, or index."""
    room = {"row": settings.rows, "col": settings.columns, "index": settings.places_in_grid}
    return {key: step_of((int(tile.numbers[key]) for tile in tiles), room[key]) for key in tiles[0].numbers}


def step_of(numbers: Iterable[int], room: int | None = None) -> int:
    """Returns the step in which numbers count: 100 for 0, 100 and 300.

    Only two numbers that differ by 2 are taken for 0 and 2 of three places. Where all numbers have room in as many places as
    are told, the step is 1.
    """
    found = sorted({*numbers})
    step = math.gcd(*(after - before for before, after in pairwise(found)))
    if step < 2 or (len(found) == 2 and step == 2) or (room is not None and found[-1] - found[0] < room):
        return 1
    return step


def remarks(cells: Iterable[tuple[int, int]], tiles: Sequence[Tile], settings: Dataset) -> list[str]:
    """Returns what a user should know of a grid: in which steps its names count, and which places have no tile.

    Args:
        cells: (row, col) of each tile, as `grid` returns them.
    """
    counted = [f"{{{key}}} counts in steps of {step}" for key, step in steps_of(tiles, settings).items() if step > 1]
    present = {*cells}
    rows = settings.rows or max(row for row, _ in present) + 1
    columns = settings.columns or max(col for _, col in present) + 1
    count = rows * columns - len(present)
    if not count:
        return counted
    empty = (f"row {row} column {col}" for row, col in product(range(rows), range(columns)) if (row, col) not in present)
    some = ", ".join(islice(empty, MOST_NAMES)) + (", ..." if count > MOST_NAMES else "")
    have = "place of the grid has" if count == 1 else "places of the grid have"
    grid = f"{len(present)} tiles in {rows} rows and {columns} columns"
    return [*counted, f"{grid}: {count} {have} no tile ({some}, counted from 0)"]


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


def folders_without_round(images: str, tiles: Iterable[Path]) -> list[Path]:
    """Returns the folders of images that stand where {round} does, and of which no file matches.

    Args:
        images: the pattern of a specimen; nothing is returned where {round} is in no folder, or a placeholder before it.
        tiles: the files that match.
    """
    parts = Path(images).parts
    at = next((place for place, part in enumerate(parts[:-1]) if PLACEHOLDER.search(part)), None)
    if at is None or "{round}" not in parts[at]:
        return []
    used = {path.parts[at] for path in tiles if len(path.parts) > at}
    beside = [path for path in Path(*parts[:at]).glob(patterns.as_glob(parts[at])) if path.name not in used and path.is_dir()]
    shown = [path for path in beside if not path.name.startswith(".")]
    return sorted(path for path in shown if any(file.suffix.lower() in IMAGE_SUFFIXES for file in path.rglob("*")))


def _on_disk(folder: Path) -> Path:
    """Returns the folder as the disk names it, where an accent may be part of its letter or follow it."""
    found = Path(folder.anchor)
    for part in folder.parts[len(found.parts) :]:
        if not (found / part).exists() and not part.isascii() and found.is_dir():
            names = re.compile(patterns.same_text(part))
            part = next((path.name for path in found.iterdir() if names.fullmatch(path.name)), part)
        found /= part
    return found


def _nothing_found(images: str, folder: Path) -> str:
    if not folder.is_dir():
        return f"images is {images}, and there is no folder {folder}: correct images"
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    what = f"the folder holds {listed_names(names)}" if names else "the folder is empty"
    numbers = [*patterns.NUMBERS, *patterns.PLACES]
    digits = [piece for piece in PLACEHOLDER.findall(images) if patterns.name_of(piece) in numbers]
    if names and digits:
        what += f", and {' and '.join(digits)} {'stand' if len(digits) > 1 else 'stands'} for numbers"
    side = next((pair for pair in ("{row}{col}", "{col}{row}") if pair in images), "")
    more = f", or say how many digits the first has, as in {side.replace('}{', ':2}{')}" if names and side else ""
    return f"images is {images}, and nothing in {folder} matches; {what}: correct images{more}"
