"""The error of a placement against one that is known to be right.

The error of a tile is the largest distance, among the centres of its four corner pixels, between where it was placed and
where it belongs. No stitcher can know where the first tile lies, nor how the camera is turned against the stage, so one
affine of the whole mosaic is fitted first, from placed to true corners, by least squares reweighted with 1 / distance:
like a median, it follows the many tiles that agree and not the few that are far off.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.reading import filenames

log = logging.getLogger(__name__)
BAD = 2.0  # px; a tile that is further off at a corner is counted
ROUNDS = 30  # of reweighting; the fit moves by less than 0.001 px long before
NEAR = 0.05  # px; below this distance all corners weigh the same


class AccuracyError(ValueError):
    """Placement and truth do not hold the same tiles."""


def accuracy(tiles: Path, placement: Path, truth: Path, output: Path) -> None:
    """Write the error of each tile, px, to the table `output`, and log the summary beside that of the stage itself.

    Tiles are matched by file name, any of a tile with several; `truth` may hold more of them.

    Raises:
        AccuracyError: when `truth` lacks a tile, two of its rows have the same file name, or give one tile two places.
    """
    listed, placed = tables.read(tiles, tables.TILES), tables.read(placement, tables.PLACEMENT)
    true = _matched(tables.read(truth, tables.TRUTH), listed.set_index("tile").loc[placed["tile"]], truth)
    corners = affine.corners(listed["height"].iloc[0], listed["width"].iloc[0])
    errors = corner_errors(affine.from_table(placed), true, corners)
    stage = listed.set_index("tile").loc[placed["tile"], ["y", "x"]].to_numpy()
    log.info("the stage: %s", summary(corner_errors(affine.translation(stage), true, corners)))
    log.info("placement: %s", summary(errors))
    tables.write(placed[["tile", "path"]].assign(error=errors), tables.ACCURACY, output)


def corner_errors(placed: Array, true: Array, corners: Array) -> Array:
    """The error (n,), px, of the affines `placed` (n, 2, 3) against `true`, after the affine of the whole is removed."""
    found, right = affine.apply(placed, corners), affine.apply(true, corners)
    whole = _common_affine(found.reshape(-1, 2), right.reshape(-1, 2))
    errors: Array = np.linalg.norm(affine.apply(whole, found) - right, axis=-1).max(-1)
    return errors


def summary(errors: NDArray[np.float64]) -> str:
    """The errors (n,), px, in one line."""
    median, high, largest = np.percentile(errors, [50, 95, 100])
    return (
        f"median error {median:.2f} px, 95th percentile {high:.2f} px, largest {largest:.2f} px, "
        f"{(errors > BAD).sum()} of {len(errors)} tiles over {BAD:g} px"
    )


def _matched(truth: pd.DataFrame, listed: pd.DataFrame, path: Path) -> Array:
    """The true affines (n, 2, 3) of the tiles (tables.TILES)."""
    names = truth["path"].map(lambda p: Path(p).name)
    if names.duplicated().any():
        raise AccuracyError(f"{path}: two rows are called {names[names.duplicated()].iloc[0]}: rename one of the files")
    row, given = {name: index for index, name in enumerate(names)}, affine.from_table(truth)
    found = []
    for tile in listed.to_dict("records"):
        own, name = [row[name] for name in filenames.names_of(tile) if name in row], Path(tile["path"]).name
        if not own:
            raise AccuracyError(f"{path}: has no row for {name}: add its true place, or leave the tile out")
        if (given[own] != given[own[0]]).any():
            raise AccuracyError(f"{path}: gives the files of {name} several places: leave one row for it")
        found.append(own[0])
    return given[found]


def _common_affine(found: Array, right: Array) -> Array:
    """The affine (2, 3) that takes the points `found` (n, 2) to `right`, whatever a minority of them does."""
    centre = found.mean(0)  # keeps the equations well conditioned
    design = np.c_[found - centre, np.ones(len(found))]
    weight = np.ones(len(found))
    for _ in range(ROUNDS):
        root = np.sqrt(weight)[:, None]
        solution = np.linalg.lstsq(design * root, right * root)[0]
        weight = 1 / np.maximum(np.linalg.norm(design @ solution - right, axis=1), NEAR)
    return affine.compose(solution.T, affine.translation(-centre))
