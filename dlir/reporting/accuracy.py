"""The step `accuracy`: the error of a placement against a known truth.

The error of a tile is the largest distance between the placed and the true position of the centres of its four corner pixels.
No stitcher can know where the first tile lies, nor how the camera is turned against the stage. Therefore one affine of the
whole mosaic is fitted first, from placed to true corners, by least squares with the weights 1 / distance, repeated until they
settle. Like a median, this fit follows the majority of the tiles and ignores the few that are far off.
"""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlir.core import affine, tables, time_points
from dlir.core.affine import Array
from dlir.reading import filenames
from dlir.reporting import truth_table

log = logging.getLogger(__name__)
LARGE_ERROR = 2.0  # px; the log counts the tiles with a larger error
ROUNDS = 30  # of reweighting; the fit changes by less than 0.001 px long before the last one
LEAST_DISTANCE = 0.05  # px; corners that are closer to the truth all have the same weight


def accuracy(tiles: Path, placement: Path, truth: Path, output: Path) -> None:
    """Write the error of each tile (tables.ACCURACY) to `output`, and log a summary beside that of the stage's places.

    Where each time point is placed by itself, the error of a tile is the largest one over time.

    Args:
        truth: the true place of each tile (`truth_table.py`).

    Raises:
        TruthError, TextTableError: when `truth` cannot be read, or has not one place for each tile.
    """
    listed, everywhen = tables.read(tiles, tables.TILES), tables.read(placement, tables.PLACEMENT)
    placed = everywhen.drop_duplicates("path")
    paths = [filenames.paths_of(tile) for tile in listed.set_index("tile").loc[placed["tile"]].to_dict("records")]
    true = np.reshape(truth_table.read(truth, paths), (-1, 2, 3))
    corners = affine.corners(*tables.sizes(listed, placed["tile"]).T)
    by_time = [time_points.at(everywhen, time) for time in time_points.listed(everywhen) or [0]]
    errors = np.max([corner_errors(affine.from_table(table), true, corners) for table in by_time], axis=0)
    stage = listed.set_index("tile").loc[placed["tile"], ["y", "x"]].to_numpy()
    log.info("error of the stage: %s", summary(corner_errors(affine.translation(stage), true, corners)))
    log.info("error of the placement: %s", summary(errors))
    tables.write(placed[["tile", "path"]].assign(error=errors), tables.ACCURACY, output)


def corner_errors(placed: Array, true: Array, corners: Array) -> Array:
    """The error (n,), px, of the affines `placed` (n, 2, 3) against `true` (n, 2, 3), without one affine of the whole mosaic.

    Args:
        corners: (n, 4, 2), the centres of the tiles' corner pixels (`affine.corners`), or (4, 2) where these are the same.
    """
    found, expected = affine.apply(placed, corners), affine.apply(true, corners)
    whole = common_affine(found.reshape(-1, 2), expected.reshape(-1, 2))
    errors: Array = np.linalg.norm(affine.apply(whole, found) - expected, axis=-1).max(-1)
    return errors


def summary(errors: NDArray[np.float64]) -> str:
    """The errors (n,), px, in one line."""
    median, high, largest = np.percentile(errors, [50, 95, 100])
    return (
        f"median {median:.2f} px, 95th percentile {high:.2f} px, largest {largest:.2f} px, "
        f"{(errors > LARGE_ERROR).sum()} of {len(errors)} tiles over {LARGE_ERROR:g} px"
    )


def common_affine(found: Array, expected: Array) -> Array:
    """Returns the affine (2, 3) that takes the points `found` (n, 2) to `expected` (n, 2).

    A minority that is far off hardly counts.
    """
    centre = found.mean(0)  # subtracted, since the equations are better conditioned about the middle
    design = np.c_[found - centre, np.ones(len(found))]
    weight = np.ones(len(found))
    for _ in range(ROUNDS):
        root = np.sqrt(weight)[:, None]
        solution = np.linalg.lstsq(design * root, expected * root)[0]
        weight = 1 / np.maximum(np.linalg.norm(design @ solution - expected, axis=1), LEAST_DISTANCE)
    return affine.compose(solution.T, affine.translation(-centre))
