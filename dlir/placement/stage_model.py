"""The stage model: how the stage's frame maps to the camera's, how far the stage errs along both axes, and its backlash.

The camera sees an offset s of the stage as

    M s + b p

where M turns, scales and shears, and b is the backlash: what lies between lines that are scanned in opposite directions (p is
one on every second row, or column, and zero on the others). M and b are fitted by robust least squares, first to the offsets
of the pairs, then to the places of the tiles; what remains is the error of the stage. A part of M or b that the error alone
could explain is left out, since it would shift tiles that no pair joins to others away from where the stage says.
"""

from typing import NamedTuple, Protocol, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from dlir.core.affine import BASIS, Array
from dlir.core.robust import geman_mcclure

LEAST_DEVIATION = 0.03  # px: no stage and no pair is taken to be more exact than this
LOSS_WIDTH = 4.0  # times the variance of a place: the errors of a stage are more evenly distributed than normal errors
WEIGHTED_VARIANCE = 0.91  # the variance of normal errors under the weights of this loss, in units of their true variance
ROUNDS = 20  # of reweighting in the first fit
PRIOR_DEVIATIONS = np.array([0.05] * 4 + [50.0] * 4)  # of the parts of M along BASIS, and of the parts of b, px
SIMILARITY, SHEAR = (0, 1), 3  # indices of parts
ORDER = (0, 1, 4, 5, 6, 7, 2, 3)  # of parts: what stages do most often comes first
FALSE_ALARM = 0.00135  # probability that a part is taken in by chance: three standard deviations, where pairs are many
LEAST_FREEDOM = 3.0  # degrees of freedom: with fewer, Student's t has no variance
LEAST_RATIO = 0.5  # of the errors along the two axes: a median of few pairs may be small by chance
NORMAL_MEDIAN = 0.6745  # median of the absolute value of a standard normal number
DEFAULT_ERROR = 5.0  # px, where no pair shows the error of the stage


class Prior(Protocol):
    """What the solver takes from the stage that positioned n tiles, or from several stages (`rounds/stages.py`)."""

    @property
    def prior(self) -> Array:
        """Where the stage puts the tiles (n, 2), px, in the frame of the mosaic."""

    @property
    def error(self) -> Array:
        """The standard deviation, px, of the position of one tile along y and x: (2,) of all tiles, or (n, 2) of each."""

    @property
    def certain(self) -> NDArray[np.bool_]:
        """The tiles (n,) whose place the user gave."""

    def slipped(self, shift: Array) -> Self:
        """Returns the stage with all positions moved by `shift` (n, 2), px, in the frame of the mosaic."""

    def with_fitted_map(self, places: Array, group: NDArray[np.int64]) -> Self:
        """Returns the stage with its map fitted to places (n, 2), px, of tiles in groups (n,)."""

    def with_measured_error(self, places: Array, group: NDArray[np.int64]) -> Self:
        """Returns the stage with the error that places (n, 2), px, in groups (n,) show, and the map fitted with it."""


class Stage(NamedTuple):
    """The positions of n tiles by the stage, and how the camera sees them."""

    nominal: Array  # (n, 2) px, positions by the stage
    parity: Array  # (n, 2) 0 or 1, of the row and of the column of each tile
    to_camera: Array  # (2, 2) M
    backlash: Array  # (2, 2) b, px: of every second row, of every second column
    error: Array  # (2,) px, standard deviation of the position of one tile along y and x
    prior: Array  # (n, 2) px, places in the camera's frame, as M and b give them
    measured: Array  # (2, 2) the best estimate of the map, with rotation, scale and skew even where M leaves them out
    interval: Array  # (3,) half of the 95 % interval of rotation (rad), scale and skew (rad); zero where the user gave M
    known_map: Array | None  # (2, 2) M, where the user gave it
    certain: NDArray[np.bool_]  # (n,) tiles whose place the user gave

    def with_nominal(self, nominal: Array, certain: NDArray[np.bool_]) -> Self:
        """Returns the stage with other positions (n, 2), px, some of which are certain (n,)."""
        prior = nominal @ self.to_camera.T + self.parity @ self.backlash
        return self._replace(nominal=nominal, certain=certain, prior=prior)

    def slipped(self, shift: Array) -> Self:
        """Returns the stage with all positions moved by `shift` (n, 2), px, in the camera's frame."""
        return self.with_nominal(self.nominal + shift @ np.linalg.inv(self.to_camera).T, self.certain)

    def with_fitted_map(self, places: Array, group: NDArray[np.int64]) -> Self:
        """Returns the stage with M and b fitted to places (n, 2) in the camera's frame, robustly.

        Args:
            group: (n,) the number of the group of tiles that pairs join. Places are taken relative to the middle of their
                group, since where one group lies to another is known from the stage alone.
        """
        weight = self._weights(places, group)
        nominal, parity, target = (_less_group_mean(values, group, weight) for values in (self.nominal, self.parity, places))
        fit = _fit_map(nominal, parity, target, weight, self.known_map, self.error)
        prior = self.nominal @ fit.to_camera.T + self.parity @ fit.backlash
        return self._replace(**fit._asdict(), prior=prior + (places - prior).mean(axis=0))

    def with_measured_error(self, places: Array, group: NDArray[np.int64]) -> Self:
        """Returns the stage with the error that places (n, 2) in groups (n,) show, and the map fitted with it.

        It is for final places. During the solution, places that follow the stage would make it look better than it is. Where
        pairs join too few tiles, the stage stays as it is.
        """
        joined = np.bincount(group)[group] > 1
        # the middles of the groups and the map take up degrees of freedom
        freedom = (joined.sum() - len(np.unique(group[joined])) - 1) / max(joined.sum(), 1)
        if freedom <= 0:
            return self
        residual = self._residuals(places, group)[joined]
        rough = self._replace(error=_plausible(np.median(np.abs(residual), axis=0) / NORMAL_MEDIAN / np.sqrt(freedom)))
        weight = rough._weights(places, group)[joined]
        error = np.sqrt(weight @ residual**2 / weight.sum() / freedom / WEIGHTED_VARIANCE)
        # few tiles show the error inexactly, and it may be larger than it seems: the variance of Student's t
        count = max(freedom * joined.sum(), LEAST_FREEDOM)
        error = error * np.sqrt(count / (count - 2))
        return self._replace(error=_plausible(error)).with_fitted_map(places, group)

    def _residuals(self, places: Array, group: NDArray[np.int64]) -> Array:
        """How far (n, 2), px, places lie from where M and b put them, less the median of their group."""
        residual = places - self.nominal @ self.to_camera.T - self.parity @ self.backlash
        return np.asarray(residual - pd.DataFrame(residual).groupby(group).transform("median").to_numpy())

    def _weights(self, places: Array, group: NDArray[np.int64]) -> Array:
        """The weight (n,) of each place in a robust fit: a place far from where M and b put it has little."""
        return geman_mcclure(((self._residuals(places, group) / self.error) ** 2).sum(axis=1) / LOSS_WIDTH)


class MapFit(NamedTuple):
    """A fitted map: the fields of Stage with the same names."""

    to_camera: Array
    backlash: Array
    measured: Array
    interval: Array


class Turn(NamedTuple):
    """How the picture of the camera lies against the stage."""

    rotation: float  # rad, from camera to stage
    scale: float  # px of the stage in one px of the camera
    skew: float  # rad, by which the angle between the axes of the stage, as the camera sees them, falls short of 90 degrees


def error_of_pairs(stage: Prior, i: NDArray[np.int64], j: NDArray[np.int64]) -> Array:
    """Returns the root mean square (n, 2), px, of the errors of the two tiles i and j (n,) of pairs, along y and x."""
    square = np.broadcast_to(stage.error**2, stage.prior.shape)
    return np.asarray(np.sqrt((square[i] + square[j]) / 2))


def turn_of(to_camera: Array) -> Turn:
    """Returns what a map (2, 2) from stage to camera does."""
    along_y, along_x = to_camera.T / np.linalg.norm(to_camera, axis=0)[:, None]
    rotation = np.arctan2(to_camera[1, 0] - to_camera[0, 1], np.trace(to_camera))
    return Turn(float(rotation), float(1 / np.sqrt(abs(np.linalg.det(to_camera)))), float(np.arcsin(along_y @ along_x)))


def fit_stage(
    i: NDArray[np.int64], j: NDArray[np.int64], offset: Array, nominal: Array, parity: Array, known_map: Array | None = None
) -> Stage:
    """Returns the stage model that the offsets of pairs alone show.

    Args:
        i, j: (n,) the tiles of each pair.
        offset: (n, 2) px, of tile j from tile i in the camera's frame.
        nominal: (tiles, 2) px, positions by the stage.
        parity: (tiles, 2) 0 or 1, of row and column.
        known_map: (2, 2) M, where the user knows it.
    """
    between, parity_change = nominal[j] - nominal[i], parity[j] - parity[i]
    error = np.full(2, DEFAULT_ERROR)
    fit = _fit_map(between[:0], parity_change[:0], offset[:0], np.ones(0), known_map, error)
    for _ in range(ROUNDS if len(i) else 0):
        residual = offset - between @ fit.to_camera.T - parity_change @ fit.backlash
        # an offset has the errors of two tiles
        error = _plausible(np.median(np.abs(residual), axis=0) / NORMAL_MEDIAN / np.sqrt(2))
        weight = geman_mcclure(((residual / error) ** 2).sum(axis=1) / 2)
        fit = _fit_map(between, parity_change, offset, weight, known_map, np.sqrt(2) * error)
    prior, certain = nominal @ fit.to_camera.T + parity @ fit.backlash, np.zeros(len(nominal), bool)
    return Stage(nominal, parity, error=error, prior=prior, known_map=known_map, certain=certain, **fit._asdict())


def _fit_map(source: Array, parity: Array, target: Array, weight: Array, known_map: Array | None, error: Array) -> MapFit:
    """Fits M and b, which take `source` (n, 2) and `parity` (n, 2) to `target` (n, 2).

    The parts of both are tried one after the other, and stay where they are clearly larger than their standard deviation.
    Rotation, scale and skew, with their intervals, are fitted in any case.

    Args:
        weight: (n,) of each row.
        known_map: (2, 2) M where the user knows it; then b alone is fitted.
        error: (2,) px, standard deviation of the target along y and x.
    """
    start = np.eye(2) if known_map is None else known_map
    turned = np.einsum("kab,nb->nak", BASIS, source)
    shifted = np.einsum("nl,ab->nalb", parity, np.eye(2)).reshape(len(parity), 2, 4)
    design = np.concatenate([turned, shifted], 2)  # (n, 2, 8)
    weighted = design * (weight[:, None] / error**2)[:, :, None]
    normal = np.tensordot(weighted, design, ((0, 1), (0, 1))) + np.diag(PRIOR_DEVIATIONS**-2)
    side = np.tensordot(weighted, target - source @ start.T, ((0, 1), (0, 1)))
    free = np.zeros(len(side), bool)
    freedom = 2 * int(source.any(axis=1).sum()) - len(side)  # a tile that is alone in its group shows nothing
    clear = -stdtrit(max(freedom, 1), FALSE_ALARM)  # standard deviations
    for part in ORDER if known_map is None else ORDER[2:6]:
        free[part] = True
        value, variance = _solve_free(normal, side, free)
        free[part] = abs(value[part]) > clear * np.sqrt(variance[part])
    value, _ = _solve_free(normal, side, free)
    free[list(SIMILARITY)] |= known_map is None
    best, variance = _solve_free(normal, side, free)
    free[SHEAR] |= known_map is None
    sheared, shear_variance = _solve_free(normal, side, free)
    best[SHEAR] = sheared[SHEAR]
    # a shear turns both axes towards each other
    deviations = np.sqrt(np.r_[variance[list(SIMILARITY)], 4 * shear_variance[SHEAR]])
    return MapFit(
        start + np.einsum("k,kab->ab", value[:4], BASIS),
        value[4:].reshape(2, 2),
        start + np.einsum("k,kab->ab", best[:4], BASIS),
        1.96 * deviations,
    )


def _plausible(error: Array) -> Array:
    """The error (2,), px, not smaller than any stage has, nor much smaller along one axis than along the other."""
    error = error.clip(min=LEAST_DEVIATION)
    return np.asarray(error.clip(min=LEAST_RATIO * error.max()))


def _less_group_mean(values: Array, group: NDArray[np.int64], weight: Array) -> Array:
    """Values (n, 2) less the weighted mean of their group."""
    total = np.bincount(group, weight)[:, None]
    sums = np.stack([np.bincount(group, weight * column) for column in values.T], 1)
    return np.asarray(values - (sums / total)[group])


def _solve_free(normal: Array, side: Array, free: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Solves normal equations for the parts that are free; returns values (k,) and variances (k,), zero for the other parts."""
    value, variance = np.zeros(len(side)), np.zeros(len(side))
    inverse = np.linalg.inv(normal[np.ix_(free, free)])
    value[free], variance[free] = inverse @ side[free], np.diag(inverse)
    return value, variance
