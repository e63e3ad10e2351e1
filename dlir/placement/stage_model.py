"""What the stage's word is worth: the map from its frame to the camera's, its error along both axes, and its backlash.

The camera sees a stage offset s as  M s + b p,  where M turns, scales and shears, and b is what lies between lines that are
scanned one way and the other (p is one on every second row, or column). M and b are fitted to the offsets of the pairs and
then to the places of the tiles; what is left is the stage's error. A part of M or b of which the error could be the whole
counts for nothing, since it would carry tiles that no pair joins away from where the stage says.
"""

from typing import NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from dlir.core.affine import BASIS, Array
from dlir.core.robust import geman_mcclure

FLOOR = 0.03  # px: nothing is known better than this
FORGIVEN = 4.0  # times the variance of a place: errors of a stage are rather even than normal
KEPT = 0.91  # of the variance of normal errors, where they are weighted so
ROUNDS = 20
LIKELY = np.array([0.05] * 4 + [50.0] * 4)  # deviations of the parts of M along BASIS and of the parts of b, px
SIMILARITY, ORDER = (0, 1), (0, 1, 4, 5, 6, 7, 2, 3)  # of the parts: what stages do most often comes first
CHANCE = 0.00135  # that a part seems clear which is not there: three deviations, of many pairs
LEAST_RATIO = 0.5  # of the errors along the two axes: a median of few pairs may be small by chance
NORMAL = 0.6745  # median of the absolute value of a normal number
DEFAULT_ERROR = 5.0  # px, where no pair measures it


class Stage(NamedTuple):
    """The stage's places of n tiles, and how the camera sees them."""

    nominal: Array  # (n, 2) px
    lines: Array  # (n, 2) parity of row and column, 0 or 1
    to_camera: Array  # (2, 2)
    backlash: Array  # (2, 2) px: of every second row, of every second column
    error: Array  # (2,) px, of one tile along y and x
    prior: Array  # (n, 2) px, the places by the map
    rotation: float  # rad, of the picture against the stage, as in an affine from camera to stage; the best guess
    scale: float  # the stage's px in one of the camera's; the best guess
    interval: Array  # (2,) half of the 95 % interval of rotation (rad) and scale; zero where the map was given
    given: Array | None  # (2, 2) the map from stage to camera, where the user knows it
    certain: NDArray[np.bool_]  # (n,) tiles whose place is known

    def with_nominal(self, nominal: Array, certain: NDArray[np.bool_]) -> Self:
        """The stage with other places (n, 2), some of which are certain."""
        prior = nominal @ self.to_camera.T + self.lines @ self.backlash
        return self._replace(nominal=nominal, certain=certain, prior=prior)

    def with_fitted_map(self, places: Array, group: NDArray[np.int64]) -> Self:
        """The map that takes the stage's places to these (n, 2), of which pairs join those with the same number in `group`.

        Each group counts about its own middle, since where one lies to another is what the stage says itself. A place far
        from where the map so far puts it counts for little.
        """
        weight = self._weights(places, group)
        nominal, lines, seen = (_about_middles(values, group, weight) for values in (self.nominal, self.lines, places))
        fit = _fit(nominal, lines, seen, weight, self.given, self.error)
        prior = self.nominal @ fit.to_camera.T + self.lines @ fit.backlash
        return self._replace(**fit._asdict(), prior=prior + (places - prior).mean(axis=0))

    def with_measured_error(self, places: Array, group: NDArray[np.int64]) -> Self:
        """The stage with the error that the places (n, 2) show, where pairs join enough of them, and the map fitted with it.

        It is for the end: in between, places that follow the stage would seem to prove it right.
        """
        among = np.bincount(group)[group] > 1
        freedom = (among.sum() - len(np.unique(group[among])) - 1) / max(among.sum(), 1)  # less the groups' middles and the map
        if freedom <= 0:
            return self
        left = self._residuals(places, group)[among]
        rough = self._replace(error=_at_least(np.median(np.abs(left), axis=0) / NORMAL / np.sqrt(freedom)))
        weight = rough._weights(places, group)[among]
        return self._replace(error=_at_least(np.sqrt(weight @ left**2 / weight.sum() / freedom / KEPT))).with_fitted_map(
            places, group
        )

    def _residuals(self, places: Array, group: NDArray[np.int64]) -> Array:
        """How far (n, 2) the places lie from where the map puts them, about the median of their group."""
        left = places - self.nominal @ self.to_camera.T - self.lines @ self.backlash
        return np.asarray(left - pd.DataFrame(left).groupby(group).transform("median").to_numpy())

    def _weights(self, places: Array, group: NDArray[np.int64]) -> Array:
        """How far (n,) each place is believed when the map is fitted."""
        return geman_mcclure(((self._residuals(places, group) / self.error) ** 2).sum(axis=1) / FORGIVEN)


class Fit(NamedTuple):
    """What a fit tells of the fields of that name of Stage."""

    to_camera: Array
    backlash: Array
    rotation: float
    scale: float
    interval: Array


def fit_stage(
    i: NDArray[np.int64], j: NDArray[np.int64], offset: Array, nominal: Array, lines: Array, given: Array | None = None
) -> Stage:
    """The stage as the offsets (n, 2), px, of the tiles j from i show it, robustly."""
    source, between = nominal[j] - nominal[i], lines[j] - lines[i]
    error = np.full(2, DEFAULT_ERROR)
    fit = _fit(source[:0], between[:0], offset[:0], np.ones(0), given, error)
    for _ in range(ROUNDS if len(i) else 0):
        left = offset - source @ fit.to_camera.T - between @ fit.backlash
        # an offset has the errors of two tiles
        error = _at_least(np.median(np.abs(left), axis=0) / NORMAL / np.sqrt(2))
        weight = geman_mcclure(((left / error) ** 2).sum(axis=1) / 2)
        fit = _fit(source, between, offset, weight, given, np.sqrt(2) * error)
    prior = nominal @ fit.to_camera.T + lines @ fit.backlash
    return Stage(nominal, lines, error=error, prior=prior, given=given, certain=np.zeros(len(nominal), bool), **fit._asdict())


def _fit(source: Array, lines: Array, target: Array, weight: Array, given: Array | None, error: Array) -> Fit:
    """Map and backlash that take source (n, 2) and lines (n, 2) to target (n, 2), whose error is (2,) px.

    Parts are taken in one after the other, where they are clear of the error.
    """
    known = np.eye(2) if given is None else given
    design = np.concatenate(
        [np.einsum("kab,nb->nak", BASIS, source), np.einsum("nl,ab->nalb", lines, np.eye(2)).reshape(len(lines), 2, 4)], 2
    )
    weights = weight[:, None] / error**2
    normal = np.einsum("nak,na,nal->kl", design, weights, design, optimize=True) + np.diag(LIKELY**-2)
    side = np.einsum("nak,na,na->k", design, weights, target - source @ known.T, optimize=True)
    free = np.zeros(len(side), bool)
    clear = -stdtrit(max(2 * int(source.any(axis=1).sum()) - len(side), 1), CHANCE)  # one that is alone says nothing
    for part in ORDER if given is None else ORDER[2:6]:
        free[part] = True
        value, variance = _solved(normal, side, free)
        free[part] = abs(value[part]) > clear * np.sqrt(variance[part])
    value, _ = _solved(normal, side, free)
    free[list(SIMILARITY)] |= given is None
    best, variance = _solved(normal, side, free)
    camera = known + np.einsum("k,kab->ab", best[:4], BASIS)
    return Fit(
        known + np.einsum("k,kab->ab", value[:4], BASIS),
        value[4:].reshape(2, 2),
        float(np.arctan2(camera[1, 0] - camera[0, 1], np.trace(camera))),
        float(1 / np.sqrt(abs(np.linalg.det(camera)))),
        1.96 * np.sqrt(variance[list(SIMILARITY)]),
    )


def _at_least(error: Array) -> Array:
    """The error (2,), px, where it is not too small to be more than chance."""
    error = error.clip(min=FLOOR)
    return np.asarray(error.clip(min=LEAST_RATIO * error.max()))


def _about_middles(values: Array, group: NDArray[np.int64], weight: Array) -> Array:
    """Values (n, 2) less the weighted mean of those of the same group."""
    total = np.bincount(group, weight)[:, None]
    sums = np.stack([np.bincount(group, weight * column) for column in values.T], 1)
    return np.asarray(values - (sums / total)[group])


def _solved(normal: Array, side: Array, free: NDArray[np.bool_]) -> tuple[Array, Array]:
    """The parts that are free, and their variances; zero for the others."""
    value, variance = np.zeros(len(side)), np.zeros(len(side))
    inverse = np.linalg.inv(normal[np.ix_(free, free)])
    value[free], variance[free] = inverse @ side[free], np.diag(inverse)
    return value, variance
