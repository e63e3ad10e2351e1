"""All tiles placed at once from the pairs: a robust, weighted, sparse least squares with the stage as a weak prior.

A pair measures the offset d = t_moving - t_fixed of two tiles at the middle of their overlap, with covariance C. The stage
says where each tile lies, s, in its own frame, which is turned and scaled against the camera by one map M for the dataset.
The places t minimise

    sum over pairs  rho((t_j - t_i - d_ij)' C^-1 (t_j - t_i - d_ij))  +  w sum over tiles  |t - M s|^2 / sigma^2

where sigma is the stage's error, measured by how far the pairs' offsets lie from M times the stage's. rho is the bounded
loss of Geman and McClure, reached from a nearly quadratic one in steps (graduated non-convexity; Yang et al. 2020,
arXiv 1909.08605), so that wrong pairs lose their weight. The frame of the mosaic is the camera's: tiles are not turned.
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
from dlir.settings import Place

log = logging.getLogger(__name__)
Array = NDArray[np.float64]
FLOOR = 0.03  # px: no pair is known better than this
INLIER = 3.0  # deviations: beyond, a pair counts for little
ROUNDS = 40
DEFAULT_STAGE_ERROR = 5.0  # px, where no pair measures it


class Offsets(NamedTuple):
    """What the accepted pairs measured: n offsets of tile j from tile i."""

    i: NDArray[np.int64]
    j: NDArray[np.int64]
    offset: Array  # (n, 2) px
    precision: Array  # (n, 2, 2) 1/px^2
    stage: Array  # (n, 2) px, the same in the stage's frame


def place(tiles: Path, affines: Path, output: Path, *, settings: Place) -> None:
    """Write where each tile lies in the mosaic (tables.PLACEMENT) to `output`."""
    table, pairs = tables.read(tiles, tables.TILES), tables.read(affines, tables.AFFINES)
    stage = table[["y", "x"]].to_numpy()
    offsets = _offsets(table, pairs[pairs["accepted"]])
    to_camera, error = stage_map(offsets)
    _describe(to_camera, error, offsets)
    places = solve(offsets, stage @ to_camera.T, error / np.sqrt(settings.stage_weight))
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
    places = tiles[["y", "x"]].to_numpy()
    precision = np.asarray(np.linalg.inv(covariance + FLOOR**2 * np.eye(2)), np.float64)
    return Offsets(i, j, offset, precision, places[j] - places[i])


def stage_map(offsets: Offsets) -> tuple[Array, float]:
    """The map M (2, 2) from stage to camera, and the stage's error, px: the deviation of one coordinate of a tile."""
    turned = np.eye(2)
    error = DEFAULT_STAGE_ERROR
    for _ in range(ROUNDS if len(offsets.i) else 0):
        residual = offsets.offset - offsets.stage @ turned.T
        size = np.linalg.norm(residual, axis=1)
        # the median length of a normal vector in the plane is 1.18 deviations; an offset has the errors of two tiles
        error = max(float(np.median(size)) / 1.18 / np.sqrt(2), FLOOR)
        weight = 1 / (1 + (size / (2 * INLIER * error)) ** 2) ** 2
        # a turn of more than a few degrees is none: the identity is worth one pair
        design = offsets.stage * np.sqrt(weight)[:, None]
        ridge = np.median(np.abs(offsets.stage).max(axis=1)) ** 2 * 1e-3
        rest = (offsets.offset - offsets.stage) * np.sqrt(weight)[:, None]
        turned = np.eye(2) + np.linalg.solve(design.T @ design + ridge * np.eye(2), design.T @ rest).T
    return turned, error


def solve(offsets: Offsets, prior: Array, deviation: float) -> Array:
    """The places (n, 2) of the tiles; `prior` (n, 2) is where the stage says, to `deviation` px.

    The bound of the loss shrinks from the stage's error to INLIER deviations of the pairs, whose covariance is scaled by the
    residuals themselves: a network may be too sure.
    """
    count = len(prior)
    weight = np.ones(len(offsets.i))
    scale, bound = 1.0, np.inf
    places = prior
    for step in range(ROUNDS if len(offsets.i) else 0):
        places = _least_squares(offsets, weight / scale, prior, deviation, count)
        residual = places[offsets.j] - places[offsets.i] - offsets.offset
        square = np.einsum("ni,nij,nj->n", residual, offsets.precision, residual)
        scale = max(1.0, float(np.median(square)) / (2 * np.log(2)))
        square = square / scale
        bound = INLIER**2 if step > ROUNDS // 2 else max(float(square.max()) * 0.7**step, INLIER**2)
        weight = (bound / (bound + square)) ** 2
    return places


def _least_squares(offsets: Offsets, weight: Array, prior: Array, deviation: float, count: int) -> Array:
    """One weighted solve of the normal equations: blocks of 2 x 2 for each tile and pair."""
    blocks = offsets.precision * weight[:, None, None]
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
