"""Pairs of tiles that cannot match, in the windows of those that may: what chance and the camera's pattern reach.

They are drawn so that the draw hardly changes where a tile is added: by a number that each tile draws for itself, from its
name. The tiles of the lowest numbers take part, a pair has the number that follows from those of its tiles, and takes the
windows of the real pair whose number is the next above its own (consistent hashing; Karger et al. 1997).
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import hashing
from dlir.core.affine import Array

COUNT = 40  # of both sides together: enough for a threshold, fewer than most data sets have pairs
GOLDEN_RATIO = (np.sqrt(5) - 1) / 2  # whose multiples are spread evenly between whole numbers


def unrelated_pairs(pairs: pd.DataFrame, tiles: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Windows as in `pairs` (tables.PAIRS) of tiles that the stage puts apart, so that they show different places of the
    specimen."""
    lots = pd.Series([_lot(f"{seed} {path}") for path in tiles["path"]], tiles["tile"])
    lowest = lots.sort_values(kind="stable").index[:COUNT].to_numpy()
    fixed, moving = (each.ravel() for each in np.meshgrid(lowest, lowest, indexing="ij"))
    drawn = []
    for side, group in pairs.groupby("side"):
        real = _joined(lots, group["fixed"].to_numpy(), group["moving"].to_numpy(), str(side))
        order, lot = np.argsort(real, kind="stable"), _joined(lots, fixed, moving, str(side))
        following = order[np.searchsorted(real[order], lot) % len(group)]
        drawn.append(group.iloc[following].assign(fixed=fixed, moving=moving, lot=lot))
    table = pd.concat(drawn, ignore_index=True)
    place = tiles.set_index("tile")[["y", "x"]]
    between = place.loc[table["moving"]].to_numpy() - place.loc[table["fixed"]].to_numpy()
    between += table[["moving_y", "moving_x"]].to_numpy() - table[["fixed_y", "fixed_x"]].to_numpy()
    apart = (np.abs(between) - table[["search"]].to_numpy() > table[["height", "width"]].to_numpy()).any(axis=1)
    chosen: pd.DataFrame = table[apart].sort_values("lot", kind="stable")
    return chosen.groupby("side").head(COUNT // len(drawn)).drop(columns="lot").reset_index(drop=True)


def _lot(name: str) -> float:
    """A number between 0 and 1 that only the name decides."""
    return int(hashing.of(name)[:12], 16) / 16**12


def _joined(lots: "pd.Series[float]", fixed: NDArray[np.int64], moving: NDArray[np.int64], side: str) -> Array:
    """The numbers of pairs of tiles, between 0 and 1."""
    first, second = (lots.reindex(ends).to_numpy() for ends in (fixed, moving))
    return np.asarray((first + second / GOLDEN_RATIO + _lot(side)) % 1)
