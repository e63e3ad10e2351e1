"""Similarities (a turn, a scale and a shift) that fit points of two rounds, some of which are wrong."""

import numpy as np

from dlir.core import affine
from dlir.core.affine import Array
from dlir.core.robust import geman_mcclure

ROUNDS = 15  # of the robust fit
WIDEST = 6.0  # times the last deviation, with which it begins
LARGEST_CHANGE = 0.02  # rad, and of the scale: standard deviation of what is fitted


def turning(turn: float, scale: float) -> Array:
    """Returns the linear part (2, 2) that turns by `turn` degrees and scales by `scale`."""
    parts = scale * np.cos(np.radians(turn)), scale * np.sin(np.radians(turn))
    return np.array([[parts[0], parts[1]], [-parts[1], parts[0]]])


def similarity_between(places: Array, there: Array, deviation: float = 0.5) -> Array:
    """Returns the similarity (2, 3) that takes `places` (n, 2) to `there` (n, 2), px, robustly; the identity without any place.

    Source: least squares under the bounded loss of Geman and McClure, from a wide to a narrow one (Yang et al. 2020,
    arXiv 1909.08605).

    Args:
        deviation: px, of right points on either axis.
    """
    if not len(places):
        return affine.translation(np.zeros(2))
    middle, moved = places.mean(axis=0), there - places
    y, x = (places - middle).T
    one, zero = np.ones_like(y), np.zeros_like(y)
    design = np.stack([np.stack([one, zero, y, x], 1), np.stack([zero, one, x, -y], 1)], 1)  # (n, 2, 4)
    ridge = np.diag([0.0, 0.0, *(1 / LARGEST_CHANGE**2,) * 2])
    value = np.r_[np.median(moved, axis=0), 0.0, 0.0]
    for wide in np.geomspace(WIDEST * deviation, deviation, ROUNDS):
        weight = geman_mcclure(((moved - design @ value) ** 2).sum(axis=1) / wide**2) / wide**2
        normal = np.einsum("nak,n,nal->kl", design, weight, design) + ridge
        value = np.linalg.solve(normal, np.einsum("nak,n,na->k", design, weight, moved))
    linear = np.eye(2) + np.array([[value[2], value[3]], [-value[3], value[2]]])
    return np.asarray(affine.moving(middle[None], value[None, :2], linear[None])[0])
