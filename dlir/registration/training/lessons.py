"""What a network learns from: synthetic and real pairs of a dataset, or of two rounds of a specimen.

Synthetic pairs are cut from tiles in the shape of the real overlaps. Some tiles are held out, for checks.
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from dlir.core import tables
from dlir.illumination import fields
from dlir.reading.image_files import Plane
from dlir.reading.tile_reader import read_table
from dlir.registration.pairs.neighbours import MULTIPLE
from dlir.registration.pairs.planes import TilePlanes
from dlir.registration.pairs.synthetic import Shape, SyntheticPairs, overlap_shape, piece, stack_tiles, synthetic_pairs
from dlir.registration.pairs.windows import COARSEST, batches
from dlir.registration.settings import Train
from dlir.registration.training.loop import LONGEST, TrainingData

MOST = 64  # tiles of each dataset, and as many pairs: more need more memory and teach little
WIDEST = 128  # px, short side of the windows in training; the trained network registers windows of any size
HELD_OUT = 0.15  # fraction of the tiles that the network is checked on
LEAST_PIECE = 640  # px, side of what is cut from a tile at least, if it is that large: no more of it is kept in memory

Files = tuple[Path, Path, Path]  # tiles, illumination and pairs of a dataset


class Source(NamedTuple):
    """A dataset that a network may learn from."""

    planes: TilePlanes
    pairs: pd.DataFrame  # tables.PAIRS
    tiles: list[int]  # at most MOST of the usual size, in random order
    shapes: list[Shape]  # of synthetic pairs
    seed: int

    def image(self, tile: int) -> Plane:
        """A tile, or of a large one a part as large as synthetic pairs need."""
        needed = max((shape.width + 2 * math.ceil(shape.search) for shape in self.shapes), default=0)
        side = max(LEAST_PIECE, needed // MULTIPLE * MULTIPLE)
        return piece(self.planes.plane(tile), side, np.random.default_rng([self.seed, tile]))


def read_source(files: Files, settings: Train) -> Source:
    """Reads what a dataset teaches."""
    tiles, illumination, pairs = files
    table = read_table(tiles)
    return source(table, TilePlanes(table, fields.read(illumination, table)), tables.read(pairs, tables.PAIRS), settings)


def source(tiles: pd.DataFrame, planes: TilePlanes, pairs: pd.DataFrame, settings: Train) -> Source:
    """Returns what tiles (tables.TILES) and their pairs (tables.PAIRS) teach."""
    usual = tables.of_usual_size(tiles)
    chosen = np.random.default_rng(settings.seed).permutation(usual["tile"].to_numpy())[:MOST]
    size = tables.sizes(usual)[0].tolist()
    shapes = [shape for _, group in pairs.groupby("side") if (shape := overlap_shape(group, size, LONGEST, WIDEST))]
    return Source(planes, pairs, chosen.tolist(), shapes, settings.seed)


def training_data(source: Source, device: torch.device, settings: Train) -> tuple[TrainingData, TrainingData]:
    """What the network learns from in one dataset, and what it is checked on.

    The architecture dlir can only learn its own pairs, so it learns from all of them, and is checked on them.
    """
    images = [source.image(tile) for tile in source.tiles]
    count = max(1, round(HELD_OUT * len(images)))
    learn, held_out = (stack_tiles(part, device) for part in (images[count:] or images, images[:count]))
    rows, planes = source.pairs, source.planes
    if settings.architecture == "dlir":
        real = list(batches(rows, planes, len(rows), device)) if len(rows) else []
        return TrainingData(learn, [], real), TrainingData(held_out, [], real)
    free = rows[~rows[["fixed", "moving"]].isin(source.tiles[:count]).any(axis=1)]
    real = list(batches(free.head(MOST), planes, MOST, device, coarsest=COARSEST))
    return TrainingData(learn, source.shapes, real), TrainingData(held_out, source.shapes, [])


def check_pairs(
    held_out: TrainingData, count: int, batch: int, generator: torch.Generator
) -> list[tuple[Shape, SyntheticPairs]]:
    """So many batches of synthetic pairs of the tiles that are held out, with the shape of each."""
    shapes = [held_out.shapes[i % len(held_out.shapes)] for i in range(count if held_out.shapes else 0)]
    return [(shape, synthetic_pairs(held_out.tiles, shape, batch, generator)) for shape in shapes]
