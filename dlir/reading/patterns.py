"""The pattern of file names, `images`: which files it means, and what the names say.

| placeholder | stands for |
|---|---|
| {row}, {col} | a whole number, which may be negative, or one or two letters: A is 1, Z is 26, AA is 27 |
| {index}, {z}, {time} | a whole number |
| {x}, {y} | a place, a number that may be negative and have decimals |
| {channel}, {camera}, {dataset}, {round} | letters, digits and hyphens |
| {well} | letters and a number, such as B02, or r02c01 |
| * | any characters within one name |
| ** | any number of folders |

The rest is as it is, but for the case of the ending (.tif, .TIF). A number takes all its digits, or so many as the placeholder
says ({row:3}); `*` takes as few characters as possible, and a channel what the rest of the pattern leaves. Where a name matches
in no other way, a channel, a camera, a dataset or a round may have any characters. Rows and columns are letters only where no
file of the dataset has numbers in their place.

This module imports nothing heavy, since the Snakefile needs it when it builds the graph of jobs.
"""

import glob
import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise, product
from pathlib import Path, PurePosixPath

NUMBERS, PLACES, NAMES = ("row", "col", "index", "time", "z"), ("x", "y"), ("channel", "camera", "dataset", "round")
PLACEHOLDER = re.compile(rf"(\{{(?:{'|'.join(NUMBERS)})(?::[1-9]\d?)?\}}|\{{(?:{'|'.join((*PLACES, *NAMES, 'well'))})\}}|\*+)")
SEPARATOR = "|"  # between the values of a placeholder in a table
PLAIN_NAME, ANY_NAME = "[A-Za-z0-9-]+", rf"[^/{re.escape(SEPARATOR)}]+"
LETTERS, PLACE = "[A-Za-z]{1,2}", r"[0-9]+(?:[.,][0-9]+)?"
WELL = "r[0-9]{2}c[0-9]{2}|[A-Za-z]{1,2}[0-9]{1,2}"
SIGNED = ("row", "col", *PLACES)


def name_of(piece: str) -> str:
    """Returns the name of a placeholder, such as row for {row:3}; other pieces of a pattern as they are."""
    return piece.strip("{}").split(":")[0] if PLACEHOLDER.fullmatch(piece) else piece


def pieces_of(images: str) -> list[str]:
    """Returns the placeholders of a pattern, and the texts before, between and after them."""
    return PLACEHOLDER.split(PurePosixPath(images).as_posix())


def placeholders(images: str) -> set[str]:
    """Returns the names of the placeholders in a pattern."""
    return {name_of(piece) for piece in PLACEHOLDER.findall(images)}


def unknown(images: str) -> str:
    """Returns what looks like a placeholder and is none, such as {co}, or {row without its end; empty where there is none."""
    known = "|".join((*NUMBERS, *PLACES, *NAMES, "well"))
    found = re.search(rf"\{{[^{{}}/]*\}}|\{{(?:{known})", PLACEHOLDER.sub("", images))
    return found[0] if found else ""


def run_together(images: str) -> str:
    """Returns two placeholders side by side of which nothing says where the first ends; empty where there are none.

    Letters end where a number begins, so {row}{col} is clear for A01.
    """
    found = list(PLACEHOLDER.finditer(images))
    for first, second in pairwise(found):
        names = name_of(first[0]), name_of(second[0])
        clear = ":" in first[0] or ({*names} == {"row", "col"} and ":" not in second[0]) or names[0] == "well"
        if first.end() == second.start() and not clear and "*" not in first[0] + second[0]:
            return first[0] + second[0]
    return ""


def as_glob(part: str) -> str:
    """Returns one part of the path `images` as a shell pattern; it may match more than the regular expression does."""
    if part == "**":
        return part
    pieces = PLACEHOLDER.split(unicodedata.normalize("NFC", part))
    literal = [re.sub(r"[^\x00-\x7f]+", "*", glob.escape(piece)) for piece in pieces]  # an accent may be a letter of its own
    literal[-1] = re.sub(r"[A-Za-z]", lambda letter: f"[{letter[0].lower()}{letter[0].upper()}]", literal[-1])
    return re.sub(
        r"\*+", "*", "".join("*" if PLACEHOLDER.fullmatch(piece) else text for piece, text in zip(pieces, literal, strict=True))
    )


def matches(paths: Iterable[Path], images: str) -> dict[Path, re.Match[str]]:
    """Matches whole paths with the pattern. A match has a group for each of `pieces_of(images)`.

    Returns:
        The matches of those paths that match, in the order of the paths.
    """
    listed = list(paths)
    for letters in _ways_of_letters(images):
        found = {path: one for path in listed if (one := _match(path, images, letters))}
        if found:
            return found
    return {}


def match(path: Path, images: str) -> re.Match[str] | None:
    """Matches one path; see `matches`."""
    return matches([path], images).get(path)


def number(name: str, text: str) -> int | float:
    """Returns the number that the text of a placeholder of this name means."""
    if name in PLACES:
        return float(text.replace(",", "."))
    if text[-1].isdigit():
        return int(text)
    value = 0
    for letter in text.upper():
        value = 26 * value + ord(letter) - ord("A") + 1
    return value


def same_text(text: str) -> str:
    """Returns a regular expression for the text: an accent may be part of its letter, or, as in macOS, follow it."""
    forms = {text, unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)}
    return "|".join(map(re.escape, sorted(forms)))


def _ways_of_letters(images: str) -> list[frozenset[str]]:
    """Returns the sets of placeholders that are letters, in the order in which they are tried."""
    lines = [name for name in ("row", "col") if name in {name_of(piece) for piece in pieces_of(images) if ":" not in piece}]
    ways = [frozenset(name for name, letters in zip(lines, chosen, strict=True) if letters)
            for chosen in product((False, True), repeat=len(lines))]  # fmt: skip
    together = re.search(r"\{(row|col)\}\{(row|col)\}", images)
    return [way for way in ways if len(way) == 1] if together else sorted(ways, key=len)


def _match(path: Path, images: str, letters: frozenset[str]) -> re.Match[str] | None:
    text = path.as_posix()
    return _as_regex(images, PLAIN_NAME, letters).fullmatch(text) or _as_regex(images, ANY_NAME, letters).fullmatch(text)


@lru_cache
def _as_regex(images: str, names: str, letters: frozenset[str]) -> re.Pattern[str]:
    known: set[str] = set()
    parts, before, folders = [], "", False
    pieces = pieces_of(images)
    for at, piece in enumerate(pieces):
        name = name_of(piece)
        if piece == "**":
            parts.append("((?:[^/]+/)*)")
        elif piece.startswith("*"):
            parts.append("([^/]*?)")  # as few characters as possible, so that a number after it keeps all its digits
        elif not PLACEHOLDER.fullmatch(piece):
            text = piece.removeprefix("/") if folders else piece
            parts.append(f"({same_text(text)})" if at < len(pieces) - 1 else f"({_with_any_ending(text)})")
        elif name in known:
            parts.append(f"((?P={name}))")
        else:
            sign = "[+-]?" if name in SIGNED and not before.startswith("*") else ""  # after any text, - is part of it
            parts.append(f"(?P<{name}>{_stands_for(piece, names, name in letters, sign)})")
            known.add(name)
        folders = piece == "**"
        before = piece or before
    return re.compile("".join(parts))


def _stands_for(piece: str, names: str, letters: bool, sign: str) -> str:
    """Returns the regular expression of a placeholder."""
    name = name_of(piece)
    if name in PLACES:
        return sign + PLACE
    if name in NUMBERS:
        width = piece.strip("{}").partition(":")[2]
        return LETTERS if letters else f"{sign}[0-9]{f'{{{width}}}' if width else '+'}"
    return WELL if name == "well" else names


def _with_any_ending(text: str) -> str:
    """Returns a regular expression for the last text of a pattern, in which the letters after the last point have any case."""
    stem, point, ending = text.rpartition(".")
    return f"(?:{same_text(stem)})\\.(?i:{same_text(ending)})" if point else same_text(text)
