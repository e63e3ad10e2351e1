"""Whether the rounds of a specimen can be one image, by the header of the first file of each: asked before any job starts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dlir.reading import filenames, image_files
from dlir.reading.pixel_types import TABLE
from dlir.reading.settings import Dataset
from dlir.rounds.names import channel_names


class RoundsError(ValueError):
    """The rounds cannot be one image."""


class Planes(NamedTuple):
    """What a tile of a round holds."""

    times: int
    depth: int
    dtype: str  # as its files have it
    channels: list[str]  # their names, empty texts where they have none


def check(specimen: str, rounds: Mapping[str, tuple[Dataset, Sequence[Path]]], names: Path | None = None) -> None:
    """Checks that the rounds of a specimen can be one image, as far as that is known before their tiles are read.

    Args:
        rounds: each round by its name, with its files.
        names: the table of the user that names channels of the mosaic.

    Raises:
        RoundsError: when two have one file, they differ in their z planes or in the type of their pixels, or have time points.
        NamesError: when the table names a channel that there is not, or two channels would have one name.
    """
    _check_files(specimen, rounds)
    found = {name: planes for name, (dataset, files) in rounds.items() if (planes := planes_of(dataset, files))}
    for name, planes in found.items():
        first, usual = next(iter(found.items()))
        if planes.times > 1:
            what = f"{specimen}: round {name} has {planes.times} time points, and a round is one"
            raise RoundsError(f"{what}: export one of them, or write each to files of its own and name them as rounds")
        if planes.depth != usual.depth:
            what = f"{specimen}: round {name} has {planes.depth} z planes, and {first} has {usual.depth}"
            raise RoundsError(f"{what}: export as many of each round, or the maximum over z")
        if planes.dtype != usual.dtype and {planes.dtype, usual.dtype} <= {*TABLE}:
            what = f"{specimen}: the pixels of round {name} are {planes.dtype}, and those of {first} are {usual.dtype}"
            raise RoundsError(f"{what}: export all rounds with one type of pixels")
    if names and len(found) == len(rounds):
        channel_names(names, list(found), [planes.channels for planes in found.values()])


def _check_files(specimen: str, rounds: Mapping[str, tuple[Dataset, Sequence[Path]]]) -> None:
    """Raises RoundsError when one file is a tile of two rounds; those that take images of one file by a table may share it."""
    owner: dict[Path, str] = {}
    for name, (dataset, files) in rounds.items():
        if dataset.in_files or dataset.table:
            continue
        if twice := next((file for file in files if file in owner), None):
            what = f"{specimen}: {owner[twice]} and {name} have the same files, such as {twice}"
            raise RoundsError(
                f"{what}: write {{round}} in images where the names of the rounds stand, or give each its own images"
            )
        owner |= dict.fromkeys(files, name)


def planes_of(dataset: Dataset, files: Sequence[Path]) -> Planes | None:
    """Returns what a tile of a round holds, by its first file and the names of all; None where that file cannot be read."""
    tiles, values, _ = filenames.group(files, dataset.files)
    try:
        with image_files.opened(tiles[0].files[0], dataset.pages or "channel", image=0) as stack:
            sizes, dtype, named = stack.sizes, stack.dtype, stack.names
    except image_files.ImageError:
        return None  # the step `tiles` says so
    times, depth, channels = (len(values[name]) or 1 for name in ("time", "z", "channel"))
    count = sizes.channels * channels
    names = values["channel"] if len(values["channel"]) == count else list(named) if len(named) == count else [""] * count
    return Planes(sizes.times * times, sizes.depth * depth, dtype, names)
