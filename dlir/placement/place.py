"""The step `place`: it places all tiles at once by the affines of the pairs (`solver.py`), and writes where each tile lies, how
exactly, and how stage and camera err.
"""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dlir.core import affine, tables, time_points
from dlir.core.affine import Array
from dlir.core.lens import NO_LENSES, Lenses
from dlir.core.lens import read_for as read_lenses
from dlir.placement.distortion import stretched
from dlir.placement.measurements import measurements
from dlir.placement.overrides import Overrides, read_overrides
from dlir.placement.settings import Place
from dlir.placement.solution_table import placement_table
from dlir.placement.solver import Solution, initial_stage, solve
from dlir.placement.stage_model import Stage, turn_of
from dlir.placement.summary import group_sentences, slip_sentences
from dlir.placement.tile_model import TileModel, choose_model

log = logging.getLogger(__name__)
LEAST_TOLD = 0.1  # px, of how far a distortion may stretch the mosaic


def place(
    tiles: Path,
    affines: Path,
    output: Path,
    *,
    stage: Path,
    survey: Path | None = None,
    lens: Path | None = None,
    settings: Place = Place(),
    overrides: Path | None = None,
) -> None:
    """Writes where each tile lies in the mosaic (tables.PLACEMENT) to `output`, and to `stage` how stage and camera err
    (tables.STAGE).

    Args:
        tiles, affines, survey: files of earlier steps: tiles.csv, affines.csv and survey.csv; without the last, the tiles lie
            as they are told to.
        lens: lens.csv, the distortion that the step `register` took out of the tiles; None where there is none.
        overrides: a table of the user that replaces measurements (`overrides.py`).

    Raises:
        OverridesError, TextTableError: when the overrides have a mistake.
        LensError: when the distortion is that of other tiles.
    """
    tile_table, pairs = tables.read(tiles, tables.TILES), tables.read(affines, tables.AFFINES)
    user = read_overrides(overrides, tile_table) if overrides else None
    steps = tables.read(survey, tables.SURVEY) if survey else None
    placed, stage_row = place_times(tile_table, pairs, settings, user, steps, read_lenses(lens, tile_table))
    tables.write(stage_row, tables.STAGE, stage)
    tables.write(placed, tables.PLACEMENT, output)


def place_times(
    tiles: pd.DataFrame,
    affines: pd.DataFrame,
    settings: Place = Place(),
    user: Overrides | None = None,
    survey: pd.DataFrame | None = None,
    lenses: Lenses = NO_LENSES,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns what `place_tiles` does, from the same arguments; of each time point where the pairs have several.

    All time points have one frame, in which the mean place of the tiles, less what the stage slipped, is the same.
    """
    times: dict[int | None, pd.DataFrame] = {time: time_points.at(affines, time) for time in time_points.listed(affines)}
    given = (settings, user, survey, lenses)
    found = {time: place_tiles(tiles, pairs, *given) for time, pairs in (times or {None: affines}).items()}
    if None in found:
        return found[None]
    middle = (tables.sizes(tiles) - 1) / 2
    means = [
        (affine.apply(affine.from_table(placed), middle[:, None])[:, 0] - placed[["slip_y", "slip_x"]].to_numpy()).mean(axis=0)
        for placed, _ in found.values()
    ]
    placed = time_points.joined({time: placed for time, (placed, _) in found.items()})
    places = affine.from_table(placed)
    places[:, :, 2] -= np.repeat(means, len(tiles), axis=0)
    places[:, :, 2] -= places[:, :, 2].min(axis=0)
    return placed.assign(**affine.to_columns(places)), time_points.joined({time: stage for time, (_, stage) in found.items()})


def place_tiles(
    tiles: pd.DataFrame,
    affines: pd.DataFrame,
    settings: Place = Place(),
    user: Overrides | None = None,
    survey: pd.DataFrame | None = None,
    lenses: Lenses = NO_LENSES,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns where each tile lies in the mosaic (tables.PLACEMENT), and how stage and camera err (tables.STAGE).

    Args:
        tiles: tables.TILES.
        affines: the registered pairs (tables.AFFINES); only accepted ones are used.
        user: what the user knows better.
        survey: the steps that the tiles follow, and those that the stage was told to make (tables.SURVEY); the same without.
        lenses: those that were taken out of the tiles before the pairs were registered.
    """
    found = solve_tiles(tiles, affines, settings, user, survey, lenses)
    if (most := float(found.stretched.max())) > LEAST_TOLD:
        why = "its distortion is not known better than that" if lenses else "the overlaps are bent"
        log.warning(
            "the camera distorts all tiles alike, and %s: the mosaic may be stretched or shrunk by up to %.1f px towards its "
            "corners. The deviations count that", why, most,
        )  # fmt: skip
    _log_summary(found.solution, found.stage.iloc[0], found.placement)
    return found.placement, found.stage


class Solved(NamedTuple):
    """The tiles of a dataset, placed by its pairs."""

    placement: pd.DataFrame  # tables.PLACEMENT
    stage: pd.DataFrame  # tables.STAGE
    solution: Solution[Stage]
    pairs: pd.DataFrame  # the accepted pairs (tables.AFFINES), as the user mended them
    stretched: Array  # (n,) px, by how much the places may be wrong, since the camera distorts the tiles


def solve_tiles(
    tiles: pd.DataFrame,
    affines: pd.DataFrame,
    settings: Place,
    user: Overrides | None,
    survey: pd.DataFrame | None,
    lenses: Lenses,
) -> Solved:
    """Returns the tiles placed, from the arguments of `place_tiles`; of all that it finds, it logs the tile model alone."""
    pairs = affines[affines["accepted"]]
    pairs = user.in_pairs(pairs) if user else pairs
    measured, model = choose_model(measurements(tiles, pairs), len(tiles), settings.model)
    stage = initial_stage(tiles, measured, settings.camera)
    stage = user.in_stage(stage) if user else stage
    log.info("the tile model is %s; the other pairs predict, of what one pair measures, %s", model.name, model.described())
    solution = solve(measured, stage, model.deviations, settings.stage_weight)
    off = stretched(solution.places, tiles, pairs, lenses)
    by_user = user.placed_tiles(tiles) if user else np.zeros(len(tiles), bool)
    placed = placement_table(tiles, pairs, measured, solution, off, by_user)
    told_map = np.eye(2) if survey is None else _map_of_survey(survey)
    scale_known = survey is None or bool(survey["told_y"].notna().all())
    return Solved(placed, _stage_table(model, solution.stage, told_map, scale_known), solution, pairs, off)


def _map_of_survey(survey: pd.DataFrame) -> Array:
    """Returns the map (2, 2) from the steps that the stage was told to make to those that the tiles follow (tables.SURVEY).

    Where no step was told, its length is that of the one that the tiles follow.
    """
    told, followed = np.eye(2), np.eye(2)
    for axis, side in enumerate(("down", "right")):
        for row in survey[survey["side"] == side].to_dict("records"):
            step = np.array([row["step_y"], row["step_x"]], float)
            followed[:, axis] = step
            given = np.array([row["told_y"], row["told_x"]], float)
            told[:, axis] = given if np.isfinite(given).all() else np.linalg.norm(step) * np.eye(2)[axis]
    return np.asarray(followed @ np.linalg.inv(told))


def _stage_table(model: TileModel, stage: Stage, told_map: Array, scale_known: bool) -> pd.DataFrame:
    """Returns the row of tables.STAGE.

    Args:
        told_map: (2, 2) from the stage as it was told to the places in tiles.csv.
        scale_known: whether the stage was told how far apart the tiles lie.
    """
    turn = turn_of(stage.measured @ told_map)
    predicted = {f"foretold_{part}": share for part, share in zip(tables.LINEAR_PARTS, model.predicted_share, strict=True)}
    backlash = {f"backlash_{part}": off for part, off in zip(tables.BACKLASH, stage.backlash.ravel(), strict=True)}
    row = {
        "model": model.name,
        **predicted,
        "rotation": np.degrees(turn.rotation),
        "rotation_interval": np.degrees(stage.interval[0]),
        "scale": turn.scale if scale_known else np.nan,
        "scale_interval": stage.interval[1] if scale_known else np.nan,
        "skew": np.degrees(turn.skew),
        "skew_interval": np.degrees(stage.interval[2]),
        "error_y": stage.error[0],
        "error_x": stage.error[1],
        **backlash,
    }
    return pd.DataFrame([row])


def _log_summary(solution: Solution[Stage], found: "pd.Series[Any]", placed: pd.DataFrame) -> None:
    """Logs how stage and camera err (a row of tables.STAGE), the residuals, slips, and which tiles nothing joins."""
    stage = solution.stage
    if not len(solution.residual):
        log.warning("no pair was accepted: all tiles lie where the stage says")
        return
    scaled = f"scaled by {found['scale']:.5f} +- {found['scale_interval']:.5f}, " if np.isfinite(found["scale"]) else ""
    log.info(
        "camera against stage: turned by %.3f +- %.3f degrees, %sskewed by %.3f +- %.3f degrees (95 %% intervals)",
        found["rotation"], found["rotation_interval"], scaled, found["skew"], found["skew_interval"],
    )  # fmt: skip
    log.info("standard deviation of the stage: %.2f px along y, %.2f px along x", *stage.error)
    size = np.linalg.norm(solution.residual, axis=1)
    log.info("residuals of the pairs: median %.3f px, 95 %% below %.3f px", *np.quantile(size, (0.5, 0.95)))
    for line in slip_sentences(placed):
        log.info(line)
    if unjoined := group_sentences(placed):
        log.warning("\n  ".join(unjoined))
