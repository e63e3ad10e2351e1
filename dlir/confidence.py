"""The probability that a pair is right, calibrated on the dataset itself.

Of the pairs some are right and some wrong; the strangers, pairs of tiles that cannot match, are all wrong, by the same
chance and the same camera. With the density f0 of the cues x of wrong pairs and f1 of right ones, taken as

    f1(x) / f0(x) = exp(a + b x)        (the exponential tilt model; Qin 1999, with labels on part of the data)

the share of right pairs, a and b are found by expectation and maximisation: given who is right, a logistic regression gives
a and b; given those, Bayes' rule gives the probability that each pair is right.
"""

import numpy as np

from dlir.affine import Array

ORDINARY = 0.7  # of the strangers: a pair that is no better than so many is wrong (Efron's zero assumption)
RIDGE = 0.3  # keeps the regression finite where right and wrong do not overlap
ROUNDS, STEPS = 60, 8


def probability(pairs: Array, strangers: Array) -> Array:
    """P(right), (n,), of pairs with the cues (n, k), of which more is better, given those of strangers (m, k)."""
    if not len(pairs) or not len(strangers):
        return np.full(len(pairs), 0.5)
    middle = np.median(strangers, axis=0)
    scale = np.concatenate([pairs, strangers]).std(axis=0) + 1e-9
    cues = np.c_[(np.concatenate([pairs, strangers]) - middle) / scale, np.ones(len(pairs) + len(strangers))]
    beyond = (pairs > np.quantile(strangers, 0.95, axis=0)).mean(axis=1)
    right, weights = np.r_[beyond, np.zeros(len(strangers))], np.zeros(cues.shape[1])
    for _ in range(ROUNDS):
        for _ in range(STEPS):
            weights = _newton(cues, right, weights)
        wrong_pairs = max(float((1 - right[: len(pairs)]).sum()), 0.5)
        # the regression sees the strangers among the wrong; among the pairs alone right ones are that much more likely
        odds = cues @ weights + np.log((wrong_pairs + len(strangers)) / wrong_pairs)
        told = 1 / (1 + np.exp(-odds.clip(-30, 30)))
        right[: len(pairs)] = np.where(odds > np.quantile(odds[len(pairs) :], ORDINARY), told, 0.0)[: len(pairs)]
    return np.asarray(right[: len(pairs)])


def _newton(cues: Array, right: Array, weights: Array) -> Array:
    """A step of logistic regression on the shares `right` (n,); a better cue never counts against a pair."""
    share = 1 / (1 + np.exp(-(cues @ weights).clip(-30, 30)))
    ridge = np.diag(np.r_[np.full(cues.shape[1] - 1, RIDGE), 1e-6])
    curve = (cues * (share * (1 - share))[:, None]).T @ cues + ridge
    step = np.linalg.solve(curve, cues.T @ (right - share) - ridge @ weights)
    weights = weights + step / max(1.0, float(np.abs(step).max()) / 2)
    return np.asarray(np.r_[weights[:-1].clip(min=0), weights[-1]])
