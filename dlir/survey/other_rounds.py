"""The overlap of a round that shows too little of it, such as a blank one: as the other rounds of its specimen have it.

Rounds are mostly taken by one program of the stage. So the steps from tile to tile are taken from the rounds whose grid, tiles
and pixels are the same, if all of these agree. Nothing is taken where none of them tells.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from dlir.core import tables
from dlir.core.affine import Array
from dlir.core.progress import quiet
from dlir.reading import positions_table
from dlir.reading.grid_layout import TileError
from dlir.reading.image_files import ImageError
from dlir.reading.inventory import find_tiles
from dlir.reading.settings import Dataset
from dlir.survey import advice
from dlir.survey.advice import SurveyError
from dlir.survey.grid import SIDES, agree, axes_of, grid_steps, survey_grid

log = logging.getLogger(__name__)


class Steps(NamedTuple):
    """The steps of a grid as other rounds have them."""

    of: list[str]  # the names of these rounds
    step: dict[str, Array]  # (2,) px, by its side


def steps_of_others(name: str, tiles: pd.DataFrame, sides: Sequence[str], others: Dataset) -> Steps:
    """Returns the steps down and right of a grid, as the other rounds of the specimen have them.

    Args:
        name: of the round that does not show them.
        tiles: its tiles (tables.FILES).
        sides: down or right, or both.
        others: the specimen, with the other rounds alone.

    Raises:
        SurveyError: when they tell nothing, or different steps.
    """
    found: dict[str, dict[str, Array]] = {}
    for other, layout in others.rounds.items():
        log.info("looks how far the tiles of %s overlap, since those of %s do not show it", other, name)
        steps = _steps(tiles, layout)
        if set(sides) <= set(steps):
            found[other] = steps
    axes = axes_of(sides)
    if not found:
        why = "no other round with the same grid, tiles and pixels shows it"
        raise SurveyError(advice.no_overlap_of_round(name, axes, why))
    first, *more = found
    size = tables.usual_size(tiles).astype(float)
    for side in sides:
        axis, step = SIDES.index(side), found[first][side]
        for other in more:
            if not agree(found[other][side], step, float(size[axis] - abs(step[axis])), np.zeros(2)):
                shares = f"{_share(step, axis, size)} and {_share(found[other][side], axis, size)}"
                why = f"other rounds differ: the tiles of {first} and {other} share {shares}"
                raise SurveyError(advice.no_overlap_of_round(name, axes, why))
    return Steps(list(found), {side: found[first][side] for side in sides})


def _steps(tiles: pd.DataFrame, layout: Dataset) -> dict[str, Array]:
    """The steps (2,), px, of another round by their sides; empty where it has another grid, or tells nothing."""
    if positions_table.unit(layout) != "cells":
        return {}
    try:
        with quiet("dlir"):
            own = find_tiles(layout)
            if _kind(own) != _kind(tiles):
                return {}
            grid = survey_grid(own, layout)
            rows = [] if grid.advice.words else grid_steps(grid, own, layout).to_dict("records")
    except (TileError, ImageError, SurveyError):  # its own step tells
        return {}
    return {row["side"]: np.array([row["step_y"], row["step_x"]], float) for row in rows}


def _kind(tiles: pd.DataFrame) -> tuple[object, ...]:
    """What is the same in two rounds of one program: rows and columns, sizes of tiles and pixels, and the mirror."""
    extent = [int(np.ptp(tiles[line])) for line in ("row", "col")]
    sizes = [*tables.usual_size(tiles).tolist(), *np.nan_to_num(tiles["pixel_size"].to_numpy(float)[:1]).tolist()]
    return *extent, *sizes, bool(tiles["mirrored"].iloc[0])


def _share(step: Array, axis: int, size: Array) -> str:
    return f"{100 * (1 - abs(step[axis]) / size[axis]):.1f} %"
