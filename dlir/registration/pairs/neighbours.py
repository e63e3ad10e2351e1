"""The step `pairs`: finds neighbouring tiles, and the windows in which they overlap.

Two tiles are neighbours when, at their nominal places, they share a strip that is at least `min_overlap` px wide, and at least
half as long as the tile. The second condition leaves out diagonal neighbours. The windows reach beyond the nominal overlap by
the search distance, so that they contain the true overlap as long as the stage errs by no more than that.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from dlir.core import tables
from dlir.registration.settings import Pairs

log = logging.getLogger(__name__)
MULTIPLE = 8  # px: the sides of windows are multiples of it, since the network halves them three times
LEAST_SEARCH = 8.0  # px
WINDOW = ["fixed_y", "fixed_x", "moving_y", "moving_x", "height", "width"]  # columns: first pixels in both tiles, and the size


def pairs(tiles: Path, output: Path, *, settings: Pairs = Pairs()) -> None:
    """Writes the pairs of neighbours (tables.PAIRS) among the tiles (tables.TILES); a dataset of one tile has none."""
    listed = tables.read(tiles, tables.TILES)
    table = neighbours(listed, settings)
    tables.write(table, tables.PAIRS, output)
    counts = table["side"].value_counts()
    log.info("found %d pairs: %d horizontal, %d vertical", len(table), counts.get("right", 0), counts.get("down", 0))
    alone = set(listed["tile"]) - set(table["fixed"]) - set(table["moving"])
    if alone and len(table):
        log.warning("%d tiles have no neighbour and will be placed by the stage alone", len(alone))


def neighbours(tiles: pd.DataFrame, settings: Pairs) -> pd.DataFrame:
    """Returns the pairs (tables.PAIRS) of the tiles (tables.TILES), sorted by the fixed tile."""
    places, numbers = tiles[["y", "x"]].to_numpy(), tiles["tile"].to_numpy()
    size = tiles[["height", "width"]].iloc[0].to_numpy(int)
    near = cKDTree(places).query_pairs(float(np.hypot(*size)), output_type="ndarray")
    rows = [row for i, j in np.sort(near, axis=1) if (row := _pair(places, i, j, size, settings)) is not None]
    found = pd.DataFrame(rows, columns=["fixed", "moving", "side", "nominal_y", "nominal_x", "overlap"])
    search = found.groupby("side")["overlap"].transform("median") * settings.search
    search = search.round().clip(lower=LEAST_SEARCH)  # whole px, so that one more tile hardly ever changes it
    table = with_windows(found.assign(search=search), size)
    table = table.sort_values(["fixed", "moving"], ignore_index=True)
    table["fixed"], table["moving"] = numbers[table["fixed"].to_numpy(int)], numbers[table["moving"].to_numpy(int)]
    return table.drop(columns="overlap").assign(pair=np.arange(len(table)))


def _pair(places: np.ndarray, i: int, j: int, size: np.ndarray, settings: Pairs) -> tuple[object, ...] | None:
    """The pair of the tiles i and j: fixed, moving, side, nominal offset (y, x), and width of the overlap, px.

    None when they are not neighbours. The fixed tile is the left or the upper one.
    """
    offset = places[j] - places[i]
    overlap = size - np.abs(offset)
    across = int(np.argmin(overlap / size))
    if overlap[across] < settings.min_overlap or overlap[1 - across] < size[1 - across] / 2:
        return None
    if offset[across] < 0:
        i, j, offset = j, i, -offset
    return i, j, ("down", "right")[across], *offset, overlap[across]


def with_windows(rows: pd.DataFrame, size: np.ndarray) -> pd.DataFrame:
    """Returns the rows with windows that contain the overlap as long as the true offset is within `search` of the nominal one.

    Args:
        rows: with the columns side, nominal_y, nominal_x and search, px.
        size: of a tile (y, x), px.

    Returns:
        the rows with the columns WINDOW, px.
    """
    given = zip(rows["side"], rows["nominal_y"], rows["nominal_x"], rows["search"], strict=True)
    windows = [_windows(side, (y, x), size, search) for side, y, x, search in given]
    return rows.assign(**dict(zip(WINDOW, np.array(windows, int).reshape(-1, len(WINDOW)).T, strict=True)))


def with_overlaps(rows: pd.DataFrame, size: np.ndarray) -> pd.DataFrame:
    """Returns the rows with windows that are exactly the overlap of both tiles at the nominal offset, rounded towards zero.

    Args:
        rows: with the columns nominal_y and nominal_x, px.
        size: of a tile (y, x), px.

    Returns:
        the rows with the columns WINDOW, px.
    """
    offset = rows[["nominal_y", "nominal_x"]].to_numpy(int)
    common = size - np.abs(offset)
    windows = np.concatenate([offset.clip(min=0), (-offset).clip(min=0), common], axis=1)
    return rows.assign(**dict(zip(WINDOW, windows.T, strict=True)))


def _windows(side: str, nominal: tuple[float, float], size: np.ndarray, search: float) -> tuple[int, ...]:
    """The first pixels of the windows in both tiles (fixed y, x, moving y, x), and their common height and width, px."""
    across = ("down", "right").index(side)
    along = 1 - across
    shift = round(nominal[along])
    extent, fixed, moving = [0, 0], [0, 0], [0, 0]
    extent[along] = (int(size[along]) - abs(shift)) // MULTIPLE * MULTIPLE
    fixed[along], moving[along] = max(shift, 0), max(-shift, 0)
    wide = np.ceil((size[across] - nominal[across] + search) / MULTIPLE) * MULTIPLE
    extent[across] = int(min(wide, size[across] // MULTIPLE * MULTIPLE))
    fixed[across] = int(size[across]) - extent[across]
    return *fixed, *moving, *extent
