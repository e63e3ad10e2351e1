"""The correlation of two thumbnails over all shifts, and what unrelated tiles reach by chance.

The score of a shift s is

    z(s) = sum p / sqrt(sum p^2 + RIDGE n + 1)        p = a(x + s) b(x), over the n px that overlap

If a and b are unrelated, z is a standard normal number whatever n is; so thin overlaps do not win by chance, and since z is at
most sqrt(n), neither does a single bright spot. Both sums are correlations, which the FFT gives for all shifts at once.

How high the highest of all scores gets by chance shows a tile against a mirrored other one: it has the same texture and cannot
match. The maxima are distributed as Gumbel's law says.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from dlir.core.affine import Array
from dlir.survey.thumbnails import Thumbnails

RIDGE = 0.02  # of the overlap: it keeps z small where both tiles are quiet
HIDDEN = 0.12  # of a tile: shifts below it on both axes show the fixed pattern of the camera, or the same tile twice
LEAST_AREA = 0.012  # of a tile, that overlaps
LEAST_WIDTH = 2  # px, that overlap
APART = 5.0  # px: a second peak lies at least so far from the first
ALIKE = 0.6  # of the height of the highest peak: a second certain peak that high makes the match ambiguous
LEAST_SCALE = 0.15  # of Gumbel's law
CACHED_TILES = 256
CACHED_SIZES = 32  # pairs of sizes

Scores = NDArray[np.float32]  # (p, q) z for all shifts, with negative shifts at the end, as the FFT has them
Mask = NDArray[np.bool_]  # (p, q)


class Match(NamedTuple):
    """The best match of two thumbnails."""

    shift: Array  # (2,) px: pixel (0, 0) of the second lies there in the first
    height: float  # z
    weight: float  # 0 where it could be chance, or where another match is as good; 1 where it is certain


class Overlap(NamedTuple):
    """How much two thumbnails share at all shifts."""

    area: NDArray[np.float32]  # (p, q) px
    valid: Mask  # where that is enough to compare them


class Correlator:
    """The scores of pairs of whitened thumbnails.

    Attributes:
        size: (2,) px, of the largest thumbnail.
        valid: the shifts at which two such thumbnails share enough.
    """

    def __init__(self, thumbnails: Thumbnails) -> None:
        self.stack, self.sizes = thumbnails.images, [(int(y), int(x)) for y, x in thumbnails.sizes]
        self.size: NDArray[np.int64] = np.array(self.stack.shape[1:])
        self.shape: list[int] = [fft.next_fast_len(2 * int(side) - 1, real=True) for side in self.size]
        self.overlap = lru_cache(maxsize=CACHED_SIZES)(self._overlap)
        largest = (int(self.size[0]), int(self.size[1]))
        self.valid: Mask = self.overlap(largest, largest).valid
        self.spectra = lru_cache(maxsize=2 * CACHED_TILES)(self._spectra)

    def _overlap(self, first: tuple[int, int], second: tuple[int, int]) -> Overlap:
        """How much thumbnails of these sizes (y, x), px, share at all shifts of the second against the first."""
        shift_y, shift_x = (np.where(at > side // 2, at - side, at) for side in self.shape for at in [np.arange(side)])
        common_y, common_x = (
            np.minimum(one, shift + other) - np.maximum(shift, 0)
            for shift, one, other in zip((shift_y, shift_x), first, second, strict=True)
        )
        area = (common_y.clip(min=0)[:, None] * common_x.clip(min=0)[None]).astype(np.float32)
        far = (np.abs(shift_y) > HIDDEN * self.size[0])[:, None] | (np.abs(shift_x) > HIDDEN * self.size[1])[None]
        wide = (common_y >= LEAST_WIDTH)[:, None] & (common_x >= LEAST_WIDTH)[None]
        return Overlap(area, far & wide & (area >= LEAST_AREA * min(np.prod(first), np.prod(second))))

    def _spectra(self, tile: int, mirrored: bool) -> NDArray[np.complex64]:
        image = self.stack[tile]
        if mirrored:
            width = self.sizes[tile][1]
            image = np.concatenate([image[:, :width][:, ::-1], image[:, width:]], axis=1)
        return np.asarray(fft.rfft2(np.stack([image, image**2]), self.shape))

    def scores(self, i: int, j: int, mirrored: bool = False) -> Scores:
        """Returns z for all shifts of thumbnail j against thumbnail i; 0 where too little overlaps.

        Args:
            mirrored: whether j is mirrored left to right, so that it cannot match.
        """
        product = self.spectra(i, False) * self.spectra(j, mirrored).conj()
        total, square = fft.irfft2(product, self.shape)
        overlap = self.overlap(self.sizes[i], self.sizes[j])
        score = total / np.sqrt(square.clip(min=0) + RIDGE * overlap.area + 1)
        return np.where(overlap.valid, score, np.float32(0))

    def shift_at(self, scores: Scores, flat_index: int) -> Array:
        """Returns the shift (2,), px, at an index of the scores, made flat."""
        index = np.unravel_index(flat_index, scores.shape)
        return np.array([at - side * (at > side // 2) for at, side in zip(index, self.shape, strict=True)], float)

    def near(self, shift: Array, radius: float) -> Mask:
        """Returns the shifts within `radius`, px, of a shift (2,) on both axes."""
        y, x = (
            np.abs((np.arange(side) - at + side / 2) % side - side / 2) <= radius
            for at, side in zip(shift, self.shape, strict=True)
        )
        return np.asarray(y[:, None] & x[None])

    def peak(self, scores: Scores, where: Mask | None = None) -> tuple[float, Array]:
        """Returns the height and the shift (2,), px, of the highest peak in `where`, between the pixels by a parabola."""
        seen = scores if where is None else np.where(where, scores, 0)
        y, x = (int(at) for at in np.unravel_index(seen.argmax(), seen.shape))
        (height, width), middle = scores.shape, float(scores[y, x])
        shift = self.shift_at(scores, int(seen.argmax()))
        around = (
            (scores[(y - 1) % height, x], scores[(y + 1) % height, x]),
            (scores[y, (x - 1) % width], scores[y, (x + 1) % width]),
        )
        for axis, (before, after) in enumerate(around):
            bend = float(before) + float(after) - 2 * middle
            if bend < 0:
                shift[axis] += np.clip((float(before) - float(after)) / 2 / bend, -0.5, 0.5)
        return float(seen[y, x]), shift


def chance(maxima: list[float]) -> Callable[[float], float]:
    """Returns the probability that the highest score of unrelated tiles is above z, as a function of z, from such maxima.

    Source: Gumbel's law by the method of moments.
    """
    scale = max(float(np.std(maxima)) * np.sqrt(6) / np.pi, LEAST_SCALE)
    place = float(np.mean(maxima)) - np.euler_gamma * scale
    return lambda z: float(-np.expm1(-np.exp(-(z - place) / scale)))


def matches(correlator: Correlator, pairs: list[tuple[int, int]], unrelated: list[Scores]) -> list[Match]:
    """Returns the best match of each pair of thumbnails over all shifts, and whether it is certain.

    Args:
        unrelated: scores of pairs that cannot match, since the second thumbnail is mirrored, to see what chance reaches; 24 are
            enough.
    """
    by_chance, level = chance([correlator.peak(each)[0] for each in unrelated]), certain_level(len(pairs))
    return [match(correlator, correlator.scores(i, j), by_chance, level) for i, j in pairs]


def certain_level(count: int) -> float:
    """Returns the probability to match by chance, below which a match is certain, for a list of `count` pairs.

    At most one of three such lists then holds a match by chance.
    """
    return 1 / (3 * max(count, 10))


def match(correlator: Correlator, scores: Scores, by_chance: Callable[[float], float], level: float) -> Match:
    """Returns the best match in the scores of a pair.

    Args:
        by_chance: as `chance` gives it.
        level: the probability to match by chance from which on a match is not certain.
    """
    height, shift = correlator.peak(scores)
    probability = by_chance(height)
    if probability >= level:
        return Match(shift, height, 0.0)
    second, _ = correlator.peak(scores, ~correlator.near(shift, APART))
    if by_chance(second) < level and second > ALIKE * height:
        return Match(shift, height, 0.0)
    return Match(shift, height, min(-float(np.log(probability + 1e-12)) / 15, 1.0))
