"""The command `dlir plan`: what a run will take on this machine, from the number of the tiles and the header of one of them."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from dlir.config import Settings, check_keys
from dlir.needs import Extent, Need, needs, slowness
from dlir.reading import found_tiles, image_files, many_datasets
from dlir.reading.settings import Dataset

STEPS = ("tiles", "survey", "illumination", "pairs", "train", "register", "selfcheck", "place", "mosaic", "report")
OF_ROUNDS = ("rounds", "place_rounds", "report_rounds")  # of all rounds of a specimen together
ADOPTED = ("tiles", "adopt", "illumination", "exposure", "mosaic", "report")  # with the placement of another run
SNAKEMAKE, JOB = 4.5, 0.1  # s, for all jobs together and for each
ITEMSIZE = {"uint8": 1, "bool": 1, "int8": 1, "uint16": 2, "int16": 2}  # bytes of a pixel as it is read; others take 4
MINUTE, HOUR = 60, 3600


class Plan(NamedTuple):
    """What a run takes."""

    seconds: float  # with all cores
    training: float  # s more, if the network has to be trained
    memory: float  # MB, of the step that needs most
    disk: float  # MB of results

    def joined(self, other: "Plan") -> "Plan":
        """Returns what both take, one after the other."""
        seconds, training = self.seconds + other.seconds, self.training + other.training
        return Plan(seconds, training, max(self.memory, other.memory), self.disk + other.disk)


def plan(config: Path, cores: int | None = None) -> None:
    """Prints what a run with a file of settings will take.

    Args:
        cores: processor cores of the run; all by default.

    Raises:
        SettingsError, TileError, ImageError: when the settings are wrong, or there are no tiles that can be read.
    """
    check_keys(config)
    settings = Settings.checked(yaml.safe_load(config.read_text(encoding="utf-8")) or {})
    datasets, members = many_datasets.expanded(settings.datasets)
    rounds = {name: member.group for name, member in members.items() if member.round}
    cores = cores or os.cpu_count() or 1
    total = Plan(SNAKEMAKE, 0.0, 0.0, 0.0)
    extents = {name: extent_of(dataset) for name, dataset in datasets.items()}
    for name, dataset in datasets.items():
        extent = extents[name]
        own = of_dataset(extent, dataset, settings, cores)
        size = f"{extent.tiles} tiles of {extent.height} x {extent.width} px"
        sys.stdout.write(f"{name}: {size}, {extent.channels} channels, {extent.planes} planes: {described(own)}\n")
        first = name == next((each for each in rounds if rounds[each] == rounds.get(name)), name)
        total = total.joined(own if first else own._replace(training=0.0))  # all rounds of a specimen share a network
    for specimen in dict.fromkeys(rounds.values()):
        own = of_specimen([extents[name] for name in rounds if rounds[name] == specimen], cores)
        sys.stdout.write(f"{specimen}: its rounds together: {described(own)}\n")
        total = total.joined(own)
    slow = slowness()
    total = total._replace(seconds=slow * total.seconds, training=slow * total.training)
    sys.stdout.write(f"in all, with {cores} cores of this machine: {described(total)}\n")


def extent_of(dataset: Dataset) -> Extent:
    """Returns how many tiles a dataset has, and how large they are by the header of the first; raises as `plan` does."""
    found = found_tiles.find(dataset)
    found.raise_problems()
    first = found.tiles[0]
    with image_files.opened(first.files[0], dataset.pages or "channel", image=0) as stack:
        sizes, itemsize = stack.sizes, ITEMSIZE.get(stack.dtype, 4)
    channels, depth, times = (len(found.values.get(name) or [""]) for name in ("channel", "z", "time"))
    columns = len({place[1] for place in found.places.values()}) if found.unit == "cells" else round(len(found.tiles) ** 0.5)
    planes = sizes.times * sizes.depth * times * depth
    return Extent(len(found.tiles), columns, sizes.height, sizes.width, sizes.channels * channels, planes, itemsize)


def of_dataset(extent: Extent, dataset: Dataset, settings: Settings, cores: int) -> Plan:
    """Returns what a dataset takes, on the machine on which the numbers were measured."""
    train = settings.train
    own = {"training": train.steps if train.when == "always" and not train.model else 0, "shard": settings.mosaic.shard}
    each = [needs(step, extent, **own) for step in (ADOPTED if dataset.placement else STEPS)]
    more: Need = needs("train", extent, training=train.steps)
    training = more.wall(cores) if train.when == "auto" and not (train.model or dataset.placement) else 0.0
    disk = sum(need.disk for need in each)
    return Plan(sum(need.wall(cores) + JOB for need in each), training, max(need.memory for need in each), disk)


def of_specimen(rounds: Sequence[Extent], cores: int) -> Plan:
    """Returns what the rounds of a specimen take together, besides what each takes by itself."""
    extent = rounds[0]._replace(tiles=sum(each.tiles for each in rounds))
    each = [needs(step, extent) for step in OF_ROUNDS]
    return Plan(sum(need.wall(cores) + JOB for need in each), 0.0, max(need.memory for need in each), 0.0)


def described(found: Plan) -> str:
    """Returns a plan in words."""
    more = f" ({_time(found.training)} more if the network has to be trained)" if found.training else ""
    return f"about {_time(found.seconds)}{more}, {found.memory / 1000:.1f} GB of memory, {_size(found.disk)} of disk"


def _time(seconds: float) -> str:
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / MINUTE:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.1f} h"


def _size(megabytes: float) -> str:
    return f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1000:.1f} GB"
