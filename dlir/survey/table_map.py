"""Whether a table of positions fits the tiles: the map from the steps of the table to those of the pixels.

Pairs of tiles that are near to each other by the table, in whatever unit, are matched over all shifts. The map is a 2 x 2
matrix, fitted robustly (RANSAC; Fischler and Bolles 1981): the identity where the table is right, diag(-1, 1) where its y grows
upwards, 1 / pixel size where it is in micrometres.
"""

import logging
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dlir.core import tables
from dlir.core.affine import Array
from dlir.reading.settings import Dataset
from dlir.survey import advice
from dlir.survey.advice import Advice
from dlir.survey.blocks import Block, blocks
from dlir.survey.correlation import matches
from dlir.survey.grid import SIDES, agree, standard_error
from dlir.survey.scans import TOLERANCE

log = logging.getLogger(__name__)

REACH = 1.55  # times the median distance of the nearest tile: neighbours, diagonal ones too
MOST_PAIRS = 96
FEWEST_MATCHES = 3  # certain ones: fewer show no map
TRIALS = 200
MORE = 3  # matches that the map explains and the table does not, at least, to contradict it
EXPLAINED_SHARE = 0.75  # of the certain matches, that a map has to explain to contradict it
MAP_DIGITS = 3  # to which a map is rounded, so that one more tile hardly ever changes the places of all others
LEAST_AREA = 0.05  # that two steps span, of the square of the reach: with less they are parallel


class TableMap(NamedTuple):
    """What the pixels say of a table."""

    matrix: Array  # (2, 2) from steps of the table (y, x) to px
    pairs: int  # pairs that were matched
    certain: int  # of these, certain matches
    as_told: int  # of these, explained by the table as it is
    explained: int  # explained by the matrix
    spread: Array  # (2,) px, standard deviation of the matches about it

    @property
    def contradicts(self) -> bool:
        """Whether the matrix explains the tiles, and the table as it is does not."""
        return self.explained >= max(self.as_told + MORE, EXPLAINED_SHARE * self.certain)


def survey_table(tiles: pd.DataFrame, dataset: Dataset) -> tuple[Array, pd.DataFrame, Advice]:
    """Returns the map (2, 2) for the places of the tiles (tables.FILES), what was found (tables.SURVEY), and what to set.

    The map is the identity where the table fits, where it does not and the advice says why, and where nothing is known.
    """
    found = next((found for block in blocks(tiles) if (found := _fit(block)) is not None), None)
    told = _told_steps(tiles)
    other = advice.for_table(found.matrix, dataset) if found and found.contradicts else Advice()
    size: Array = np.median(tables.sizes(tiles), axis=0)
    matrix: Array = np.eye(2)
    if found and not other.words and not _keeps(found, told, size):
        matrix = found.matrix.round(MAP_DIGITS)
        log.warning(advice.described_map(matrix))
    layout = "unknown" if not found else "other" if other.words else "unclear" if _unclear(found) else "fits"
    rows = []
    for side, step in told.items():
        axis, (step_y, step_x) = SIDES.index(side), matrix @ step
        seen = {} if not found else {
            **dict(zip(("found_y", "found_x"), (found.matrix @ step).round(2), strict=True)),
            **dict(zip(("spread_y", "spread_x"), found.spread.round(2), strict=True)),
        }  # fmt: skip
        share = 1 - abs((step_y, step_x)[axis]) / size[axis]
        counts = {"pairs": found.pairs if found else 0, "sure": found.certain if found else 0}
        rows.append({"side": side, "told_y": step[0], "told_x": step[1], **seen, **counts, "step_y": step_y, "step_x": step_x,
                     "overlap": share, "layout": layout, "advice": other.words})  # fmt: skip
    return matrix, pd.DataFrame(rows, columns=list(tables.SURVEY.columns)), other


def _keeps(found: TableMap, told: dict[str, Array], size: Array) -> bool:
    """Whether the search windows around the told steps hold the pairs."""
    error = standard_error(found.spread, found.explained)
    overlap = {side: max(float(size[axis] - abs(told[side][axis])), 0.0) for axis, side in enumerate(SIDES) if side in told}
    return all(agree(found.matrix @ step, step, overlap[side], error) for side, step in told.items())


def _unclear(found: TableMap) -> bool:
    """Whether many tiles do not lie as the table says, and no map explains them."""
    return found.certain - found.as_told >= max(MORE, found.certain / 2) and not found.contradicts


def _told_steps(tiles: pd.DataFrame) -> dict[str, Array]:
    """The median steps (2,), px, of the table from tiles to their nearest ones below, and at the right."""
    places = tiles[["y", "x"]].to_numpy()
    reach = _reach(places)
    pairs = cKDTree(places).query_pairs(reach, output_type="ndarray")
    steps = places[pairs[:, 1]] - places[pairs[:, 0]]
    found = {}
    for axis, side in enumerate(SIDES):
        along = steps[np.abs(steps[:, axis]) > 2 * np.abs(steps[:, 1 - axis])]
        if len(along):
            found[side] = np.median(along * np.sign(along[:, [axis]]), axis=0)
    return found


def _reach(places: Array) -> float:
    """How far apart tiles are neighbours or diagonal ones, in the unit of the places (n, 2)."""
    nearest: Array = np.asarray(cKDTree(places).query(places, k=2)[0])[:, 1]
    return REACH * float(np.median(nearest))


def _fit(block: Block) -> TableMap | None:
    """The map from the table to the pixels of a block; None where too few matches are certain."""
    places, size = block.tiles[["y", "x"]].to_numpy(), block.factor * block.correlator.size
    reach = _reach(places)
    pairs = sorted((int(i), int(j)) for i, j in cKDTree(places).query_pairs(reach))
    if len(pairs) > MOST_PAIRS:
        pairs = [pairs[k] for k in np.sort(np.random.default_rng(0).choice(len(pairs), MOST_PAIRS, replace=False))]
    found = matches(block.correlator, pairs, block.unrelated)
    certain = np.array([match.weight > 0 for match in found], bool)
    if certain.sum() < FEWEST_MATCHES:
        return None
    ends = np.array(pairs)[certain]
    told, seen = places[ends[:, 1]] - places[ends[:, 0]], block.factor * np.array([match.shift for match in found])[certain]
    near = TOLERANCE * size
    inside = _ransac(told, seen, near, LEAST_AREA * reach**2)
    as_told = (np.abs(told - seen) < near).all(axis=1)
    if inside.sum() < FEWEST_MATCHES:
        return None
    fitted = np.linalg.lstsq(told[inside], seen[inside], rcond=None)
    matrix = fitted[0].T if fitted[2] == 2 and fitted[3][1] > 0.2 * fitted[3][0] else np.eye(2)
    spread = 1.4826 * np.median(np.abs(seen[inside] - told[inside] @ matrix.T), axis=0)
    return TableMap(matrix, len(pairs), int(certain.sum()), int(as_told.sum()), int(inside.sum()), spread)


def _ransac(told: Array, seen: Array, near: NDArray[np.floating], least_area: float) -> NDArray[np.bool_]:
    """The rows (n,) that the matrix explains which explains most: of two rows, or the identity."""
    best = np.asarray((np.abs(told - seen) < near).all(axis=1))
    random = np.random.default_rng(0)
    for _ in range(TRIALS):
        two = random.choice(len(told), 2, replace=False)
        if abs(np.linalg.det(told[two])) > least_area:
            matrix = np.linalg.solve(told[two], seen[two]).T
            inside = np.asarray((np.abs(told @ matrix.T - seen) < near).all(axis=1))
            best = inside if inside.sum() > best.sum() else best
    return best
