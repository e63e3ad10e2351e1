"""Proposes the settings of a dataset for a folder of tiles: pattern, places, scan, overlap, and what is left out.

The names give the pattern (`names.py`). The places come, in this order, from

1. rows and columns in the names, or places in the names;
2. the positions that the files carry;
3. a table of positions that lists all tiles;
4. the numbers in the names, where the pixels show how the stage scanned (`fit.py`);
5. a table that lists some of the tiles; the others are left out.

All is tried on up to 100 tiles. What stays open is a question.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from dlir.core.settings import SettingsError
from dlir.proposal.copies import without_copies
from dlir.proposal.fit import Fit, exchanged, fitted, numbered, shares
from dlir.proposal.look import look
from dlir.proposal.names import NamePattern
from dlir.proposal.specimens import is_one
from dlir.reading import filenames, found_tiles, grid_layout, image_places, many_datasets, patterns
from dlir.reading.grid_layout import TileError
from dlir.reading.image_files import ImageError
from dlir.reading.settings import Dataset

Keys = dict[str, Any]
NAMES, METADATA = "the names", "the metadata of the files"
MOST_READINGS = 4  # of the names, beside the first, that are tried on the pixels
MOST_EMPTY = 4  # places of the grid for a tile
MOST_HEADERS = 100  # files that are opened to see whether they tell places
NOUNS = {"channel": "channels", "z": "z planes", "time": "time points", "well": "wells", "dataset": "datasets"}
ROUND = re.compile(r"((?<![A-Za-z])(?:round|cycle)[ _-]?)\{dataset\}", re.IGNORECASE)  # of cyclic imaging, in `images`
ASKED = {"overlap": "0.1", "pages": "z", "pixel_size": "0.65"}  # keys that a message may ask for, with an answer


class ProposalError(ValueError):
    """A folder holds no tiles of one mosaic."""


class Question(NamedTuple):
    """What a user has to decide."""

    key: str  # of the dataset, that answers it
    words: str
    example: str  # an answer


class Proposal(NamedTuple):
    """The settings of a dataset, as they were understood."""

    name: str
    keys: Keys
    remarks: Mapping[str, str]  # on each key, for the file of settings
    notes: Sequence[str]  # on the whole
    left_out: Sequence[str]  # files with the reason
    questions: Sequence[Question]


class Placed(NamedTuple):
    """One way to know the places of the tiles."""

    keys: Keys
    why: str
    tiles: int  # whose places it tells
    names: NamePattern  # how it understands the names


def propose(folder: Path, answers: Mapping[str, Any] = MappingProxyType({})) -> Proposal:
    """Returns the settings for a folder of tiles.

    Args:
        answers: keys of the dataset that the user has told.

    Raises:
        ProposalError: when the folder holds no tiles of one mosaic.
        TileError: when the name of a tile cannot be used.
    """
    if not folder.is_dir():
        raise ProposalError(f"{folder}: is no folder: give the folder of the tiles")
    contents = look(folder)
    if not contents.images:
        names = filenames.listed_names([path.name for path in [*contents.tables, *contents.others]])
        raise ProposalError(f"{folder}: holds no images{f', but {names}' if names else ''}: give the folder of the tiles")
    _check_endings(contents.images)
    found, left_out = without_copies(folder, [path.relative_to(folder).as_posix() for path in contents.images])
    found_tiles.raise_if_any(filenames.unusable([folder / file for file in found[0].files]))
    main = found[0]._replace(others=()) if "images" in answers else found[0]
    ways, refused = _ways(folder, main, contents.tables)
    ways = [way._replace(keys={**way.keys, **answers}) for way in ways]
    if not ways:
        raise ProposalError(_no_grid(folder, found, refused))
    chosen, fit, tried = _best(ways)
    for other in found[1:]:
        what = "its name is" if len(other.files) == 1 else "their names are"
        left_out.append(f"{filenames.listed_names(other.files)}: {what} of another form")
    left_out += [f"{path.relative_to(folder)}: {why}" for path, why in refused.items()]
    for way in ways:
        if way is not chosen and way.why != NAMES:
            tell = "tell" if chosen.why == NAMES else "tells"
            why = f"the tiles do not fit together by its {way.tiles} places" if way in tried else f"lists {way.tiles} tiles"
            left_out.append(f"{way.why}: {why}; not used, since {chosen.why} {tell} the places of {chosen.tiles}")
    reading = chosen.names._replace(others=_as_good(folder, main, chosen, fit, [way for way in ways if way not in tried]))
    shown = [os.fsencode(line).decode(errors="replace") for line in left_out]  # names may be in an old encoding
    return _proposal(folder, reading, chosen, fit, shown, answered="images" in answers)


def _check_endings(images: Sequence[Path]) -> None:
    """Raises ProposalError where the names of two images differ only in the case of the ending."""
    seen: dict[Path, Path] = {}
    for path in images:
        other = seen.setdefault(path.with_suffix(path.suffix.lower()), path)
        if other is not path:
            raise ProposalError(f"{path} and {other.name} are one place of the grid twice: move the wrong one away")


def _ways(folder: Path, main: NamePattern, tables: Sequence[Path]) -> tuple[list[Placed], dict[Path, str]]:
    """Returns the ways to know the places, the best first, and the tables that tell none, with the reason."""
    images = f"{folder}/{main.images}"
    readings = [each for each in (main, *main.others[:MOST_READINGS]) if each.is_layout]
    names = [Placed({"images": f"{folder}/{each.images}"}, NAMES, _tile_count(each), each) for each in readings]
    by_tables, refused = _table_ways(images, main, tables)
    if names and not numbered(names[0].keys):
        return names + by_tables, refused
    whole = [way for way in by_tables if way.tiles >= _tile_count(main)]
    return [*_metadata_way(folder, main), *whole, *names, *(way for way in by_tables if way not in whole)], refused


def _metadata_way(folder: Path, main: NamePattern) -> list[Placed]:
    """Returns the places in the metadata of the files as a way, where all of the first files have some."""
    if len({*main.counts} & {"well", "dataset"}):
        return []
    headers = image_places.told_of([folder / file for file in main.files[:MOST_HEADERS]])
    facts = [() if isinstance(each, str) else each for each in headers.values()]
    places = [each.place for images in facts for each in images]
    if len(places) < 2 or None in places or len({*places}) == 1:
        return []
    keys = {"images": _without_places(f"{folder}/{main.images}"), "positions": "metadata"}
    inside = len(places) / len(facts)
    return [Placed(keys, METADATA, round(inside * _tile_count(main)), main)]


def _without_places(images: str) -> str:
    """Returns a pattern with * in place of what says where a tile lies."""
    return re.sub(r"\*+", "*", re.sub(r"\{(row|col|index|x|y)(:\d+)?\}", "*", images))


def _tile_count(main: NamePattern) -> int:
    """Returns the number of tiles of a pattern."""
    stack = [main.counts.get(name, 1) for name in ("time", "z", "channel")]
    return round(len(main.files) / float(np.prod(stack)))


def _table_ways(images: str, main: NamePattern, tables: Sequence[Path]) -> tuple[list[Placed], dict[Path, str]]:
    """Returns the tables that list tiles, that of the most tiles first, and why the others do not."""
    ways, refused = [], {}
    for table in tables:
        keys = {"images": _without_places(images), "positions": str(table)}
        try:
            found = found_tiles.find(Dataset.checked(keys))
        except (TileError, SettingsError) as error:
            refused[table] = _short(error)
            continue
        if found.problems:
            refused[table] = found.problems[0]
        else:
            ways.append(Placed(keys, table.name, len(found.places), main))
    registered = [way for way in ways if "register" in way.why.lower()]
    plain = [way for way in ways if way not in registered]
    if plain:
        refused |= {Path(way.keys["positions"]): "holds places that another program registered; dlir needs those of the stage"
                    for way in registered}  # fmt: skip
    return sorted(plain or registered, key=lambda way: -way.tiles), refused


def _best(ways: Sequence[Placed]) -> tuple[Placed, Fit, list[Placed]]:
    """Returns the first way with which the tiles fit together; the first of all where none does."""
    first: tuple[Placed, Fit] | None = None
    for at, way in enumerate(ways):
        fit = _tried(way)
        if fit.found is not None:
            return way, fit, [*ways[:at]]
        first = first or (way, fit)
    assert first is not None
    return *first, []


def _tried(way: Placed) -> Fit:
    """Returns how the tiles fit together with a way to know their places."""
    try:
        return fitted(_of_one_dataset(way.keys))
    except (TileError, ImageError, SettingsError) as error:
        return Fit(dict(way.keys), None, frozenset(), _short(error))


def _as_good(folder: Path, main: NamePattern, chosen: Placed, fit: Fit, untried: Sequence[Placed]) -> tuple[NamePattern, ...]:
    """Returns the other ways to understand the names that the pixels do not refute."""
    if chosen.why != NAMES or not main.others:
        return ()
    others = [each for each in (main, *main.others) if each is not chosen.names]
    if fit.found is not None:
        others = [way.names for way in untried if way is not chosen and way.why == NAMES and _tried(way).found is not None]
    apart = chosen.names.images.replace("{channel}", "{dataset}")
    if any(each.images == apart for each in others) and is_one(folder, chosen.names):
        others = [each for each in others if each.images != apart]
    return tuple(others)


def _of_one_dataset(keys: Keys) -> Keys:
    """Returns the settings of the first of the datasets that they mean."""
    if not patterns.placeholders(keys["images"]) & {*many_datasets.MANY}:
        return keys
    found, _ = many_datasets.expanded({"all": Dataset.model_construct(**keys)})
    return {**keys, "images": next(iter(found.values())).images}


def _proposal(folder: Path, main: NamePattern, chosen: Placed, fit: Fit, left_out: list[str], *, answered: bool) -> Proposal:
    told = {**fit.keys, "images": chosen.keys["images"]}
    keys = {key: told[key] for key in sorted(told, key=lambda key: [*Dataset.model_fields, key].index(key))}
    keys = {"images": keys.pop("images"), **{key: keys.pop(key) for key in ("positions",) if key in keys}, **keys}
    if "images" in fit.changed:
        keys["images"] = exchanged(keys["images"])
    of_rounds = ROUND.sub(r"\1{round}", keys["images"])
    files = f"{main.files[0]} to {main.files[-1]}" if len(main.files) > 1 else main.files[0]
    nouns = NOUNS | ({"dataset": "rounds"} if of_rounds != keys["images"] else {})
    counts = [f"{count} {nouns[name]}" for name, count in main.counts.items() if name in nouns]
    remarks = {"images": ", ".join([f"{len(main.files)} files, {files}" if len(main.files) > 1 else "1 file", *counts])}
    remarks |= {key: "so the tiles fit together" for key in fit.changed if key != "images"}
    if fit.changed & {"start", "flip_y", "flip_x", "swap_yx"}:
        key = next(key for key in ("start", "flip_y", "flip_x", "swap_yx") if key in fit.changed)
        remarks[key] += "; if the camera sees the specimen in a mirror, other settings with mirrored: true fit as well"
    if "positions" in keys:
        remarks["positions"] = f"tells the places of {chosen.tiles} tiles"
    notes = [f"The places of the tiles come from {chosen.why}."]
    if of_rounds != keys["images"]:
        keys["images"] = of_rounds
        notes.append(
            "One mosaic joins all rounds; write {dataset} in place of {round} where they are no rounds of one specimen."
        )
    elif "{dataset}" in keys["images"]:
        notes.append(
            "Each gets a mosaic; write {round} in place of {dataset} where they are rounds of one specimen, for one mosaic."
        )
    if fit.found is not None and len(fit.found):
        seen = "Too little matches to check it" if (fit.found["layout"] == "unknown").any() else "The tiles fit together"
        notes.append(f"{seen}: neighbours share about {shares(fit.found)}. dlir finds the overlap by itself.")
    return Proposal(_dataset_name(folder), keys, remarks, notes, left_out, _questions(main, keys, fit, answered))


def _questions(main: NamePattern, keys: Keys, fit: Fit, answered: bool) -> list[Question]:
    """Returns what is open; how to understand the names comes first, since all else depends on it."""
    if main.others:
        return [Question("images", _which_reading(main), keys["images"])]
    if not answered and "positions" not in keys and (gaps := _gaps(main)):
        return [Question("images", gaps, keys["images"])]
    questions = []
    if fit.problem:
        key = next((key for key in ASKED if re.search(rf"\b{key}\b", fit.problem)), "")
        questions.append(Question(key, fit.problem, ASKED.get(key, "")))
    elif numbered(keys) and not {"rows", "columns"} & {*keys}:
        words = (
            "How many tiles has a row of the grid? The names only number the tiles, and too few of them match to see it. Where "
            "the numbers run down the columns, give rows, and order: columns; where every second line runs back, snake: true"
        )
        questions.append(Question("columns", words, str(_likely_columns(len(main.files)))))
    return questions


def _gaps(names: NamePattern) -> str:
    """Returns a question where numbers that should count tiles leave most places of the grid empty; else nothing."""
    matched = patterns.matches(map(Path, names.files), names.images).values()
    numbers = {int(match["index"]) for match in matched} if "{index}" in names.images else set()
    if len(numbers) < 2:
        return ""
    places = (max(numbers) - min(numbers)) // grid_layout.step_of(numbers) + 1
    if places <= MOST_EMPTY * len(numbers):
        return ""
    empty = f"{places - len(numbers)} of {places} places of the grid would be empty"
    return f"Do the numbers in {names.images} count the tiles? Then {empty}. If they do not, what do they stand for?"


def _which_reading(names: NamePattern) -> str:
    others = [each.images for each in names.others]
    if others == [names.images.replace("{channel}", "{dataset}")]:
        return (
            f"Are the words in the names channels of one specimen, as in {names.images}, or specimens of their own, as in "
            f"{others[0]}?"
        )
    return f"The names can be understood in several ways. Is it {names.images}, or {' or '.join(others)}?"


def _likely_columns(count: int) -> int:
    """Returns the largest number of columns up to the square root of the number of tiles that leaves no place empty."""
    return next((columns for columns in range(int(count**0.5), 1, -1) if count % columns == 0), count)


def _no_grid(folder: Path, found: Sequence[NamePattern], refused: Mapping[Path, str]) -> str:
    """Returns why the images of a folder are no tiles."""
    images = [file for each in found for file in each.files]
    if len(images) == 1:
        what = f"holds one image, {images[0]}, and a mosaic needs several tiles"
        return f"{folder}: {what}: give the folder of the tiles"
    if found[0].has_codes:
        what = f"each file has a code of its own, as in {images[0]}, so nothing tells which channels belong to one tile"
        return f"{folder}: {what}: take the codes out of the names, or give a folder with one channel"
    tables = "".join(f"; {path.name} cannot be used: {why}" for path, why in list(refused.items())[:2])
    what = f"is no grid of tiles: the names {filenames.listed_names(images)} have no numbers that count tiles or places"
    return f"{folder}: {what}, and no table tells where they lie{tables}: give the folder of the tiles, or add such a table"


def _dataset_name(folder: Path) -> str:
    """Returns a name for the results, from that of the folder."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", folder.resolve().name).lstrip(".-")
    return plain or "mosaic"


def _short(error: Exception) -> str:
    """Returns the first line of a message without its heading, and how many more there are."""
    lines = [line.strip() for line in str(error).splitlines()]
    shown = lines[1:] or lines
    unlisted = re.fullmatch(r"\.\.\. and (\d+) more", shown[-1])
    more = len(shown) - 1 + (int(unlisted[1]) - 1 if unlisted else 0)
    return f"{shown[0]} (and {more} more such messages)" if more else shown[0]
