"""What the names of files say: numbers for the places of tiles, and which channel, z plane and time point a file holds.

In a pattern `{row}`, `{col}`, `{index}`, `{z}` and `{time}` stand for a number, `{channel}` for letters, digits and hyphens,
and `*` for anything within one name; all else is meant as it is written. A number takes all its digits, a channel as much as
the rest of the pattern leaves to it, `*` as little as can be. Files whose names differ only in `{time}`, `{z}` and
`{channel}` are one tile. Its path has those placeholders left in where they stand for more than one value:

    s3_{channel}_z{z}.tif, channels DAPI and GFP, z 00 and 01  ->  s3_DAPI_z00.tif, s3_GFP_z00.tif, s3_DAPI_z01.tif, ...

This module imports nothing heavy: the Snakefile needs it while it builds the graph.
"""

import glob
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

WILD = re.compile(r"(\{row\}|\{col\}|\{index\}|\{time\}|\{z\}|\{channel\}|\*+)")
STACKED = {"time": "time_names", "z": "z_names", "channel": "channel_names"}  # placeholder: its column in tables.TILES
SEPARATOR = "|"  # of the values in such a column
SHOWN = 3  # file names in a message
Values = Mapping[str, Sequence[str]]  # of the placeholders in STACKED, as they are written, in order


class Tile(NamedTuple):
    """The files of a tile."""

    path: Path  # of its one file, or of all of them, with placeholders
    files: list[Path]  # by time, then z, then channel
    places: dict[str, int]  # the numbers of row and col, or index, in the name


def as_glob(part: str) -> str:
    """The shell pattern of one part of a path; wider than its regular expression."""
    return re.sub(r"\*+", "*", "".join("*" if WILD.fullmatch(piece) else glob.escape(piece) for piece in WILD.split(part)))


def as_regex(images: str) -> re.Pattern[str]:
    """What a whole path must match, with a group for each placeholder and `*`."""
    known: set[str] = set()
    parts = []
    for piece in WILD.split(PurePosixPath(images).as_posix()):
        name = piece.strip("{}")
        if piece.startswith("*"):
            parts.append("([^/]*?)")  # as little as can be, so that a number after it keeps all its digits
        elif not WILD.fullmatch(piece):
            parts.append(re.escape(piece))
        else:
            kind = "[A-Za-z0-9-]+" if name == "channel" else "[0-9]+"
            parts.append(f"((?P={name}))" if name in known else f"(?P<{name}>{kind})")
            known.add(name)
    return re.compile("".join(parts))


def group(paths: Iterable[Path], images: str) -> tuple[list[Tile], dict[str, list[str]], list[str]]:
    """The tiles that the files make up, what the placeholders in STACKED stand for, and which files are missing."""
    exact, pieces = as_regex(images), WILD.split(PurePosixPath(images).as_posix())
    found: dict[str, dict[tuple[str, ...], Path]] = defaultdict(dict)
    places: dict[str, dict[str, int]] = {}
    for path in paths:
        if not (match := exact.fullmatch(path.as_posix())):
            continue
        texts = iter(match.groups())
        written = [(piece, next(texts)) if WILD.fullmatch(piece) else (piece, piece) for piece in pieces]
        template = "".join(piece if piece.strip("{}") in STACKED and piece != text else text for piece, text in written)
        named = match.groupdict()
        found[template][tuple(named.get(name, "") for name in STACKED)] = path
        places[template] = {name: int(text) for name, text in named.items() if name not in STACKED}
    columns = list(zip(*{key for files in found.values() for key in files}, strict=True))
    values = {name: sorted(sorted({*column} - {""}), key=_natural) for name, column in zip(STACKED, columns, strict=True)}
    single = {name: texts[0] for name, texts in values.items() if len(texts) == 1}
    wanted = list(product(*(texts or [""] for texts in values.values())))
    problems = _spelt_twice(values) or _missing(found, wanted)
    tiles = [
        Tile(Path(filled(path, single)), [files[key] for key in wanted if key in files], places[path])
        for path, files in found.items()
    ]
    return tiles, values, problems


def filled(path: str, texts: Mapping[str, str]) -> str:
    """The path with these texts for the placeholders."""
    for name, text in texts.items():
        path = path.replace("{" + name + "}", text)
    return path


def values_of(tile: Mapping[Any, Any]) -> dict[str, list[str]]:
    """What the placeholders stand for, from a row of tables.TILES."""
    return {name: tile[key].split(SEPARATOR) for name, key in STACKED.items() if isinstance(tile[key], str) and tile[key]}


def files(path: str, values: Values) -> list[str]:
    """The files of a tile with this path: by time, then z, then channel."""
    spread = [name for name in STACKED if "{" + name + "}" in path and name in values]
    return [filled(path, dict(zip(spread, texts, strict=True))) for texts in product(*(values[name] for name in spread))]


def names_of(tile: Mapping[Any, Any]) -> set[str]:
    """The file names that mean a tile, a row of tables.TILES: those of its files, and that of its path."""
    return {Path(path).name for path in (tile["path"], *files(tile["path"], values_of(tile)))}


def listed_names(items: Sequence[Path] | Sequence[str]) -> str:
    """The first few of the names, and how many more there are."""
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(map(str, items[:SHOWN])) + more


def _natural(text: str) -> list[tuple[int, str]]:
    """A key that sorts 2 before 10, and w2 before w10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", text) if part]


def _spelt_twice(values: Values) -> list[str]:
    return [
        f"{{{name}}} is written as {first} and as {second}: rename the files, or narrow images"
        for name in ("time", "z")
        for first, second in zip(values[name], values[name][1:], strict=False)
        if int(first) == int(second)
    ]


def _missing(found: Mapping[str, Mapping[tuple[str, ...], Path]], wanted: list[tuple[str, ...]]) -> list[str]:
    """A line for each channel, z plane and time point that some tiles have and others lack, with the fewer of both."""
    problems = []
    for key in wanted:
        texts = dict(zip(STACKED, key, strict=True))
        there = [files[key] for files in found.values() if key in files]
        lacking = [filled(path, texts) for path, files in found.items() if key not in files]
        if lacking and (not there or len(lacking) <= len(there)):
            what = "missing, and each tile needs a file for each channel, z plane and time"
            problems.append(f"{listed_names(lacking)}: {what}: copy it from the microscope, or narrow images")
        elif lacking and there:
            what = ", ".join(f"{name} {text}" for name, text in texts.items() if text)
            problems.append(f"{listed_names(there)}: most tiles have no file with {what}: take it away, or narrow images")
    return problems
