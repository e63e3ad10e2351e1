"""One entry of `datasets` that means many: a plate of wells, or any folders and names with one pattern.

`{well}` and `{dataset}` in `images` stand for texts that differ from dataset to dataset. Each of them is stitched by itself and
has its own results; those of an entry lie in one folder:

    plate: {images: "{well}/t{index}.tif"}  ->  plate/A01, plate/A02, ...    with the pages of all wells in plate/index.html

This module imports nothing heavy, since the Snakefile calls it.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from dlir.reading import filenames, grid_layout, patterns
from dlir.reading.grid_layout import TileError
from dlir.reading.settings import Dataset

MANY = ("dataset", "well")  # placeholders that differ from dataset to dataset
FILES = ("positions", "placement", "truth", "overrides", "flat", "dark")  # settings in whose paths they may stand, too


class Member(NamedTuple):
    """A dataset of an entry that means many."""

    group: str  # the folder in the results that it shares with the others, such as plate
    well: str  # such as B02; empty without {well}


def expanded(
    datasets: Mapping[str, Dataset], candidates: Callable[[Dataset], Iterable[Path]] = grid_layout.candidates
) -> tuple[dict[str, Dataset], dict[str, Member]]:
    """Returns all datasets, with the members of an entry in its place, and what is known of these members.

    Args:
        candidates: returns the files that `images` of an entry may mean.

    Raises:
        TileError: when an entry means no dataset, or two that would have one name.
    """
    found: dict[str, Dataset] = {}
    members: dict[str, Member] = {}
    for name, dataset in datasets.items():
        if not patterns.placeholders(dataset.images) & {*MANY}:
            found[name] = dataset
            continue
        for own, member in _members(name, dataset, candidates(dataset)).items():
            found[own], members[own] = member
    return found, members


def _members(name: str, dataset: Dataset, candidates: Iterable[Path]) -> dict[str, tuple[Dataset, Member]]:
    """Returns the datasets that an entry means, in the order of their numbers."""
    paths = grid_layout.meant(candidates, dataset)
    matches = patterns.matches(paths, dataset.images).values()
    texts = sorted({tuple(match.groupdict().get(key, "") for key in MANY) for match in matches}, key=_in_order)
    if not texts:
        raise TileError(f"{name}: no dataset found: images is {dataset.images}, and no file matches: correct images")
    found: dict[str, tuple[Dataset, Member]] = {}
    for text in texts:
        values = {key: value for key, value in zip(MANY, text, strict=True) if value}
        if wrong := next((value for value in values.values() if patterns.PLACEHOLDER.search(value)), ""):
            raise TileError(f"{name}: {wrong} in the path of a tile has the form of a placeholder: rename it")
        own = "/".join([name, *map(_folder_name, values.values())])
        if own in found:
            what = f"two datasets would have their results in results/{own}"
            raise TileError(f"{name}: {what}: rename one of their folders or files")
        group = own.rpartition("/")[0]
        found[own] = _filled(dataset, values), Member(group, values.get("well", ""))
    return found


def _filled(dataset: Dataset, values: Mapping[str, str]) -> Dataset:
    """Returns a dataset with these texts in place of the placeholders in its paths."""
    paths = {key: getattr(dataset, key, None) for key in FILES}
    files = {key: Path(filenames.filled(str(path), values)) for key, path in paths.items() if isinstance(path, Path)}
    return dataset.model_copy(update={"images": filenames.filled(dataset.images, values), **files})


def _folder_name(text: str) -> str:
    """Returns the text as the name of a folder of results: letters, digits, _, - and ., and nothing else."""
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", text)
    return plain if plain[0].isalnum() or plain[0] == "_" else f"_{plain}"


def _in_order(texts: tuple[str, ...]) -> list[list[tuple[int, str]]]:
    return [filenames.by_number(text) for text in texts]
