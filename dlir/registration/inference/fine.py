"""The exact look at pairs that are found: at nothing but their overlap, and where there is something to see.

Near the edge of a tile a filter sees the specimen on one side only, while in the other tile it goes on. The two differ there,
always in the direction that makes the overlap smaller: by little, but all along a row of tiles. In windows that end at the
same place of the specimen they do not. Where that is, and how tiles are turned and scaled, all pairs together tell better than
each alone: from there each sets out, and its windows end alike at the point that shows most.

What is compared is both crops as far as they rise above their noise (`spectrum.py`), which is as much as a filter can do that
is the same everywhere. Where the specimen is empty, noise alone is left: so a pixel counts as much as a Wiener filter passes,

    w = S / (S + N)

S being what the two crops share around it, the mean of their product, and N the power of what differs between them.

How sure the shift is, the residuals tell themselves. Least squares takes them as independent from pixel to pixel, and the
slopes J as free of noise. What differs between the crops, r, has the spectrum R instead, and its own slopes are in J; so the
variance is

    ( sum |F(w J)|^2 R / (n sum w J^2 var r) ) ( sum w J^2 / sum w (J^2 - (dr)^2 / 4) )^2

times as large (a sandwich; Huber 1967), and so much the more count the linear parts that are known.
"""

from functools import partial

import numpy as np
import pandas as pd
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from dlir.core import affine
from dlir.core.affine import Array
from dlir.registration.inference.cache import NAMES, EstimateCache
from dlir.registration.model.filters import EPSILON, blur
from dlir.registration.model.lucas_kanade import gradients, refine
from dlir.registration.model.noise_filter import above_noise
from dlir.registration.model.warping import warp
from dlir.registration.pairs.neighbours import with_overlaps
from dlir.registration.pairs.windows import TilePlanes, WindowBatch, affine_columns, in_batches, in_window_frame

MULTIPLE = 8  # px, of which the longer side of a window is one, so that many are alike, and make a batch
LEAST_SIDE = 8  # px, of a window that shows enough
STEP = 0.25  # px, to which the place is rounded where a look begins
TURN = STEP / 256  # of linear parts, in that way
MOVED = 1.0  # px, that a pair should not lie from where it was found
SIGMA = 0.5  # px, of the blur that lets a linear interpolation follow the crops
AROUND = 8.0  # px, of the Gaussian under which signal is local
ITERATIONS = 3  # of either round
PRIOR = 2.3  # logarithm of that factor, before it is known
LEAST_SLOPE = 0.05  # of the slopes' power, that is not noise


def refine_overlaps(
    found: pd.DataFrame,
    predicted: Array,
    tiles: pd.DataFrame,
    *,
    cache: EstimateCache,
    linear: float,
    planes: TilePlanes,
    device: torch.device,
) -> None:
    """Replace the affines of the accepted pairs in `found` (tables.AFFINES), and their covariances, by exact ones.

    A pair that is found elsewhere, or whose overlap is too narrow, stays as it was.

    Args:
        predicted: the affine (n, 2, 3) of each pair, a moving px to a fixed px, as the placement by all pairs predicts it.
        linear: the deviation of their linear parts from the identity.
    """
    accepted = found["accepted"].to_numpy(bool)
    right, predicted = found[accepted], predicted[accepted]
    at = right[["centre_y", "centre_x"]].to_numpy()
    offset = affine.offsets(predicted, at)
    size = tiles[["height", "width"]].iloc[0].to_numpy(int)
    # in steps, so that a pair is the same as before where the tiles have hardly moved
    start = affine.moving(at, (offset / STEP).round() * STEP, (predicted[:, :, :2] / TURN).round() * TURN)
    near = right[NAMES].assign(
        **affine.to_columns(start), nominal_y=offset[:, 0].round(), nominal_x=offset[:, 1].round(), search=0.0
    )
    windows = with_overlaps(near, size)
    sides = windows[["height", "width"]].to_numpy()
    windows[["height", "width"]] = sides - sides % np.where(sides > sides.min(axis=1, keepdims=True), MULTIPLE, 1)
    windows = windows[(windows[["height", "width"]] >= LEAST_SIDE).all(axis=1)]
    if windows.empty:
        return
    work = partial(in_batches, planes=planes, device=device, work=partial(_rows, linear=linear))
    exact = cache.complete(windows, "overlaps", linear, estimate=work)
    here = np.isin(right.index, exact.index)
    moved = affine.offsets(affine.from_table(exact), at[here]) - offset[here]
    kept, columns = exact.index[np.linalg.norm(moved, axis=1) < MOVED], exact.columns.difference(NAMES)
    found.loc[kept, columns] = exact.loc[kept, columns]


def _rows(batch: WindowBatch, linear: float) -> pd.DataFrame:
    """The pairs of a batch with their affines, which are about there."""
    first, second = (blur(crop, SIGMA) for crop in above_noise(batch.fixed, batch.moving))
    start = torch.from_numpy(in_window_frame(affine.from_table(batch.rows), batch)).to(first)
    weight = _weight(first, *warp(second, start))
    found, _, shared = refine(first, second, start, 1, ITERATIONS, first.new_tensor([PRIOR, 0.0]), linear, weight)
    excess = _excess(*shared, weight)
    prior = torch.stack([excess.log(), torch.zeros_like(excess)]).view(2, -1, 1, 1)
    found, information, _ = refine(first, second, found, 1, ITERATIONS, prior, linear, weight)
    covariance = excess.view(-1, 1, 1) * torch.linalg.inv(information.double() + 1e-9 * torch.eye(6).to(information))
    return batch.rows[NAMES].assign(**affine_columns(found, covariance, batch))


def _weight(fixed: Tensor, moving: Tensor, mask: Tensor) -> Tensor:
    """How much each pixel (b, 1, h, w) counts, of crops that are aligned, in the mask of what they share."""
    noise = ((fixed - moving) ** 2 * mask).sum((2, 3), keepdim=True) / (2 * mask.sum((2, 3), keepdim=True)).clamp(min=1)
    signal = blur(fixed * moving, AROUND).clamp(min=0)
    return signal / (signal + noise + EPSILON)


def _excess(fixed: Tensor, moving: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """How many times (b,), at least one, the variance of least squares is that of independent residuals and exact slopes."""
    covered, counts = mask[..., 1:-1, 1:-1], (mask * weight)[..., 1:-1, 1:-1]
    differs = (moving - fixed)[..., 1:-1, 1:-1] * covered
    residuals = _power(differs) / covered.sum((2, 3), keepdim=True).clamp(min=1)
    variance = (differs**2 * counts).sum((1, 2, 3)) / counts.sum((1, 2, 3)).clamp(min=1)
    seen, slopes, noise = (torch.zeros_like(variance) for _ in range(3))
    for first, second in zip(gradients(fixed), gradients(moving), strict=True):
        both = first + second
        seen = seen + (_power(both * counts) * residuals).mean((1, 2, 3))
        slopes = slopes + (both**2 * counts).sum((1, 2, 3))
        noise = noise + ((first - second) ** 2 * counts).sum((1, 2, 3))
    alike = seen / (variance * slopes).clamp(min=EPSILON)
    exact = slopes / (slopes - noise).clamp(min=LEAST_SLOPE * slopes).clamp(min=EPSILON)
    return (alike * exact**2).clamp(min=1)


def _power(image: Tensor) -> Tensor:
    """The power spectrum (b, 1, p, q) of images (b, 1, h, w), continued by zeros to a size that is fast."""
    return torch.as_tensor(torch.fft.fft2(image, s=[next_fast_len(n) for n in image.shape[-2:]])).abs() ** 2
