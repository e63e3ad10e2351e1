"""The period of a specimen that repeats itself, as a lattice, and what is left of an image without its periodic part.

A specimen repeats itself when it looks the same after a shift by any sum of whole multiples of one vector (a grating), or of
two (a lattice of squares or hexagons). The autocorrelation of an image then has peaks at these shifts, that are nearly as
high as the one at zero, and hardly decrease with the distance. Its highest peaks give the vectors; a peak far out gives them
more exactly.

The autocorrelation at a shift t is that of the pixels p for which p + t lies in the image as well:

    sum f(p) f(p + t) / sqrt(sum f(p)^2  sum f(p + t)^2)

What breaks the period is left by a comb filter with the shortest vector v:

    q(p) = f(p) - (f(p + v) + f(p - v)) / 2

It removes everything that repeats itself, and the slope of the illumination. Near the edge, where one of the two terms lies
outside of the image, the other counts twice.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from dlir.core.affine import Array

Image = NDArray[np.float32]
FARTHEST = (
    0.8  # of the sides of an image: shifts to which the autocorrelation is taken; at those beyond, hardly any pixel counts
)
LEAST_PERIOD = 5.0  # px: noise and optics correlate nearer than that
LEAST_PEAK = 0.35  # autocorrelation of a specimen that repeats itself; those that do not rarely reach 0.3 away from zero
LEVEL = 0.5  # of the highest peak: peaks are separate where the autocorrelation drops below it between them
ALIKE = 0.85  # of the highest peak: other peaks that are as high belong to the lattice
AGAIN = 0.7  # of the peak at a vector, that the one at twice the vector has to reach
LONG = 2.5  # periods: a grating correlates with itself that far along its lines
LEAST_SINE = 0.3  # of the angle between the two vectors of a lattice


class Overlap(NamedTuple):
    """Correlation of an image with itself at shifts (y, x) of 0 to `reach[0]` and -`reach[1]` to `reach[1]` px."""

    ncc: Image  # (2 reach[0] + 1, 2 reach[1] + 1), the shift 0 in the middle
    reach: tuple[int, int]  # px

    def peak(self, shift: Array) -> tuple[float, Array]:
        """Returns the height and the place (y, x), px, of the peak within 2 px of a shift; nan where it lies too far out."""
        y, x = (np.rint(shift) + self.reach).astype(int)
        around = self.ncc[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
        if around.shape != (5, 5):
            return np.nan, shift
        y, x = np.array([y, x]) - 2 + np.unravel_index(around.argmax(), around.shape)
        return float(self.ncc[y, x]), np.array([y, x]) + parabola(self.ncc, y, x) - self.reach


def autocorrelation(image: Image) -> Overlap:
    """Returns the autocorrelation of an image (y, x) with mean zero."""
    height, width = image.shape
    reach = int(FARTHEST * height), int(FARTHEST * width)
    padded = [fft.next_fast_len(side + most, real=True) for side, most in zip(image.shape, reach, strict=True)]
    spectrum = fft.rfft2(image, padded)
    products = fft.irfft2(spectrum.real**2 + spectrum.imag**2, padded)
    down, right, left = products[: reach[0] + 1], np.arange(reach[1] + 1), np.arange(reach[1], 0, -1)
    squares = np.pad(np.cumsum(np.cumsum(image.astype(float) ** 2, 0), 1), ((1, 0), (1, 0)))
    y = np.arange(reach[0] + 1)[:, None]
    total, rows, low = squares[-1, -1], squares[height - y, width], squares[y, width]
    to_right = squares[height - y, width - right] * (total - low - squares[height, right] + squares[y, right])
    to_left = (rows - squares[height - y, left]) * (squares[height, width - left] - squares[y, width - left])
    energy = np.sqrt(np.concatenate([to_left, to_right], 1).clip(min=1e-6))
    half = (np.concatenate([down[:, -left], down[:, right]], 1) / energy).astype(np.float32)
    return Overlap(np.concatenate([half[:0:-1, ::-1], half]), reach)


def find_lattice(images: list[Image]) -> Array | None:
    """Returns the shortest vectors (1 or 2, 2) after which images repeat themselves, px (y, x); None where they do not.

    It is enough if a third of the images show the lattice.
    """
    overlaps = [autocorrelation(image) for image in images]
    repeating = [overlap for overlap in overlaps if _vectors(overlap) is not None]
    if 3 * len(repeating) < max(len(images), 1):
        return None
    mean = Overlap(np.mean([overlap.ncc for overlap in repeating], axis=0), repeating[0].reach)
    return _vectors(mean)


def _vectors(overlap: Overlap) -> Array | None:
    """The shortest vectors (1 or 2, 2) of the lattice in an autocorrelation; None where there is none."""
    middle = np.array(overlap.reach)
    labels, count = ndimage.label(overlap.ncc > LEVEL * LEAST_PEAK)
    labels[labels == labels[tuple(middle)]] = 0
    highest = float(overlap.ncc[labels > 0].max(initial=0))
    if highest < LEAST_PEAK:
        return None
    labels, count = ndimage.label(overlap.ncc > LEVEL * highest)
    central = labels == labels[tuple(middle)]
    high = np.flatnonzero(labels)  # few: to sort all shifts would take longer than all else
    highest_of = ndimage.maximum_position(overlap.ncc.ravel()[high], labels.ravel()[high], np.arange(1, count + 1))
    peaks = np.stack(np.unravel_index(high[np.array(highest_of, int).ravel()], labels.shape), 1)
    heights, shifts = overlap.ncc[*peaks.T], peaks - middle
    distance = np.linalg.norm(shifts, axis=1)
    chosen = (heights >= ALIKE * heights[distance > 0].max(initial=0)) & (distance >= LEAST_PERIOD)
    if not chosen.any():
        return None
    shifts = shifts[chosen][np.argsort(distance[chosen], kind="stable")].astype(float)
    if _is_long(central, float(np.linalg.norm(shifts[0]))):
        return _grating(overlap, central)
    sine = np.abs(shifts[0, 0] * shifts[:, 1] - shifts[0, 1] * shifts[:, 0])
    oblique = sine > LEAST_SINE * np.linalg.norm(shifts[0]) * np.linalg.norm(shifts, axis=1)
    if not oblique.any():
        return _refined(overlap, shifts[:1])
    return _refined(overlap, np.stack([shifts[0], shifts[oblique][0]]))


def _is_long(central: NDArray[np.bool_], period: float) -> bool:
    """Whether the peak at zero is as long as lines make it."""
    y, x = np.nonzero(central)
    at_edge = np.r_[y == 0, y == central.shape[0] - 1, x == 0, x == central.shape[1] - 1].any()
    extent = np.hypot(y - central.shape[0] // 2, x - central.shape[1] // 2).max()
    return bool(at_edge or extent > LONG * period)


def _grating(overlap: Overlap, central: NDArray[np.bool_]) -> Array | None:
    """The vector (1, 2) across the lines of a grating, from the direction of the peak at zero."""
    shifts = np.argwhere(central) - overlap.reach
    across = np.linalg.eigh(shifts.T @ shifts)[1][:, 0]
    steps = np.arange(0, min(overlap.reach), 0.5)
    profile = ndimage.map_coordinates(overlap.ncc, (steps[:, None] * across + overlap.reach).T, order=1, mode="nearest")
    inner, before, after = profile[1:-1], profile[:-2], profile[2:]
    beyond = np.minimum.accumulate(profile)[1:-1] < LEVEL * LEAST_PEAK  # the peak at zero has ended
    tops = np.flatnonzero((inner >= before) & (inner > after) & beyond & (steps[1:-1] >= LEAST_PERIOD)) + 1
    if not len(tops) or profile[tops].max() < LEAST_PEAK:
        return None
    first = tops[profile[tops] >= ALIKE * profile[tops].max()][0]
    return _refined(overlap, across[None] * steps[first])


def _refined(overlap: Overlap, vectors: Array) -> Array | None:
    """The vectors (k, 2), k = 1 or 2, fitted to the peaks at their multiples; None where these are too low."""
    line = len(vectors) == 1
    for most in (1, 2, 3, 5, 8, 13):
        numbers = np.stack(np.meshgrid(*[np.arange(-most, most + 1)] * len(vectors)), -1).reshape(-1, len(vectors))
        numbers = numbers[(numbers @ vectors)[:, 0] >= 0]
        found = [overlap.peak(shift) for shift in numbers @ vectors]
        heights = np.array([height for height, _ in found])
        places = np.array([place for _, place in found])
        if line:  # along the lines the peak lies anywhere
            unit = vectors[0] / np.linalg.norm(vectors[0])
            places = (places @ unit)[:, None] * unit
        used = (heights > LEVEL * LEAST_PEAK) & numbers.any(axis=1)
        if np.linalg.matrix_rank(numbers[used]) < len(vectors):
            return None
        vectors = np.linalg.lstsq(numbers[used], places[used], rcond=None)[0]
    for vector in vectors:
        once, twice = (overlap.peak(k * vector)[0] for k in (1, 2))
        if not (
            once >= LEAST_PEAK and twice >= AGAIN * once
        ):  # nor where they are nan: the image shows less than three periods
            return None
    return vectors


def parabola(values: NDArray[np.floating], y: int, x: int) -> Array:
    """Returns how far (2,), px, the top of the parabolas along y and x through a peak lies from its pixel."""
    top, moved = float(values[y, x]), np.zeros(2)
    for axis, (dy, dx) in enumerate(((1, 0), (0, 1))):
        if 0 < y < values.shape[0] - 1 and 0 < x < values.shape[1] - 1:
            before, after = float(values[y - dy, x - dx]), float(values[y + dy, x + dx])
            curvature = before - 2 * top + after
            moved[axis] = np.clip((before - after) / (2 * curvature), -0.5, 0.5) if curvature < 0 else 0.0
    return moved


def nearest(vectors: Array, shifts: Array) -> Array:
    """Returns the vector (n, 2) of a lattice that is nearest to each shift (n, 2); across the lines of a grating.

    Args:
        vectors: (1 or 2, 2) the shortest vectors of the lattice.
    """
    start = np.rint(shifts @ np.linalg.pinv(vectors)) @ vectors
    candidates = start[:, None] + neighbours(vectors)
    left = shifts[:, None] - candidates
    if len(vectors) == 1:
        left = left @ vectors.T
    best = (left**2).sum(axis=2).argmin(axis=1)
    return np.asarray(candidates[np.arange(len(shifts)), best])


def neighbours(vectors: Array) -> Array:
    """Returns the zero vector and those next to it (3 or 9, 2) of a lattice."""
    numbers = np.stack(np.meshgrid(*[[0, 1, -1]] * len(vectors), indexing="ij"), -1).reshape(-1, len(vectors))
    return np.asarray(numbers @ vectors)


def lattice_points(vectors: Array, reach: float) -> Array:
    """Returns the vectors (n, 2) of a lattice up to at least `reach` px, the zero vector among them."""
    most = int(np.ceil(reach / np.linalg.svd(vectors)[1].min()))
    numbers = np.stack(np.meshgrid(*[np.arange(-most, most + 1)] * len(vectors)), -1).reshape(-1, len(vectors))
    return np.asarray(numbers @ vectors)


def across_lines(shifts: Array, vectors: Array) -> Array:
    """Returns the components (..., k) of shifts (..., 2), px, that k lattice vectors know: across the lines of a grating."""
    return shifts if len(vectors) == 2 else np.asarray(shifts @ (vectors / np.linalg.norm(vectors)).T)


def without_period(image: Image, vector: Array) -> tuple[Image, Image]:
    """Returns an image (y, x) after the comb filter, and what it subtracts from the image.

    Args:
        vector: (2,) px, after which the specimen repeats itself.
    """
    coefficients = ndimage.spline_filter(image, order=3, output=np.float32)
    sides = []
    for shift in (vector, -vector):
        side = ndimage.shift(coefficients, -shift, order=3, mode="constant", cval=np.nan, prefilter=False)
        sides.append(side)
    both = np.stack(sides)
    count = np.isfinite(both).sum(axis=0)
    periodic = np.nan_to_num(both).sum(axis=0) / np.maximum(count, 1)
    return np.where(count > 0, image - periodic, 0).astype(np.float32), periodic.astype(np.float32)
