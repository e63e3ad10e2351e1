"""What the stage's word is worth: the map from its frame to the camera's, its error along both axes, and its backlash.

The camera sees a stage offset s as  M s + b p,  where M turns, scales and shears, and b is what lies between lines that are
scanned one way and the other (p is one on every second row, or column). M and b are fitted to the offsets of the pairs and
then to the places of the tiles; what is left is the stage's error.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from dlir.affine import Array

FLOOR = 0.03  # px: nothing is known better than this
INLIER = 3.0  # deviations
ROUNDS = 20
RIDGE = 1e-3
CLEAR = 3.0  # deviations
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
    interval: Array  # (2,) half of the 95 % interval of rotation (rad) and scale; zero where the map was given
    given: Array | None  # (2, 2) the map from stage to camera, where the user knows it
    certain: NDArray[np.bool_]  # (n,) tiles whose place is known

    @property
    def rotation(self) -> float:
        """Of the camera's picture against the stage, rad, as in an affine from camera to stage."""
        return float(np.arctan2(self.to_camera[1, 0] - self.to_camera[0, 1], np.trace(self.to_camera)))

    @property
    def scale(self) -> float:
        """The stage's px in one of the camera's."""
        return float(1 / np.sqrt(abs(np.linalg.det(self.to_camera))))

    def moved(self, nominal: Array, certain: NDArray[np.bool_]) -> Self:
        """The stage with other places (n, 2), some of which are certain."""
        prior = nominal @ self.to_camera.T + self.lines @ self.backlash
        return self._replace(nominal=nominal, certain=certain, prior=prior)

    def fitted(self, places: Array) -> Self:
        """The map that takes the stage's places to these (n, 2).

        The error stays that of the pairs: places that follow the stage would seem to prove it right.
        """
        middle, seen = self.nominal.mean(axis=0), places.mean(axis=0)
        source = np.concatenate([self.nominal - middle, self.lines - self.lines.mean(axis=0)], 1)
        to_camera, backlash, inverse = _fit(source, places - seen, np.ones(len(places)), self.given, self.error)
        prior = seen + source[:, :2] @ to_camera.T + source[:, 2:] @ backlash
        own, other = np.diag(inverse)[:2], np.diag(inverse)[1::-1]
        interval = 1.96 * np.sqrt(np.array([(other * self.error**2).sum(), (own * self.error**2).sum()])) / 2
        return self._replace(to_camera=to_camera, backlash=backlash, prior=prior, interval=interval)


def stage_map(
    i: NDArray[np.int64], j: NDArray[np.int64], offset: Array, nominal: Array, lines: Array, given: Array | None = None
) -> Stage:
    """The stage as the offsets (n, 2), px, of the tiles j from i show it, robustly."""
    source = np.concatenate([nominal[j] - nominal[i], lines[j] - lines[i]], 1)
    to_camera, backlash = np.eye(2) if given is None else given, np.zeros((2, 2))
    error = np.full(2, DEFAULT_ERROR)
    for _ in range(ROUNDS if len(i) else 0):
        left = offset - source[:, :2] @ to_camera.T - source[:, 2:] @ backlash
        # an offset has the errors of two tiles
        error = (np.median(np.abs(left), axis=0) / NORMAL / np.sqrt(2)).clip(min=FLOOR)
        error = error.clip(min=LEAST_RATIO * error.max())
        weight = 1 / (1 + ((left / (np.sqrt(2) * INLIER * error)) ** 2).sum(axis=1)) ** 2
        to_camera, backlash, _ = _fit(source, offset, weight, given, np.sqrt(2) * error)
    prior = nominal @ to_camera.T + lines @ backlash
    return Stage(nominal, lines, to_camera, backlash, error, prior, np.full(2, np.nan), given, np.zeros(len(nominal), bool))


def _fit(source: Array, target: Array, weight: Array, given: Array | None, error: Array) -> tuple[Array, Array, Array]:
    """Map (2, 2) and backlash (2, 2) that take source (n, 4) to target (n, 2), and the inverse of the normal matrix (4, 4).

    A ridge keeps what the source does not show at the identity: a grid of one row says nothing of the other axis. Backlash
    counts only where it is clear of the `error` (2,) of the target.
    """
    known, free = np.eye(2) if given is None else given, np.array([given is None, given is None, True, True])
    left = target - source[:, :2] @ known.T
    for _ in range(2):
        design = source * free
        normal = (design * weight[:, None]).T @ design
        size = np.repeat([max(float(np.trace(part)), 1.0) for part in (normal[:2, :2], normal[2:, 2:])], 2)
        inverse = np.linalg.inv(normal + RIDGE * np.diag(size) / max(len(design), 1)) * np.outer(free, free)
        fit = inverse @ (design * weight[:, None]).T @ left
        clear = np.abs(fit[2:]) > CLEAR * np.sqrt(np.diag(inverse)[2:, None]) * error
        free = free & np.r_[True, True, clear.any(axis=1)]
    return known + fit[:2].T, fit[2:], inverse
