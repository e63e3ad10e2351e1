"""Where the tiles lie: from their file names, or from a table of positions, to places in the grid.

What `images` means is said in `naming.py`. Numbers count from the smallest that is found, and gaps are missing tiles. This
module imports nothing heavy: the Snakefile asks it for the files while it builds the graph.
"""

import csv
import math
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

from dlir.reading.filenames import WILD, Tile, as_glob, as_regex, listed_names
from dlir.reading.settings import Dataset

FIJI = re.compile(r"(?P<path>[^;]+);[^;]*;\s*\(\s*(?P<x>[^,\s]+)\s*,\s*(?P<y>[^,\s]+)\s*\)")
Place = tuple[float, float]


class TileError(ValueError):
    """The tiles of a dataset cannot be used; the message has a line for each file at fault, with the remedy."""


def find(settings: Dataset) -> list[Path]:
    """The files that `settings.images` means, sorted by name.

    Raises:
        TileError: when there is none; it says where they were looked for and what is there.
    """
    pattern, start = PurePosixPath(settings.images), folder(settings)
    rough = "/".join(as_glob(part) for part in pattern.parts[len(start.parts) :])
    paths = meant(start.glob(rough), settings)
    if not paths:
        raise TileError(_nothing_found(settings.images, start))
    return paths


def folder(settings: Dataset) -> Path:
    """The deepest folder below which all files lie that `settings.images` means."""
    parts = PurePosixPath(settings.images).parts
    return Path(*parts[: next((i for i, part in enumerate(parts) if WILD.search(part)), len(parts) - 1)])


def meant(paths: Iterable[Path], settings: Dataset) -> list[Path]:
    """Those of the paths that `settings.images` means, sorted by name."""
    exact = as_regex(settings.images)
    hidden = PurePosixPath(settings.images).name.startswith(".")  # else files such as ._tile.tif of macOS would be tiles
    return sorted(path for path in paths if (hidden or not path.name.startswith(".")) and exact.fullmatch(path.as_posix()))


def grid(tiles: list[Tile], settings: Dataset) -> tuple[dict[Path, tuple[int, int]], list[str]]:
    """The (row, col) of each tile from the numbers in its name, (0, 0) at the top left, and what is wrong with them."""
    numbers = [tile.places for tile in tiles]
    first = {key: min(number[key] for number in numbers) for key in numbers[0]}
    counts = [{key: number[key] - first[key] for key in first} for number in numbers]
    steps = [_unroll(c["index"], settings) if "index" in c else (c["row"], c["col"]) for c in counts]
    rows = settings.rows or max(row for row, _ in steps) + 1
    columns = settings.columns or max(col for _, col in steps) + 1
    places, problems = {}, []
    for (path, *_), (row, col) in zip(tiles, steps, strict=True):
        if row >= rows or col >= columns:
            size = f"{rows} rows x {columns} columns"
            problems.append(f"{path}: lies outside the grid of {size}: correct rows and columns, or images")
        row = rows - 1 - row if settings.start.startswith("bottom") else row
        col = columns - 1 - col if settings.start.endswith("right") else col
        places[path] = (row, col)
    shared = defaultdict(list)
    for path, place in places.items():
        shared[place].append(path)
    for (row, col), same in shared.items():
        if len(same) > 1:
            what = f"lie at one place, row {row}, column {col} counted from 0"
            problems.append(f"{listed_names(same)} {what}: narrow images, or move the extra file away")
    return places, problems


def positions(table: Path, tiles: list[Tile]) -> tuple[dict[Path, Place], list[str]]:
    """The (y, x) in px of each tile that `table` lists, and what is wrong with it; a tile is meant by any of its files' names.

    Args:
        table: a Fiji TileConfiguration.txt, or a CSV file (.csv) with the columns path, y and x.

    Raises:
        TileError: when the table cannot be read.
    """
    try:
        lines = table.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise TileError(f"{table}: cannot be read ({error.strerror}): correct positions") from None
    rows, problems = _csv(table, lines) if table.suffix.lower() == ".csv" else _fiji(table, lines)
    named = defaultdict(set)
    for tile in tiles:
        for path in (tile.path, *tile.files):
            named[path.name].add(tile.path)
    places: dict[Path, Place] = {}
    seen = set()
    for line, name, place in rows:
        own = PureWindowsPath(name).name  # takes both kinds of slashes
        found = sorted(named[own])
        if not found:
            problems.append(f"{table}, line {line}: {name} is not among the files of images: add it, or drop the line")
        elif len(found) > 1:
            problems.append(f"{listed_names(found)} have one name, by which {table} is matched: narrow images")
        elif name in seen or places.get(found[0], place) != place:  # other files of a tile may repeat its place
            problems.append(f"{table}, line {line}: {name} is listed twice: drop one of the lines")
        else:
            places[found[0]] = place
        seen.add(name)
    if not rows and not problems:
        problems.append(f"{table}: lists no tile: correct positions")
    return places, problems


def _unroll(count: int, settings: Dataset) -> tuple[int, int]:
    """The (row, col), from the start corner, of the tile that the stage took after `count` others."""
    length = settings.columns if settings.order == "rows" else settings.rows
    assert length, "settings check that the length of a line is given"
    line, step = divmod(count, length)
    if settings.snake and line % 2:
        step = length - 1 - step
    return (line, step) if settings.order == "rows" else (step, line)


def _nothing_found(images: str, folder: Path) -> str:
    if not folder.is_dir():
        return f"no tile found: images is {images}, and there is no folder {folder}: correct images"
    there = sorted(path.name for path in folder.iterdir())
    what = f"it holds {listed_names(there)}" if there else "it is empty"
    return f"no tile found: images is {images}, and nothing in {folder} matches; {what}: correct images"


Listed = tuple[list[tuple[int, str, Place]], list[str]]  # line, name and place of each tile, and problems


def _fiji(table: Path, lines: list[str]) -> Listed:
    listed, problems = [], []
    for number, line in enumerate(map(str.strip, lines), 1):
        dim = re.fullmatch(r"dim\s*=\s*([0-9]+)", line)
        if not line or line.startswith("#") or (dim and dim[1] == "2"):
            continue
        match = FIJI.fullmatch(line)
        place = _place(match["y"], match["x"]) if match else None
        if match and place:
            listed.append((number, match["path"].strip(), place))
        else:
            problems.append(f"{table}, line {number}: {line!r} is not of the form 'name; ; (x, y)' with dim = 2: correct it")
    return listed, problems


def _csv(table: Path, lines: list[str]) -> Listed:
    rows = csv.DictReader(lines, skipinitialspace=True)
    missing = {"path", "y", "x"}.difference(rows.fieldnames or [])
    if missing:
        return [], [f"{table}: lacks the column {', '.join(sorted(missing))}; it needs path, y and x: add it"]
    listed, problems = [], []
    for row in rows:
        place = _place(row["y"], row["x"])
        if row["path"] and place:
            listed.append((rows.line_num, row["path"], place))
        else:
            problems.append(f"{table}, line {rows.line_num}: needs a path and two numbers, y and x: correct it")
    return listed, problems


def _place(y: str | None, x: str | None) -> Place | None:
    try:
        place = float(y or ""), float(x or "")
    except ValueError:
        return None
    return place if all(map(math.isfinite, place)) else None
