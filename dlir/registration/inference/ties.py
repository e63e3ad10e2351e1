"""Ties: where a specimen repeats itself, a pair matches at several offsets alike, and the pixels do not say which one is right.

A few tiles show whether the specimen repeats itself at all (`model/period.py`). If so, each pair whose windows repeat themselves is
looked at again:

1. A comb filter removes what repeats itself. What is left, q, is what breaks the period: defects, dirt, cells. The pixels have
   decided, and the pair is moved if it lies elsewhere, where the NCC of q in both windows has a peak far above chance, and at all
   other offsets that differ by a vector of the lattice q differs: the mean square of q_f - q_g is larger there than at the peak. The
   peak alone would not do: at a wrong offset, one defect may cover another, while both lie outside of the true overlap. By chance the
   NCC of n pixels scatters with the variance (Bartlett 1935)

       var c = sum over shifts  rho_f(s) rho_g(s) / n

   where rho is the autocorrelation of either window.

2. Otherwise all offsets that differ by a vector of the lattice are a tie. The stage decides, if it is surely more exact than half of a
   period. How exact it is can be measured without knowing which offsets are right, since all offsets of a tie are the same modulo
   the lattice: the scatter of the offsets modulo the lattice is that of the stage as long as it is small, and fills the cell of the
   lattice evenly if the stage errs by too much. The pair is moved to the offset nearest to where the stage puts it. The probability
   of that offset, against those around it, is that of Student's t.

   A grating shows nothing of the shift along its lines. The covariance of a pair that nothing else decides says so.

3. Otherwise the pair is ambiguous. It is rejected, and looked at again when accepted pairs predict its offset, which are more exact
   than the stage.

The scatter is taken about the nominal offset, or about what all pairs of one side have in common, where that is less than a quarter
of a period, or where pairs that the pixels decided show it. So the overlap that the user gave is taken as true.
"""

import logging
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import fft, ndimage
from scipy.special import chdtri

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.registration.confidence.calibration import AMBIGUOUS, RIGHT, exactness, with_acceptance
from dlir.registration.model.estimate import STUDENT_FREEDOM
from dlir.registration.model.filters import high_pass
from dlir.registration.model.noise_filter import above_noise
from dlir.registration.model.period import Image, find_lattice, lattice_points, nearest, neighbours, parabola, without_period
from dlir.registration.pairs.windows import TilePlanes, expected_shift

log = logging.getLogger(__name__)
SAMPLE, SAMPLE_SIDE = 6, 320  # tiles that are searched for a period, and px of their middle
REPEATING = 0.3  # NCC of a window with itself one period further, from which on the pair repeats itself
OPTICS = 1.0  # px, sigma of the blur before the comb filter, so that interpolation is nearly exact
BACKGROUND = 10.0  # px, sigma of the blur that is subtracted after the comb filter
ABOVE_CHANCE = (
    6.0  # standard deviations by chance, of the NCC and of the mean square difference, beyond which they say something
)
CONTRADICTED = 1.5  # times the least mean square difference, and more if it is by chance: at such an offset the tiles differ
OPTICS_AREA = 4 * np.pi * OPTICS**2  # px, of noise after the blur and the comb filter: so many px are as good as one
DECIDED = 0.99  # probability that the pixels are right where they decide
SAME = 1.5  # px: an estimate this near to the peak of what breaks the period stays as it is
PEAK_DEVIATION = 0.5  # px, of an offset that is taken from that peak alone
LEAST_DECIDED = 3  # pairs of a side that the pixels decided, which show where the stage puts the others
SURE_SPREAD = 1 / 6  # of a period: half of a period is three standard deviations then
TAIL = 0.05  # probability that the true scatter is above the bound that is taken
LARGEST_COMMON = 0.25  # of a period, that the pairs of a side may lie off their nominal offset in common
SURE = 0.95  # least probability of the offset that the stage decides
REACH = 1.25  # periods: at least so far from the expected shift other shifts are looked at
UNKNOWN = 4.0  # px: a shift along lines that is known no better before the fine registration stays so
SHIFT_VARIANCE = ["var_y", "cov_yx", "var_x"]  # columns of tables.AFFINES
LEAST_COUNT = 500  # px: shifts at which a smaller area of the windows overlaps are not looked at


class RefinePairs(Protocol):
    """The fine registration, as `consensus.RefinePairs`."""

    def __call__(self, found: pd.DataFrame, predicted: Array, tiles: pd.DataFrame, *, linear: float) -> None: ...


class Look(NamedTuple):
    """What the pixels of n pairs say."""

    repeats: NDArray[np.bool_]  # (n,) whether both windows repeat themselves
    decided: NDArray[np.bool_]  # (n,) whether what breaks the period decides
    offset: Array  # (n, 2) px, of the moving tile from the fixed one, where it decides


class Matches(NamedTuple):
    """How well two windows match at all shifts (y, x) in a box."""

    first: NDArray[np.int64]  # (2,) px, the shift of the first entries
    ncc: Array  # (m, n)
    above_chance: Array  # (m, n) the NCC in standard deviations by chance
    difference: Array  # (m, n) the mean square difference
    count: Array  # (m, n) px, the area that overlaps


def lattice_of(pairs: pd.DataFrame, planes: TilePlanes) -> Array | None:
    """Returns the vectors (1 or 2, 2), px (y, x), after which the specimen repeats itself; None where it does not."""
    tiles = np.unique(pairs[["fixed", "moving"]])
    tiles = tiles[np.unique(np.linspace(0, len(tiles) - 1, SAMPLE).round().astype(int))]
    middles = [_middle(planes.plane(int(tile))) for tile in tiles]
    windows = torch.from_numpy(np.stack([(middle - middle.mean()) / (middle.std() + 1e-6) for middle in middles])[:, None])
    half = (len(windows) + 1) // 2
    first, second = above_noise(windows[:half], windows[-half:])
    images = torch.cat([first, second[2 * half - len(windows) :]])[:, 0]
    vectors = find_lattice([np.asarray(image) for image in images])
    if vectors is not None:
        said = " and ".join(f"({y:.1f}, {x:.1f})" for y, x in vectors)
        log.info("the specimen repeats itself after %s px", said)
    return vectors


class Ties:
    """Decides for pairs of a specimen that repeats itself at which of several alike offsets they are."""

    def __init__(self, vectors: Array, planes: TilePlanes, *, told: bool = True) -> None:
        """Prepares to look at pairs.

        Args:
            vectors: (1 or 2, 2) the shortest vectors of the lattice, px (y, x).
            planes: the tiles.
            told: whether the user gave the overlap. Otherwise only pairs that the pixels decide show where the others are.
        """
        self.vectors, self.planes, self.told = vectors, planes, told

    def settle(self, found: pd.DataFrame, pairs: pd.DataFrame, deviation: Array | None = None) -> pd.DataFrame:
        """Returns registered pairs, moved to the offset that is most probable where several are alike.

        They get the column `tie`, the probability of that offset; it is nan where a pair does not repeat itself.

        Args:
            found: registered pairs (columns of tables.AFFINES).
            pairs: their windows (tables.PAIRS), with the same index.
            deviation: (n,) px, of the true offsets from the nominal ones; without, it is measured, as the stage's error.
        """
        look = self._look(found, pairs)
        found = _moved_to_peak(found, look, self.vectors)
        nominal = pairs[["nominal_y", "nominal_x"]].to_numpy(float)
        error = affine.offsets(affine.from_table(found), found[["centre_y", "centre_x"]].to_numpy()) - nominal
        tied = look.repeats & ~look.decided
        if deviation is None:
            centre, deviation = self._stage(error, look, pairs["side"].to_numpy())
        else:
            centre = np.zeros_like(error)
        period = nearest(self.vectors, error - centre) * tied[:, None]
        left = error - centre - period
        probability = np.where(tied, tie_probability(left, self.vectors, deviation), DECIDED)
        if tied.any():
            log.info(
                "%d of %d pairs match at several offsets alike: the stage or the other pairs decide %d of them",
                tied.sum(), len(found), (tied & (probability >= SURE)).sum(),
            )  # fmt: skip
        found = found.assign(y0=found["y0"] - period[:, 0], x0=found["x0"] - period[:, 1])
        if len(self.vectors) == 1:
            found = widened(found, self.lines, np.where(tied, pairs["search"], 0.0) ** 2)
        return found.assign(tie=np.where(look.repeats, probability, np.nan))

    @property
    def lines(self) -> Array:
        """The direction (2,) of the lines of a grating."""
        y, x = self.vectors[0] / np.linalg.norm(self.vectors[0])
        return np.array([-x, y])

    def refine(self, found: pd.DataFrame, predicted: Array, tiles: pd.DataFrame, *, linear: float, refine: RefinePairs) -> None:
        """Refines accepted pairs by `refine`, which does not know that nothing shows the shift along the lines of a grating."""
        before = variance_along(found, self.lines)
        refine(found, predicted, tiles, linear=linear)
        if len(self.vectors) == 1:
            lost = before - variance_along(found, self.lines)
            kept = widened(found, self.lines, np.where(before >= UNKNOWN**2, lost.clip(min=0), 0.0))
            found[SHIFT_VARIANCE] = kept[SHIFT_VARIANCE]

    def _stage(self, error: Array, look: Look, side: NDArray[np.object_]) -> tuple[Array, Array]:
        """Where the stage puts pairs, px from their nominal offsets (n, 2), and the deviation (n,) from there; infinite where it
        may reach half of a period.

        Args:
            error: (n, 2) px, of the offsets from the nominal ones, which for ties is known modulo the lattice.
        """
        centre, deviation = np.zeros_like(error), np.full(len(error), np.inf)
        chosen = look.repeats
        common, shown = np.zeros_like(error), np.zeros(len(error), bool)
        for of_side in (side == name for name in np.unique(side)):
            decided = of_side & look.decided
            shown[of_side] = decided.sum() >= LEAST_DECIDED
            if shown[of_side].any():
                common[of_side] = np.median(error[decided], axis=0)
            elif (of_side & chosen).any():
                common[of_side] = common_part(error[of_side & chosen], self.vectors)
        known = chosen & (shown | self.told)
        for middle, fitted in ((common * shown[:, None], 0), (common, len(np.unique(side[known])))):
            left = error[known] - middle[known]
            left -= nearest(self.vectors, left) * ~look.decided[known, None]
            small = np.abs(_fractions(middle[known & ~shown], self.vectors)).max(initial=0) <= LARGEST_COMMON
            if small and spread_bound(left, self.vectors, fitted) <= SURE_SPREAD:
                centre[known] = middle[known]
                deviation[known] = np.sqrt((_across(left, self.vectors) ** 2).sum(axis=1).mean() / len(self.vectors))
                break
        return centre, deviation

    def _look(self, found: pd.DataFrame, pairs: pd.DataFrame) -> Look:
        """Looks at the windows of registered pairs."""
        offset = affine.offsets(affine.from_table(found), found[["centre_y", "centre_x"]].to_numpy())
        first = pairs[["fixed_y", "fixed_x"]].to_numpy() - pairs[["moving_y", "moving_x"]].to_numpy()
        shifts = zip(expected_shift(pairs), first - offset, strict=True)
        looks = [self._look_at(row, *both) for row, both in zip(pairs.to_dict("records"), shifts, strict=True)]
        repeats, decided, shift = (np.array(values) for values in zip(*looks, strict=True))
        return Look(repeats, decided, first - shift)

    def _look_at(self, row: dict[str, Any], expected: Array, estimate: Array) -> tuple[bool, bool, Array]:
        """Whether a pair repeats itself, whether what breaks the period decides, and at which shift of the windows (2,), px."""
        size = int(row["height"]), int(row["width"])
        ends = [self._broken(*(int(row[name]) for name in (end, f"{end}_y", f"{end}_x")), *size) for end in ("fixed", "moving")]
        (fixed, fixed_repeats), (moving, moving_repeats) = ends
        if min(fixed_repeats, moving_repeats) < REPEATING:
            return False, False, estimate
        reach = max(float(row["search"]), REACH * float(np.linalg.norm(self.vectors[0])))
        shift = decided_shift(fixed, moving, expected, estimate, reach, self.vectors)
        return True, shift is not None, estimate if shift is None else shift

    def _broken(self, tile: int, y: int, x: int, height: int, width: int) -> tuple[Image, float]:
        """What breaks the period in a window, and the NCC of the window with itself one period further."""
        plane, reach = self.planes.plane(tile), np.ceil(np.abs(self.vectors[0])).astype(int) + 4
        top, left = max(y - reach[0], 0), max(x - reach[1], 0)
        part = plane[top : y + height + reach[0], left : x + width + reach[1]]
        part = ndimage.gaussian_filter(part - part.mean(), OPTICS, mode="nearest")
        inner = slice(y - top, y - top + height), slice(x - left, x - left + width)
        broken, periodic = (image[inner] for image in without_period(part, self.vectors[0]))
        both = high_pass(torch.from_numpy(np.stack([part[inner], periodic])[:, None]), float(np.linalg.norm(self.vectors[0])))
        broken = broken - ndimage.gaussian_filter(broken, BACKGROUND, mode="nearest", truncate=3.0)
        if self.planes.shown is not None:
            broken = broken * self.planes.shown[y : y + height, x : x + width]
        return broken, float((both[0] * both[1]).mean())


def with_ties(found: pd.DataFrame) -> pd.DataFrame:
    """Returns pairs with a verdict; where the column `tie` has a number, which is dropped, it decides instead of the NCC.

    Pairs of tiles that cannot match reach the same NCC in a specimen that repeats itself, so these say nothing there.
    """
    tie, found = found["tie"].to_numpy(float), found.drop(columns="tie")
    repeats, sure, outside = np.isfinite(tie), tie >= SURE, found["match"] == 0
    ambiguous = repeats & ~sure
    confidence = np.where(sure, tie, np.minimum(tie, RIGHT / 2)) * exactness(found)
    return with_acceptance(
        found.assign(
            confidence=np.where(repeats, confidence, found["confidence"]),
            match=np.where(repeats & sure, tie, np.where(repeats, 0.0, found["match"])),
            reason=found["reason"].mask(ambiguous, AMBIGUOUS),
        ),
        RIGHT,
    )


def decided_shift(fixed: Image, moving: Image, expected: Array, estimate: Array, reach: float, vectors: Array) -> Array | None:
    """Returns the shift (y, x), px, that what breaks the period in two windows decides for; None where it does not decide.

    Fixed pixel p matches moving pixel p + shift.

    Args:
        fixed, moving: windows (y, x) of one size after the comb filter, with mean zero.
        expected, reach: px, the shifts that are looked at.
        estimate: (2,) px, the shift that the method found.
        vectors: (1 or 2, 2) the shortest vectors of the lattice, px.
    """
    matches = _matches(fixed, moving, expected, reach)
    top = np.unravel_index(matches.above_chance.argmax(), matches.above_chance.shape)
    if not matches.above_chance[top] > ABOVE_CHANCE:
        return None
    shift = matches.first + top
    alike = np.concatenate([middle + lattice_points(vectors, 2 * reach) for middle in (shift, estimate)])
    y, x = (np.rint(alike[np.linalg.norm(alike - shift, axis=1) > SAME]) - matches.first).astype(int).T
    inside = (y >= 0) & (x >= 0) & (y < matches.count.shape[0]) & (x < matches.count.shape[1])
    y, x = y[inside], x[inside]
    y, x = (along[matches.count[y, x] >= LEAST_COUNT] for along in (y, x))
    difference = ndimage.minimum_filter(matches.difference, 3, mode="nearest")
    by_chance = np.sqrt(2 * OPTICS_AREA / np.minimum(matches.count[y, x], matches.count[top]))
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
    area = (powers[0] * powers[1]).sum() * powers[0].size / max(powers[0].sum() * powers[1].sum(), 1e-12)
    enough = count >= LEAST_COUNT
    ncc = product / np.sqrt((energy * other).clip(min=1e-6))
    above_chance = np.where(enough, ncc * np.sqrt(count.clip(min=0) / max(area, 1.0)), -np.inf)
    return Matches(least, ncc, above_chance, (energy + other - 2 * product) / count.clip(min=1), count)


def variance_along(found: pd.DataFrame, direction: Array) -> Array:
    """Returns the variance (n,), px^2, of the shifts of pairs along a direction (2,)."""
    return np.asarray(np.einsum("a,nab,b->n", direction, tables.shift_covariance(found), direction))


def widened(found: pd.DataFrame, direction: Array, variance: Array) -> pd.DataFrame:
    """Returns pairs whose covariances have more variance (n,), px^2, along a direction (2,)."""
    y, x = direction
    more = np.outer(variance, [y * y, y * x, x * x])
    return found.assign(**dict(zip(SHIFT_VARIANCE, (found[SHIFT_VARIANCE].to_numpy() + more).T, strict=True)))


def tie_probability(left: Array, vectors: Array, deviation: Array) -> Array:
    """Returns the probability (n,) of the nearest of several offsets that differ by vectors of the lattice.

    Args:
        left: (n, 2) px, from where the offset is expected to the nearest of them.
        vectors: (1 or 2, 2) the shortest vectors of the lattice.
        deviation: (n,) px, of the expectation on either axis; where it is infinite, all offsets are equally probable.
    """
    around = _across(left[:, None] + neighbours(vectors), vectors)
    square = (around**2).sum(axis=2) / (STUDENT_FREEDOM * np.maximum(deviation, 1e-6) ** 2)[:, None]
    density = (1 + square) ** (-(STUDENT_FREEDOM + len(vectors)) / 2)
    return np.asarray(density[:, 0] / density.sum(axis=1))


def spread_bound(left: Array, vectors: Array, fitted: int = 0) -> float:
    """Returns an upper bound of the standard deviation of offsets modulo a lattice, in units of a period, in the worst direction.

    Args:
        left: (n, 2) px, offsets from where they are expected, modulo the lattice.
        fitted: how many expected offsets were fitted to them.
    """
    freedom = (len(left) - fitted) * len(vectors)
    if freedom < 1:
        return np.inf
    square = (_fractions(left, vectors) ** 2).sum(axis=0).max() / (len(left) - fitted)
    return float(np.sqrt(square * freedom / chdtri(freedom, 1 - TAIL)))


def common_part(errors: Array, vectors: Array) -> Array:
    """Returns the mean (2,), px, of errors (n, 2) that are known modulo a lattice: the one nearest to zero (circular mean)."""
    turns = errors @ np.linalg.pinv(vectors)
    mean = np.angle(np.exp(2j * np.pi * turns).mean(axis=0)) / (2 * np.pi) @ vectors
    return np.asarray(mean - nearest(vectors, mean[None])[0])


def _fractions(shifts: Array, vectors: Array) -> Array:
    """The shifts (n, 2) along each of the shortest vectors of a lattice, in units of its length (n, k)."""
    ends = neighbours(vectors)[1:]
    return np.asarray(shifts @ ends.T / (ends**2).sum(axis=1))


def _across(shifts: Array, vectors: Array) -> Array:
    """The components (..., k) of shifts (..., 2), px, that a lattice of k vectors knows: for a grating, those across its lines."""
    return shifts if len(vectors) == 2 else shifts @ (vectors / np.linalg.norm(vectors)).T


def _moved_to_peak(found: pd.DataFrame, look: Look, vectors: Array) -> pd.DataFrame:
    """Returns registered pairs, moved to where what breaks the period matches, where it decides and they lie elsewhere.

    A pair that lies elsewhere by a vector of the lattice is moved by it. Otherwise its estimate is useless: the peak replaces it.
    """
    offset = affine.offsets(affine.from_table(found), found[["centre_y", "centre_x"]].to_numpy())
    period = nearest(vectors, look.offset - offset) * look.decided[:, None]
    rest = np.linalg.norm(look.offset - offset - period, axis=1)
    found = found.assign(y0=found["y0"] + period[:, 0], x0=found["x0"] + period[:, 1])
    lost = found.index[look.decided & (rest > SAME)]
    if len(lost):
        found.loc[lost, affine.COLUMNS] = affine.translation(look.offset[found.index.get_indexer(lost)]).reshape(-1, 6)
        found.loc[lost, SHIFT_VARIANCE] = PEAK_DEVIATION**2, 0.0, PEAK_DEVIATION**2
    return found


def _middle(plane: Image) -> Image:
    """The middle of a tile."""
    height, width = (min(side, SAMPLE_SIDE) for side in plane.shape)
    y, x = (plane.shape[0] - height) // 2, (plane.shape[1] - width) // 2
    return plane[y : y + height, x : x + width]
