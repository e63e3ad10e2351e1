"""The windows of pairs as batches: tiles are read once, freed of the camera's patterns, cut, and stacked by equal size."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlir import images, light
from dlir.stacks import Stacks

CACHED = 256  # tiles kept in memory: more than two rows of most grids
CELL = 4  # px, to which the shift that is expected and the search are rounded: the network searches no finer


class Batch(NamedTuple):
    """Windows of equal size of several pairs, which are searched alike."""

    rows: pd.DataFrame  # of tables.PAIRS
    fixed: Tensor  # (b, 1, h, w)
    moving: Tensor  # (b, 1, h, w)
    search: float  # px around the centre
    centre: tuple[float, float]  # (y, x): fixed px p is expected at moving px p + centre


class Planes:
    """The tiles of a dataset as registration sees them: the reference of each, (y, x) float32, corrected."""

    def __init__(self, tiles: pd.DataFrame, illumination: Path) -> None:
        self.paths = dict(zip(tiles["tile"], tiles["path"], strict=True))
        self.stacks = Stacks(tiles)
        self.light = light.read(illumination, tiles).of(self.stacks.chosen)
        self.plane = lru_cache(maxsize=CACHED)(self._plane)

    def _plane(self, tile: int) -> images.Plane:
        return np.asarray(light.correct(self.stacks.reference(self.paths[tile]), self.light).mean(axis=0))

    def window(self, tile: int, y: int, x: int, height: int, width: int) -> images.Plane:
        """A part of a tile in units of its own standard deviation."""
        crop = self.plane(tile)[y : y + height, x : x + width]
        return np.asarray((crop - crop.mean()) / (crop.std() + 1e-6))


def displacement(rows: pd.DataFrame) -> NDArray[np.float64]:
    """Where the nominal offset puts a fixed px in the moving window, less its place in the fixed window: (n, 2) px."""
    fixed = rows[["fixed_y", "fixed_x"]].to_numpy()
    return np.asarray(fixed - rows[["nominal_y", "nominal_x"]].to_numpy() - rows[["moving_y", "moving_x"]].to_numpy())


def batches(pairs: pd.DataFrame, planes: Planes, size: int, device: torch.device) -> Iterator[Batch]:
    """The pairs (tables.PAIRS) in batches of at most `size`, those with windows of one size and one search together."""
    return (batch(alike, planes, device) for alike in batched(pairs, size))


def batched(pairs: pd.DataFrame, size: int) -> list[pd.DataFrame]:
    """The pairs (tables.PAIRS) of each batch of at most `size`, with the columns centre_y, centre_x and reach, px.

    What a pair's search is does not depend on the others, so that its estimate holds whatever else is registered.
    """
    expected = np.rint(displacement(pairs).round(6) / CELL) * CELL  # decimals beyond are errors of the stage's places
    search = np.ceil(pairs["search"].to_numpy(float).round(6) / CELL) * CELL
    table = pairs.assign(centre_y=expected[:, 0], centre_x=expected[:, 1], reach=search)
    groups = table.groupby(["side", "height", "width", "centre_y", "centre_x", "reach"], sort=True)
    return [group.iloc[start : start + size] for _, group in groups for start in range(0, len(group), size)]


def batch(rows: pd.DataFrame, planes: Planes, device: torch.device) -> Batch:
    """The pairs of `batched` with their windows."""
    fixed = _stack(planes, rows[["fixed", "fixed_y", "fixed_x", "height", "width"]], device)
    moving = _stack(planes, rows[["moving", "moving_y", "moving_x", "height", "width"]], device)
    centre_y, centre_x, reach = (float(rows[name].iloc[0]) for name in ("centre_y", "centre_x", "reach"))
    return Batch(rows, fixed, moving, reach, (centre_y, centre_x))


def _stack(planes: Planes, windows: pd.DataFrame, device: torch.device) -> Tensor:
    """The windows (tile, y, x, height, width) as a batch (b, 1, height, width)."""
    crops = [planes.window(*(int(v) for v in window)) for window in windows.to_numpy()]
    return torch.from_numpy(np.stack(crops)[:, None]).to(device)
