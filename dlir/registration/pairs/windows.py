"""The windows of pairs as batches of tensors: cut from the planes of the tiles (`planes.py`), and stacked where they have one
size. It also converts affines between windows and tiles.

In a batch an affine takes a pixel of the fixed window to a pixel of the moving window, each about the window's centre. In
tables it takes a pixel of the moving tile to a pixel of the fixed tile.

Large windows may be pooled: each of their pixels is then the mean of `step` x `step` px of the tile.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dlir.core import affine
from dlir.core.affine import Array
from dlir.core.progress import progress
from dlir.core.tables import LINEAR_COVARIANCE
from dlir.reading import image_files
from dlir.registration.model.checkpoint import full_precision
from dlir.registration.model.estimate import LINEAR, SHIFT, best_point, covariance_at
from dlir.registration.model.filters import standardise
from dlir.registration.pairs.neighbours import MULTIPLE, ROUND
from dlir.registration.pairs.planes import TilePlanes

CPU_BATCH, GPU_BATCH = 8, 128  # pairs, at most, that are registered at a time, by each thread of a CPU and by a GPU
CPU_PIXELS = 400_000  # of the windows of such a batch on a CPU, at most, where they are several: more only take more memory
ENOUGH_PIXELS = 100_000  # of a window: larger ones are pooled, which is quicker and averages the noise
ENOUGH_OF_ROUNDS = 20_000  # the same for tiles of two rounds, which lie where they are told to
COARSEST = 4  # px by which windows are pooled: finer structure than this could be lost
LARGE_PIXELS = 430_000  # of a window, pooled or not: on a CPU such windows are registered one after the other, to save memory
MOST_PIXELS = 1_300_000  # of a window: even larger ones are pooled whatever is asked for, since nothing else bounds the memory
NARROWEST = 32  # cells: no side of a pooled window is shorter
CELL = 4  # px, to which the expected shift and the search are rounded: the coarse search resolves no less


class WindowBatch(NamedTuple):
    """The windows of several pairs, which have one size and are searched around one shift."""

    rows: pd.DataFrame  # of tables.PAIRS
    fixed: Tensor  # (b, 1, h, w)
    moving: Tensor  # (b, 1, h, w)
    search: float  # px, how far the shift may lie from the centre along either axis
    centre: tuple[float, float]  # px (y, x): fixed pixel p is expected at moving pixel p + centre, about the windows' centres
    shown: tuple[Tensor, Tensor] | None = (
        None  # (b, 1, h, w) of both windows, 1 away from blind pixels, if there are any, else 0
    )
    step: int = 1  # px of a tile along the side of a px of the windows; search and centre are px of the windows


def expected_shift(rows: pd.DataFrame) -> NDArray[np.float64]:
    """Returns the shift (n, 2), px, that the nominal offsets of pairs (tables.PAIRS) predict between their windows.

    Fixed pixel p is expected at moving pixel p + shift, both counted from the first pixels of their windows, or both from the
    centres.
    """
    fixed = rows[["fixed_y", "fixed_x"]].to_numpy()
    return np.asarray(fixed - rows[["nominal_y", "nominal_x"]].to_numpy() - rows[["moving_y", "moving_x"]].to_numpy())


def in_window_frame(tile_affines: Array, batch: WindowBatch) -> Array:
    """Converts affines from tiles to windows.

    Args:
        tile_affines: (b, 2, 3) a pixel of the moving tile to one of the fixed tile.

    Returns:
        (b, 2, 3) a pixel of the fixed window to one of the moving window, about their centres.
    """
    fixed, moving = window_centres(batch)
    inverse = affine.invert(tile_affines)
    windows = affine.compose(affine.translation(-moving), affine.compose(inverse, affine.translation(fixed)))
    return np.asarray(windows / [1.0, 1.0, batch.step])  # shifts are px of the windows


def affine_columns(window_affines: Tensor, covariance: Tensor, batch: WindowBatch) -> dict[str, Array]:
    """Converts affines from windows to tiles, as columns of tables.AFFINES.

    The columns centre_y and centre_x are the point of the moving tile at which the affine is most certain; var_y, cov_yx and
    var_x are the covariance of the shift of that point.

    Args:
        window_affines: (b, 2, 3) a pixel of the fixed window to one of the moving window, about their centres.
        covariance: (b, 6, 6) of their entries.
    """
    fixed, moving = window_centres(batch)
    to_tile = torch.tensor([1.0, 1.0, batch.step], dtype=torch.float64)  # shifts are px of the windows
    affines = window_affines.double().cpu() * to_tile
    full = covariance.double().cpu() * torch.outer(to_tile.repeat(2), to_tile.repeat(2))
    corner = torch.tensor([(batch.step * side - 1) / 2 for side in batch.fixed.shape[-2:]], dtype=torch.float64)
    point = best_point(full, affines[:, :, 2], corner)
    shift = covariance_at(full, point)[:, SHIFT][:, :, SHIFT].numpy()
    windows = affines.numpy()
    tiles = affine.compose(affine.translation(fixed), affine.compose(affine.invert(windows), affine.translation(-moving)))
    centre = affine.apply(windows, point.numpy()[:, None])[:, 0] + moving
    linear = full[:, LINEAR][:, :, LINEAR].reshape(-1, len(LINEAR_COVARIANCE)).T.numpy()
    return {
        **affine.to_columns(tiles),
        **dict(zip(("centre_y", "centre_x"), centre.T, strict=True)),
        **dict(zip(("var_y", "cov_yx", "var_x"), (shift[:, 0, 0], shift[:, 0, 1], shift[:, 1, 1]), strict=True)),
        **dict(zip(LINEAR_COVARIANCE, linear, strict=True)),
    }


def window_centres(batch: WindowBatch) -> tuple[Array, Array]:
    """The centres (b, 2) of the fixed and of the moving windows, px of their tiles."""
    middle = (batch.rows[["height", "width"]].iloc[0].to_numpy(float) - 1) / 2
    fixed, moving = (batch.rows[[f"{end}_y", f"{end}_x"]].to_numpy() + middle for end in ("fixed", "moving"))
    return fixed, moving


def in_batches(
    pairs: pd.DataFrame,
    what: str,
    planes: TilePlanes,
    device: torch.device,
    work: Callable[[WindowBatch], pd.DataFrame],
    *,
    coarsest: int | None = 1,
) -> pd.DataFrame:
    """Applies `work` to the windows of all pairs, batch by batch and without gradients, and joins the tables that it returns.

    On a CPU each thread works on a batch of its own, with one thread of torch: this is quicker than if all threads shared every
    operation. So `work` has to bear being called from several threads.

    Args:
        pairs: tables.PAIRS.
        what: names the pairs in the log.
        work: returns a table with one row for each pair of a batch.
        coarsest: by how many px large windows are pooled; see `pooling`.
    """
    on_cpu, threads = device.type == "cpu", torch.get_num_threads()
    groups = _groups(pairs, CPU_BATCH if on_cpu else GPU_BATCH, coarsest, CPU_PIXELS if on_cpu else None)

    @torch.no_grad()  # holds for one thread, so it is set in each
    def worked(rows: pd.DataFrame) -> pd.DataFrame:
        return work(_batch(rows, planes, device))

    large = any(rows[["height", "width"]].iloc[0].prod() > LARGE_PIXELS * rows["step"].iloc[0] ** 2 for rows in groups)
    at_a_time = threads if on_cpu and not large else 1
    try:
        workers = ThreadPoolExecutor(at_a_time, initializer=torch.set_num_threads, initargs=(threads // at_a_time,))
        with full_precision(), workers as pool:
            return pd.concat(progress(pool.map(worked, groups), f"registering {what}", len(pairs), size=len))
    finally:
        torch.set_num_threads(threads)


def batches(
    pairs: pd.DataFrame, planes: TilePlanes, size: int, device: torch.device, *, coarsest: int = 1
) -> Iterator[WindowBatch]:
    """Yields the pairs (tables.PAIRS) in batches of at most `size`, those with one window size and one search together."""
    return (_batch(rows, planes, device) for rows in _groups(pairs, size, coarsest))


def pooling(pairs: pd.DataFrame, coarsest: int | None = COARSEST) -> NDArray[np.int64]:
    """Returns by how many px (n,), 1, 2, 4 and so on, the windows of pairs (tables.PAIRS) are pooled.

    Args:
        coarsest: the most px for windows of more than ENOUGH_PIXELS; only those of more than MOST_PIXELS are pooled further.
            None for windows that are never pooled.
    """
    sides = pairs[["height", "width"]].to_numpy(int)
    steps = np.ones(len(pairs), np.int64)
    enough = np.where(pairs["side"] == ROUND, ENOUGH_OF_ROUNDS, ENOUGH_PIXELS)
    while coarsest:
        area = sides.prod(axis=1) / steps**2
        large = ((area > enough) & (steps < coarsest)) | (area > MOST_PIXELS)
        large &= sides.min(axis=1) >= 2 * NARROWEST * steps
        if not large.any():
            break
        steps[large] *= 2
    return steps


def pooled(windows: Tensor, step: int) -> Tensor:
    """Returns windows (b, 1, h, w) pooled by `step` about their centres, as those of `in_batches` are."""
    if step == 1:
        return windows
    height, width = (side // (MULTIPLE * step) * MULTIPLE * step for side in windows.shape[-2:])
    y, x = (windows.shape[-2] - height) // 2, (windows.shape[-1] - width) // 2
    small = F.avg_pool2d(windows[..., y : y + height, x : x + width], step)
    return standardise(small - small.mean(dim=(2, 3), keepdim=True))


def _groups(pairs: pd.DataFrame, size: int, coarsest: int | None, pixels: int | None = None) -> list[pd.DataFrame]:
    """The pairs (tables.PAIRS) of each batch of at most `size`, with the columns centre_y, centre_x and reach, px, and step.

    The expected shift and the search of a pair are rounded without regard to the other pairs, so that the estimate of a pair
    does not depend on which others are registered, and can be cached.

    Args:
        pixels: of the windows of a batch of several pairs, at most; None for any number.
    """
    steps = pooling(pairs, coarsest)
    cell = (CELL * steps)[:, None]
    # rounded first: positions of the stage differ in their last decimals
    expected = np.rint(expected_shift(pairs).round(6) / cell) * cell
    rounded = (cell[:, 0] - CELL) / 2  # by which the rounding of a pooled window moves its centre further
    search = np.ceil((pairs["search"].to_numpy(float).round(6) + rounded) / cell[:, 0]) * cell[:, 0]
    table = pairs.assign(centre_y=expected[:, 0], centre_x=expected[:, 1], reach=search, step=steps)
    found = []
    for _, group in table.groupby(["side", "height", "width", "centre_y", "centre_x", "reach"], sort=True):
        height, width, step = group[["height", "width", "step"]].iloc[0].to_numpy(int).tolist()
        most = size if pixels is None else max(1, min(size, pixels * step**2 // max(1, height * width)))
        found += [group.iloc[start : start + most] for start in range(0, len(group), most)]
    return found


def _batch(rows: pd.DataFrame, planes: TilePlanes, device: torch.device) -> WindowBatch:
    """The pairs of a group with their windows; pooled ones are cut, about their centres, to sides that the network takes."""
    step = int(rows["step"].iloc[0])
    size = rows[["height", "width"]].iloc[0].to_numpy(int)
    kept = size // (MULTIPLE * step) * MULTIPLE * step if step > 1 else size
    cut = (size - kept) // 2
    first = {end: rows[[f"{end}_y", f"{end}_x"]].to_numpy(int) + cut for end in ("fixed", "moving")}
    height, width = kept.tolist()
    cuts = {
        end: [(int(tile), int(y), int(x)) for tile, (y, x) in zip(rows[end], first[end], strict=True)]
        for end in ("fixed", "moving")
    }
    windows = [_stack([planes.window(*cut, height, width, step) for cut in each], device) for each in cuts.values()]
    centre_y, centre_x, reach = (float(rows[name].iloc[0]) / step for name in ("centre_y", "centre_x", "reach"))
    shown = None
    masks = [
        [mask[y : y + height, x : x + width] for tile, y, x in each if (mask := planes.shown(tile)) is not None]
        for each in cuts.values()
    ]
    if masks[0]:
        parts = [_stack(of_end, device) for of_end in masks]
        shown = (-F.max_pool2d(-parts[0], step), -F.max_pool2d(-parts[1], step))  # a px is shown where all that it means are
    return WindowBatch(rows, windows[0], windows[1], reach, (centre_y, centre_x), shown, step)


def _stack(parts: list[image_files.Plane], device: torch.device) -> Tensor:
    """Images (h, w) as a tensor (b, 1, h, w)."""
    return torch.from_numpy(np.stack(parts)[:, None]).to(device)
