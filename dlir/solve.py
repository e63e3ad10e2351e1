"""All tiles placed at once from the pairs: a robust, weighted, sparse least squares with the stage as a weak prior.

A pair measures the offset d = t_moving - t_fixed of two tiles at the middle of their overlap, with covariance C, widened by
one over the probability that it is right. The stage says where each tile lies, s, in its own frame, which is turned and
scaled against the camera by one map M for the dataset. The places t minimise

    sum over pairs  rho((t_j - t_i - d_ij)' C^-1 (t_j - t_i - d_ij))  +  w sum over tiles  |t - M s|^2 / sigma^2

where sigma is the stage's error, measured by how far the pairs' offsets lie from M times the stage's. rho is the bounded
loss of Geman and McClure, reached in steps from a wide one about the stage's places (graduated non-convexity; Yang et al.
2020, arXiv 1909.08605), so that wrong pairs lose their weight. The frame of the mosaic is the camera's: tiles are not turned.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import spsolve

from dlir import affine
from dlir.affine import Array

FLOOR = 0.03  # px: no pair is known better than this
INLIER = 3.0  # deviations: beyond, a pair counts for little
ROUNDS = 40
COOLING = 0.85  # of the tolerance, each round
CHI2_MEDIAN = 2 * np.log(2)  # of two degrees of freedom
DEFAULT_STAGE_ERROR = 5.0  # px, where no pair measures it


class Offsets(NamedTuple):
    """What the accepted pairs measured: n offsets of tile j from tile i."""

    i: NDArray[np.int64]
    j: NDArray[np.int64]
    offset: Array  # (n, 2) px
    covariance: Array  # (n, 2, 2) px^2
    stage: Array  # (n, 2) px, the same in the stage's frame


def offsets(tiles: pd.DataFrame, pairs: pd.DataFrame) -> Offsets:
    """What accepted pairs (tables.AFFINES) of the tiles (tables.TILES) measured, where each is surest."""
    index = pd.Index(tiles["tile"])
    i, j = (np.asarray(index.get_indexer(pairs[column]), np.int64) for column in ("fixed", "moving"))
    centre = pairs[["centre_y", "centre_x"]].to_numpy()
    offset = affine.apply(affine.from_table(pairs), centre[:, None])[:, 0] - centre
    covariance = pairs[["var_y", "cov_yx", "cov_yx", "var_x"]].to_numpy().reshape(-1, 2, 2)
    covariance = (covariance + FLOOR**2 * np.eye(2)) / pairs["confidence"].to_numpy()[:, None, None]
    places = tiles[["y", "x"]].to_numpy()
    return Offsets(i, j, offset, covariance, places[j] - places[i])


def stage_map(offsets: Offsets) -> tuple[Array, float]:
    """The map M (2, 2) from stage to camera, and the stage's error, px: the deviation of one coordinate of a tile."""
    to_camera, error = np.eye(2), DEFAULT_STAGE_ERROR
    for _ in range(ROUNDS if len(offsets.i) else 0):
        size = np.linalg.norm(offsets.offset - offsets.stage @ to_camera.T, axis=1)
        # the median length of a normal vector in the plane is 1.18 deviations; an offset has the errors of two tiles
        error = max(float(np.median(size)) / np.sqrt(CHI2_MEDIAN) / np.sqrt(2), FLOOR)
        weight = 1 / (1 + (size / (2 * INLIER * error)) ** 2) ** 2
        to_camera = _linear_map(offsets.stage, offsets.offset, weight)
    return to_camera, error


def _linear_map(source: Array, target: Array, weight: Array) -> Array:
    """The matrix (2, 2) that takes source (n, 2) to target; the identity along an axis on which source has no extent."""
    design = source * weight[:, None]
    ridge = 1e-3 * max(float(np.trace(design.T @ source)), 1.0) / len(source)
    return np.asarray(np.eye(2) + np.linalg.solve(design.T @ source + ridge * np.eye(2), design.T @ (target - source)).T)


def solve(offsets: Offsets, stage: Array, stage_weight: float = 1.0) -> tuple[Array, Array, float]:
    """The places (n, 2) of the tiles, px, from the pairs and the stage's places (n, 2) with the weight w.

    In each round a pair's covariance is widened by a tolerance, which falls from the stage's error to nothing, and scaled so
    that the median residual is as large as it says: a network may be too sure. The map of the stage is fitted again to the
    places of the round, since over the whole grid it shows far better than in single pairs.

    Returns:
        the places, the map M (2, 2) from stage to camera, and the stage's error, px.
    """
    to_camera, error = stage_map(offsets)
    prior = stage @ to_camera.T
    places, tolerance = prior, np.sqrt(2) * error
    for _ in range(ROUNDS if len(offsets.i) else 0):
        residual = places[offsets.j] - places[offsets.i] - offsets.offset
        precision = np.linalg.inv(offsets.covariance + tolerance**2 * np.eye(2))
        square = np.einsum("ni,nij,nj->n", residual, precision, residual)
        scale = max(1.0, float(np.median(square)) / CHI2_MEDIAN)
        weight = (INLIER**2 / (INLIER**2 + square / scale)) ** 2
        places = _least_squares(offsets, precision * (weight / scale)[:, None, None], prior, error / np.sqrt(stage_weight))
        middle, seen = stage.mean(axis=0), places.mean(axis=0)
        to_camera = _linear_map(stage - middle, places - seen, np.ones(len(stage)))
        prior = seen + (stage - middle) @ to_camera.T
        tolerance *= COOLING
    return places, to_camera, error


def _least_squares(offsets: Offsets, blocks: Array, prior: Array, deviation: float) -> Array:
    """One solve of the normal equations, with the weight (n, 2, 2) of each pair; a block of 2 x 2 for each tile and pair."""
    count = len(prior)
    pull = np.einsum("nij,nj->ni", blocks, offsets.offset)
    tile = np.arange(count)
    anchor = np.broadcast_to(np.eye(2) / deviation**2, (count, 2, 2))
    rows = np.concatenate([tile, offsets.i, offsets.j, offsets.i, offsets.j])
    columns = np.concatenate([tile, offsets.i, offsets.j, offsets.j, offsets.i])
    values = np.concatenate([anchor, blocks, blocks, -blocks, -blocks])
    y = 2 * rows[:, None, None] + np.arange(2)[:, None] + np.zeros((2, 2), int)
    x = 2 * columns[:, None, None] + np.arange(2) + np.zeros((2, 2), int)
    matrix = sparse.csc_matrix((values.ravel(), (y.ravel(), x.ravel())), shape=(2 * count, 2 * count))
    side = prior / deviation**2
    np.add.at(side, offsets.j, pull)
    np.subtract.at(side, offsets.i, pull)
    return np.asarray(spsolve(matrix, side.ravel())).reshape(-1, 2)


def components(measured: Offsets, count: int) -> NDArray[np.int64]:
    """The number (count,) of the group of tiles that pairs join, for each tile."""
    joined = sparse.coo_matrix((np.ones(len(measured.i)), (measured.i, measured.j)), shape=(count, count))
    return np.asarray(connected_components(joined, directed=False)[1], np.int64)
