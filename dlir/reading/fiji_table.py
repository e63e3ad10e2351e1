"""Reads the TileConfiguration.txt of Fiji's stitching plugin: a line `name; ; (x, y)` for each tile.

With `dim = 3` a place has a z, which must be the same for all tiles. With `multiseries = true` the second field is the number,
from 0, of an image in the file.

This module imports nothing heavy, since the Snakefile reads the table before any job starts.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dlir.core import text_tables
from dlir.reading.listed_places import Listed, ListedPlace

LINE = re.compile(r"""(?P<quote>["']?)(?P<name>[^;]+?)(?P=quote)\s*;(?P<series>[^;]*);\s*\((?P<place>[^()]*)\)\s*;?""")
KEY = re.compile(r"(?P<key>dim|multiseries)\s*=\s*(?P<value>\w+)", re.IGNORECASE)


class Line(NamedTuple):
    """A line on one tile."""

    number: int  # from 1
    name: str
    series: str  # the second field
    place: tuple[float, ...]  # (x, y) or (x, y, z)


def is_fiji(texts: Sequence[str]) -> bool:
    """Whether a table has the form of Fiji's, as far as one of its lines shows it."""
    return any(KEY.fullmatch(text.strip()) or LINE.fullmatch(text.strip()) for text in texts)


def read(table: Path, texts: Sequence[str]) -> Listed:
    """Returns what the lines of a table say; the unit is px, as Fiji has it."""
    dimensions, multiseries, problems = 2, False, []
    lines: list[Line] = []
    for number, text in enumerate(map(str.strip, texts), 1):
        key = KEY.fullmatch(text)
        if not text or text.startswith("#"):
            continue
        if key and key["key"].lower() == "dim" and key["value"] in ("2", "3"):
            dimensions = int(key["value"])
        elif key and key["key"].lower() == "multiseries" and key["value"].lower() in ("true", "false"):
            multiseries = key["value"].lower() == "true"
        elif line := _line(number, text, dimensions):
            lines.append(line)
        else:
            problems.append(f"{table}, line {number}: {_wrong(text, dimensions)}")
    if len({line.place[2:] for line in lines}) > 1:
        problems.append(f"{table}: the tiles lie at several z, and dlir stitches one plane: list the tiles of one z only")
    rows, wrong = _rows(table, lines, multiseries)
    return Listed(rows, problems + wrong, "px", [f"{table}: read as a table of Fiji"])


def _line(number: int, text: str, dimensions: int) -> Line | None:
    found = LINE.fullmatch(text)
    place = [text_tables.number(part) for part in found["place"].split(",")] if found else []
    numbers = tuple(part for part in place if part is not None)
    if not found or len(numbers) != len(place) or len(numbers) != dimensions:
        return None
    return Line(number, found["name"].strip(), found["series"].strip(), numbers)


def _wrong(text: str, dimensions: int) -> str:
    """Returns what is wrong with a line, and the remedy."""
    form = "'name; ; (x, y)'" if dimensions == 2 else "'name; ; (x, y, z)'"
    what = f"{text[:200]!r} is not of the form {form} with dim = {dimensions}: correct it"
    found = LINE.fullmatch(text)
    commas = found["place"].count(",") if found else 0
    whole = found and all(part.strip(" +-").isdecimal() for part in found["place"].split(","))
    return f"{what}, and write decimals with a point" if whole and commas >= 2 * dimensions - 1 else what


def _rows(table: Path, lines: list[Line], multiseries: bool) -> tuple[list[ListedPlace], list[str]]:
    """Returns the tiles of the lines, and a message for each number of an image that is wrong."""
    names = [line.name for line in lines]
    numbered = multiseries or any(names.count(line.name) > 1 for line in lines if line.series)
    rows, problems = [], []
    for line in lines:
        where, name = f"line {line.number}", line.name
        if line.series and not (line.series.isascii() and line.series.isdecimal()):
            what = f"{line.series!r} between the semicolons is no number of an image in the file: correct it, or leave it empty"
            problems.append(f"{table}, {where}: {what}")
        elif numbered and line.series:
            name = f"{name}#{int(line.series)}"
        elif line.series.strip("0"):
            what = f"has the number {line.series} between the semicolons, and the table has no line multiseries = true"
            problems.append(f"{table}, {where}: {what}: add it if the numbers mean images in a file, else leave them out")
        rows.append(ListedPlace(where, name, (line.place[1], line.place[0])))
    return rows, problems
