"""Guesses the pattern `images` from the names of files: which numbers and words in them differ, and what these stand for.

Paths are cut at _ and / into fields. Files that have the same fields but for numbers and single words belong together.
For each part that differs, all meanings are tried that it can have (`MEANINGS`), and all together must make a layout: each tile
has one place, and a file for each of its channels, z planes and time points. Of the ways that do, the one is taken that agrees
best with the letters before the numbers (`HINTS`) and leaves the fewest places empty; where another one is as good, that is
said.

    s1_DAPI.tif, s1_GFP.tif, s2_DAPI.tif, ...  ->  s{index}_{channel}.tif
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise, product
from pathlib import PurePosixPath
from typing import NamedTuple

from dlir.reading import patterns

FIELD = re.compile(r"([_/])")
GUID, HASH = "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.compile("[0-9a-f]{7,}|[0-9A-F]{7,}")
NUMBER = re.compile(  # also a number before a GUID, a GUID, and a well before its field
    rf"([0-9]+?(?={GUID})|{GUID}|r[0-9]{{2}}c[0-9]{{2}}(?=f[0-9])|[+-]?[0-9]+(?:\.[0-9]+)?)"
)
WELL, LETTER = re.compile(patterns.WELL), re.compile(r"[A-Za-z]")
SPECIMENS = ("plate", "slide", "section", "sample", "specimen", "mouse", "animal", "region")
SPECIMEN = re.compile(rf"(?:{'|'.join(SPECIMENS)})[ -]?[a-z0-9]{{1,2}}")
HINTS: dict[str, tuple[str, ...]] = {  # the letters before a number: what it may stand for
    **dict.fromkeys(["r", "row", "rows"], ("row",)),
    **dict.fromkeys(["col", "column", "columns"], ("col",)),
    "c": ("col", "channel"), "x": ("col", "x"), "y": ("row", "y"), "w": ("channel", "well"), "t": ("time", "index", "row"),
    **dict.fromkeys(["z", "slice", "sl", "plane", "zplane", "zslice"], ("z",)),
    **dict.fromkeys(["time", "tp", "timepoint", "frame"], ("time",)),
    **dict.fromkeys(["ch", "chan", "channel", "wave", "wavelength", "wv"], ("channel",)),
    **dict.fromkeys(["p", "position", "s", "site", "m", "f", "fov", "field", "scene", "series", "i"], ("index",)),
    **dict.fromkeys(["tile", "img", "image", "scan"], ("index", "row")), "pos": ("index", "col"),
    **dict.fromkeys(["day", "week", "round", "cycle", *SPECIMENS], ("dataset",)),
}  # fmt: skip
DYES = re.compile(
    r"dapi|hoechst|[grybm]fp|fitc|tritc|cy\d|rhod|txred|texas|cherry|alexa|af\d|phase|dic|^bf|bright|488|561|640|red|green|blue|^ch"
)
MEANINGS = {  # of each kind of part
    "number": ("row", "col", "index", "x", "y", "z", "time", "channel", "*", "row+col"),
    "number apart": ("row", "col", "index", "z", "time", "channel", "dataset", "*"),
    "letter": ("row", "col", "channel"),
    "well": ("well", "row+col"),
    "word": ("channel",),
    "word in a folder": ("channel", "dataset"),
    "first word": ("channel", "dataset"),
    "code": ("*",),
}
LAYOUTS: tuple[frozenset[str], ...] = (
    frozenset({"row", "col"}), frozenset({"x", "y"}), frozenset({"index"}), frozenset({"row+col"})
)  # fmt: skip
STACK, APART = ("time", "z", "channel"), ("dataset", "well")
USUAL = {
    "row": 0.2,
    "col": 0.2,
    "index": 0.1,
    "well": 1.0,
    "row+col": 0.5,
    "dataset": 0.6,
}  # how usual a meaning is; others: -0.5
USUAL_OF_WORDS = {
    "word": {"channel": 0.0},
    "first word": {"channel": 0.1, "dataset": 0.0},
    "word in a folder": {"channel": 0.0, "dataset": 0.6},
}
MOST_WORDS = 16  # that one field has in the names of a dataset, as the names of channels
MOST_PARTS = 5  # that differ
FULL = 0.8  # of a grid, from which on it is nearly full
CLOSE = 0.5  # ways of which one is better by less are equally good


class Part(NamedTuple):
    """A number, or a word, that differs between the names."""

    at: tuple[int, int]  # the field, and the number in it; -1 for the whole field
    texts: tuple[str, ...]  # of each file
    kind: str  # a key of MEANINGS
    hints: tuple[str, ...]  # what the letters before it say that it is

    @property
    def values(self) -> set[str]:
        return {*self.texts}


class NamePattern(NamedTuple):
    """What the names of some files have in common."""

    images: str  # the pattern, relative to the folder
    files: tuple[str, ...]
    counts: Mapping[str, int]  # how many values each placeholder has
    others: "tuple[NamePattern, ...]"  # that would do as well, or that the pixels have to refute

    @property
    def is_layout(self) -> bool:
        """Whether the pattern says, or counts, where the tiles lie."""
        return any("{" + name in self.images for name in ("row", "index", "x"))

    @property
    def has_codes(self) -> bool:
        """Whether the names hold GUIDs."""
        return re.search(GUID, self.files[0]) is not None


def name_patterns(files: Sequence[str]) -> list[NamePattern]:
    """Returns the patterns of the names of files (paths with /, relative to one folder), that of the most files first."""
    sets: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for file in files:
        stem, ending = stem_and_ending(file)
        sets[(*FIELD.split(stem)[1::2], ending.lower())].append(file)
    found = [_pattern(members) for each in sets.values() for members in _alike(sorted(each))]
    return sorted(found, key=lambda each: (-len(each.files), each.images))


def stem_and_ending(file: str) -> tuple[str, str]:
    """Returns the path without its endings, and the endings, such as .tif or .ome.tif."""
    path = PurePosixPath(file)
    ending = "".join(path.suffixes[-2:]) if path.suffixes[-2:-1] == [".ome"] else path.suffix
    return file[: len(file) - len(ending)], ending


def _fields(file: str) -> list[str]:
    """Returns the fields of a path, which have even places, and what is between them."""
    return FIELD.split(stem_and_ending(file)[0])


def _form(field: str) -> str:
    return NUMBER.sub("#", field)


def _alike(files: list[str]) -> list[list[str]]:
    """Splits files with equally many fields into sets in which each field has one form, or is one of a few words or a well.

    Words are few if each occurs in as many files as any other, as the names of channels do, or if they are names of folders.
    """
    rows = [_fields(file) for file in files]
    for at in range(0, len(rows[0]), 2):
        forms = Counter(_form(row[at]) for row in rows)
        if len(forms) == 1:
            continue
        wells = all(WELL.fullmatch(row[at]) for row in rows) or all(LETTER.fullmatch(row[at]) for row in rows)
        codes = _are_codes([row[at] for row in rows])
        even = len(forms) <= MOST_WORDS and min(forms.values()) == max(forms.values()) < len(files) and max(forms.values()) > 1
        if not (wells or codes or even or "/" in rows[0][at + 1 :: 2]):
            by_form = defaultdict(list)
            for file, row in zip(files, rows, strict=True):
                by_form[_form(row[at])].append(file)
            return [part for members in by_form.values() for part in _alike(members)]
    return [files]


def _are_codes(fields: Sequence[str]) -> bool:
    """Whether fields are codes such as 3f9c2d1, of hexadecimal digits, another one in each file."""
    letters = any(re.search("[A-Fa-f]", field) for field in fields)
    return letters and len({*fields}) == len(fields) and all(HASH.fullmatch(field) for field in fields)


def _pattern(files: list[str]) -> NamePattern:
    rows = [_fields(file) for file in files]
    parts = [part for at in range(0, len(rows[0]), 2) for part in _parts(rows, at)]
    ways = sorted(_ways(parts), key=lambda way: -way[0]) if len(parts) <= MOST_PARTS else []
    ending = stem_and_ending(files[0])[1]
    if not ways:
        meanings = tuple("*" for _ in parts)
        return NamePattern(_written(rows[0], parts, meanings) + ending, tuple(files), {}, ())
    best, meanings = ways[0]
    close = [other for score, other in ways[1:] if best - score < CLOSE and sorted(other) != sorted(meanings)]
    grid = _as_grid(rows[0], parts, ways)
    chosen = [meanings, *([grid] if grid and sorted(grid) != sorted(meanings) and grid not in close else []), *close]
    found = []
    for each in chosen:
        counts = {name: len(part.values) for name, part in zip(each, parts, strict=True) if name != "*"}
        found.append(NamePattern(_written(rows[0], parts, each) + ending, tuple(files), counts, ()))
    return found[0]._replace(others=tuple(found[1:]))


def _as_grid(fields: list[str], parts: list[Part], ways: Sequence[tuple[float, tuple[str, ...]]]) -> tuple[str, ...] | None:
    """Returns the best way in which two numbers side by side, with at most a letter before them, are the row and the column."""
    for at, (part, following) in enumerate(pairwise(parts)):
        (field, number), (next_field, next_number) = part.at, following.at
        between = NUMBER.split(fields[field])[number + 1 :] if number > 0 and next_field == field + 2 else ["no"]
        beside = between == [""] and next_number == 1 and not NUMBER.split(fields[next_field])[0] and fields[field + 1] == "_"
        if beside and len(_word_before(fields, field, number)) < 2:
            return next((way for _, way in ways if {*way[at : at + 2]} == {"row", "col"}), None)
    return None


def _parts(rows: list[list[str]], at: int) -> Iterator[Part]:
    """Yields what differs in one field of the names."""
    fields = tuple(row[at] for row in rows)
    if _are_codes(fields):
        yield Part((at, -1), fields, "code", ())
        return
    if len({_form(field) for field in fields}) > 1:
        well, letter = (all(form.fullmatch(field) for field in fields) for form in (WELL, LETTER))
        dye = any(DYES.search(field.lower()) for field in fields)
        specimen = all(SPECIMEN.fullmatch(field.lower()) for field in fields)
        word = "word in a folder" if "/" in rows[0][at + 1 :: 2] else "first word" if specimen or at == 0 else "word"
        kind = "well" if well else "letter" if letter else word
        hint = "dataset" if specimen else "channel" if dye else "row" if letter else ""
        yield Part((at, -1), fields, kind, (hint,) if hint else ())
        return
    pieces = [NUMBER.split(field) for field in fields]
    for number in range(1, len(pieces[0]), 2):
        texts = tuple(piece[number] for piece in pieces)
        if len({*texts}) == 1:
            continue
        hints = HINTS.get(_word_before(rows[0], at, number), ())
        code, well = re.fullmatch(GUID, texts[0]), texts[0].startswith("r")
        apart = "/" in rows[0][at + 1 :: 2] or "dataset" in hints
        yield Part((at, number), texts, "code" if code else "well" if well else "number apart" if apart else "number", hints)


def _word_before(fields: list[str], at: int, number: int) -> str:
    """Returns the letters before a number, which may be the field before: row_001."""
    before = NUMBER.split(fields[at])[number - 1] or (fields[at - 2] if number == 1 and at >= 2 else "")
    word = re.search(r"([A-Za-z]*)[^A-Za-z0-9]*$", before)
    return word[1].lower() if word else ""


def _ways(parts: list[Part]) -> Iterator[tuple[float, tuple[str, ...]]]:
    """Yields what the parts can stand for, so that all together make a layout, and how good each way is."""
    for meanings in product(*(MEANINGS[part.kind] for part in parts)):
        named = [name for name in meanings if name != "*"]
        layout = frozenset(named) - {*STACK, *APART}
        if len({*named}) == len(named) and layout in LAYOUTS and (worth := _worth(parts, meanings)) is not None:
            yield worth, meanings


def _worth(parts: list[Part], meanings: tuple[str, ...]) -> float | None:
    """Returns how good a way is; None where it is none: two files would be the same plane of one tile."""
    hinted = [name in part.hints for part, name in zip(parts, meanings, strict=True) if part.hints]
    if len(hinted) > 1 and not any(hinted):
        return None  # the letters say otherwise throughout
    worth = 0.0
    for part, name in zip(parts, meanings, strict=True):
        if name in ("row", "col", "index", "z", "time") and any("." in text for text in part.values):
            return None
        if name == "row+col" and part.kind == "number" and not _glued(part):
            return None
        worth += 1.0 if name == "row+col" and _glued(part) else _worth_of(part, name)
    columns = dict(zip(meanings, (part.texts for part in parts), strict=True))
    place_names = [name for name in meanings if name not in (*STACK, *APART, "*")]
    places, stacks, apart = (_rows_of(columns, names) for names in (place_names, STACK, APART))
    files = {*zip(apart, places, stacks, strict=True)}
    if len(files) < len(places):
        return None
    tiles = {*zip(apart, places, strict=True)}
    unnamed = [part.texts for part, name in zip(parts, meanings, strict=True) if name == "*"]
    if len({*zip(apart, places, *unnamed, strict=True)}) > len(tiles):
        return None  # the files of a tile may differ in nothing else
    whole = len(files) / (len(tiles) * len({*stacks}))
    worth -= 0 if whole == 1 else 2 + 6 * (1 - whole)  # some tiles lack a channel, a z plane or a time point
    if any(len({place for one, place in tiles if one == each}) < 2 for each in {*apart}):
        worth -= 2  # a tile alone needs no place
    if len(place_names) == 2 and "x" not in place_names:
        grid = len({place[0] for place in places}) * len({place[1] for place in places})
        full = len({*places}) / grid
        worth += 1 if full == 1 else 0 if full > 0.5 else -3
    return worth


def _worth_of(part: Part, name: str) -> float:
    """Returns how good a meaning is for a part."""
    if name == "*":
        return -1.0
    counts = "word" in part.kind or part.kind in ("letter", "well") or _counts(part)
    odd = (name in ("x", "y")) == counts  # numbers that count are no places, and others are nothing else
    hinted = 3.0 - 0.5 * part.hints.index(name) if name in part.hints else -2.0 if part.hints else 0.0
    usual = USUAL_OF_WORDS.get(part.kind, USUAL).get(name, -0.5)
    return hinted + usual - (2.5 if odd else 0.0)


def _rows_of(columns: Mapping[str, tuple[str, ...]], names: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns for each file its texts of these placeholders."""
    count = len(next(iter(columns.values()), ()))
    chosen = [columns[name] for name in names if name in columns]
    return list(zip(*chosen, strict=True)) if chosen else [()] * count


def _counts(part: Part) -> bool:
    """Whether numbers count, one by one or in equal steps, as those of rows and columns do."""
    if any("." in text for text in part.values):
        return False
    numbers = sorted({int(text) for text in part.values})
    steps = {after - before for before, after in pairwise(numbers)}
    return len(steps) == 1 or numbers[-1] - numbers[0] < 3 * len(numbers)


def _glued(part: Part) -> int:
    """Returns how many digits of glued numbers are the row, where they then make a nearly full grid; else 0."""
    length = len(part.texts[0])
    if part.kind != "number" or _counts(part) or any(len(text) != length or not text.isdecimal() for text in part.values):
        return 0
    for width in sorted(range(1, length), key=lambda width: abs(2 * width - length)):
        rows, columns = {text[:width] for text in part.values}, {text[width:] for text in part.values}
        if min(len(rows), len(columns)) > 1 and FULL * len(rows) * len(columns) <= len(part.values):
            return width
    return 0


def _written(fields: list[str], parts: list[Part], meanings: tuple[str, ...]) -> str:
    """Returns the fields of a path with placeholders."""
    pieces = [NUMBER.split(field) if at % 2 == 0 else [field] for at, field in enumerate(fields)]
    for part, name in zip(parts, meanings, strict=True):
        field, number = part.at
        width = f":{_glued(part)}" if name == "row+col" and part.kind == "number" else ""
        text = {"*": "*", "row+col": f"{{row{width}}}{{col}}"}.get(name, "{" + name + "}")
        if number < 0:
            pieces[field] = [text]
        else:  # where all numbers have a minus, it is a hyphen
            pieces[field][number] = f"-{text}" if all(value.startswith("-") for value in part.values) else text
    return "".join(map("".join, pieces))
