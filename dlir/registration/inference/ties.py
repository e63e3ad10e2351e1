"""Ties: where a specimen repeats itself, a pair matches at several offsets alike, and the pixels do not say which one is
right.

A few tiles show whether the specimen repeats itself at all (`model/period.py`). If so, each pair whose windows repeat
themselves is looked at again:

1. Where what breaks the period decides (`broken_period.py`), the pair is moved there if it lies elsewhere.

2. Otherwise all offsets that differ by a vector of the lattice are a tie. The stage decides, if it is surely more exact than
   half of a period, which the scatter of the offsets modulo the lattice shows (`confidence/stage_scatter.py`): the pair is
   moved to the offset nearest to where the stage puts it. The nominal step is taken as true: either the user gave the
   overlap, or the survey found it by what breaks the period.

   A grating shows nothing of the shift along its lines. The covariance of a pair that nothing else decides says so.

3. Otherwise the pair is ambiguous. It is rejected, and looked at again when accepted pairs predict its offset, which are more
   exact than the stage.
"""

import logging
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.registration.confidence.calibration import AMBIGUOUS, RIGHT, exactness, with_acceptance
from dlir.registration.confidence.stage_scatter import Errors, nearest_offsets, tie_probability
from dlir.registration.inference.broken_period import SAME, Broken, decided_shift, what_breaks
from dlir.registration.model.noise_filter import above_noise
from dlir.registration.model.period import find_lattice, nearest
from dlir.registration.pairs.planes import TilePlanes
from dlir.registration.pairs.windows import expected_shift

log = logging.getLogger(__name__)
SAMPLE, SAMPLE_SIDE = 6, 320  # tiles that are searched for a period, and px of their middle
REPEATING = 0.3  # NCC of a window with itself one period further, from which on the pair repeats itself
DECIDED = 0.99  # probability that the pixels are right where they decide
PEAK_DEVIATION = 0.5  # px, of an offset that is taken from that peak alone
SURE = 0.95  # least probability of the offset that the stage decides
REACH = 1.25  # periods: at least so far from the expected shift other shifts are looked at
UNKNOWN = 4.0  # px: a shift along lines that is known no better before the fine registration stays so
SHIFT_VARIANCE = ["var_y", "cov_yx", "var_x"]  # columns of tables.AFFINES


class RefinePairs(Protocol):
    """The fine registration, as `consensus.RefinePairs`."""

    def __call__(self, found: pd.DataFrame, predicted: Array, tiles: pd.DataFrame, *, linear: float) -> None: ...


class Look(NamedTuple):
    """What the pixels of n pairs say."""

    repeats: NDArray[np.bool_]  # (n,) whether both windows repeat themselves
    decided: NDArray[np.bool_]  # (n,) whether what breaks the period decides
    offset: Array  # (n, 2) px, of the moving tile from the fixed one, where it decides


def lattice_of(pairs: pd.DataFrame, planes: TilePlanes, listed: pd.DataFrame) -> Array | None:
    """Returns the vectors (1 or 2, 2), px (y, x), after which the specimen repeats itself; None where it does not.

    Args:
        listed: all tiles (tables.TILES); those of the usual size are looked at.
    """
    tiles = np.intersect1d(pairs[["fixed", "moving"]], tables.of_usual_size(listed)["tile"])
    if not len(tiles):
        return None
    tiles = tiles[np.unique(np.linspace(0, len(tiles) - 1, SAMPLE).round().astype(int))]
    middle = _middle(tables.usual_size(listed).tolist())
    middles = [planes.plane(int(tile), *middle) for tile in tiles]
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

    def __init__(self, vectors: Array, planes: TilePlanes) -> None:
        """Prepares to look at pairs.

        Args:
            vectors: (1 or 2, 2) the shortest vectors of the lattice, px (y, x).
            planes: the tiles.
        """
        self.vectors, self.planes = vectors, planes

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
            period, probability = self._by_stage(error, look, pairs)
        else:
            period = nearest(self.vectors, error)
            probability = tie_probability(error - period, self.vectors, deviation)
        period, probability = period * tied[:, None], np.where(tied, probability, DECIDED)
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

    def _by_stage(self, error: Array, look: Look, pairs: pd.DataFrame) -> tuple[Array, Array]:
        """The lattice vector (n, 2) that pairs lie off the offset that the stage decides for, and its probability (n,)."""
        numbers = np.unique(pairs[["fixed", "moving"]])
        ends = (np.searchsorted(numbers, pairs[end].to_numpy()) for end in ("fixed", "moving"))
        errors = Errors(error, look.decided, pairs["side"].to_numpy(), *ends)
        period, probability = np.zeros_like(error), np.zeros(len(error))
        if look.repeats.any():
            period[look.repeats], probability[look.repeats] = nearest_offsets(errors.of(look.repeats), self.vectors)
        return period, probability

    def _look(self, found: pd.DataFrame, pairs: pd.DataFrame) -> Look:
        """Looks at the windows of registered pairs."""
        offset = affine.offsets(affine.from_table(found), found[["centre_y", "centre_x"]].to_numpy())
        first = pairs[["fixed_y", "fixed_x"]].to_numpy() - pairs[["moving_y", "moving_x"]].to_numpy()
        shifts = zip(expected_shift(pairs), first - offset, strict=True)
        looks = [self._look_at(row, *both) for (_, row), both in zip(pairs.iterrows(), shifts, strict=True)]
        repeats, decided, shift = (np.array(values) for values in zip(*looks, strict=True))
        return Look(repeats, decided, first - shift)

    def _look_at(self, row: "pd.Series[Any]", expected: Array, estimate: Array) -> tuple[bool, bool, Array]:
        """Whether a pair repeats itself, whether what breaks the period decides, and at which shift of the windows (2,), px."""
        ends = [self._window(row, end) for end in ("fixed", "moving")]
        if min(end.repeats for end in ends) < REPEATING:
            return False, False, estimate
        reach = max(float(row["search"]), REACH * float(np.linalg.norm(self.vectors[0])))
        shift = decided_shift(ends[0], ends[1], expected, estimate, reach, self.vectors)
        return True, shift is not None, estimate if shift is None else shift

    def _window(self, row: "pd.Series[Any]", end: str) -> Broken:
        """What breaks the period in the window of either tile of a pair."""
        window = tuple(int(row[name]) for name in (f"{end}_y", f"{end}_x", "height", "width"))
        return what_breaks(self.planes, int(row[end]), window, self.vectors[0])


def with_ties(found: pd.DataFrame) -> pd.DataFrame:
    """Returns pairs with a verdict; where the column `tie` has a number, which is dropped, it decides instead of the NCC.

    Pairs of tiles that cannot match reach the same NCC in a specimen that repeats itself, so these say nothing there.
    """
    tie, found = found["tie"].to_numpy(float), found.drop(columns="tie")
    repeats, sure = np.isfinite(tie), tie >= SURE
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


def variance_along(found: pd.DataFrame, direction: Array) -> Array:
    """Returns the variance (n,), px^2, of the shifts of pairs along a direction (2,)."""
    return np.asarray(np.einsum("a,nab,b->n", direction, tables.shift_covariance(found), direction))


def widened(found: pd.DataFrame, direction: Array, variance: Array) -> pd.DataFrame:
    """Returns pairs whose covariances have more variance (n,), px^2, along a direction (2,)."""
    y, x = direction
    more = np.outer(variance, [y * y, y * x, x * x])
    return found.assign(**dict(zip(SHIFT_VARIANCE, (found[SHIFT_VARIANCE].to_numpy() + more).T, strict=True)))


def _moved_to_peak(found: pd.DataFrame, look: Look, vectors: Array) -> pd.DataFrame:
    """Returns registered pairs, moved to where what breaks the period matches, where it decides and they lie elsewhere.

    A pair that lies elsewhere by a vector of the lattice is moved by it. Otherwise the peak replaces its useless estimate.
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


def _middle(size: list[int]) -> tuple[slice, slice]:
    """The rows and the columns of the middle of a tile of this size (y, x), px."""
    rows, columns = (slice(first := (side - min(side, SAMPLE_SIDE)) // 2, first + min(side, SAMPLE_SIDE)) for side in size)
    return rows, columns
