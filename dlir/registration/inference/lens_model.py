"""Which distortion all pairs share, and whether there is one: from what each pair says of its coefficients.

A pair says that the coefficients c of the distortion (`core/lens.py`) minimise  c'S c - 2 c't, after its own shift and linear
part have followed (`lens_estimate.py`). The pairs are added up, each weighted by how well it agrees with the others
(`robust.geman_mcclure`), so that a few wrong ones do not count. What no pair shows has a prior of zero.

**How many terms.** MODELS go from one coefficient to all terms up to degree 5. Each is fitted to all pairs but a few, and
judged by how much better these few fit than without a distortion, fold by fold (cross-validation). The first model is taken
that the best one does not beat clearly; and none where it is not clearly better than none. The two are compared in the scatter
that the best one leaves: where a term is missing, the pairs scatter more, and in that scatter every difference looks small. A
model with more coefficients than pairs is not tried.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlir.core.affine import Array
from dlir.core.lens import POWERS
from dlir.core.robust import geman_mcclure

FEWEST_PAIRS = 4
FOLDS = 10  # groups of pairs that are left out in turn
PRIOR = 5.0  # px: standard deviation of a coefficient of which no pair tells
CLEAR = 25.0  # by which the pairs left out have to fit better with a distortion than without, in units of their variance
CLEAR_SHARE = 1e-4  # the same as a share of what the better one explains: no model is exact
MOST_OF_ONE = 0.25  # of that, at most, comes from one pair
ROUNDS = 5  # of the robust weights
RANK = 1e-6  # of the largest eigenvalue of S, below which a pair says nothing


Terms = dict[tuple[int, int], float]  # factors of the terms of a model, by their powers of v_y and v_x


class Evidence(NamedTuple):
    """What n pairs say of the m = 2 x 18 coefficients: first those along y, then those along x."""

    information: Array  # (n, m, m) S, 1/px^2
    pull: Array  # (n, m) t, 1/px

    def of(self, chosen: NDArray[np.bool_]) -> "Evidence":
        """Returns the evidence of some pairs (n,)."""
        return Evidence(self.information[chosen], self.pull[chosen])

    def along(self, directions: Array) -> "Evidence":
        """Returns what the pairs say of combinations of the coefficients, which are the columns of `directions` (m, k)."""
        return Evidence(directions.T @ self.information @ directions, self.pull @ directions)


class Fit(NamedTuple):
    """A distortion that fits the pairs."""

    coefficients: Array  # (m,) px
    deviation: Array  # (m,) px, their standard deviations
    model: str


def _models() -> dict[str, Array]:
    """The models from simple to rich, by their names: directions (m, k) in the space of the coefficients."""
    index = {tuple(power): k for k, power in enumerate(POWERS.tolist())}

    def direction(along_y: Terms, along_x: Terms) -> Array:
        found = np.zeros((2, len(POWERS), 1))
        for axis, terms in enumerate((along_y, along_x)):
            for powers, factor in terms.items():
                found[axis, index[powers]] = factor
        return found.reshape(-1, 1)

    k1 = direction({(3, 0): 1, (1, 2): 1}, {(2, 1): 1, (0, 3): 1})  # |v|^2 v
    k2 = direction({(5, 0): 1, (3, 2): 2, (1, 4): 1}, {(4, 1): 1, (2, 3): 2, (0, 5): 1})  # |v|^4 v
    tilt = np.hstack([direction({(2, 0): 1}, {(1, 1): 1}), direction({(1, 1): 1}, {(0, 2): 1})])  # (h . v) v
    square: Terms = {(2, 0): 1, (0, 2): 1}
    centre = np.hstack([direction(square, {}), direction({}, square)]) + 2 * tilt  # |v|^2 h + 2 (h . v) v
    degree = np.tile(POWERS.sum(axis=1), 2)
    up_to = {most: np.eye(len(degree))[:, degree <= most] for most in (2, 3, 5)}
    return {
        "radial (k1)": k1,
        "radial (k1, k2)": np.hstack([k1, k2]),
        "tilted specimen": tilt,
        "radial (k1) about another centre": np.hstack([k1, centre]),
        "radial (k1) and tilted specimen": np.hstack([k1, tilt]),
        "radial (k1) about another centre, and tilted specimen": np.hstack([k1, tilt, centre]),
        "radial (k1, k2) about another centre, and tilted specimen": np.hstack([k1, k2, tilt, centre]),
        "degree 2": up_to[2],
        "degree 3": up_to[3],
        "degree 3 and k2": np.hstack([up_to[3], k2]),
        "degree 5": up_to[5],
    }


MODELS = _models()


def choose_fit(evidence: Evidence) -> Fit | None:
    """Returns the distortion that the pairs share, or None where it is not clear that there is one."""
    count = len(evidence.pull)
    if count < FEWEST_PAIRS:
        return None
    fold = np.random.default_rng(0).permutation(count) % min(count, FOLDS)
    few = {name: directions for name, directions in MODELS.items() if directions.shape[1] <= count}
    gains = {name: _gains(evidence.along(directions), fold) for name, directions in few.items()}
    best, scatter = max(gains.values(), key=lambda each: float(each[0].sum()))
    name = next(name for name, (gain, _) in gains.items() if not _clearly_better(best / scatter, gain / scatter))
    gain = gains[name][0] / gains[name][1]
    alike = gain.sum() > np.sqrt(count) * gain.std()  # by more than a standard error: wrong pairs do not agree
    return fit(evidence, name) if alike and _clearly_better(gain, np.zeros(count)) else None


def _clearly_better(gain: Array, other: Array) -> bool:
    """Whether pairs gain more (n,) by one model than by another: by CLEAR, and not one pair alone."""
    more = gain - other
    several = np.minimum(more, MOST_OF_ONE * more.clip(0).sum())
    return bool(several.sum() > max(CLEAR, CLEAR_SHARE * gain.sum()))


def fit(evidence: Evidence, model: str) -> Fit:
    """Returns the distortion of this model that fits the pairs."""
    directions = MODELS[model]
    found, covariance, _ = _fitted(evidence.along(directions))
    deviation = np.sqrt(np.einsum("mk,kl,ml->m", directions, covariance, directions))
    return Fit(directions @ found, deviation, model)


def _fitted(evidence: Evidence) -> tuple[Array, Array, float]:
    """Returns the coefficients (k,) that fit the pairs, their covariance (k, k), and how much more the pairs scatter than they
    say (in variances)."""
    information, pull = evidence
    prior = np.eye(pull.shape[1]) / PRIOR**2
    inverse = np.linalg.pinv(information, rcond=RANK, hermitian=True)
    freedom = np.linalg.matrix_rank(information, hermitian=True).clip(1)
    weight, scale = np.ones(len(pull)), 1.0
    found = covariance = np.zeros(0)
    for _ in range(ROUNDS):
        total = np.einsum("n,nkl->kl", weight, information) / scale + prior
        covariance = np.linalg.inv(total)
        found = covariance @ (weight @ pull) / scale
        left = pull - information @ found  # by which the pairs miss it
        square = np.einsum("nk,nkl,nl->n", left, inverse, left) / freedom
        scale = max(1.0, float(np.median(square)))
        weight = geman_mcclure(square / scale)
    return found, covariance, scale


def _gains(evidence: Evidence, fold: NDArray[np.int64]) -> tuple[Array, Array]:
    """How much better (n,) each pair fits with the distortion that the other folds (n,) show than without, in variances that
    the pairs say; and by how much more (n,) the other folds scatter about that distortion."""
    gain, scatter = np.zeros(len(fold)), np.ones(len(fold))
    for number in range(fold.max() + 1):
        here = fold == number
        found, _, scatter[here] = _fitted(evidence.of(~here))
        information, pull = evidence.of(here)
        gain[here] = 2 * pull @ found - np.einsum("k,nkl,l->n", found, information, found)
    return gain, scatter
