"""What each step needs for a dataset: processor time, memory and disk. Imports nothing heavy, since the Snakefile does.

The numbers were measured on two cores (`benchmarks/whole.py`), and grow with the number of tiles and of pixels. `dlir plan`
tells them for a run, and the rules of the workflow ask for them.
"""

import math
import time
from typing import NamedTuple

PYTHON, TORCH = 0.7, 2.2  # s, to start a step, and one that uses the network
REFERENCE = 0.24  # s, that the work of `slowness` takes on the machine on which these numbers were measured
TRAINING_STEP = 0.55  # s of a core
SURVEYED = 100  # tiles that the survey looks at, at most
MOST_LEARNT = 384.0  # MB of the tiles that the illumination is learnt from
POOLED = 8.0  # megapixels of a tile: larger ones are pooled for that
SHARD_BLOCKS = 30  # blocks of a shard, of 4 bytes a pixel, that each fusion holds
KEPT = 160.0  # MB of tiles that registration holds


class Extent(NamedTuple):
    """How many tiles a dataset has, and how large they are."""

    tiles: int
    columns: int
    height: int  # px
    width: int
    channels: int
    planes: int  # z planes times time points
    itemsize: int  # bytes of a pixel of one channel

    @property
    def plane(self) -> float:
        """Megapixels of one channel of a tile."""
        return self.height * self.width / 1e6

    @property
    def pixels(self) -> float:
        """Megapixels of all planes and channels of all tiles."""
        return self.tiles * self.plane * self.channels * self.planes

    @property
    def registered(self) -> float:
        """Megapixels of all tiles that registration sees: one plane, of all channels."""
        return self.tiles * self.plane * self.channels

    @property
    def pairs(self) -> int:
        """Neighbours in a full grid."""
        rows = math.ceil(self.tiles / max(self.columns, 1))
        return max(2 * self.tiles - rows - self.columns, 0)


class Need(NamedTuple):
    """What a step needs."""

    seconds: float  # of one core, for what cannot be shared
    shared: float  # seconds of one core, for what the cores share
    memory: float  # MB
    disk: float = 0.0  # MB that stay

    def wall(self, cores: int) -> float:
        """Returns how many seconds the step takes with so many cores."""
        return self.seconds + self.shared / max(1, min(cores, 8))


def needs(step: str, extent: Extent, *, training: int = 0, shard: int = 2048) -> Need:
    """Returns what a step needs.

    Args:
        training: training steps, if the network is trained; see `Train.steps`.
        shard: px, side of the files of the mosaic.
    """
    count, plane, registered = extent.tiles, extent.plane, extent.registered
    tile = 4 * plane * extent.channels  # MB, as float32
    held = 300 + 4 * tile  # of a step that looks at one tile after the other
    if step == "tiles":
        return Need(PYTHON + 0.001 * count, 0.006 * registered, held)
    if step == "survey":
        return Need(PYTHON + 0.5 + 0.02 * plane * min(count, SURVEYED), 0.0, held)
    if step == "illumination":
        learnt = min(registered, max(MOST_LEARNT / extent.itemsize, 16 * plane * extent.channels))
        if plane > POOLED:
            return Need(PYTHON + 0.016 * learnt, 0.0, 300 + 3 * tile)
        return Need(PYTHON + 0.06 * learnt, 0.0, 300 + 2 * extent.itemsize * learnt + 12 * tile)
    if step == "train":
        return Need(TORCH + 1.5, TRAINING_STEP * training, 700 + 4 * tile + (600 if training else 0))
    if step == "register":
        looked = extent.pairs * (0.012 + 0.07 * plane)
        return Need(TORCH + 2.5 + 0.004 * count, looked, 850 + min(KEPT, count * 4 * plane) + 5 * tile)
    if step == "selfcheck":
        return Need(PYTHON, 0.0, 850 + 5 * tile)
    if step == "ome_tiff":
        return Need(PYTHON, 0.06 * extent.pixels, 300 + 4 * extent.columns * tile, extent.itemsize * extent.pixels)
    if step in ("mosaic", "band"):
        blocks = SHARD_BLOCKS * 4 * (shard / 1000) ** 2
        return Need(PYTHON + 0.5, 0.045 * extent.pixels, 300 + 8 * tile + blocks, extent.itemsize * extent.pixels)
    if step in ("place", "place_rounds"):
        return Need(PYTHON + 0.5 + 0.004 * count, 0.0, 400 + 0.1 * count + 4 * tile)
    if step == "rounds":  # with `train_rounds` and `between`: each tile meets four of another round
        looked = 4 * count * (0.012 + 0.07 * plane) + TRAINING_STEP * training
        return Need(TORCH + 4.5 + 0.02 * registered, looked, 900 + 2 * KEPT + 5 * tile + (600 if training else 0))
    if step == "local":  # two rounds are fused, and compared patch by patch
        return Need(TORCH + 2.0, 0.1 * extent.pixels, 700 + 2 * 40 * tile)
    if step == "report_rounds":
        return Need(TORCH + 2.0 + 0.3 * count + 0.016 * registered, 0.0, 700 + 8 * tile, 4.0 + 0.12 * registered)
    if step == "report":
        return Need(PYTHON + 2.0 + 0.001 * count + 0.016 * registered, 0.0, 500 + 4 * tile, 4.0 + 0.12 * registered)
    return Need(PYTHON + 0.001 * count, 0.01 * registered, held)


def slowness() -> float:
    """Returns how many times longer this machine takes for a piece of work than that on which the numbers were measured."""
    start, total = time.process_time(), 0
    for number in range(6_000_000):
        total += number & 7
    return (time.process_time() - start) / REFERENCE
