"""How far the place of each tile may be off, and which tiles the pairs surely hold together.

The deviation of a tile (tables.PLACEMENT) counts that a pair may be wrong. Then the tile lies anywhere, and where the stage
errs by 40 px, a doubt of one in a thousand adds 1.3 px to its root mean square. That is honest, and says little of a tile that
is 99.9 % sure. So it counts only for tiles that are not sure:

1. A pair that is right with probability c joins its two tiles with a doubt of 1 - c. Several pairs between the same two parts
   of the mosaic, which all fit the placement, are wrong together with the product of their doubts.
2. Tiles whose joint has a doubt below `DOUBT` are one part; then the joints between these parts are looked at, and so on until
   nothing more is joined. What is left are *bodies*: parts that are surely right in themselves.
3. In the largest body, an error follows from how exactly its pairs are measured, and from how well they fit: the covariance of
   a least squares without wrong pairs. Where tiles are turned or scaled against each other, the errors of that add up from tile
   to tile and bend the mosaic, so there the deviation stays.

No tile is known better than its pairs fit. Where four pairs around a corner do not close, their residuals say so.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.core.factors import factorised
from dlir.core.lens import Lenses
from dlir.core.tile_graph import groups, normal_of_differences, numbered_by_size
from dlir.placement import distortion
from dlir.placement.deviation import place_deviation
from dlir.reporting.results import residuals

DOUBT = 0.02  # probability that a joint is wrong, from which on it is not sure
MOST_CONFIDENCE = 1 - 1e-6  # of a pair
MEDIAN_SQUARE = 2 * np.log(2)  # of a normal vector in the plane, in variances of one axis
SPARE = 0.5  # of the measurements are spare, at least: places follow the pairs, so residuals are smaller than errors
LEAST_VARIANCE = 1e-4  # px^2, of a pair: none is taken to be known better
SAME_LINEAR = 1e-9  # largest difference of the linear parts of tiles that are only moved
LOOSE = 1e-6  # 1/px^2, keeps a single tile solvable


def counted(pairs: pd.DataFrame) -> pd.DataFrame:
    """Returns the pairs (tables.AFFINES) by which the tiles are placed: accepted and not overruled."""
    used: pd.DataFrame = pairs[pairs["accepted"] & ~pairs["overruled"]]
    return used


def clear_misfit(pairs: pd.DataFrame, placed: pd.DataFrame) -> tuple[Array, Array]:
    """Returns how far (n,), px, each pair surely lies from the placement, and how many standard deviations (n,) that is.

    Along an edge a pair knows little. What it is off there counts as much less as it knows less.
    """
    residual, covariance = residuals(pairs, placed), _covariance(pairs)
    square = np.einsum("na,na->n", residual, np.linalg.solve(covariance, residual[:, :, None])[:, :, 0]).clip(min=0)
    return np.sqrt(np.linalg.eigvalsh(covariance)[:, 0] * square), np.sqrt(square)


def sure_bodies(tiles: "pd.Series[int]", pairs: pd.DataFrame) -> NDArray[np.int64]:
    """Returns the number (tiles,) of the body of each tile; 0 is the largest.

    Args:
        tiles: numbers of the tiles.
        pairs: those that are counted (tables.AFFINES).
    """
    index = pd.Index(tiles)
    fixed, moving = (np.asarray(index.get_indexer(pd.Index(pairs[end])), np.int64) for end in ("fixed", "moving"))
    belief = -np.log1p(-pairs["confidence"].to_numpy(float).clip(0, MOST_CONFIDENCE))
    body = np.arange(len(index))
    while True:
        ends = np.sort(np.stack([body[fixed], body[moving]], 1), axis=1)
        joints, of_joint = np.unique(ends, axis=0, return_inverse=True)
        sure = np.bincount(of_joint.ravel(), belief, len(joints)) > -np.log(DOUBT)
        sure &= joints[:, 0] != joints[:, 1]
        if not sure.any():
            return numbered_by_size(np.asarray(body, np.int64))
        body = groups(joints[sure, 0], joints[sure, 1], int(body.max()) + 1)[body]


def stretched(tiles: pd.DataFrame, placed: pd.DataFrame, pairs: pd.DataFrame, lenses: Lenses) -> Array:
    """Returns how far (n,), px, each placed tile may be off, since the camera distorts all tiles alike (`distortion.py`)."""
    middle = (tables.sizes(tiles, placed["tile"]) - 1) / 2
    places = affine.apply(affine.from_table(placed), middle[:, None])[:, 0]
    return distortion.stretched(places, tiles, pairs[pairs["accepted"]], lenses)


def expected_errors(placed: pd.DataFrame, pairs: pd.DataFrame, bodies: NDArray[np.int64], stretching: Array) -> Array:
    """Returns the standard deviation (n,), px, of the place of each tile, both axes together; NaN where nobody told it.

    Args:
        placed: one placement (tables.PLACEMENT).
        pairs: those that are counted (tables.AFFINES).
        bodies: (n,) as `sure_bodies` gives them.
        stretching: (n,) px, as `stretched` gives it.
    """
    errors = placed["deviation"].to_numpy(float).copy()
    if pairs.empty:
        return errors
    length, _ = clear_misfit(pairs, placed)
    sure = (bodies == 0) & (np.ptp(affine.from_table(placed)[:, :, :2], axis=0).max() < SAME_LINEAR)
    inside = pairs[["fixed", "moving"]].isin(placed["tile"][sure].tolist()).all(axis=1).to_numpy()
    if inside.any():
        exact = _exact(placed["tile"][sure], pairs[inside], length[inside])
        errors[sure] = np.fmin(errors[sure], np.hypot(exact, stretching[sure]))
    return np.asarray(np.fmax(errors, _fit(placed["tile"], pairs, length)))


def _fit(tiles: "pd.Series[int]", pairs: pd.DataFrame, misfit: Array) -> Array:
    """The root mean square (tiles,), px, of how far the pairs of each tile lie from the placement; exact pairs count most."""
    weight = 1 / np.linalg.eigvalsh(_covariance(pairs))[:, 0]
    of_pairs = pd.DataFrame({"weight": weight, "square": weight * misfit**2})
    by_tile = pd.concat([of_pairs.set_axis(pairs[end]) for end in ("fixed", "moving")]).groupby(level=0).sum()
    mean = (by_tile["square"] / by_tile["weight"]).reindex(tiles)
    return np.asarray(np.sqrt(mean.to_numpy(float)))


def _exact(tiles: "pd.Series[int]", pairs: pd.DataFrame, misfit: Array) -> Array:
    """The standard deviation (tiles,), px, of places that these pairs (tables.AFFINES) hold together, if all are right."""
    index = pd.Index(tiles)
    fixed, moving = (np.asarray(index.get_indexer(pd.Index(pairs[end])), np.int64) for end in ("fixed", "moving"))
    measured = np.linalg.eigvalsh(_covariance(pairs))[:, 1]
    variance = measured + float(np.median(misfit**2)) / MEDIAN_SQUARE / SPARE
    normal = normal_of_differences(fixed, moving, 1 / variance, np.full(len(index), LOOSE))
    both = sparse.kron(normal, sparse.identity(2)).tocsc()
    return place_deviation(factorised(both), both, len(index), 2)


def _covariance(pairs: pd.DataFrame) -> Array:
    """The covariance (n, 2, 2), px^2, of the shifts of pairs (tables.AFFINES), with which one can calculate."""
    return np.asarray(tables.shift_covariance(pairs) + LEAST_VARIANCE * np.eye(2))
