"""One entry of `datasets` that means many: a plate of wells, the rounds of a specimen, or any folders with one pattern.

`{well}` and `{dataset}` in `images` stand for texts that differ from dataset to dataset. Each of them is stitched by itself and
has its own results; those of an entry lie in one folder:

    plate: {images: "{well}/t{index}.tif"}  ->  plate/A01, plate/A02, ...    with the pages of all wells in plate/index.html

A *specimen* is an entry with `rounds`, or with `{round}` in `images`. Each round is a dataset up to its affines; all rounds are
then placed together. With `{well}` or `{dataset}` there are many specimens:

    slide: {images: "{round}/t{index}.tif"}  ->  slide/R1, slide/R2, ...    with the mosaic of all rounds in slide
    plate: {images: "{round}/{well}/t{index}.tif"}  ->  plate/A01/R1, ...    with that of each well in plate/A01

This module imports nothing heavy, since the Snakefile calls it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from dlir.reading import filenames, grid_layout, patterns
from dlir.reading.grid_layout import TileError
from dlir.reading.settings import NUCLEI, Dataset, round_name

MANY = ("dataset", "well")  # placeholders that differ from dataset to dataset
ROUND = "round"  # placeholder that differs from round to round
FILES = ("positions", "placement", "truth", "overrides", "flat", "dark", "distortion")  # settings in whose paths they may stand


class Member(NamedTuple):
    """A dataset of an entry that means many, or a specimen of such an entry."""

    group: str  # the folder in the results that it shares with the others, such as plate; of a round its specimen
    well: str  # such as B02; empty without {well}
    round: str = ""  # its name, if it is a round of the specimen `group`


def expanded(
    datasets: Mapping[str, Dataset],
    candidates: Callable[[Dataset], Iterable[Path]] = grid_layout.candidates,
    storage: str | None = None,
) -> tuple[dict[str, Dataset], dict[str, Member]]:
    """Returns all datasets, with the members of an entry in its place, and what is known of these members.

    Specimens that an entry means have members of their own among them, and no dataset: only their rounds are datasets.

    Args:
        candidates: returns the files that `images` of an entry may mean.
        storage: where these lie, if not on the disk.

    Raises:
        TileError: when an entry means no dataset, or two that would have one name.
    """
    found: dict[str, Dataset] = {}
    members: dict[str, Member] = {}
    for name, dataset in datasets.items():
        if not dataset.has_rounds and not patterns.placeholders(dataset.images) & {*MANY}:
            found[name] = dataset
            continue
        for own, member in _members(name, dataset, candidates, storage):
            found[own], members[own] = member
            of_many = member[1].group.rpartition("/")[0]
            if member[1].round and of_many:
                members[member[1].group] = Member(of_many, member[1].well)
    return found, members


def _members(
    name: str, entry: Dataset, candidates: Callable[[Dataset], Iterable[Path]], storage: str | None
) -> Iterator[tuple[str, tuple[Dataset, Member]]]:
    """Yields each dataset that an entry means, with its name, in the order of their numbers; rounds specimen by specimen.

    Where the path of `overrides` has a placeholder, and any of the tables is there, those without one need none.
    """
    found: dict[str, dict[str, tuple[Dataset, Member]]] = {}
    of_each: list[tuple[str, str]] = []  # whose table of overrides is one of many
    listed = {key: _filled(own, {ROUND: key}) for key, own in entry.rounds.items()} or {"": entry}
    for key, dataset in listed.items():
        for values in _values(name, dataset, candidates, storage):
            of_round = {ROUND: key} if key else {ROUND: values[ROUND]} if ROUND in values else {}
            apart = {kind: text for kind, text in values.items() if kind in MANY}
            own = "/".join([name, *map(_folder_name, [*apart.values(), *of_round.values()])])
            group, _, last = own.rpartition("/")
            if own in found.setdefault(group, {}):
                what = f"two datasets would have their results in results/{own}"
                raise TileError(f"{name}: {what}: rename one of their folders or files")
            if of_round:
                _check_round(name, last, of_round[ROUND])
            member = Member(group, apart.get("well", ""), last if of_round else "")
            complete = _filled(dataset, values)
            if of_round and complete.reference_channel is None:
                complete = complete.model_copy(update={"reference_channel": NUCLEI})
            found[group][own] = complete, member
            if patterns.PLACEHOLDER.search(str((entry.rounds.get(key) or entry).overrides)):
                of_each.append((group, own))
    there = [(group, own) for group, own in of_each if _has_table(found[group][own][0])]
    for group, own in [each for each in of_each if there and each not in there]:
        dataset, member = found[group][own]
        found[group][own] = dataset.model_copy(update={"overrides": None}), member
    for of_group in found.values():
        yield from of_group.items()


def _values(
    name: str, dataset: Dataset, candidates: Callable[[Dataset], Iterable[Path]], storage: str | None
) -> list[dict[str, str]]:
    """Returns the texts of the placeholders of each dataset that one pattern means, in the order of their numbers.

    Raises:
        TileError: when no file matches, or a text looks like a placeholder.
    """
    keys = [key for key in (*MANY, ROUND) if key in patterns.placeholders(dataset.images)]
    if not keys:
        return [{}]
    paths = grid_layout.meant(candidates(dataset), dataset)
    matches = patterns.matches(paths, dataset.images).values()
    texts = sorted({tuple(match[key] for key in keys) for match in matches}, key=_in_order)
    if not texts:
        in_storage = f"images is {dataset.images}, and nothing in {storage} matches: correct images"
        where = in_storage if storage else grid_layout.nothing_found(dataset)
        raise TileError(f"{name}: no {' and no '.join(keys)} found: {where}")
    if wrong := next((text for part in texts for text in part if patterns.PLACEHOLDER.search(text)), ""):
        raise TileError(f"{name}: {wrong} in the path of a tile has the form of a placeholder: rename it")
    return [dict(zip(keys, text, strict=True)) for text in texts]


def _has_table(dataset: Dataset) -> bool:
    return dataset.overrides is not None and dataset.overrides.is_file()


def _check_round(name: str, folder: str, text: str) -> None:
    """Raises TileError when the results of a round, which the files call `text`, cannot lie in a folder of this name."""
    try:
        round_name(folder)
    except ValueError as error:
        raise TileError(
            f"{name}: {text}: {error}; rename the folder or the files, or name the rounds by the key rounds"
        ) from None


def _filled(dataset: Dataset, values: Mapping[str, str]) -> Dataset:
    """Returns a dataset with these texts in place of the placeholders in its paths."""
    paths = {key: getattr(dataset, key, None) for key in FILES}
    files = {key: Path(filenames.filled(str(path), values)) for key, path in paths.items() if isinstance(path, Path)}
    return dataset.model_copy(update={"images": filenames.filled(dataset.images, values), **files, "rounds": {}})


def _folder_name(text: str) -> str:
    """Returns the text as the name of a folder of results: letters, digits, _, - and ., and nothing else."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", text)
    return plain if plain[0].isalnum() or plain[0] == "_" else f"_{plain}"


def _in_order(texts: tuple[str, ...]) -> list[list[tuple[int, str]]]:
    return [filenames.by_number(text) for text in texts]
