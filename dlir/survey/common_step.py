"""The step from tile to tile that many pairs have in common, at low resolution, and whether it is known.

The scores of all pairs are averaged after a maximum filter of the radius r by which the stage may err; so the peaks of pairs
add up although each lies a little elsewhere. The average is measured against that of pairs that cannot match: its height t is
in units of their scatter, and their highest peak is the floor. Of several r, that one counts whose peak stands out most.

A step is known
- where the peak is at least OVER_FLOOR times the floor, no other peak comes near it (what repeats itself has several), and
  SURE_SHARE of the pairs match there; or
- where single pairs match with certainty, and nearly all of these agree.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlir.core.affine import Array
from dlir.survey.correlation import APART, Correlator, Match, Scores, chance

RADII = (1, 3, 8)  # px of thumbnails, by which the stage may err: a larger one is tried where a smaller one leaves a doubt
LEAST_WINDOW = 5  # px, around the step, in which each pair is looked for
CLIP = (-1.0, 7.0)  # of the scores, so that one pair alone does not decide
OVER_FLOOR = 1.5  # how far a known peak rises above the highest one of unrelated pairs
RUNNER_UP = 0.7  # of its height, that no other peak may reach
SURE_SHARE = 0.15  # of the pairs
SURE = 0.02  # probability to match as well by chance near the step, below which a pair is sure
FEWEST_SURE = 3  # with fewer, the pairs of the upper third show the step
AGREE = 0.1  # of a tile: certain matches that lie so near to each other agree
AGREEING_SHARE = 0.75  # of the weight of the certain matches
LEAST_WEIGHT = 0.5  # of certain matches together, without any other evidence: 1 is one match of which chance makes none


class CommonStep(NamedTuple):
    """The step of n pairs."""

    shift: Array  # (2,) px
    known: bool
    spread: Array  # (2,) px, standard deviation of the pairs about it on either axis
    shifts: Array  # (n, 2) px, of each pair
    sure: NDArray[np.bool_]  # (n,) pairs that match near the step


class _Peak(NamedTuple):
    """The highest peak of an average of scores."""

    shift: Array
    radius: int
    height: float
    floor: float  # height of the highest peak of unrelated pairs
    second: float  # height of the highest peak elsewhere

    @property
    def clear(self) -> bool:
        return self.height >= OVER_FLOOR * self.floor and self.second <= RUNNER_UP * self.height


def common_step(correlator: Correlator, scores: list[Scores], unrelated: list[Scores], found: list[Match]) -> CommonStep:
    """Returns the step of pairs.

    Args:
        scores: of the pairs, over all shifts.
        unrelated: of pairs that cannot match.
        found: the best match of each of the pairs.
    """
    peaks = []
    for radius in RADII:
        peaks.append(_averaged_peak(correlator, scores, unrelated, radius))
        if peaks[-1].clear:
            break
    peak = max(peaks, key=lambda peak: peak.height - peak.floor)
    certain = _agreeing(correlator, found)
    centre, radius = (peak.shift, peak.radius) if peak.clear or certain is None else certain
    step = _step_near(correlator, scores, unrelated, centre, radius)
    known = (peak.clear and bool(step.sure.mean() >= SURE_SHARE)) or certain is not None
    return step._replace(known=known)


def _averaged_peak(correlator: Correlator, scores: list[Scores], unrelated: list[Scores], radius: int) -> _Peak:
    valid = correlator.valid
    average, by_chance = (_widened_mean(each, radius) for each in (scores, unrelated))
    middle = np.median(by_chance[valid])
    deviation = 1.4826 * np.median(np.abs(by_chance[valid] - middle)) * np.sqrt(len(unrelated) / len(scores))
    height = np.where(valid, (average - middle) / max(deviation, 1e-3), 0)
    floor = (by_chance[valid].max() - middle) / max(deviation, 1e-3)
    smooth = ndimage.uniform_filter(height, 2 * radius + 1, mode="wrap")  # the maximum filter makes a plateau: its middle
    shift = correlator.shift_at(smooth, int(smooth.argmax()))
    second = float(np.where(correlator.near(shift, 2 * radius + APART), 0, height).max())
    return _Peak(shift, radius, float(height.max()), float(floor), second)


def _widened_mean(scores: list[Scores], radius: int) -> Scores:
    total = np.zeros(scores[0].shape, np.float32)
    for each in scores:
        total += ndimage.maximum_filter(each.clip(*CLIP), 2 * radius + 1, mode="wrap")
    return total / np.float32(len(scores))


def _agreeing(correlator: Correlator, found: list[Match]) -> tuple[Array, int] | None:
    """The middle (2,) of the certain matches that agree, and their radius, px; None where they are too few or do not agree."""
    weight = np.array([match.weight for match in found])
    shift = np.array([match.shift for match in found])
    near = (np.abs(shift[:, None] - shift) < AGREE * correlator.size).all(axis=2)
    best = int((near @ weight * (weight > 0)).argmax())
    chosen = near[best] & (weight > 0)
    if weight[chosen].sum() < max(LEAST_WEIGHT, AGREEING_SHARE * weight.sum()):
        return None
    middle = np.median(shift[chosen], axis=0)
    return middle, int(np.clip(np.ceil(np.abs(shift[chosen] - middle).max()), RADII[0], RADII[-1]))


def _step_near(correlator: Correlator, scores: list[Scores], unrelated: list[Scores], centre: Array, radius: int) -> CommonStep:
    """The step of the pairs whose best match near `centre` is hardly by chance."""
    window = correlator.near(centre, max(radius + 2, LEAST_WINDOW)) & correlator.valid
    by_chance = chance([correlator.peak(each, window)[0] for each in unrelated])
    heights, shifts = zip(*(correlator.peak(each, window) for each in scores), strict=True)
    height, shift = np.array(heights), np.array(shifts)
    sure = np.array([by_chance(each) < SURE for each in heights])
    used = sure if sure.sum() >= FEWEST_SURE else height >= np.sort(height)[-max(1, len(height) // 3)]
    middle = np.median(shift[used], axis=0)
    spread = 1.4826 * np.median(np.abs(shift[used] - middle), axis=0)
    return CommonStep(middle, False, spread, shift, sure)
