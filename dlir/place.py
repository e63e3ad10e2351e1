"""All tiles placed at once from the pairs: a robust, weighted, sparse least squares with the stage as a weak prior.

A pair measures the offset d = t_moving - t_fixed of two tiles at the middle of their overlap, with covariance C, widened by
one over the probability that it is right. The stage says where each tile lies, s, in its own frame, which is turned and
scaled against the camera by one map M for the dataset. The places t minimise

    sum over pairs  rho((t_j - t_i - d_ij)' C^-1 (t_j - t_i - d_ij))  +  w sum over tiles  |t - M s|^2 / sigma^2

where sigma is the stage's error, measured by how far the pairs' offsets lie from M times the stage's. rho is the bounded
loss of Geman and McClure, reached in steps from a wide one about the stage's places (graduated non-convexity; Yang et al.
2020, arXiv 1909.08605), so that wrong pairs lose their weight. The frame of the mosaic is the camera's: tiles are not turned.
"""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve

from dlir import affine, tables
from dlir.affine import Array
from dlir.settings import Place

log = logging.getLogger(__name__)
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


def place(tiles: Path, affines: Path, output: Path, *, settings: Place) -> None:
    """Write where each tile lies in the mosaic (tables.PLACEMENT) to `output`."""
    table, pairs = tables.read(tiles, tables.TILES), tables.read(affines, tables.AFFINES)
    stage = table[["y", "x"]].to_numpy()
    offsets = _offsets(table, pairs[pairs["accepted"]])
    places, to_camera, error = solve(offsets, stage, settings.stage_weight)
    _describe(to_camera, error, offsets)
    residual = np.linalg.norm(places[offsets.j] - places[offsets.i] - offsets.offset, axis=1)
    tables.write(_table(table, places - places.min(axis=0), offsets, residual), tables.PLACEMENT, output)
    if len(residual):
        log.info("residuals of the pairs: median %.3f px, 95 %% below %.3f px", *np.quantile(residual, (0.5, 0.95)))


def _offsets(tiles: pd.DataFrame, pairs: pd.DataFrame) -> Offsets:
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


def _table(tiles: pd.DataFrame, places: Array, offsets: Offsets, residual: Array) -> pd.DataFrame:
    """The rows of tables.PLACEMENT."""
    ends = pd.DataFrame({"tile": np.concatenate([offsets.i, offsets.j]), "square": np.tile(residual**2, 2)})
    by_tile = ends.groupby("tile")["square"].agg(["size", "mean"]).reindex(range(len(tiles)))
    pairs = by_tile["size"].fillna(0).astype(int).to_numpy()
    return tiles[["tile", "path"]].assign(
        **affine.to_columns(affine.translation(places)),
        pairs=pairs,
        residual=np.sqrt(by_tile["mean"].to_numpy()),
        placed_by=np.where(pairs > 0, "pairs", "stage"),
    )


def _describe(to_camera: Array, error: float, offsets: Offsets) -> None:
    if len(offsets.i):
        turn = np.degrees(np.arctan2(to_camera[0, 1] - to_camera[1, 0], np.trace(to_camera)))
        scale = np.sqrt(abs(np.linalg.det(to_camera)))
        log.info("camera against stage: turned by %.3f degrees, scaled by %.4f; stage error %.2f px", turn, scale, error)
    else:
        log.warning("no accepted pair: all tiles lie where the stage says")
