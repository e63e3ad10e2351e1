"""The survey of a grid, whose tiles have a row and a column: the steps down and right, and whether the scan is as stated."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import tables
from dlir.core.affine import Array
from dlir.reading import filenames, grid_layout, patterns
from dlir.reading.settings import INNER, Dataset
from dlir.survey import advice
from dlir.survey.advice import Advice, OverlapError
from dlir.survey.blocks import Block, blocks
from dlir.survey.common_step import CommonStep, common_step
from dlir.survey.correlation import certain_level, chance, match
from dlir.survey.fine_look import correction
from dlir.survey.scans import Scan, Verdict, check_scan

log = logging.getLogger(__name__)
SIDES = ("down", "right")  # one step along the rows, and one along the columns
MOST_MISSING = 3  # first tiles of a scan
KEPT = 0.25  # of the told overlap: a told step is kept if the found one lies so near; the windows reach twice as far
KEPT_ERRORS = 3.0  # or so many standard errors of the found one
FEW = 3  # pairs, from which on a single one that matches elsewhere does not outweigh what is told
NOTHING: Mapping[str, Array] = {}


class Direction(NamedTuple):
    """What the pixels show of one direction of the grid, in px of the tiles."""

    known: bool
    found: Array  # (2,) the step
    spread: Array  # (2,) standard deviation of the pairs about it
    pairs: int
    sure: int


class Grid(NamedTuple):
    """What the pixels show of a grid."""

    directions: dict[str, Direction]
    layout: str  # as in tables.SURVEY
    advice: Advice


def survey_grid(tiles: pd.DataFrame, dataset: Dataset) -> Grid:
    """Returns what the pixels show of the tiles (tables.FILES) of a grid."""
    scan = _stated_scan(dataset)
    indices = _indices(tiles, dataset) if scan else None
    step = 1 if indices is None else grid_layout.step_of(indices.tolist(), dataset.places_in_grid)
    numbers = (indices - _first(indices, dataset)) // step if indices is not None else None
    size, found, verdict = _size(tiles), dict[str, Direction](), None
    for block in blocks(tiles, numbers, scan.length if scan else 1):
        if scan and indices is not None and numbers is not None:
            firsts = range(int(indices.min()), max(int(indices.min()) - MOST_MISSING * step, 0) - 1, -step)
            missing = [(_first(indices, dataset) - first) // step for first in firsts]
            verdict = check_scan(block.correlator, numbers[block.tiles.index.to_numpy()], scan, block.unrelated, missing)
            if verdict.layout == "other":
                best = verdict.best
                first = _first(indices, dataset) - best.scan.missing * step
                return Grid({}, "other", advice.for_scan(best.steps * block.factor, best.scan, first, dataset, size))
        found |= {side: seen for side, seen in _directions(block).items() if seen.known or side not in found}
        if all(seen.known for seen in found.values()):
            break
    down, right = (found[side].found if side in found and found[side].known else None for side in SIDES)
    other = advice.for_steps(down, right, dataset, size)
    if other.words:
        return Grid({}, "other", other)
    return Grid(found, _layout(found, verdict), Advice())


def grid_steps(grid: Grid, tiles: pd.DataFrame, dataset: Dataset, others: Mapping[str, Array] = NOTHING) -> pd.DataFrame:
    """Returns the step in each direction of the grid (tables.SURVEY): the told one, or the one that the pixels show.

    Args:
        grid, tiles, dataset: as `survey_grid` has them.
        others: the steps (2,), px, that other rounds of the specimen have, by their sides: they are taken last.

    Raises:
        OverlapError: when none is known.
    """
    lines = zip(SIDES, ("row", "col"), strict=True)
    rows = [_row(side, grid, tiles, dataset, others.get(side)) for side, line in lines if tiles[line].min() < tiles[line].max()]
    unknown = [row["side"] for row in rows if row["step_y"] is None]
    if unknown:
        raise OverlapError(advice.no_overlap(sorted(axes_of(unknown), reverse=True)), unknown)
    return pd.DataFrame(rows)


def axes_of(sides: Sequence[str]) -> list[str]:
    """Returns the names, y or x, of the axes along which neighbours of these sides, down or right, lie."""
    return ["yx"[SIDES.index(side)] for side in sides]


def standard_error(spread: Array, count: int) -> Array:
    """Returns the standard error (2,) of the median of `count` steps with this standard deviation (2,)."""
    return np.asarray(1.25 * spread / np.sqrt(max(count, 1)))


def agree(found: Array, told: Array, overlap: float, error: Array) -> bool:
    """Returns whether a found step (2,) is so near to the told one that the search windows around that hold the pairs.

    Args:
        overlap: px, by which tiles share a strip as told.
        error: (2,) standard error of the found step.
    """
    return bool((np.abs(found - told) <= np.maximum(KEPT * overlap, KEPT_ERRORS * error)).all())


def _stated_scan(dataset: Dataset) -> Scan | None:
    """The scan as the settings state it, where the names of the tiles have numbers."""
    length = dataset.columns if dataset.order == "rows" else dataset.rows
    return Scan(length, dataset.snake) if "index" in patterns.placeholders(dataset.images) and length else None


def _indices(tiles: pd.DataFrame, dataset: Dataset) -> NDArray[np.int64]:
    """The numbers (n,) in the names of the tiles."""
    values = filenames.values_of(tiles.iloc[0].to_dict())
    inner = dataset.images.endswith(INNER)
    first_files = [Path(path if inner else filenames.files(path, values)[0]) for path in tiles["path"]]
    found = patterns.matches(first_files, dataset.images)
    return np.array([int(found[file]["index"]) for file in first_files], np.int64)


def _first(indices: NDArray[np.int64], dataset: Dataset) -> int:
    """The number of the first place."""
    return int(indices.min()) if dataset.first_index is None else dataset.first_index


def _size(tiles: pd.DataFrame) -> Array:
    return tables.usual_size(tiles).astype(float)


def _directions(block: Block) -> dict[str, Direction]:
    """What the pixels of a block show of both directions, or of the one in which it has neighbours.

    Pairs of tiles of one camera show the step best; others do where these show none.
    """
    correlator, found, several = block.correlator, dict[str, Direction](), len(set(block.tiles["camera"])) > 1
    by_chance = chance([correlator.peak(each)[0] for each in block.unrelated])
    within = block.within_cells
    for axis, side in enumerate(SIDES):
        for one_camera in (True, False) if several else (True,):
            pairs = block.neighbours(axis, one_camera)
            if pairs and (one_camera or side not in found or not found[side].known):
                # as if all tiles began where their cells do
                moves = np.array([np.rint((within[j] - within[i]) / block.factor) for i, j in pairs]).astype(int)
                scores = [np.roll(correlator.scores(i, j), -move, (0, 1)) for (i, j), move in zip(pairs, moves, strict=True)]
                matched = [match(correlator, each, by_chance, certain_level(len(pairs))) for each in scores]
                step = common_step(correlator, scores, block.unrelated, matched)
                found[side] = _in_pixels(step, block, pairs, moves)
    return found


def _in_pixels(step: CommonStep, block: Block, pairs: list[tuple[int, int]], moves: NDArray[np.int64]) -> Direction:
    """The step at full resolution.

    Args:
        moves: (n, 2) px of thumbnails, by which the scores of the pairs were moved.
    """
    shift, sure = step.shift * block.factor, np.flatnonzero(step.sure)
    if step.known and len(sure):
        shifts = (step.shifts[sure] + moves[sure]) * block.factor
        shift = shift + correction(block.plane, [pairs[k] for k in sure], shifts, block.factor)
    return Direction(step.known, shift, step.spread * block.factor, len(pairs), len(sure))


def _layout(found: dict[str, Direction], verdict: Verdict | None) -> str:
    if verdict and verdict.layout == "unclear":
        return "unclear"
    seen = any(direction.known for direction in found.values()) or (verdict is not None and verdict.best.good > 0)
    return "fits" if seen else "unknown"


def _round_step(found: Array, error: Array, axis: int, size: Array) -> Array:
    """Returns a step (2,), px, as a user would have set it: a whole percentage of overlap, along the axis, where that is near.

    Near is what lies within the standard error of the step, or half of a px. Otherwise the step is rounded to whole px, so that
    one more tile hardly ever moves all others.
    """
    percentage = np.zeros(2)
    percentage[axis] = size[axis] * np.round(100 * found[axis] / size[axis]) / 100
    return np.where(np.abs(found - percentage) <= np.maximum(error, 0.5), percentage, found.round())


def _row(side: str, grid: Grid, tiles: pd.DataFrame, dataset: Dataset, other: Array | None) -> dict[str, Any]:
    """The row of tables.SURVEY of one direction; its step is None where it is not known, also by another round (2,), px."""
    axis, size = SIDES.index(side), _size(tiles)
    share, direction = dataset.told_overlap[axis], grid.directions.get(side)
    told = None if share is None else np.eye(2)[axis] * size * (1 - share)
    known = direction if direction and direction.known else None
    step = other if told is None else told
    if known:
        error = standard_error(known.spread, known.sure)
        enough = known.sure > 1 or known.pairs < FEW
        if told is None or (enough and not agree(known.found, told, (share or 0) * size[axis], error)):
            step = _round_step(known.found, error, axis, size)
            if told is not None:
                log.warning(advice.other_step(side, told, step, size))
    nothing = np.array([None, None])
    (told_y, told_x), (found_y, found_x), (spread_y, spread_x), (step_y, step_x) = (
        nothing if each is None else np.round(each, 2) for each in (told, known and known.found, known and known.spread, step)
    )
    return {
        "side": side, "told_y": told_y, "told_x": told_x, "found_y": found_y, "found_x": found_x, "spread_y": spread_y,
        "spread_x": spread_x, "pairs": direction.pairs if direction else 0, "sure": known.sure if known else 0,
        "step_y": step_y, "step_x": step_x, "overlap": None if step is None else 1 - abs(step[axis]) / size[axis],
        "layout": advice.OTHERS if told is None and known is None else grid.layout, "advice": grid.advice.words,
    }  # fmt: skip
