"""All tiles placed at once from the affines of the pairs (`solve.py`), and the table that says where and how well."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from dlir import affine, tables
from dlir.affine import Array
from dlir.settings import Place
from dlir.solve import Offsets, offsets, solve

log = logging.getLogger(__name__)


def place(tiles: Path, affines: Path, output: Path, *, settings: Place) -> None:
    """Write where each tile lies in the mosaic (tables.PLACEMENT) to `output`."""
    table, pairs = tables.read(tiles, tables.TILES), tables.read(affines, tables.AFFINES)
    stage = table[["y", "x"]].to_numpy()
    measured = offsets(table, pairs[pairs["accepted"]])
    places, to_camera, error = solve(measured, stage, settings.stage_weight)
    _describe(to_camera, error, measured)
    residual = np.linalg.norm(places[measured.j] - places[measured.i] - measured.offset, axis=1)
    tables.write(_table(table, places - places.min(axis=0), measured, residual), tables.PLACEMENT, output)
    if len(residual):
        log.info("residuals of the pairs: median %.3f px, 95 %% below %.3f px", *np.quantile(residual, (0.5, 0.95)))


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
