"""The probability that a pair is right, calibrated on the dataset itself.

Of the pairs some are right and some wrong; the strangers, pairs of tiles that cannot match, are all wrong, by the same
chance and the same camera. With the density f0 of the cues x of wrong pairs and f1 of right ones, taken as

    f1(x) / f0(x) = exp(a + b x)        (the exponential tilt model; Qin 1999, with labels on part of the data)

the share of right pairs, a and b are found by expectation and maximisation: given who is right, a logistic regression gives
a and b; given those, Bayes' rule gives the probability that each pair is right.

Once it is known how far right pairs lie from where they are expected, the place where a pair was found tells, too: a right one
is distributed around there as Student's t, a wrong one lies anywhere in the area that was searched. The ratio of the two
densities multiplies the odds.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import chdtrc, logit

from dlir.core.affine import Array
from dlir.core.robust import DEVIATIONS, intrinsic_deviation
from dlir.core.tables import LINEAR, LINEAR_COVARIANCE
from dlir.registration.model.estimate import RIGHT_PX, STUDENT_FREEDOM

ORDINARY = 0.7  # of the strangers: a pair that is no better than so many is wrong (Efron's zero assumption)
RIDGE = 0.03  # keeps the regression finite where right and wrong do not overlap
ROUNDS, STEPS = 60, 8
ANYWHERE = 100.0  # times as far as was searched: where pairs err by more, their places tell nothing
RARE_SHARE = 0.01  # part of the right pairs, by their covariances, that is turned, scaled or sheared more than this
LEAST_TRUST = 0.6  # of the pairs beyond that, about so many are right where they are surest, on real tiles


def probability(pairs: Array, strangers: Array, near: Array | float = 0.0) -> Array:
    """P(right), (n,), of pairs with the cues (n, k), of which more is better, given those of strangers (m, k), and the
    logarithm of how much likelier a right pair is found where each was than a wrong one (n,)."""
    if not len(pairs) or not len(strangers):
        return np.full(len(pairs), 0.5)
    middle = np.median(strangers, axis=0)
    scale = np.concatenate([pairs, strangers]).std(axis=0) + 1e-9
    cues = np.c_[(np.concatenate([pairs, strangers]) - middle) / scale, np.ones(len(pairs) + len(strangers))]
    beyond = (pairs > np.quantile(strangers, 0.95, axis=0)).mean(axis=1)
    right, weights = np.r_[beyond, np.zeros(len(strangers))], np.zeros(cues.shape[1])
    told = right[: len(pairs)]
    for _ in range(ROUNDS):
        for _ in range(STEPS):
            weights = _newton(cues, right, weights)
        wrong_pairs = max(float((1 - told).sum()), 0.5)
        # the regression sees the strangers among the wrong; among the pairs alone right ones are that much more likely
        odds = cues @ weights + np.log((wrong_pairs + len(strangers)) / wrong_pairs)
        ordinary = odds[: len(pairs)] <= np.quantile(odds[len(pairs) :], ORDINARY)
        told[:] = np.where(ordinary, 0.0, 1 / (1 + np.exp(-(odds[: len(pairs)] + near).clip(-30, 30))))
    return np.asarray(told)


def _newton(cues: Array, right: Array, weights: Array) -> Array:
    """A step of logistic regression on the shares `right` (n,); a better cue never counts against a pair."""
    share = 1 / (1 + np.exp(-(cues @ weights).clip(-30, 30)))
    ridge = np.diag(np.r_[np.full(cues.shape[1] - 1, RIDGE), 1e-6])
    curve = (cues * (share * (1 - share))[:, None]).T @ cues + ridge
    step = np.linalg.solve(curve, cues.T @ (right - share) - ridge @ weights)
    weights = weights + step / max(1.0, float(np.abs(step).max()) / 2)
    return np.asarray(np.r_[weights[:-1].clip(min=0), weights[-1]])


def with_verdict(found: pd.DataFrame, strangers: pd.DataFrame, accept: float) -> pd.DataFrame:
    """Registered pairs, as `register` has them, with the probability that each is right as its confidence, and the columns
    accepted and reason.

    A pair that is turned, scaled or sheared as no other pair is shows too little, or not the same thing, in its two tiles:
    its covariance is widened, and it is less likely to be right. A pair that shows the same thing, but faintly, may be more
    than RIGHT_PX off: it is accepted all the same, for what its covariance says. Not so where its place alone speaks for it: of
    that the stage says as much.
    """
    cues, others = _cues(found), _cues(strangers)
    seen, alike = probability(cues, others), probability(cues, others, _near(found))
    square = _unlike(found, linear_deviation(found, alike >= accept))
    wider = {name: found[name] * np.maximum(1, square / len(LINEAR)) for name in ("var_y", "cov_yx", "var_x")}
    # Student's t in two dimensions
    exact = 1 - (1 + RIGHT_PX**2 / STUDENT_FREEDOM / ((wider["var_y"] + wider["var_x"]) / 2)) ** (-STUDENT_FREEDOM / 2)
    usual = np.clip(chdtrc(len(LINEAR), square) / RARE_SHARE, LEAST_TRUST, 1)
    confidence = (alike * usual * exact).round(4)
    unsure = ((alike * usual).round(4) < accept) | (((seen * usual).round(4) < accept) & (confidence < accept))
    outside = ~found["inside"].to_numpy(bool)
    words = "likely wrong: tiles that are no neighbours match as well"
    reason = np.select([outside, unsure], ["outside the search window", words], default="")
    found = found.drop(columns=["away", "expected", "searched", "inside", "overlap"]).assign(**wider)
    return found.assign(confidence=confidence, accepted=~(unsure | outside), reason=reason)


def linear_deviation(found: pd.DataFrame, right: NDArray[np.bool_]) -> float:
    """How far the tiles differ in the entries of their linear parts, as the right ones of the registered pairs show.

    It may be more than the pairs' covariances say: by so much that half of the right pairs lie below the median of chi square.
    """
    if not right.any():
        return float(DEVIATIONS[-1])
    return intrinsic_deviation(lambda deviation: _unlike(found[right], deviation), len(LINEAR))


def _unlike(found: pd.DataFrame, deviation: float) -> NDArray[np.float64]:
    """How far the linear part of each affine lies from the identity, where tiles differ by `deviation`: (n,), chi square of
    four degrees of freedom."""
    difference = (found[list(LINEAR)].to_numpy() - np.eye(2).ravel())[:, None]
    covariance = found[LINEAR_COVARIANCE].to_numpy().reshape(-1, len(LINEAR), len(LINEAR))
    solved = np.linalg.solve(covariance + deviation**2 * np.eye(len(LINEAR)), difference.mT)
    return np.asarray((difference @ solved)[:, 0, 0])


def _near(found: pd.DataFrame) -> NDArray[np.float64]:
    """The logarithm of how much likelier (n,) a right pair is found where each was than a wrong one, which may be anywhere in
    the searched area, here taken as round."""
    away, expected, searched = (found[name].to_numpy(float) for name in ("away", "expected", "searched"))
    area = (2 * searched + 1) ** 2
    square = STUDENT_FREEDOM * np.minimum(expected, ANYWHERE * searched) ** 2
    within = -np.expm1(-STUDENT_FREEDOM / 2 * np.log1p(area / np.pi / square))
    # Student's t in two dimensions
    density = (1 + away**2 / square) ** (-STUDENT_FREEDOM / 2 - 1) * STUDENT_FREEDOM / (2 * np.pi * square) / within
    return np.asarray(np.log(density * area))


def _cues(found: pd.DataFrame) -> NDArray[np.float64]:
    """What tells right pairs from wrong ones (n, 2): Fisher's z of the NCC, which by chance is the larger the less overlaps,
    and the log odds that the method gives."""
    score, overlap, odds = (found[name].to_numpy(float) for name in ("score_after", "overlap", "confidence"))
    return np.asarray(np.c_[np.arctanh(score.clip(-0.99, 0.99)) * np.sqrt(overlap), logit(odds.clip(1e-6, 1 - 1e-6))])
