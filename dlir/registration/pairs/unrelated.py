"""Unrelated pairs: tiles that cannot match, in windows like those of real pairs. They show how well wrong pairs match by
chance, or because of the fixed pattern of the camera.

Adding a tile to the dataset should change few of them, so that most of their cached estimates can be used again. So the draw
follows from the names of the tiles (consistent hashing; Karger et al. 1997). Each tile has a number between 0 and 1, its lot,
which only its name and the seed decide. The tiles with the lowest lots take part. A pair has a lot that follows from those of
its tiles, and takes the windows of the real pair with the next higher lot.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import hashing, tables
from dlir.core.affine import Array
from dlir.registration.pairs.neighbours import ROUND

COUNT = 40  # pairs, of both sides together: enough for a threshold, and fewer than most datasets have pairs
COUNT_OF_ROUNDS = 20  # the same of two rounds, as many as of one side
GOLDEN_RATIO = (np.sqrt(5) - 1) / 2  # the fractional parts of its multiples are spread evenly between 0 and 1


def unrelated_pairs(pairs: pd.DataFrame, tiles: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Returns pairs of tiles whose windows show different places of the specimen wherever the stage errs within the search.

    Args:
        pairs: the real pairs (tables.PAIRS), which give the windows.
        tiles: tables.TILES.
    """
    tile_lots = pd.Series([_lot(f"{seed} {path}") for path in tiles["path"]], tiles["tile"])
    lowest = tile_lots.sort_values(kind="stable").index[:COUNT].to_numpy()
    fixed, moving = (each.ravel() for each in np.meshgrid(lowest, lowest, indexing="ij"))
    drawn = []
    for side, group in pairs.groupby("side"):
        real = _pair_lots(tile_lots, group["fixed"].to_numpy(), group["moving"].to_numpy(), str(side))
        order, lot = np.argsort(real, kind="stable"), _pair_lots(tile_lots, fixed, moving, str(side))
        following = order[np.searchsorted(real[order], lot) % len(group)]
        drawn.append(group.iloc[following].assign(fixed=fixed, moving=moving, lot=lot))
    table = pd.concat(drawn, ignore_index=True)
    table = table[_inside(table, tiles)].reset_index(drop=True)
    place = tiles.set_index("tile")[["y", "x"]]
    between = place.loc[table["moving"]].to_numpy() - place.loc[table["fixed"]].to_numpy()
    between += table[["moving_y", "moving_x"]].to_numpy() - table[["fixed_y", "fixed_x"]].to_numpy()
    apart = (np.abs(between) - table[["search"]].to_numpy() > table[["height", "width"]].to_numpy()).any(axis=1)
    chosen: pd.DataFrame = table[apart].sort_values("lot", kind="stable")
    count = COUNT_OF_ROUNDS if ROUND in set(pairs["side"]) else COUNT // len(drawn)
    return chosen.groupby("side").head(count).drop(columns="lot").reset_index(drop=True)


def _inside(table: pd.DataFrame, tiles: pd.DataFrame) -> NDArray[np.bool_]:
    """Whether the windows of pairs (n,) lie inside of their tiles: those that they were made for may be larger."""
    inside = np.ones(len(table), bool)
    for end in ("fixed", "moving"):
        last = table[[f"{end}_y", f"{end}_x"]].to_numpy() + table[["height", "width"]].to_numpy()
        inside &= (last <= tables.sizes(tiles, table[end])).all(axis=1)
    return inside


def _lot(name: str) -> float:
    """A number between 0 and 1 that follows from the name alone."""
    return int(hashing.of(name)[:12], 16) / 16**12


def _pair_lots(tile_lots: "pd.Series[float]", fixed: NDArray[np.int64], moving: NDArray[np.int64], side: str) -> Array:
    """The lots (n,) of pairs of tiles, between 0 and 1."""
    first, second = (tile_lots.reindex(ends).to_numpy() for ends in (fixed, moving))
    return np.asarray((first + second / GOLDEN_RATIO + _lot(side)) % 1)
