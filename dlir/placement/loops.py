"""Loops: what pairs around four tiles say of each other.

The offsets of the four pairs around four tiles add up to zero if all four are right. Their sum, the closing error, judges each
of the four. Let q be the probability that the other three are right, and g the density of the closing error if all four are:
Student's t in the plane, with the covariances of the four pairs together. Where one of the four is wrong, the sum may be
anything: its density is 1 / WRONG_AREA. So the odds that a pair is right are multiplied by

    q g WRONG_AREA + (1 - q)

A loop that closes speaks for its pairs. A loop that does not close speaks against that pair most whose other loops do not close
either. q follows from the other loops of the three pairs, in a few rounds (belief propagation; Pearl 1988).
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, log_expit, logit

from dlir.core.affine import Array

WRONG_AREA = 1000.0  # px^2, in which a wrong pair may lie anywhere
LEAST_CONFIDENCE, MOST_CONFIDENCE = 1e-3, 1 - 1e-4  # between which the confidence of a pair is limited
STUDENT_FREEDOM = 4.0  # of the errors of right pairs
ROUNDS = 5  # of belief propagation


class Loops(NamedTuple):
    """The m loops of k pairs."""

    pairs: NDArray[np.int64]  # (m, k) the pairs of each loop
    signs: NDArray[np.int64]  # (m, k) 1 where the loop runs from the fixed to the moving tile of the pair, else -1


def loops_of_three(i: NDArray[np.int64], j: NDArray[np.int64]) -> Loops:
    """Returns the loops around three tiles, each once, of pairs that join the tiles i (n,) and j (n,)."""
    steps, two = _one_and_two_steps(i, j)
    two = two[two["end_1"] < two["end_2"]]
    three = two.merge(steps, left_on=["end_2", "start_1"], right_on=["start", "end"])
    pairs, signs = (three[[f"{what}_1", f"{what}_2", what]].to_numpy(np.int64) for what in ("pair", "sign"))
    return Loops(pairs, signs)


def loops_of_four(i: NDArray[np.int64], j: NDArray[np.int64]) -> Loops:
    """Returns the loops around four tiles, each once, of pairs that join the tiles i (n,) and j (n,)."""
    _, two = _one_and_two_steps(i, j)
    both = two.merge(two, on=["start_1", "end_2"], suffixes=("_there", "_back"))
    both = both[both["end_1_there"] < both["end_1_back"]]
    pairs, signs = (
        both[[f"{what}_{step}_{way}" for way in ("there", "back") for step in (1, 2)]].to_numpy(np.int64).reshape(-1, 4)
        for what in ("pair", "sign")
    )
    return Loops(pairs, signs * [1, 1, -1, -1])


def _one_and_two_steps(i: NDArray[np.int64], j: NDArray[np.int64]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All steps along one pair, from tile `start` to tile `end`, and along two, from tile `start_1` over `end_1` to `end_2`.

    Of the steps along two pairs, those whose first tile has the lowest number: so a loop is found from one of its tiles only.
    """
    pair, forward = np.tile(np.arange(len(i)), 2), np.repeat([1, -1], len(i))
    steps = pd.DataFrame({"start": np.r_[i, j], "end": np.r_[j, i], "pair": pair, "sign": forward})
    two = steps.merge(steps, left_on="end", right_on="start", suffixes=("_1", "_2"))
    return steps, two[(two["start_1"] < two["end_2"]) & (two["start_1"] < two["end_1"])]


def probability_by_loops(loops: Loops, confidence: Array, residual: Array, covariance: Array) -> Array:
    """Returns the probability (n,) that each pair is right, in view of the loops.

    Args:
        confidence: (n,) of the pairs before that.
        residual: (n, 2) px, of the pairs in any placement, whose places cancel out in a loop.
        covariance: (n, 2, 2) px^2.
    """
    prior = logit(confidence.clip(LEAST_CONFIDENCE, MOST_CONFIDENCE))
    closing = np.einsum("mp,mpa->ma", loops.signs, residual[loops.pairs])
    density_ratio = WRONG_AREA * student_density(closing, covariance[loops.pairs].sum(axis=1))
    evidence = np.zeros(loops.pairs.shape)  # the logarithm of the factor that a loop gives the odds of each of its pairs
    log_odds = prior
    for _ in range(ROUNDS):
        log_right = log_expit(log_odds[loops.pairs] - evidence)
        log_others = log_right.sum(axis=1, keepdims=True) - log_right
        evidence = np.log(np.exp(log_others) * density_ratio[:, None] - np.expm1(log_others) + 1e-12)
        log_odds = prior + np.bincount(loops.pairs.ravel(), evidence.ravel(), minlength=len(prior))
    return np.asarray(expit(log_odds))


def student_density(error: Array, covariance: Array) -> Array:
    """The density (n,), 1/px^2, of errors (n, 2), px: Student's t in the plane, of this covariance (n, 2, 2)."""
    square = np.einsum("na,nab,nb->n", error, np.linalg.inv(covariance), error)
    peak = 1 / (2 * np.pi * np.sqrt(np.linalg.det(covariance)))
    return np.asarray(peak * (1 + square / STUDENT_FREEDOM) ** (-STUDENT_FREEDOM / 2 - 1))
