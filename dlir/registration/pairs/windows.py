"""The windows of pairs as batches: tiles are read once, freed of the camera's patterns, cut, and stacked by equal size."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlir.core import affine
from dlir.core.affine import Array
from dlir.core.progress import progress
from dlir.core.tables import LINEAR_COVARIANCE
from dlir.illumination import fields
from dlir.illumination.fields import Fields
from dlir.reading import image_files
from dlir.reading.tile_reader import TileReader
from dlir.registration.model.checkpoint import full_precision
from dlir.registration.model.estimate import LINEAR, SHIFT, best_point, covariance_at

BATCH, BATCH_GPU = 8, 128  # pairs at a time
CACHED = 256  # tiles kept in memory: more than two rows of most grids
CELL = 4  # px, to which the shift that is expected and the search are rounded: the network searches no finer


class WindowBatch(NamedTuple):
    """Windows of equal size of several pairs, which are searched alike."""

    rows: pd.DataFrame  # of tables.PAIRS
    fixed: Tensor  # (b, 1, h, w)
    moving: Tensor  # (b, 1, h, w)
    search: float  # px around the centre
    centre: tuple[float, float]  # (y, x): fixed px p is expected at moving px p + centre


class TilePlanes:
    """The tiles of a dataset as registration sees them: the reference of each, (y, x) float32, corrected."""

    def __init__(self, tiles: pd.DataFrame, patterns: Fields) -> None:
        self.paths = dict(zip(tiles["tile"], tiles["path"], strict=True))
        self.stacks = TileReader(tiles)
        self.fields = patterns.of(self.stacks.chosen)
        self.plane = lru_cache(maxsize=CACHED)(self._plane)

    @classmethod
    def of_arrays(cls, images: Sequence[image_files.Plane]) -> Self:
        """Tiles 0, 1, ... that are images (y, x) in memory, already corrected."""
        planes = cls.__new__(cls)
        planes.plane = lru_cache(maxsize=None)(images.__getitem__)
        return planes

    def _plane(self, tile: int) -> image_files.Plane:
        return np.asarray(fields.correct(self.stacks.reference(self.paths[tile]), self.fields).mean(axis=0))

    def window(self, tile: int, y: int, x: int, height: int, width: int) -> image_files.Plane:
        """A part of a tile in units of its own standard deviation."""
        crop = self.plane(tile)[y : y + height, x : x + width]
        return np.asarray((crop - crop.mean()) / (crop.std() + 1e-6))


def expected_shift(rows: pd.DataFrame) -> NDArray[np.float64]:
    """Where the nominal offset puts a fixed px in the moving window, less its place in the fixed window: (n, 2) px."""
    fixed = rows[["fixed_y", "fixed_x"]].to_numpy()
    return np.asarray(fixed - rows[["nominal_y", "nominal_x"]].to_numpy() - rows[["moving_y", "moving_x"]].to_numpy())


def in_window_frame(known: Array, batch: WindowBatch) -> Array:
    """Affines (b, 2, 3) of the tiles, a moving px to a fixed px, as affines of the windows: a fixed px to a moving px about
    their centres."""
    fixed, moving = _centres(batch)
    return affine.compose(affine.translation(-moving), affine.compose(affine.invert(known), affine.translation(fixed)))


def affine_columns(found: Tensor, covariance: Tensor, batch: WindowBatch) -> dict[str, Array]:
    """The columns of tables.AFFINES that tell affines (b, 2, 3) of the windows, and their covariance (b, 6, 6): in the tiles,
    about the point where the shift is surest."""
    fixed, moving = _centres(batch)
    told, full = found.double().cpu(), covariance.double().cpu()
    middle = torch.tensor([(side - 1) / 2 for side in batch.fixed.shape[-2:]], dtype=torch.float64)
    point = best_point(full, told[:, :, 2], middle)
    shift = covariance_at(full, point)[:, SHIFT][:, :, SHIFT].numpy()
    windows = told.numpy()
    tiles = affine.compose(affine.translation(fixed), affine.compose(affine.invert(windows), affine.translation(-moving)))
    centre = affine.apply(windows, point.numpy()[:, None])[:, 0] + moving
    linear = full[:, LINEAR][:, :, LINEAR].reshape(-1, len(LINEAR_COVARIANCE)).T.numpy()
    return {
        **affine.to_columns(tiles),
        **dict(zip(("centre_y", "centre_x"), centre.T, strict=True)),
        **dict(zip(("var_y", "cov_yx", "var_x"), (shift[:, 0, 0], shift[:, 0, 1], shift[:, 1, 1]), strict=True)),
        **dict(zip(LINEAR_COVARIANCE, linear, strict=True)),
    }


def _centres(batch: WindowBatch) -> tuple[Array, Array]:
    """The centres (b, 2) of the fixed and the moving windows, px of their tiles."""
    middle = (np.array(batch.fixed.shape[-2:]) - 1) / 2
    fixed, moving = (batch.rows[[f"{end}_y", f"{end}_x"]].to_numpy() + middle for end in ("fixed", "moving"))
    return fixed, moving


def in_batches(
    pairs: pd.DataFrame, what: str, planes: TilePlanes, device: torch.device, work: Callable[[WindowBatch], pd.DataFrame]
) -> pd.DataFrame:
    """What `work` makes of the pairs (tables.PAIRS), called `what`, batch by batch; without gradients.

    On the CPU each thread takes a batch: they wait for each other less than if they shared every operation.
    """
    on_cpu, threads = device.type == "cpu", torch.get_num_threads()
    groups = _groups(pairs, BATCH if on_cpu else BATCH_GPU)

    @torch.no_grad()  # which holds for the thread that says so
    def done(rows: pd.DataFrame) -> pd.DataFrame:
        return work(_batch(rows, planes, device))

    try:
        workers = ThreadPoolExecutor(threads if on_cpu else 1, initializer=torch.set_num_threads, initargs=(1,))
        with full_precision(), workers as pool:
            return pd.concat(progress(pool.map(done, groups), f"registering {what}", len(pairs), size=len))
    finally:
        torch.set_num_threads(threads)


def batches(pairs: pd.DataFrame, planes: TilePlanes, size: int, device: torch.device) -> Iterator[WindowBatch]:
    """The pairs (tables.PAIRS) in batches of at most `size`, those with windows of one size and one search together."""
    return (_batch(rows, planes, device) for rows in _groups(pairs, size))


def _groups(pairs: pd.DataFrame, size: int) -> list[pd.DataFrame]:
    """The pairs (tables.PAIRS) of each batch of at most `size`, with the columns centre_y, centre_x and reach, px.

    What a pair's search is does not depend on the others, so that its estimate holds whatever else is registered.
    """
    expected = np.rint(expected_shift(pairs).round(6) / CELL) * CELL  # decimals beyond are errors of the stage's places
    search = np.ceil(pairs["search"].to_numpy(float).round(6) / CELL) * CELL
    table = pairs.assign(centre_y=expected[:, 0], centre_x=expected[:, 1], reach=search)
    groups = table.groupby(["side", "height", "width", "centre_y", "centre_x", "reach"], sort=True)
    return [group.iloc[start : start + size] for _, group in groups for start in range(0, len(group), size)]


def _batch(rows: pd.DataFrame, planes: TilePlanes, device: torch.device) -> WindowBatch:
    """The pairs of a group with their windows."""
    fixed = _stack(planes, rows[["fixed", "fixed_y", "fixed_x", "height", "width"]], device)
    moving = _stack(planes, rows[["moving", "moving_y", "moving_x", "height", "width"]], device)
    centre_y, centre_x, reach = (float(rows[name].iloc[0]) for name in ("centre_y", "centre_x", "reach"))
    return WindowBatch(rows, fixed, moving, reach, (centre_y, centre_x))


def _stack(planes: TilePlanes, windows: pd.DataFrame, device: torch.device) -> Tensor:
    """The windows (tile, y, x, height, width) as a batch (b, 1, height, width)."""
    crops = [planes.window(*(int(v) for v in window)) for window in windows.to_numpy()]
    return torch.from_numpy(np.stack(crops)[:, None]).to(device)
