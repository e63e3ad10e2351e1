"""The step `survey`: it checks the layout that the settings state against the pixels, and gives each tile its nominal place.

Small pictures of the tiles (`thumbnails.py`) are correlated over all shifts (`correlation.py`). For a grid this shows the two
steps from tile to tile, down and right, each a free vector (`common_step.py`, `fine_look.py`); so the overlap need not be
given, and a camera that is turned or axes that are skewed do no harm. For numbered tiles it shows whether the scan is as stated
(`scans.py`), for a table of positions whether its axes and its unit are (`table_map.py`).

What is told holds as long as the pixels do not contradict it: a told step is kept where the search windows around it hold the
pairs. Where the pixels show another step, that is taken, with a warning. Where they show another layout, the run stops with the
settings that would mend it. Where they show nothing, what is told holds; where nothing is told, the run stops and asks.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from dlir.core import tables
from dlir.core.affine import Array
from dlir.reading import positions_table
from dlir.reading.cameras import within_cells
from dlir.reading.settings import Dataset
from dlir.reading.tile_reader import read_table
from dlir.survey import advice
from dlir.survey.advice import Advice, OverlapError, SurveyError
from dlir.survey.grid import NOTHING, SIDES, axes_of, grid_steps, survey_grid
from dlir.survey.other_rounds import steps_of_others
from dlir.survey.settings import LayoutCheck
from dlir.survey.table_map import survey_table

log = logging.getLogger(__name__)
DEFAULT = LayoutCheck()


def survey(
    files: Path, output: Path, *, survey: Path, layout: Dataset, settings: LayoutCheck = DEFAULT, others: Dataset | None = None
) -> None:
    """Writes the tiles with their nominal places (tables.TILES) to `output`, and to `survey` what was found (tables.SURVEY).

    Args:
        files: the table of the step `tiles` (tables.FILES).
        layout: the layout as it is told.
        others: of a round, its specimen with the other rounds alone, of which it takes the overlap where it shows none.

    Raises:
        SurveyError: when the tiles do not fit together as told and `settings.check` is stop, or when no overlap is told and
            none is found.
        ImageError: when a tile cannot be read any more.
    """
    tiles = read_table(files, tables.FILES)
    try:
        placed, found = survey_tiles(tiles, layout, settings)
    except OverlapError as error:
        if others is None:
            raise
        name = output.absolute().parent.name
        known = steps_of_others(name, tiles, error.sides, others)
        log.warning(advice.of_others(name, axes_of(error.sides), known.of))
        placed, found = survey_tiles(tiles, layout, settings, known.step)
    tables.write(found, tables.SURVEY, survey)
    tables.write(placed, tables.TILES, output)


def survey_tiles(
    tiles: pd.DataFrame, layout: Dataset, settings: LayoutCheck = DEFAULT, steps: Mapping[str, Array] = NOTHING
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the tiles with their nominal places (tables.TILES), and what was found (tables.SURVEY).

    The arguments and the errors are those of `survey`; `tiles` is tables.FILES, and `steps`, (2,), px, by their sides, are
    those that a grid has where it neither tells nor shows them.
    """
    if len(tiles) == 1:
        return tiles.fillna({"y": 0.0, "x": 0.0}), pd.DataFrame(columns=list(tables.SURVEY.columns))
    unit = positions_table.unit(layout)
    if unit == "cells":
        by_table = {"images": layout.images.replace("{index}", "*")} if layout.positions else {}  # no scan, then
        places, found = _on_grid(tiles, layout.model_copy(update=by_table), settings, steps)
    else:
        size = tiles["pixel_size"].iloc[0]  # by the settings, or by the files
        known = {"unit": unit, "pixel_size": None if np.isnan(size) else float(size)}
        places, found = _on_table(tiles, layout.model_copy(update=known), settings)
    for row in found.to_dict("records"):
        log.info(advice.described_step(row))
    if (found["layout"] == "unclear").any():
        log.warning(advice.UNCLEAR)
    return tiles.assign(y=places[:, 0], x=places[:, 1]), found


def _on_grid(
    tiles: pd.DataFrame, layout: Dataset, settings: LayoutCheck, steps: Mapping[str, Array]
) -> tuple[Array, pd.DataFrame]:
    """The nominal places (n, 2), px, of the tiles of a grid, and what was found."""
    grid = survey_grid(tiles, layout)
    _contradict(grid.advice, settings)
    found, cells = grid_steps(grid, tiles, layout, steps), tiles[["row", "col"]].to_numpy(float)
    places = within_cells(tables.sizes(tiles), tiles[["row", "col"]].to_numpy())
    for side, *step in found[["side", "step_y", "step_x"]].to_numpy():
        places += cells[:, [SIDES.index(side)]] * np.array(step, float)
    return places, found


def _on_table(tiles: pd.DataFrame, layout: Dataset, settings: LayoutCheck) -> tuple[Array, pd.DataFrame]:
    """The nominal places (n, 2), px, of the tiles of a table of positions, and what was found."""
    matrix, found, other = survey_table(tiles, layout)
    _contradict(other, settings)
    return tiles[["y", "x"]].to_numpy() @ matrix.T, found


def _contradict(other: Advice, settings: LayoutCheck) -> None:
    """Stops, or warns, where other settings fit the tiles."""
    if other.words and settings.check == "stop":
        raise SurveyError(advice.CONTRADICTED.format(other.words) + advice.GO_ON, other.settings)
    if other.words:
        log.warning(advice.CONTRADICTED.format(other.words))
