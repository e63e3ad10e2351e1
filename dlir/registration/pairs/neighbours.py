"""Neighbouring tiles and the windows that hold their nominal overlap.

Two tiles are neighbours when the stage says that they share a strip: at least `min_overlap` px across, and at least half of
the side along it, which leaves out diagonal neighbours. Each window reaches beyond the nominal overlap by the search
distance, so that the true overlap lies in it wherever the stage was wrong by no more than that.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from dlir.core import tables
from dlir.registration.settings import Pairs

log = logging.getLogger(__name__)
MULTIPLE = 8  # sides of a window, px: what the network halves three times
LEAST_SEARCH = 8.0  # px
WINDOW = ["fixed_y", "fixed_x", "moving_y", "moving_x", "height", "width"]


def pairs(tiles: Path, output: Path, *, settings: Pairs = Pairs()) -> None:
    """Write the neighbours in the table `tiles` to `output` (tables.PAIRS); a dataset of one tile has none."""
    listed = tables.read(tiles, tables.TILES)
    table = neighbours(listed, settings)
    tables.write(table, tables.PAIRS, output)
    counts = table["side"].value_counts()
    log.info("%d pairs: %d to the right, %d below", len(table), counts.get("right", 0), counts.get("down", 0))
    alone = set(listed["tile"]) - set(table["fixed"]) - set(table["moving"])
    if alone and len(table):
        log.warning("%d tiles have no neighbour and will lie where the stage says", len(alone))


def neighbours(tiles: pd.DataFrame, settings: Pairs) -> pd.DataFrame:
    """The pairs (tables.PAIRS) of the tiles (tables.TILES), in the order of the fixed tile."""
    places, numbers = tiles[["y", "x"]].to_numpy(), tiles["tile"].to_numpy()
    size = tiles[["height", "width"]].iloc[0].to_numpy(int)
    near = cKDTree(places).query_pairs(float(np.hypot(*size)), output_type="ndarray")
    rows = [row for i, j in np.sort(near, axis=1) if (row := _strip(places, i, j, size, settings)) is not None]
    strips = pd.DataFrame(rows, columns=["fixed", "moving", "side", "nominal_y", "nominal_x", "overlap"])
    search = strips.groupby("side")["overlap"].transform("median") * settings.search
    search = search.round().clip(lower=LEAST_SEARCH)  # whole px, which one tile more hardly changes
    table = with_windows(strips.assign(search=search), size)
    table = table.sort_values(["fixed", "moving"], ignore_index=True)
    table["fixed"], table["moving"] = numbers[table["fixed"].to_numpy(int)], numbers[table["moving"].to_numpy(int)]
    return table.drop(columns="overlap").assign(pair=np.arange(len(table)))


def _strip(places: np.ndarray, i: int, j: int, size: np.ndarray, settings: Pairs) -> tuple[object, ...] | None:
    """The pair of the tiles i and j: fixed, moving, side, nominal offset, overlap across; None where they are none."""
    offset = places[j] - places[i]
    overlap = size - np.abs(offset)
    across = int(np.argmin(overlap / size))
    if overlap[across] < settings.min_overlap or overlap[1 - across] < size[1 - across] / 2:
        return None
    if offset[across] < 0:
        i, j, offset = j, i, -offset
    return i, j, ("down", "right")[across], *offset, overlap[across]


def with_windows(rows: pd.DataFrame, size: np.ndarray) -> pd.DataFrame:
    """The rows with the windows that hold the overlap where the offset is within `search` of the nominal one.

    Args:
        rows: with the columns side, nominal_y, nominal_x and search, px.
        size: of a tile (y, x), px.
    """
    given = zip(rows["side"], rows["nominal_y"], rows["nominal_x"], rows["search"], strict=True)
    windows = [_windows(side, (y, x), size, reach) for side, y, x, reach in given]
    return rows.assign(**dict(zip(WINDOW, np.array(windows, int).reshape(-1, len(WINDOW)).T, strict=True)))


def with_overlaps(rows: pd.DataFrame, size: np.ndarray) -> pd.DataFrame:
    """The rows with windows that hold what both tiles show where the offset is the nominal one, whole px, and nothing else.

    Args:
        rows: with the columns nominal_y and nominal_x, px.
        size: of a tile (y, x), px.
    """
    offset = rows[["nominal_y", "nominal_x"]].to_numpy(int)
    common = size - np.abs(offset)
    windows = np.concatenate([offset.clip(min=0), (-offset).clip(min=0), common], axis=1)
    return rows.assign(**dict(zip(WINDOW, windows.T, strict=True)))


def _windows(side: str, nominal: tuple[float, float], size: np.ndarray, search: float) -> tuple[int, ...]:
    """Where the windows begin in both tiles (fixed y, x, moving y, x), and their common height and width."""
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
