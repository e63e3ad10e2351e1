"""The fine registration: it compares nothing but the overlap of two tiles, starting from what all pairs together predict.

**Why.** The first registration compares search windows, which are larger than the overlap. At the border of the overlap one
window ends, while the specimen continues in the other, so a filter gives different results there. This shifts the estimate by
a little, and always so that the overlap gets smaller: along a row of tiles the errors add up. So a second registration cuts
windows that end at the same place of the specimen in both tiles. Where that is, and how the tiles are turned and scaled, the
placement by all pairs predicts better than a single pair shows it. But a placement may be wrong. So a pair that contradicts it
is moved there only if that makes it more exact than it was; otherwise it starts from itself.

**What is minimised.** Both windows pass the noise filter (`noise_filter.py`), which gives f (fixed) and g (moving). With the
residuals r(p) = g(A p) - f(p) and their variance s^2, Gauss-Newton steps (`lucas_kanade.py`; Lucas and Kanade 1981) find the
affine A that minimises

    sum over px  w r^2 / s^2  +  k P(A)

where P is the prior on the linear part. Where the specimen is empty, both windows show nothing but noise. So the weight of a
pixel is the gain of a Wiener filter,

    w = S / (S + N)  min(1, (S + N) / (S + R))^2

where the signal S is the local mean of the product f g, and the noise N is half of the mean of r^2. The second factor is near
zero where half the local mean R of r^2 is far larger than that: there the tiles do not show the same thing, like debris that
moved between the exposures. Such places do not count for N either. The weight of blind pixels is 0.

**How exact the result is.** Least squares takes r as independent from pixel to pixel, and the slopes J (the mean of those of f
and g) as free of noise. In truth r has a power spectrum R, and J contains slopes of the noise, whose power is (dr)^2 / 4, dr
being the slope of r. So the variance of the result is k times what least squares says, with

    k = ( sum |F(w J)|^2 R / (n sum w J^2 var r) ) ( sum w J^2 / sum w (J^2 - (dr)^2 / 4) )^2

for n frequencies and the Fourier transform F. The first factor is the sandwich estimator (Huber 1967), the second corrects for
regression dilution. R is the spectrum of sqrt(w) r, and var r is weighted likewise: r is not alike everywhere, and only where
the pixels count does it move the result. Debris of one tile alone does not, and empty places have less noise than bright ones.
Since the pixels say less than they seem to, the prior counts k times as much as well.
"""

from functools import partial

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.core.tables import BOW
from dlir.registration.inference.cache import IDENTITY, EstimateCache
from dlir.registration.model import aperture
from dlir.registration.model.aperture import power_spectrum
from dlir.registration.model.bow import bow
from dlir.registration.model.estimate import SHIFT
from dlir.registration.model.filters import EPSILON, blur
from dlir.registration.model.lucas_kanade import Refined, gradients, refine
from dlir.registration.model.noise_filter import above_noise
from dlir.registration.model.warping import warp
from dlir.registration.pairs.neighbours import with_overlaps
from dlir.registration.pairs.planes import TilePlanes
from dlir.registration.pairs.windows import WindowBatch, affine_columns, in_batches, in_window_frame

MULTIPLE = 8  # px: the longer side of a window is cut to a multiple, so that many windows have one size and make a batch
LEAST_SIDE = 8  # px: pairs whose overlap is narrower are not refined
START_STEP = 0.25  # px: predicted offsets are rounded to multiples, so that the cache finds pairs that have hardly moved
LINEAR_START_STEP = START_STEP / 256  # the same for linear parts: at 256 px from the centre it moves a px by START_STEP
FARTHEST = 1.0  # px: so far from where it starts an exact pair may be found, and others farther by what their covariance allows
INLIER = 3.0  # standard deviations: a pair that is found farther off keeps its first estimate
LEAST_DEVIATION = 0.004  # px, of a shift, which is never taken to be smaller: no optics and no interpolation are exact
SIGMA = 0.5  # px, of the blur before the steps, which makes linear interpolation between pixels more exact
SIGNAL_SIGMA = 8.0  # px, of the Gaussian that gives the local mean in the weights
ITERATIONS = 3  # Gauss-Newton steps in each of the two rounds
LOG_EXCESS = 2.3  # logarithm of k in the first round, before it is measured
LEAST_SLOPE_SHARE = 0.05  # of the power of the slopes, which is never taken as noise


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
    """Replaces the affines and covariances of the accepted pairs in `found` (tables.AFFINES) by those of the fine registration.

    A pair that is found far from where it starts, or whose overlap is too narrow, keeps what it has.

    Args:
        predicted: the affine (n, 2, 3) of each pair, a moving px to a fixed px, as the placement by all pairs predicts it.
        cache: estimates of earlier runs of the fine registration.
        linear: the standard deviation of the linear parts from the identity.
    """
    pairs, predicted = found[found["accepted"]], predicted[found["accepted"].to_numpy(bool)]
    centre = pairs[["centre_y", "centre_x"]].to_numpy()
    own, offset = affine.offsets(affine.from_table(pairs), centre), affine.offsets(predicted, centre)
    contradicts = pairs.index[~_near(own - offset, pairs)]
    again = partial(
        _refined,
        tiles=tiles,
        cache=cache,
        linear=linear,
        planes=planes,
        device=device,
    )
    refined = again(pairs, offset, predicted[:, :, :2])
    worse = contradicts.intersection(refined.index)
    worse = worse[_longest(refined.loc[worse]) > _longest(pairs.loc[worse])]
    refined = refined.drop(index=worse)
    alone = pairs.index.isin(contradicts.difference(refined.index))
    if alone.any():
        refined = pd.concat([refined, again(pairs[alone], own[alone], predicted[alone, :, :2])])
    columns = refined.columns.difference(IDENTITY)
    found.loc[refined.index, columns] = refined[columns]


def _refined(
    pairs: pd.DataFrame,
    offset: Array,
    linear_part: Array,
    *,
    tiles: pd.DataFrame,
    cache: EstimateCache,
    linear: float,
    planes: TilePlanes,
    device: torch.device,
) -> pd.DataFrame:
    """Returns the fine registration of those pairs that are found near where they start.

    Args:
        offset: (n, 2) px, of the moving tile from the fixed one, at which the pairs start.
        linear_part: (n, 2, 2) of the affines at which they start.
        tiles: tables.TILES.
    """
    centre = pairs[["centre_y", "centre_x"]].to_numpy()
    start = affine.moving(
        centre, (offset / START_STEP).round() * START_STEP, (linear_part / LINEAR_START_STEP).round() * LINEAR_START_STEP
    )
    windows = overlap_windows(pairs, start, offset, tiles)
    if windows.empty:
        return pairs[:0]
    estimate = partial(in_batches, planes=planes, device=device, work=partial(_refine_batch, linear=linear))
    refined = cache.complete(windows, "pairs in their overlap", linear, estimate=estimate)
    tried = np.isin(pairs.index, refined.index)
    return refined[_near(affine.offsets(affine.from_table(refined), centre[tried]) - offset[tried], refined)]


def _longest(pairs: pd.DataFrame) -> Array:
    """The variance (n,), px^2, of the shifts of pairs along the axis on which they are least certain."""
    return np.asarray(np.linalg.eigvalsh(tables.shift_covariance(pairs))[:, 1])


def _near(apart: Array, pairs: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether pairs (n,) lie as near to other places as FARTHEST and their covariance allow; they are `apart` (n, 2), px."""
    allowed = tables.shift_covariance(pairs) + (FARTHEST / INLIER) ** 2 * np.eye(2)
    return np.asarray(np.einsum("na,nab,nb->n", apart, np.linalg.inv(allowed), apart) < INLIER**2)


def overlap_windows(pairs: pd.DataFrame, start: Array, offset: Array, tiles: pd.DataFrame) -> pd.DataFrame:
    """Returns the pairs with windows that hold exactly their overlap (tables.PAIRS), and the affines to start from.

    Pairs whose overlap is too narrow are left out.

    Args:
        start: affines (n, 2, 3), a moving px to a fixed px.
        offset: (n, 2) px, of the moving tile from the fixed one, which decides the overlap.
        tiles: tables.TILES.
    """
    nominal_y, nominal_x = offset.round().T
    rows = pairs[IDENTITY].assign(**affine.to_columns(start), nominal_y=nominal_y, nominal_x=nominal_x, search=0.0)
    windows = with_overlaps(rows, tiles)
    sides = windows[["height", "width"]].to_numpy()
    windows[["height", "width"]] = sides - sides % np.where(sides > sides.min(axis=1, keepdims=True), MULTIPLE, 1)
    return windows[(windows[["height", "width"]] >= LEAST_SIDE).all(axis=1)]


def _refine_batch(batch: WindowBatch, linear: float) -> pd.DataFrame:
    """Returns the pairs of a batch with their refined affines and covariances, as columns of tables.AFFINES."""
    fixed, moving = (blur(window, SIGMA) for window in above_noise(batch.fixed, batch.moving))
    start = torch.from_numpy(in_window_frame(affine.from_table(batch.rows), batch)).to(fixed)
    warped, mask = warp(moving, start)
    if batch.shown:
        mask = mask * batch.shown[0] * (warp(batch.shown[1], start)[0] > 0.99)
        fixed, moving = _standardised_over(mask, fixed, fixed), _standardised_over(mask, moving, warped)
        warped, _ = warp(moving, start)
    refined, covariance, weight = refine_windows(fixed, moving, start, warped, mask, linear)
    covariance[:, SHIFT, SHIFT] += (LEAST_DEVIATION / batch.step) ** 2
    bent = batch.step * bow(*refined.maps[:2], weight * refined.maps[2])
    return batch.rows[IDENTITY].assign(
        **affine_columns(refined.affine, covariance, batch), **dict(zip(BOW, bent.double().cpu().numpy().T, strict=True))
    )


def refine_windows(
    fixed: Tensor, moving: Tensor, start: Tensor, warped: Tensor, mask: Tensor, linear: float
) -> tuple[Refined, Tensor, Tensor]:
    """Returns refined affines of filtered windows (b, 1, h, w), their covariances (b, 6, 6), and the weights of the pixels.

    The first round of steps, which begins at the affines `start` (b, 2, 3), aligns the windows, so that k can be measured; the
    second uses it. `warped` and `mask` are what `warp` gives at `start`; `linear` is as in `refine`.
    """
    weight = pixel_weight(fixed, warped, mask) * mask
    prior = fixed.new_tensor([LOG_EXCESS, 0.0])
    aligned = refine(fixed, moving, start, 1, ITERATIONS, prior, linear, weight)
    excess = excess_variance(*aligned.maps[:2], aligned.maps[2] * mask, weight)
    prior = torch.stack([excess.log(), torch.zeros_like(excess)]).view(2, -1, 1, 1)
    refined = refine(fixed, moving, aligned.affine, 1, ITERATIONS, prior, linear, weight)
    return refined, excess.view(-1, 1, 1) * aperture.covariance(refined, 1, weight), weight


def _standardised_over(mask: Tensor, window: Tensor, aligned: Tensor) -> Tensor:
    """Returns windows (b, 1, h, w) less their mean and divided by their deviation, both over a mask (b, 1, h, w).

    Args:
        aligned: (b, 1, h, w) the windows in the frame of the mask.
    """
    count = mask.sum((2, 3), keepdim=True).clamp(min=1)
    mean = (aligned * mask).sum((2, 3), keepdim=True) / count
    variance = ((aligned - mean) ** 2 * mask).sum((2, 3), keepdim=True) / count
    return (window - mean) / (variance + EPSILON).sqrt()


def pixel_weight(fixed: Tensor, moving: Tensor, mask: Tensor) -> Tensor:
    """The weight w of each pixel (b, 1, h, w) of aligned windows (b, 1, h, w), of which `mask` (b, 1, h, w) is shared."""
    signal = blur(fixed * moving, SIGNAL_SIGMA).clamp(min=0)
    square = (fixed - moving) ** 2 * mask
    local = blur(square, SIGNAL_SIGMA) / 2
    alike = torch.ones_like(mask)
    for _ in range(2):  # the noise is that of the pixels that show the same
        counts = alike * mask
        noise = (square * alike).sum((2, 3), keepdim=True) / (2 * counts.sum((2, 3), keepdim=True)).clamp(min=1)
        alike = ((signal + noise) / (signal + local + EPSILON)).clamp(max=1) ** 2
    return alike * signal / (signal + noise + EPSILON)


def excess_variance(fixed: Tensor, moving: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """The factor k (b,), at least one, by which least squares takes too small a variance, from aligned windows (b, 1, h, w)."""
    covered, weights = mask[..., 1:-1, 1:-1], (mask * weight)[..., 1:-1, 1:-1]
    residual = (moving - fixed)[..., 1:-1, 1:-1] * covered
    spectrum = power_spectrum(residual * weights.sqrt()) / weights.sum((2, 3), keepdim=True).clamp(min=1)
    variance = (residual**2 * weights).sum((1, 2, 3)) / weights.sum((1, 2, 3)).clamp(min=1)
    # `gradients` gives twice the slope: `both` is 4 J, and `difference` is 2 dr
    correlated, slopes, noise = (torch.zeros_like(variance) for _ in range(3))
    for first, second in zip(gradients(fixed), gradients(moving), strict=True):
        both, difference = first + second, first - second
        correlated = correlated + (power_spectrum(both * weights) * spectrum).mean((1, 2, 3))
        slopes = slopes + (both**2 * weights).sum((1, 2, 3))
        noise = noise + (difference**2 * weights).sum((1, 2, 3))
    sandwich = correlated / (variance * slopes).clamp(min=EPSILON)
    dilution = slopes / (slopes - noise).clamp(min=LEAST_SLOPE_SHARE * slopes).clamp(min=EPSILON)
    return (sandwich * dilution**2).clamp(min=1)
