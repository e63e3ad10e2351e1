"""Finds the distortion that all tiles of a camera share from the overlaps of its pairs (the displacement D of `core/lens.py`).

A point of the overlap lies at u in the fixed and at m in the moving tile. If the aligned windows f and g still differ there by
r = g - f, with slopes J, the increment D of the distortion and the increment q of the pair's own affine obey

    r + J (D(m) - D(u) + q(u)) = 0

This is solved by Gauss-Newton steps on the pixels of all pairs together. Pixels are weighted as in the fine registration
(`fine.py`), and their information is divided by its k. Blocks of pixels are summed before the terms of D are multiplied with
them, since D hardly changes within a block. Each pair's affine is eliminated, so that a pair says only what its own affine does
not explain (Schur's complement): its shift is free, since a distortion shifts all pairs of a side alike, which closes every
loop; its linear part is about zero with the deviation that the pairs of a side have from each other. What is left is added up
over the pairs, and `lens_model.py` decides which terms there are.

The first steps see blurred windows, since a strong distortion leaves the ends of an overlap px apart.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from dlir.core import affine, tables
from dlir.core.affine import BASIS, Array
from dlir.core.lens import HALF_95, POWERS, STEEPEST, Lens, basis
from dlir.core.robust import intrinsic_deviation
from dlir.core.tables import LINEAR_COVARIANCE
from dlir.registration.inference.fine import excess_variance, overlap_windows, pixel_weight
from dlir.registration.inference.lens_model import FEWEST_PAIRS, Evidence, choose_fit
from dlir.registration.model.filters import blur
from dlir.registration.model.lucas_kanade import gradients
from dlir.registration.model.noise_filter import above_noise
from dlir.registration.model.warping import grid, transform, warp
from dlir.registration.pairs.planes import TilePlanes
from dlir.registration.pairs.windows import WindowBatch, in_batches, in_window_frame, window_centres

log = logging.getLogger(__name__)
MOST_PAIRS = 240  # of a camera: more would say hardly more
LEAST_CONFIDENCE = 0.5  # of the pairs that are asked
LEAST = 0.05  # px at the corners: a smaller distortion is none
SIGMAS = (2.0, 1.0, 0.5, 0.5, 0.5)  # px, of the blur of the windows in each step
BLOCK, MOST_BLOCKS = 8, 64  # px, of the side of a block; so many, at most, lie along a window
LEAST_LINEAR_DEVIATION = 1e-4  # of the linear parts of pairs
DECIMALS = 5  # of px, to which coefficients are rounded, so that errors of rounding change no tile
STILL = 0.01  # px: when no coefficient moves further, the steps end
SHIFT_PRIOR = 10.0  # px, standard deviation of the shift of a pair

# Returns the tiles undistorted by the lenses of the cameras
PlanesWith = Callable[[Mapping[int, Lens]], TilePlanes]


class Overlap(NamedTuple):
    """What the n blocks of an overlap say: their displacement q minimises  q'M q - 2 q'e."""

    fixed: Array  # (n, 2) u, px of the undistorted fixed tile: the middles of the blocks
    moving: Array  # (n, 2) m, px of the undistorted moving tile
    information: Array  # (n, 2, 2) M, 1/px^2
    pull: Array  # (n, 2) e, 1/px


def find_lenses(found: pd.DataFrame, tiles: pd.DataFrame, planes_with: PlanesWith, device: torch.device) -> dict[int, Lens]:
    """Returns the distortion of each camera that its accepted pairs show; none for a camera without.

    Args:
        found: registered pairs (tables.AFFINES) of the raw tiles.
        tiles: tables.TILES.
        planes_with: returns the tiles, undistorted by lenses.
        device: where the pixels are compared.
    """
    camera = tiles.set_index("tile")["camera"]
    ends = [found[end].map(camera) for end in ("fixed", "moving")]
    sure = found["accepted"] & (found["confidence"] >= LEAST_CONFIDENCE) & (ends[0] == ends[1])
    lenses = {}
    for number, pairs in found[sure].groupby(ends[0][sure]):
        lens = _lens_of(int(str(number)), pairs, tiles, planes_with, device)
        if lens:
            lenses[int(str(number))] = lens
    return lenses


def _lens_of(
    camera: int, pairs: pd.DataFrame, tiles: pd.DataFrame, planes_with: PlanesWith, device: torch.device
) -> Lens | None:
    """The distortion that accepted pairs (tables.AFFINES) of a camera share, if there is one."""
    if len(pairs) < FEWEST_PAIRS:
        return None
    if len(pairs) > MOST_PAIRS:
        pairs = pairs.sample(MOST_PAIRS, random_state=0).sort_index()
    height, width = tables.sizes(tiles[tiles["camera"] == camera])[0].tolist()
    to_moving = affine.invert(affine.from_table(pairs))
    lens, model = Lens.of((height, width), np.zeros((len(POWERS), 2)), source="found"), ""
    for sigma in SIGMAS:
        overlaps = _overlaps(pairs, to_moving, sigma, tiles, planes_with({camera: lens} if model else {}), device)
        precision = _linear_precision(pairs, to_moving[:, :, :2])
        own = {k: _own(overlap, to_moving[k, :, :2], lens.size, precision) for k, overlap in overlaps.items()}
        before = lens.coefficients.T.ravel()
        pull = [one.pull + one.information @ before for one in own.values()]  # as if towards the whole distortion
        fit = choose_fit(Evidence(np.array([one.information for one in own.values()]), np.array(pull)))
        if fit is None:
            return None
        coefficients, deviation = (values.reshape(2, -1).T.round(DECIMALS) for values in (fit.coefficients, fit.deviation))
        lens, model = lens._replace(coefficients=coefficients, interval=HALF_95 * deviation), fit.model
        if lens.steepest() > STEEPEST:
            log.warning("camera %d: the pairs seem to show a distortion that folds the tiles; it is left out", camera)
            return None
        step = coefficients.T.ravel() - before
        for k, one in own.items():
            to_moving[k] = one.followed(to_moving[k], step)
        if sigma == SIGMAS[-1] and np.abs(step).max() < STILL:
            break
    most = float(np.linalg.norm(lens.at_corners(), axis=1).max())
    if most < LEAST:
        return None
    log.info("camera %d distorts all tiles alike, by up to %.2f px at the corners: %s", camera, most, model)
    return lens


class Own(NamedTuple):
    """A pair after its own affine was eliminated."""

    information: Array  # (m, m) of the coefficients
    pull: Array  # (m,)
    alone: Array  # (6,) by how much the affine changes without a step of the coefficients
    by_step: Array  # (6, m) and by how much less with it
    middle: Array  # (2,) px of the fixed tile
    half: float  # px

    def followed(self, to_moving: Array, step: Array) -> Array:
        """The affine (2, 3), a fixed px to a moving px, after this step (m,) of the coefficients."""
        change = (self.alone - self.by_step @ step).reshape(2, 3)
        linear = change[:, 1:] / self.half
        return np.asarray(to_moving + np.c_[linear, change[:, 0] - linear @ self.middle])


def _own(overlap: Overlap, linear: Array, size: tuple[int, int], precision: Array) -> Own:
    """What an overlap says of the coefficients.

    Args:
        linear: (2, 2) of the affine of the pair, a fixed px to a moving px.
        precision: (4, 4) of the prior of the entries of `linear`, about the identity.
    """
    middle, half = overlap.fixed.mean(axis=0), float(np.hypot(size[0] - 1, size[1] - 1) / 2)
    terms = basis(overlap.moving, size) - basis(overlap.fixed, size)  # (n, 18)
    affines = np.c_[np.ones(len(overlap.fixed)), (overlap.fixed - middle) / half]  # (n, 3)
    every = np.hstack([affines, terms])
    sides = len(every[0])
    normal = np.einsum("nab,ni,nj->aibj", overlap.information, every, every, optimize=True).reshape(2 * sides, 2 * sides)
    pull = np.einsum("na,ni->ai", overlap.pull, every).ravel()
    first = np.arange(2 * sides).reshape(2, sides)
    own, shared = first[:, :3].ravel(), first[:, 3:].ravel()
    prior, towards = np.zeros((6, 6)), np.zeros(6)
    entries = np.array([1, 2, 4, 5])
    prior[np.ix_(entries, entries)] = precision / half**2
    towards[entries] = -precision @ (linear - np.eye(2)).ravel() / half
    prior[[0, 3], [0, 3]] = 1 / SHIFT_PRIOR**2
    inverse = np.linalg.inv(normal[np.ix_(own, own)] + prior)
    across = normal[np.ix_(own, shared)]
    alone, by_step = inverse @ (pull[own] + towards), inverse @ across
    return Own(
        normal[np.ix_(shared, shared)] - across.T @ by_step, pull[shared] - across.T @ alone, alone, by_step, middle, half
    )


def _linear_precision(pairs: pd.DataFrame, linear: Array) -> Array:
    """The precision (4, 4) of the entries of linear parts (n, 2, 2), from how far those of a side differ from each other."""
    matrix = BASIS.reshape(4, 4)
    to_parts = matrix / (matrix**2).sum(axis=1, keepdims=True)
    parts = pd.DataFrame((linear - np.eye(2)).reshape(-1, 4) @ to_parts.T, pairs.index)
    covariance = to_parts @ pairs[LINEAR_COVARIANCE].to_numpy().reshape(-1, 4, 4) @ to_parts.T
    of_side = parts.groupby(pairs["side"])
    number = of_side[0].transform("size").to_numpy()
    apart = (parts - of_side.transform("median")).to_numpy()[number > 1]
    square, variance = apart**2 * (number / (number - 1).clip(1))[number > 1, None], covariance[number > 1]

    def deviation_of(k: int) -> float:
        return max(LEAST_LINEAR_DEVIATION, intrinsic_deviation(lambda s: square[:, k] / (variance[:, k, k] + s**2), 1))

    deviation = np.array([deviation_of(k) for k in range(len(BASIS))])
    return np.asarray(to_parts.T @ np.diag(deviation**-2) @ to_parts)


def _overlaps(
    pairs: pd.DataFrame, to_moving: Array, sigma: float, tiles: pd.DataFrame, planes: TilePlanes, device: torch.device
) -> dict[int, Overlap]:
    """The overlaps of pairs, by their position in the table; those that are too narrow are left out.

    Args:
        to_moving: affines (n, 2, 3), a fixed px to a moving px.
        sigma: px, of the blur of the windows.
    """
    start = affine.invert(to_moving)
    offset = affine.offsets(start, pairs[["centre_y", "centre_x"]].to_numpy())
    windows = overlap_windows(pairs.reset_index(drop=True), start, offset, tiles)
    if windows.empty:
        return {}
    work = partial(_overlaps_of_batch, sigma=sigma)
    rows = in_batches(windows, "overlaps of all pairs together", planes, device, work, coarsest=round(sigma) or 1)
    return dict(sorted(zip(rows.index.tolist(), rows["overlap"], strict=True)))


def _overlaps_of_batch(batch: WindowBatch, sigma: float) -> pd.DataFrame:
    """The overlaps of a batch, in the column `overlap`."""
    first, moving = (blur(window, sigma / batch.step) for window in above_noise(batch.fixed, batch.moving))
    to_moving = torch.from_numpy(in_window_frame(affine.from_table(batch.rows), batch)).to(first)
    second, mask = warp(moving, to_moving)
    if batch.shown:
        mask = mask * batch.shown[0] * (warp(batch.shown[1], to_moving)[0] > 0.99)
    weight = pixel_weight(first, second, mask) * mask
    excess = excess_variance(first, second, mask, weight)
    down, right = (slope / 4 for slope in gradients(first + second))
    difference, counts = (second - first)[..., 1:-1, 1:-1], weight[..., 1:-1, 1:-1]
    variance = (difference**2 * counts).sum((1, 2, 3)) / counts.sum((1, 2, 3)).clamp(min=1)
    scaled = counts / (excess * variance.clamp(min=1e-6)).view(-1, 1, 1, 1)
    maps = (down * down, down * right, right * right, -down * difference, -right * difference)
    block = max(BLOCK, -(-max(first.shape[-2:]) // MOST_BLOCKS))
    sums = torch.cat([F.avg_pool2d(one * scaled, block, ceil_mode=True, divisor_override=1) for one in maps], 1)
    height, width = first.shape[-2:]
    at_fixed = grid(height, width, first.device)
    at = torch.cat([at_fixed.expand(len(first), height, width, 2), transform(to_moving, at_fixed)], -1)
    at = F.avg_pool2d(at[:, 1:-1, 1:-1].permute(0, 3, 1, 2), block, ceil_mode=True, count_include_pad=False)
    totals, places = (each.flatten(2).mT.double().cpu().numpy() for each in (sums, at))
    centres = [middle[:, None] for middle in window_centres(batch)]
    overlaps = [
        Overlap(
            fixed + batch.step * place[:, :2],
            moving + batch.step * place[:, 2:],
            total[:, [0, 1, 1, 2]].reshape(-1, 2, 2) / batch.step**2,
            total[:, 3:] / batch.step,
        )
        for total, place, fixed, moving in zip(totals, places, *centres, strict=True)
    ]
    return pd.DataFrame({"overlap": overlaps}, batch.rows.index)
