"""The probability that a pair is right, calibrated on the dataset itself.

Some of the registered pairs are right and some are wrong. *Unrelated pairs*, pairs of tiles that cannot match, are all wrong;
they come from the same specimen and the same camera, so they show what wrong pairs look like. The cues x of a pair are its NCC
and the confidence that the method reports. Their density is f0 for wrong pairs and f1 for right ones, where

    f1(x) / f0(x) = exp(a + b x)        (the exponential tilt model; Qin 1999, with labels on part of the data)

The share of right pairs, a and b are found by expectation maximisation: with the present probability of each pair, a logistic
regression gives a and b; with those, Bayes' rule gives the probability of each pair.

Once it is known how far the stage errs, the place where a pair was found is a further cue. A right pair is distributed around
its expected place as Student's t in the plane, but now and then the stage slips, and it lies anywhere. A wrong pair lies
anywhere in the area that was searched, all places being equally probable. The ratio of the two densities multiplies the odds.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import chdtrc, logit

from dlir.core import tables
from dlir.core.affine import Array
from dlir.core.robust import DEVIATIONS, intrinsic_deviation
from dlir.core.tables import LINEAR, LINEAR_COVARIANCE
from dlir.registration.model.estimate import RIGHT_PX, STUDENT_FREEDOM

ZERO_QUANTILE = 0.7  # of the odds of unrelated pairs: a pair of lower odds counts as wrong (Efron's zero assumption)
RIDGE = 0.03  # penalty on b, which keeps it finite where the cues of right and wrong pairs do not overlap
CONSTANT_RIDGE = 1e-6  # penalty on a
EM_ROUNDS, NEWTON_STEPS = 60, 8  # of expectation maximisation, and of the regression in each round
SLIPS = 0.01  # share of right pairs that lie anywhere, since the stage slipped
LARGEST_DEVIATION = 100.0  # times the searched distance: where right pairs deviate by more, their place is no cue
RARE_SHARE = 0.01  # tail probability of a linear part, by its covariance, below which the confidence of its pair is lowered
LEAST_TRUST = 0.6  # the lowest factor of that; on real tiles, this share of pairs beyond RARE_SHARE with the best cues is right
LIKE_UNRELATED = "probably wrong: pairs of tiles that cannot match reach the same score"  # texts of the column `reason`
OUTSIDE = "found outside the search window"
AMBIGUOUS = "ambiguous: the specimen repeats itself, and the stage is not surely better than half of a period"
UNSURE = "probably right, but less so than the setting register.accept asks for"
FAINT = "accepted although faint: its covariance says how exact it is"
RIGHT = 0.5  # a pair that is at least so probably right counts as right, wherever a set of right pairs is needed


def probability(pairs: Array, unrelated: Array, log_ratio: Array | float = 0.0) -> Array:
    """Returns the probability (n,) that each pair is right; 0.5 for all without unrelated pairs.

    Args:
        pairs: the cues (n, k) of the pairs; larger values speak for a right pair.
        unrelated: the cues (m, k) of unrelated pairs.
        log_ratio: (n,) what else is known of each pair: the logarithm of its density among right pairs over that among wrong
            ones.
    """
    count = len(pairs)
    if not count or not len(unrelated):
        return np.full(count, 0.5)
    middle = np.median(unrelated, axis=0)
    scale = np.concatenate([pairs, unrelated]).std(axis=0) + 1e-9
    cues = np.c_[(np.concatenate([pairs, unrelated]) - middle) / scale, np.ones(count + len(unrelated))]
    # to begin with, the share of a pair's cues that are better than those of nearly all unrelated pairs
    start = (pairs > np.quantile(unrelated, 0.95, axis=0)).mean(axis=1)
    right, weights = np.r_[start, np.zeros(len(unrelated))], np.zeros(cues.shape[1])
    ridge = np.r_[np.full(cues.shape[1] - 1, RIDGE), CONSTANT_RIDGE]
    found = right[:count]  # a view of the probabilities of the pairs; those of the unrelated pairs stay zero
    for _ in range(EM_ROUNDS):
        for _ in range(NEWTON_STEPS):
            weights = _newton_step(cues, right, weights, ridge)
        wrong_pairs = max(float((1 - found).sum()), 0.5)
        # the regression counts the unrelated pairs as wrong; among the pairs alone, right ones are that much more frequent
        odds = cues @ weights + np.log((wrong_pairs + len(unrelated)) / wrong_pairs)
        low = odds[:count] <= np.quantile(odds[count:], ZERO_QUANTILE)
        found[:] = np.where(low, 0.0, 1 / (1 + np.exp(-(odds[:count] + log_ratio).clip(-30, 30))))
    return np.asarray(found)


def _newton_step(cues: Array, right: Array, weights: Array, ridge: Array) -> Array:
    """Returns the weights (k + 1,) after a Newton step of logistic regression on the probabilities `right` (n,).

    The last cue is constant. The weights of the others are never negative: a better cue never lowers the probability.

    Args:
        ridge: (k + 1,) the precision of each weight about zero.
    """
    fitted = 1 / (1 + np.exp(-(cues @ weights).clip(-30, 30)))
    curvature = (cues * (fitted * (1 - fitted))[:, None]).T @ cues
    curvature.flat[:: len(weights) + 1] += ridge
    step = np.linalg.solve(curvature, cues.T @ (right - fitted) - ridge * weights)
    weights = weights + step / max(1.0, float(np.abs(step).max()) / 2)
    weights[:-1] = np.maximum(weights[:-1], 0)
    return weights


def with_verdict(found: pd.DataFrame, unrelated: pd.DataFrame, accept: float) -> pd.DataFrame:
    """Returns registered pairs with their confidence, the probability that they are right, and with a verdict.

    Three rules go beyond the probability:

    - A pair that is turned, scaled or sheared as no other pair is shows too little, or not the same thing, in its two tiles:
      its covariance is widened, and its confidence is lowered.
    - A pair that shows the same thing, but with little contrast, may be more than RIGHT_PX off. Its confidence is low, and it
      is accepted all the same, since its covariance says how exact it is.
    - That does not hold for a pair that its place alone speaks for: the stage knows the place as well.

    Args:
        found: registered pairs (tables.AFFINES, where the confidence is what the method reports) with the columns of `_cues`,
            `_location_log_ratio` and `inside`, which are dropped. They get the column `match`: the probability that the two
            tiles show the same thing, whether the affine is exact or not.
        unrelated: registered pairs that cannot match, with the same columns.
        accept: the least probability of an accepted pair.
    """
    cues, unrelated_cues = _cues(found), _cues(unrelated)
    by_cues, by_all = (probability(cues, unrelated_cues, ratio) for ratio in (0.0, _location_log_ratio(found)))
    square = _linear_chi_square(found, linear_deviation(found, by_all >= RIGHT))
    wider = {name: found[name] * np.maximum(1, square / len(LINEAR)) for name in ("var_y", "cov_yx", "var_x")}
    factor = np.clip(chdtrc(len(LINEAR), square) / RARE_SHARE, LEAST_TRUST, 1)
    confidence = by_all * factor * exactness(found.assign(**wider))
    match = np.maximum(confidence, np.minimum(by_all, by_cues) * factor).round(4)
    inside = found["inside"].to_numpy(bool)
    found = found.drop(columns=["distance", "expected_deviation", "searched", "inside", "overlap"]).assign(**wider)
    found = found.assign(confidence=confidence, match=np.where(inside, match, 0.0), reason=np.where(inside, "", OUTSIDE))
    return with_acceptance(found, accept)


def with_acceptance(found: pd.DataFrame, accept: float) -> pd.DataFrame:
    """Returns the pairs with the columns accepted and reason: a pair is accepted whose column `match` is at least `accept`."""
    accepted, outside, ambiguous = found["match"] >= accept, found["reason"] == OUTSIDE, found["reason"] == AMBIGUOUS
    wrong, faint = found["match"] < min(accept, RIGHT), accepted & (found["confidence"] < accept)
    reasons = {OUTSIDE: outside, AMBIGUOUS: ambiguous, LIKE_UNRELATED: wrong, UNSURE: ~accepted, FAINT: faint}
    reason = np.select(list(reasons.values()), list(reasons), default="")
    return found.assign(accepted=accepted, reason=reason)


def exactness(found: pd.DataFrame) -> NDArray[np.float64]:
    """The probability (n,) that the error of each pair is below RIGHT_PX, provided that it shows the same thing in both tiles.

    The errors are distributed as Student's t in the plane, of which all axes are taken to be as uncertain as the longest one of
    the pair's covariance: a pair may be exact across an edge, and know nothing of the shift along it.
    """
    longest = np.linalg.eigvalsh(tables.shift_covariance(found))[:, 1]
    return np.asarray(1 - (1 + RIGHT_PX**2 / STUDENT_FREEDOM / longest) ** (-STUDENT_FREEDOM / 2))


def linear_deviation(found: pd.DataFrame, right: NDArray[np.bool_]) -> float:
    """The standard deviation by which the tiles differ in the entries of their linear parts, from those pairs that are right.

    The pairs may differ by more than their covariances say. The deviation is the least at which half of the right pairs lie
    below the median of chi square.
    """
    if not right.any():
        return float(DEVIATIONS[-1])
    return intrinsic_deviation(lambda deviation: _linear_chi_square(found[right], deviation), len(LINEAR))


def _linear_chi_square(found: pd.DataFrame, deviation: float) -> NDArray[np.float64]:
    """How far (n,) the linear part of each affine lies from the identity: chi square with four degrees of freedom.

    Args:
        deviation: the standard deviation by which tiles differ in each entry, which widens the covariance.
    """
    difference = (found[list(LINEAR)].to_numpy() - np.eye(2).ravel())[:, None]
    covariance = found[LINEAR_COVARIANCE].to_numpy().reshape(-1, len(LINEAR), len(LINEAR))
    solved = np.linalg.solve(covariance + deviation**2 * np.eye(len(LINEAR)), difference.mT)
    return np.asarray((difference @ solved)[:, 0, 0])


def _location_log_ratio(found: pd.DataFrame) -> NDArray[np.float64]:
    """The logarithm (n,) of the density of right pairs over that of wrong pairs at the place where each pair was found.

    Right pairs lie around the nominal offset as Student's t in the plane, cut off at the edge of the searched area, which is
    taken as round; where the stage slipped, and wrong pairs, anywhere in that area.
    """
    names = ("distance", "expected_deviation", "searched")
    distance, expected, searched = (found[name].to_numpy(float) for name in names)
    area = (2 * searched + 1) ** 2
    square = STUDENT_FREEDOM * np.minimum(expected, LARGEST_DEVIATION * searched) ** 2
    within = -np.expm1(-STUDENT_FREEDOM / 2 * np.log1p(area / np.pi / square))
    density = (1 + distance**2 / square) ** (-STUDENT_FREEDOM / 2 - 1) * STUDENT_FREEDOM / (2 * np.pi * square) / within
    return np.asarray(np.log((1 - SLIPS) * density * area + SLIPS))


def _cues(found: pd.DataFrame) -> NDArray[np.float64]:
    """The cues (n, 2) that tell right pairs from wrong ones: Fisher's z of the NCC, and the log odds that the method reports.

    Chance makes the NCC the larger the smaller the overlap, so z is multiplied by the root of the overlap.
    """
    score, overlap, confidence = (found[name].to_numpy(float) for name in ("score_after", "overlap", "confidence"))
    return np.asarray(np.c_[np.arctanh(score.clip(-0.99, 0.99)) * np.sqrt(overlap), logit(confidence.clip(1e-6, 1 - 1e-6))])
