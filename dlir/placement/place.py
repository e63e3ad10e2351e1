"""All tiles placed at once from the affines of the pairs (`solve.py`), and the table that says where and how well."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.core.tile_graph import groups
from dlir.placement.overrides import Overrides, read_overrides
from dlir.placement.settings import Place
from dlir.placement.solver import Measurements, Solution, initial_stage, measurements, solve
from dlir.placement.stage_model import Stage
from dlir.placement.tile_model import TileModel, choose_model

log = logging.getLogger(__name__)


def place(
    tiles: Path, affines: Path, output: Path, *, stage: Path, settings: Place = Place(), overrides: Path | None = None
) -> None:
    """Write where each tile lies in the mosaic (tables.PLACEMENT) to `output`, and to `stage` how stage and camera err
    (tables.STAGE).

    Args:
        overrides: a table of the user's that wins over what was measured (`overrides.py`).

    Raises:
        TableError: when the overrides name a tile that is not there, or have a value that they cannot have.
    """
    table, pairs = tables.read(tiles, tables.TILES), tables.read(affines, tables.AFFINES)
    user = read_overrides(overrides, table) if overrides else None
    placed, described = place_tiles(table, pairs, settings, user)
    tables.write(described, tables.STAGE, stage)
    tables.write(placed, tables.PLACEMENT, output)


def place_tiles(
    tiles: pd.DataFrame, affines: pd.DataFrame, settings: Place = Place(), user: Overrides | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Where each tile (tables.TILES) lies in the mosaic (tables.PLACEMENT), and how stage and camera err (tables.STAGE).

    Args:
        affines: the registered pairs (tables.AFFINES); only accepted ones count.
    """
    pairs = affines[affines["accepted"]]
    pairs = user.of_pairs(pairs) if user else pairs
    known, chosen = choose_model(measurements(tiles, pairs), len(tiles), settings.model)
    start = initial_stage(tiles, known, settings.camera)
    start = user.of_tiles(start) if user else start
    log.info("the tile model is %s; other pairs predict %s of a pair", chosen.name, chosen.described())
    solution = solve(known, start, chosen.deviations, settings.stage_weight)
    _describe(solution, known)
    return _table(tiles, pairs, known, solution, user), _stage(chosen, solution.stage)


def _table(
    tiles: pd.DataFrame, pairs: pd.DataFrame, known: Measurements, solution: Solution, user: Overrides | None
) -> pd.DataFrame:
    """The rows of tables.PLACEMENT."""
    middle = (tiles[["height", "width"]].to_numpy(float) - 1) / 2
    affines = affine.moving(middle, solution.places, affine.linear(solution.linear))
    affines[:, :, 2] -= affines[:, :, 2].min(axis=0)
    square = (solution.residual**2).sum(axis=1)
    ends = pd.DataFrame({"tile": np.concatenate([known.i, known.j]), "square": np.tile(square, 2)})
    by_tile = ends.groupby("tile")["square"].agg(["size", "mean"]).reindex(range(len(tiles)))
    count = by_tile["size"].fillna(0).astype(int).to_numpy()
    group = groups(known.i, known.j, len(tiles))
    _warn(tiles, group, count)
    placed_by = np.where(count > 0, "pairs", "stage")
    if user:
        placed_by[user.placed(tiles)] = "user"
    return tiles[["tile", "path"]].assign(
        **affine.to_columns(affines),
        pairs=count,
        residual=np.sqrt(by_tile["mean"].to_numpy()),
        deviation=solution.deviation,
        loop=_loops(tiles, pairs, known),
        placed_by=placed_by,
    )


def _loops(tiles: pd.DataFrame, pairs: pd.DataFrame, known: Measurements) -> Array:
    """How far (n,), px, the four pairs around a 2 x 2 of tiles miss each other, at its first tile; NaN where one lacks."""
    step = {side: {} for side in ("right", "down")}  # type: dict[str, dict[int, tuple[int, Array]]]
    for i, j, side, offset in zip(known.i, known.j, pairs["side"], known.offset, strict=True):
        step[side][int(i)] = (int(j), offset)
    loops = np.full(len(tiles), np.nan)
    for tile, (right, over) in step["right"].items():
        if tile in step["down"] and right in step["down"]:
            below, down = step["down"][tile]
            far, down_right = step["down"][right]
            back = step["right"].get(below)
            if back is not None and back[0] == far:
                loops[tile] = np.linalg.norm(over + down_right - down - back[1])
    return loops


def _warn(tiles: pd.DataFrame, group: NDArray[np.int64], count: NDArray[np.integer[Any]]) -> None:
    """Say which tiles no pair joins to the rest."""
    sizes = np.bincount(group)
    apart = np.flatnonzero((group != sizes.argmax()) & (count > 0))
    alone = np.flatnonzero(count == 0)
    for which, words in ((apart, "hang together in groups of their own"), (alone, "have no accepted pair")):
        if len(which):
            names = ", ".join(Path(path).name for path in tiles["path"].iloc[which[:8]])
            more = f" and {len(which) - 8} more" if len(which) > 8 else ""
            log.warning("%d tiles %s and lie where the stage says, corrected by its map: %s%s", len(which), words, names, more)


def _stage(model: TileModel, stage: Stage) -> pd.DataFrame:
    """The row of tables.STAGE."""
    foretold = {f"foretold_{part}": share for part, share in zip(tables.LINEAR_PARTS, model.predicted_share, strict=True)}
    backlash = {f"backlash_{part}": off for part, off in zip(tables.BACKLASH, stage.backlash.ravel(), strict=True)}
    row = {
        "model": model.name,
        **foretold,
        "rotation": np.degrees(stage.rotation),
        "rotation_interval": np.degrees(stage.interval[0]),
        "scale": stage.scale,
        "scale_interval": stage.interval[1],
        "error_y": stage.error[0],
        "error_x": stage.error[1],
        **backlash,
    }
    return pd.DataFrame([row])


def _describe(solution: Solution, pairs: Measurements) -> None:
    stage = solution.stage
    if not len(pairs.i):
        log.warning("no accepted pair: all tiles lie where the stage says")
        return
    log.info(
        "camera against stage: turned by %.3f +- %.3f degrees, scaled by %.5f +- %.5f (95 %% interval)",
        np.degrees(stage.rotation), np.degrees(stage.interval[0]), stage.scale, stage.interval[1],
    )  # fmt: skip
    log.info("stage error: %.2f px along y, %.2f px along x", *stage.error)
    size = np.linalg.norm(solution.residual, axis=1)
    log.info("residuals of the pairs: median %.3f px, 95 %% below %.3f px", *np.quantile(size, (0.5, 0.95)))
