"""Groups the files of each tile by their names: where a tile lies, and the channel, z plane and time point of each file.

`patterns.py` says what the pattern `images` means. Files whose names differ only in `{time}`, `{z}` and `{channel}` are one
tile. Where such a placeholder has more than one value, it stays in the path of the tile:

    s3_{channel}_z{z}.tif, channels DAPI and GFP, z 00 and 01  ->  s3_DAPI_z00.tif, s3_GFP_z00.tif, s3_DAPI_z01.tif, ...

This module imports nothing heavy, since the Snakefile needs it when it builds the graph of jobs.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from dlir.reading import patterns, zarr_store
from dlir.reading.patterns import SEPARATOR

STACKED = {"time": "time_names", "z": "z_names", "channel": "channel_names"}  # placeholder: its column in tables.TILES
LAYOUT = ("row", "col", "index", "x", "y")  # placeholders that say where a tile lies
WILDCARD = re.compile(r"\{.*\}|<.*>", re.DOTALL)  # what Snakemake takes for a placeholder of its own
IMAGE = re.compile(r"(?P<file>.*)#(?P<number>[0-9]+)", re.DOTALL)  # the path of a tile that is one of many images in a file
MOST_NAMES = 3  # file names in a message
Values = Mapping[str, Sequence[str]]  # the values of each placeholder in STACKED, as the names write them, in order


class Tile(NamedTuple):
    """The files of a tile.

    A tile may be one of many images in a file. Then its path ends with # and the number of the image: scan.czi#3.
    """

    path: Path  # of its one file; with placeholders where it has several files
    files: list[Path]  # in the order of time, then z, then channel
    numbers: Mapping[str, int | float]  # row and col, or index, or x and y, in the name
    camera: str = ""  # the name of its camera, where the names of the files tell it

    @property
    def parts(self) -> list[Path]:
        """What is read of the tile: its files, or its own path where it is one of many images in a file."""
        return self.files if image_of(str(self.path)) is None else [self.path]


def group(paths: Iterable[Path], images: str) -> tuple[list[Tile], dict[str, list[str]], list[str]]:
    """Groups the files of each tile.

    Returns:
        The tiles; the values of each placeholder in STACKED; and a message for each problem, such as a missing file.
    """
    names = [patterns.name_of(piece) if patterns.PLACEHOLDER.fullmatch(piece) else "" for piece in patterns.pieces_of(images)]
    stacked = [name if name in STACKED else "" for name in names]
    found: dict[str, dict[tuple[str, ...], Path]] = defaultdict(dict)  # path with placeholders: their values: file
    numbers: dict[str, dict[str, int | float]] = {}
    cameras: dict[str, str] = {}
    for path, matched in patterns.matches(paths, images).items():
        written = zip(stacked, matched.groups(), strict=True)
        template = "".join("{" + name + "}" if name else text for name, text in written)
        named = matched.groupdict()
        found[template][tuple(named.get(name, "") for name in STACKED)] = path
        numbers[template] = {name: patterns.number(name, text) for name, text in named.items() if name in LAYOUT}
        cameras[template] = named.get("camera", "")
    columns = list(zip(*{key for files in found.values() for key in files}, strict=True))
    values = {name: sorted(sorted({*column} - {""}), key=by_number) for name, column in zip(STACKED, columns, strict=True)}
    single = {name: texts[0] for name, texts in values.items() if len(texts) == 1}
    wanted = list(product(*(texts or [""] for texts in values.values())))
    problems = _written_in_two_ways(values) or _incomplete_tiles(found, wanted)
    tiles = [
        Tile(Path(filled(path, single)), [files[key] for key in wanted if key in files], numbers[path], cameras[path])
        for path, files in found.items()
    ]
    return tiles, values, problems


def unusable(paths: Iterable[Path]) -> list[str]:
    """Returns a message for each path that the workflow cannot take: by its name, or because it is no file that can be read."""
    problems = []
    for path in paths:
        text = str(path)
        shown = os.fsencode(path).decode(errors="replace")
        if WILDCARD.search(text):
            problems.append(f"{shown}: the name or its folder has brackets of the kind {{}} or <>: rename it")
        elif IMAGE.fullmatch(text):
            problems.append(f"{shown}: the name ends with # and a number, which means an image in a file: rename it")
        elif "\r" in text or "\n" in text:
            problems.append(f"{text!r}: the name or its folder has a line break: rename it")
        elif shown != text:
            problems.append(f"{shown}: the name or its folder has letters in an old encoding, shown here as \ufffd: rename it")
        elif why := no_file(path):
            problems.append(f"{path}: {why}")
        elif not os.access(path, os.R_OK):
            problems.append(f"{path}: cannot be read (Permission denied): check the path and its permissions")
    return problems


def no_file(path: Path) -> str:
    """Returns what the path is in place of a file, with the remedy; nothing where it is a file, a Zarr store or nothing."""
    if not path.exists():
        return f"is a link to {path.readlink()}, which does not exist: copy the file itself" if path.is_symlink() else ""
    if path.is_file() or zarr_store.is_store(path):
        return ""
    what = "a folder" if path.is_dir() else "a pipe or a device"
    return f"is {what} and not a file: move it away, or make images match fewer files"


def filled(path: str, texts: Mapping[str, str]) -> str:
    """Returns the path with these texts in the place of the placeholders."""
    for name, text in texts.items():
        path = path.replace("{" + name + "}", text)
    return path


def values_of(tile: Mapping[Any, Any]) -> dict[str, list[str]]:
    """Returns the values of the placeholders from `tile`, a row of tables.TILES."""
    return {name: tile[key].split(SEPARATOR) for name, key in STACKED.items() if isinstance(tile[key], str) and tile[key]}


def file_of(path: str) -> str:
    """Returns the path of a tile without the number of its image in a file."""
    found = IMAGE.fullmatch(path)
    return found["file"] if found else path


def image_of(path: str) -> int | None:
    """Returns the number of the image in its file that the path of a tile names; None where the file holds one."""
    found = IMAGE.fullmatch(path)
    return int(found["number"]) if found else None


def files(path: str, values: Values) -> list[str]:
    """Returns the files of the tile with this path, in the order of time, then z, then channel."""
    path = file_of(path)
    varying = [name for name in STACKED if "{" + name + "}" in path and name in values]
    return [filled(path, dict(zip(varying, texts, strict=True))) for texts in product(*(values[name] for name in varying))]


def paths_of(tile: Mapping[Any, Any]) -> list[str]:
    """Returns the paths by which a table may name `tile`, a row of tables.TILES: its own, and those of its files."""
    return [tile["path"], *files(tile["path"], values_of(tile))]


def listed_names(items: Sequence[Path] | Sequence[str]) -> str:
    """Returns the first MOST_NAMES of the names, and how many more there are, for a message."""
    more = f" and {len(items) - MOST_NAMES} more" if len(items) > MOST_NAMES else ""
    return ", ".join(map(str, items[:MOST_NAMES])) + more


def by_number(text: str) -> list[tuple[int, str]]:
    """Returns a key that sorts 2 before 10, and w2 before w10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", text) if part]


def _written_in_two_ways(values: Values) -> list[str]:
    """Returns a message for each number that the names write in two ways, such as 1 and 01."""
    return [
        f"{{{name}}} is written as {first} and as {second}: rename the files, or make images match fewer files"
        for name in ("time", "z")
        for first, second in zip(values[name], values[name][1:], strict=False)
        if int(first) == int(second)
    ]


def _incomplete_tiles(found: Mapping[str, Mapping[tuple[str, ...], Path]], wanted: list[tuple[str, ...]]) -> list[str]:
    """Returns a message for each channel, z plane and time point that some tiles have and others lack.

    It names the tiles that are fewer: those whose file is missing, or those that have a file too many.
    """
    problems = []
    for key in wanted:
        texts = dict(zip(STACKED, key, strict=True))
        present = [files[key] for files in found.values() if key in files]
        missing = [filled(path, texts) for path, files in found.items() if key not in files]
        if missing and (not present or len(missing) <= len(present)):
            what = "missing; each tile needs a file for each channel, z plane and time point"
            problems.append(f"{listed_names(missing)}: {what}: copy it from the microscope, or make images match fewer files")
        elif missing and present:
            what = ", ".join(f"{name} {text}" for name, text in texts.items() if text)
            remedy = "move it away, or make images match fewer files"
            problems.append(f"{listed_names(present)}: most tiles have no file with {what}: {remedy}")
    return problems
