"""The step `pairs`: finds neighbouring tiles, and the windows in which they overlap.

Two tiles can be registered when, at their nominal places, they share a strip that is at least `min_overlap` px wide and half as
long as the tile, or a corner both of whose sides are at least LEAST_CORNER of the tile's. Of two tiles of unequal size, the
shorter side counts.

Where tiles overlap much, some of these pairs say what others say more exactly: tile i lies to tile j as tile k between them
does to both. So a pair is left out where a third tile overlaps both of its tiles by far more than these overlap each other (a
relative neighbourhood graph; Toussaint 1980, doi 10.1016/0031-3203(80)90066-7). Each pair that is left out is weaker than the
two that replace it, so no connection is lost; and a further tile changes only pairs near it. The strength of a pair is a /
(1 - a), where a is the share of the tile that overlaps: on a line of tiles it is about one over their distance.

The windows reach beyond the nominal overlap by the search distance, so that they contain the true overlap as long as the stage
errs by no more than that.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dlir.core import tables
from dlir.registration.settings import Pairs

log = logging.getLogger(__name__)
MULTIPLE = 8  # px: the sides of windows are multiples of it, since the network halves them three times
LEAST_SEARCH = 8.0  # px
LEAST_STRIP = 0.5  # of a tile's side: length of a strip
LEAST_CORNER = 0.15  # of a tile's sides
STRONGER = 1.4  # times as strong as a pair are the two pairs that replace it
LEAST_GAP = 1e-3  # share of a tile that does not overlap, which is never taken to be less: the same place may be in two tiles
NO_NEIGHBOURS = (
    "no two of the {} tiles are neighbours: nowhere do they share {} px (pairs.min_overlap) at their nominal places. If the "
    "numbers in the names are places and do not count rows and columns, give positions, a table; if there is a table, correct "
    "unit and pixel_size; and correct overlap if it is too small"
)
ACROSS = {"down": 0, "right": 1}  # the axis across the overlap, by side
ROUND = "round"  # the side of a pair of tiles of two rounds, which overlap anyhow
WINDOW = ["fixed_y", "fixed_x", "moving_y", "moving_x", "height", "width"]  # columns: first pixels in both tiles, and the size


class PairsError(ValueError):
    """No two tiles are neighbours."""


def pairs(tiles: Path, output: Path, *, settings: Pairs = Pairs()) -> None:
    """Writes the pairs of neighbours (tables.PAIRS) among the tiles (tables.TILES); a dataset of one tile has none.

    Raises:
        PairsError: when several tiles have no pair.
    """
    listed = tables.read(tiles, tables.TILES)
    table = neighbours(listed, settings)
    if len(listed) > 1 and table.empty:
        raise PairsError(NO_NEIGHBOURS.format(len(listed), settings.min_overlap))
    tables.write(table, tables.PAIRS, output)
    counts = table["side"].value_counts()
    log.info("found %d pairs: %d horizontal, %d vertical", len(table), counts.get("right", 0), counts.get("down", 0))
    alone = set(listed["tile"]) - set(table["fixed"]) - set(table["moving"])
    if alone and len(table):
        log.warning("%d tiles have no neighbour and will be placed by the stage alone", len(alone))


def neighbours(tiles: pd.DataFrame, settings: Pairs) -> pd.DataFrame:
    """Returns the pairs (tables.PAIRS) of the tiles (tables.TILES), sorted by the fixed tile."""
    places, sizes, numbers = tiles[["y", "x"]].to_numpy(), tables.sizes(tiles), tiles["tile"].to_numpy()
    near = cKDTree(places).query_pairs(float(np.hypot(*sizes.max(axis=0))), output_type="ndarray")
    rows = [row for i, j in np.sort(near, axis=1) if (row := _pair(places, sizes, i, j, settings)) is not None]
    found = pd.DataFrame(rows, columns=["fixed", "moving", "side", "nominal_y", "nominal_x", "overlap"])
    found["fixed"], found["moving"] = numbers[found["fixed"].to_numpy(int)], numbers[found["moving"].to_numpy(int)]
    found = found[_needed(found, tiles)].reset_index(drop=True)
    search = found.groupby("side")["overlap"].transform("median") * settings.search
    search = search.round().clip(lower=LEAST_SEARCH)  # whole px, so that one more tile hardly ever changes it
    table = with_windows(found.assign(search=search), tiles)
    table = table.sort_values(["fixed", "moving"], ignore_index=True)
    return table.drop(columns="overlap").assign(pair=np.arange(len(table)))


def overlaps(offset: np.ndarray, fixed: np.ndarray, moving: np.ndarray) -> np.ndarray:
    """Returns by how much (..., 2), px, two tiles overlap along y and x; negative where they do not.

    Args:
        offset: (..., 2) px, of the moving tile from the fixed one.
        fixed, moving: (..., 2) px, their sizes.
    """
    return np.asarray(np.minimum(fixed, offset + moving) - np.maximum(offset, 0))


def _pair(places: np.ndarray, sizes: np.ndarray, i: int, j: int, settings: Pairs) -> tuple[object, ...] | None:
    """The pair of the tiles i and j: fixed, moving, side, nominal offset (y, x), and width of the overlap, px.

    None when they are not neighbours. The fixed tile is the left or the upper one.
    """
    offset, size = places[j] - places[i], np.minimum(sizes[i], sizes[j])
    overlap = overlaps(offset, sizes[i], sizes[j])
    across = int(np.argmin(overlap / size))
    strip = overlap[across] >= settings.min_overlap and overlap[1 - across] >= LEAST_STRIP * size[1 - across]
    if not strip and (overlap < np.maximum(settings.min_overlap, LEAST_CORNER * size)).any():
        return None
    if (offset + (sizes[j] - sizes[i]) / 2)[across] < 0:
        i, j, offset = j, i, -offset
    return i, j, ("down", "right")[across], *offset, overlap[across]


def _needed(found: pd.DataFrame, tiles: pd.DataFrame) -> NDArray[np.bool_]:
    """Which pairs (n,) no third tile replaces; `found` has the columns fixed, moving, nominal_y and nominal_x."""
    fixed, moving = (tables.sizes(tiles, found[end]) for end in ("fixed", "moving"))
    overlap = overlaps(found[["nominal_y", "nominal_x"]].to_numpy(float), fixed, moving)
    share = (overlap / np.minimum(fixed, moving)).prod(axis=1)
    strength = share / (1 - share).clip(min=LEAST_GAP)
    partners: dict[int, dict[int, float]] = {}
    for i, j, strong in zip(found["fixed"], found["moving"], strength, strict=True):
        partners.setdefault(i, {})[j] = partners.setdefault(j, {})[i] = strong

    def replaced(i: int, j: int) -> float:
        """The strength of the weaker of the two pairs by way of the best third tile; zero where there is none."""
        by_way = (min(strong, partners[j][k]) for k, strong in partners[i].items() if k in partners[j])
        return max(by_way, default=0.0)

    ways = [replaced(i, j) for i, j in zip(found["fixed"], found["moving"], strict=True)]
    return np.asarray(np.array(ways) < STRONGER * strength)


def with_windows(rows: pd.DataFrame, tiles: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows with windows that contain the overlap as long as the true offset is within `search` of the nominal one.

    Args:
        rows: with the columns fixed, moving, side, nominal_y, nominal_x and search, px.
        tiles: tables.TILES.

    Returns:
        the rows with the columns WINDOW, px. Along a strip, which is much longer than the search, the windows do not reach
        beyond the nominal overlap.
    """
    ends = (tables.sizes(tiles, rows[end]).tolist() for end in ("fixed", "moving"))
    given = zip(rows["side"], rows["nominal_y"], rows["nominal_x"], rows["search"], *ends, strict=True)
    windows = [_windows(side, (y, x), search, fixed, moving) for side, y, x, search, fixed, moving in given]
    return rows.assign(**dict(zip(WINDOW, np.array(windows, int).reshape(-1, len(WINDOW)).T, strict=True)))


def with_overlaps(rows: pd.DataFrame, tiles: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows with windows that are exactly the overlap of both tiles at the nominal offset, rounded towards zero.

    Args:
        rows: with the columns fixed, moving, nominal_y and nominal_x, px.
        tiles: tables.TILES.

    Returns:
        the rows with the columns WINDOW, px.
    """
    offset = rows[["nominal_y", "nominal_x"]].to_numpy(int)
    common = overlaps(offset, *(tables.sizes(tiles, rows[end]) for end in ("fixed", "moving")))
    windows = np.concatenate([offset.clip(min=0), (-offset).clip(min=0), common], axis=1)
    return rows.assign(**dict(zip(WINDOW, windows.T, strict=True)))


def _windows(
    side: str, nominal: tuple[float, float], search: float, fixed: tuple[int, int], moving: tuple[int, int]
) -> tuple[int, ...]:
    """The first pixels of the windows in both tiles (fixed y, x, moving y, x), and their common height and width, px.

    Args:
        fixed, moving: px, the sizes of both tiles.
    """
    extent, starts = [0, 0], [[0, 0], [0, 0]]
    strip, wanted = (overlaps(np.array(offset), np.array(fixed), np.array(moving)) for offset in (np.rint(nominal), nominal))
    for axis in (0, 1):
        offset, ends = round(nominal[axis]), (fixed[axis], moving[axis])
        if axis == ACROSS.get(side) or strip[axis] < LEAST_STRIP * min(ends):
            needed = np.ceil((wanted[axis] + search) / MULTIPLE) * MULTIPLE
            extent[axis] = int(min(needed, min(ends) // MULTIPLE * MULTIPLE))
            first, second = (0, 1) if nominal[axis] >= 0 else (1, 0)
            # the overlap lies at the end of one tile and at the start of the other; or all of the other lies within the first
            inside = ends[second] + abs(nominal[axis]) < ends[first]
            starts[first][axis] = min(abs(offset), ends[first] - extent[axis]) if inside else ends[first] - extent[axis]
        else:
            extent[axis] = int(strip[axis]) // MULTIPLE * MULTIPLE
            starts[0][axis], starts[1][axis] = max(offset, 0), max(-offset, 0)
    return *starts[0], *starts[1], *extent
