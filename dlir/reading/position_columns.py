"""What the columns of a table of positions mean, by their headers.

A header is read as words: "Stage X [µm]", "stage_x_um" and "StageXUm" are stage, x, um. A column means x where its words are x,
perhaps a unit, and words such as stage or position; with any other word, such as error or size, it means something else.

This module imports nothing heavy, since the Snakefile reads tables before any job starts.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

# The words for each unit: the name of the unit that the places then have, and what a number is multiplied by
UNITS = {
    ("px", "pixel", "pixels", "pix"): ("px", 1.0),
    ("um", "\u03bcm", "micron", "microns", "micrometer", "micrometers", "micrometre", "micrometres"): ("um", 1.0),
    ("mm", "millimeter", "millimeters", "millimetre", "millimetres"): ("um", 1000.0),
    ("nm", "nanometer", "nanometers", "nanometre", "nanometres"): ("um", 0.001),
}
OF_WORD = {word: unit for words, unit in UNITS.items() for word in words}
FILLING = {"pos", "position", "positions", "stage", "coordinate", "coordinates", "coord", "location", "tile", "nominal", "in"}
GLUED = re.compile(rf"({'|'.join(sorted(FILLING))})?([xyz])({'|'.join(sorted(FILLING))})?")  # posx, xposition
# The columns that may name a tile: first those that surely mean a file
NAMES = (
    "path", "file path", "filepath", "filename", "file name", "file", "image path", "image name", "imagename", "image file",
    "tile path", "tile name", "tilename", "tile file", "name", "image", "tile", "label",
)  # fmt: skip
ROWS, COLUMNS = (
    ("row", "r", "grid row", "tile row"),
    ("col", "column", "c", "grid col", "grid column", "tile col", "tile column"),
)


class Column(NamedTuple):
    """A column whose meaning is known."""

    number: int  # of the column, from 0
    header: str
    kind: str  # name, x, y, z, row, col or unit
    words: str = ""  # of x, y and z: the words beside the axis and the unit, by which x finds its y
    unit: str = ""  # px or um; empty where the header does not say
    factor: float = 1.0  # by which its numbers are multiplied to be in that unit


def columns(headers: Sequence[str]) -> list[Column]:
    """Returns the columns whose meaning is known."""
    return [found for index, header in enumerate(headers) if (found := _column(index, header.strip()))]


def unit(cell: str) -> tuple[str, float] | None:
    """Returns the unit that a cell names, px or um, and its factor, as in [mm]; None where it names none."""
    words = _words(cell)
    return OF_WORD.get(words[0]) if len(words) == 1 else None


def _column(index: int, header: str) -> Column | None:
    words = _words(header)
    text = " ".join(words)
    if text in NAMES:
        return Column(index, header, "name", text)
    if text in ROWS or text in COLUMNS:
        return Column(index, header, "row" if text in ROWS else "col")
    if text in ("unit", "units"):
        return Column(index, header, "unit")
    units = [OF_WORD[word] for word in words if word in OF_WORD]
    rest = [part for word in words if word not in OF_WORD for part in _parts(word)]
    axes = [word for word in rest if word in ("x", "y", "z")]
    if len(axes) != 1 or len(units) > 1 or not {*rest} - {*axes} <= FILLING:
        return None
    beside = " ".join(word for word in rest if word not in axes)
    return Column(index, header, axes[0], beside, *(units[0] if units else ("", 1.0)))


def _words(header: str) -> list[str]:
    """Returns the words of a header in small letters; the micro sign and the letter mu are one."""
    text = unicodedata.normalize("NFKC", header)
    text = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", text)
    return re.findall(r"[^\W\d_]+", text.lower())


def _parts(word: str) -> list[str]:
    """Returns the parts of a word such as posx; the word itself where it is none."""
    found = GLUED.fullmatch(word)
    return [part for part in found.groups() if part] if found else [word]
