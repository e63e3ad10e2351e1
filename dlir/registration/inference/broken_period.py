"""What breaks the period of a specimen that repeats itself, and whether it shows at which offset a pair of windows matches.

A comb filter removes what repeats itself (`period.without_period`). What is left, q, are defects, dirt or cells. They decide
for an offset if the NCC of q in both windows has a peak far above chance there, and if q differs at all other offsets that
are alike by the lattice: the mean square of q_f - q_g is larger there than at the peak. The peak alone would not do. At a
wrong offset, one defect may cover another, while both lie outside of the true overlap.

By chance the NCC of n pixels scatters with the variance (Bartlett 1935)

    var c = sum over shifts s  rho_f(s) rho_g(s) / n

where rho is the autocorrelation of either window.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import fft, ndimage

from dlir.core.affine import Array
from dlir.registration.model.filters import high_pass
from dlir.registration.model.period import Image, across_lines, lattice_points, nearest, parabola, without_period
from dlir.registration.pairs.planes import TilePlanes

OPTICS = 1.0  # px, sigma of the blur before the comb filter, so that interpolation is nearly exact
OPTICS_AREA = 4 * np.pi * OPTICS**2  # px, of noise after the blur and the comb filter: so many px are as good as one
MARGIN = 4  # px beyond a period that interpolation may need
BACKGROUND = 10.0  # px, sigma of the blur that is subtracted after the comb filter
ABOVE_CHANCE = (
    6.0  # standard deviations by chance, of the NCC and of the mean square difference, beyond which they say something
)
LEAST_SHARE = 0.002  # of the power of what repeats itself: what breaks the period by less may be moiré of the pixels
CONTRADICTED = 1.5  # times the least mean square difference, and more if it is by chance: at such an offset the tiles differ
SAME = 1.5  # px: shifts that are nearer to each other are one
LEAST_COUNT = 500  # px: shifts at which a smaller area of the windows overlaps are not looked at


class Broken(NamedTuple):
    """What breaks the period in a window."""

    image: Image  # (y, x) with mean zero
    repeats: float  # NCC of the window with itself one period further
    power: float  # variance of what repeats itself


class Matches(NamedTuple):
    """How well two windows match at all shifts (y, x) in a box."""

    first: NDArray[np.int64]  # (2,) px, the shift of the first entries
    ncc: Array  # (m, n)
    above_chance: Array  # (m, n) the NCC in standard deviations by chance
    difference: Array  # (m, n) the mean square difference
    covariance: Array  # (m, n) the mean product
    area: Array  # (m, n) px, the area that overlaps


def what_breaks(planes: TilePlanes, tile: int, window: tuple[int, ...], vector: Array) -> Broken:
    """Returns what breaks the period in a window of a tile.

    Args:
        window: px, the first pixel (y, x), the height and the width.
        vector: (2,) px, after which the specimen repeats itself.
    """
    y, x, height, width = window
    reach = np.ceil(np.abs(vector)).astype(int) + MARGIN
    top, left = max(y - reach[0], 0), max(x - reach[1], 0)
    part = planes.plane(tile, slice(top, y + height + reach[0]), slice(left, x + width + reach[1]))
    part = ndimage.gaussian_filter(part - part.mean(), OPTICS, mode="nearest")
    inner = slice(y - top, y - top + height), slice(x - left, x - left + width)
    broken, periodic = (image[inner] for image in without_period(part, vector))
    both = high_pass(torch.from_numpy(np.stack([part[inner], periodic])[:, None]), float(np.linalg.norm(vector)))
    broken = broken - ndimage.gaussian_filter(broken, BACKGROUND, mode="nearest", truncate=3.0)
    if (shown := planes.shown(tile)) is not None:
        broken = broken * shown[y : y + height, x : x + width]
    return Broken(broken, float((both[0] * both[1]).mean()), float(periodic.var()))


def decided_shift(
    fixed: Broken, moving: Broken, expected: Array, estimate: Array, reach: float, vectors: Array
) -> Array | None:
    """Returns the shift (y, x), px, that what breaks the period in two windows decides for; None where it does not decide.

    Fixed pixel p matches moving pixel p + shift.

    Args:
        fixed, moving: what breaks the period in windows of one size.
        expected, reach: px, the shifts that are looked at.
        estimate: (2,) px, the shift that the method found.
        vectors: (1 or 2, 2) the shortest vectors of the lattice, px.
    """
    matches = _matches(fixed.image, moving.image, expected, reach)
    top = np.unravel_index(matches.above_chance.argmax(), matches.above_chance.shape)
    least = LEAST_SHARE * np.sqrt(fixed.power * moving.power)
    if not (matches.above_chance[top] > ABOVE_CHANCE and matches.covariance[top] > least):
        return None
    shift = matches.first + top
    off_lattice = across_lines(shift - estimate - nearest(vectors, (shift - estimate)[None])[0], vectors)
    if np.linalg.norm(off_lattice) > SAME:  # what repeats itself does not match there
        return None
    alike = np.concatenate([middle + lattice_points(vectors, 2 * reach) for middle in (shift, estimate)])
    y, x = (np.rint(alike[np.linalg.norm(alike - shift, axis=1) > SAME]) - matches.first).astype(int).T
    inside = (y >= 0) & (x >= 0) & (y < matches.area.shape[0]) & (x < matches.area.shape[1])
    y, x = y[inside], x[inside]
    y, x = (along[matches.area[y, x] >= LEAST_COUNT] for along in (y, x))
    difference = ndimage.minimum_filter(matches.difference, 3, mode="nearest")
    by_chance = np.sqrt(2 * OPTICS_AREA / np.minimum(matches.area[y, x], matches.area[top]))
    if (difference[y, x] < difference[top] * (CONTRADICTED + ABOVE_CHANCE * by_chance)).any():
        return None
    return shift + parabola(matches.ncc, int(top[0]), int(top[1]))


def _matches(fixed: Image, moving: Image, expected: Array, reach: float) -> Matches:
    """How well two windows match at the shifts up to `reach` from the expected one, px."""
    padded = [fft.next_fast_len(2 * side, real=True) for side in fixed.shape]
    ends = [fft.rfft2(image, padded) for image in (fixed, moving, fixed**2, moving**2, np.ones_like(fixed))]
    first, second, first_square, second_square, inside = ends
    least, most = (
        np.clip(np.rint(expected + edge), 1 - np.array(fixed.shape), np.array(fixed.shape) - 1).astype(int)
        for edge in (-reach, reach)
    )
    box = np.ix_(*(np.arange(low, high + 1) % length for low, high, length in zip(least, most, padded, strict=True)))
    product, energy, other, count = (
        fft.irfft2(a.conj() * b, padded)[box]
        for a, b in ((first, second), (first_square, inside), (inside, second_square), (inside, inside))
    )
    powers = [spectrum.real**2 + spectrum.imag**2 for spectrum in (first, second)]
    correlated = (powers[0] * powers[1]).sum() * powers[0].size / max(powers[0].sum() * powers[1].sum(), 1e-12)
    enough = count >= LEAST_COUNT
    ncc = product / np.sqrt((energy * other).clip(min=1e-6))
    above_chance = np.where(enough, ncc * np.sqrt(count.clip(min=0) / max(correlated, 1.0)), -np.inf)
    area = count.clip(min=1)
    return Matches(least, ncc, above_chance, (energy + other - 2 * product) / area, product / area, area)
