"""Overrides: what the user knows better than the measurements: pairs to ignore, offsets of pairs, and positions of tiles.

`overrides_table.py` reads the table.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import affine, tables
from dlir.core.tables import BOW, LINEAR_COVARIANCE
from dlir.placement import overrides_table
from dlir.placement.measurements import nominal_middles
from dlir.placement.overrides_table import Correction, OverridesError
from dlir.placement.stage_model import Stage
from dlir.reading import filenames

LEAST_REACH = 10  # sides of a tile, by which a place of the user may always lie outside the mosaic
DEVIATION = 0.05  # px: standard deviation of an offset that the user gives


class Overrides(NamedTuple):
    """The table of the user."""

    rows: pd.DataFrame  # fixed and moving: numbers of tiles, and y and x; empty as in overrides_table.py
    tiles: pd.DataFrame  # tables.TILES

    def in_pairs(self, pairs: pd.DataFrame) -> pd.DataFrame:
        """Returns the accepted pairs (tables.AFFINES) without those that the user ignores, and with the offsets of the user."""
        rows = self.rows[self.rows["fixed"].notna()]
        keys = {tuple(sorted(key)) for key in rows[["fixed", "moving"]].to_numpy(int).tolist()}
        kept = [tuple(sorted(key)) not in keys for key in pairs[["fixed", "moving"]].to_numpy(int).tolist()]
        given = rows[rows["y"].notna()]
        offset = given[["y", "x"]].to_numpy(float)
        fixed, moving = (tables.sizes(self.tiles, given[end]) for end in ("fixed", "moving"))
        middle = (np.maximum(-offset, 0) + np.minimum(moving - 1, fixed - 1 - offset)) / 2  # of the overlap, in the moving tile
        zero = dict.fromkeys(("cov_yx", "score_before", "score_after", *LINEAR_COVARIANCE), 0.0)
        zero |= dict.fromkeys(BOW, np.nan)
        exact = dict.fromkeys((f"cov_{e}_{e}" for e in ("yy", "yx", "xy", "xx")), 1e-12)
        own = pd.DataFrame(
            {
                "pair": -1, "fixed": given["fixed"].astype(int), "moving": given["moving"].astype(int),
                "side": np.where(np.abs(offset[:, 0]) > np.abs(offset[:, 1]), "down", "right"),
                **affine.to_columns(affine.translation(offset)),
                "centre_y": middle[:, 0], "centre_x": middle[:, 1],
                "var_y": DEVIATION**2, "var_x": DEVIATION**2, **zero, **exact,
                "confidence": 1.0, "accepted": True, "overruled": False, "reason": "", "method": "user", "time": 0,
            },
            index=given.index,
        )  # fmt: skip
        # `time` is among the columns where each time point is registered by itself; an offset of the user holds for all
        return pd.concat([pairs[kept], own[list(pairs.columns)]], ignore_index=True)

    def in_stage(self, stage: Stage) -> Stage:
        """Returns the stage with the positions of the user, which are certain."""
        rows = self.rows[self.rows["fixed"].isna()]
        given = self._index(rows["moving"])
        nominal = stage.nominal.copy()
        placed = self.tiles.iloc[given].assign(y=rows["y"].to_numpy(float), x=rows["x"].to_numpy(float))
        nominal[given] = nominal_middles(placed, tables.usual_size(self.tiles))
        certain = np.zeros(len(nominal), bool)
        certain[given] = True
        return stage.with_nominal(nominal, certain)

    def placed_tiles(self, tiles: pd.DataFrame) -> NDArray[np.bool_]:
        """Which tiles (tables.TILES) the user places, alone or as the moving tile of a pair: (n,)."""
        named = self.rows[self.rows["y"].notna()]["moving"]
        return np.asarray(tiles["tile"].isin(named.astype(int)))

    def _index(self, numbers: pd.Series) -> NDArray[np.int64]:
        """The rows of `tiles` with these numbers."""
        return np.asarray(pd.Index(self.tiles["tile"]).get_indexer(numbers.astype(int)), np.int64)


def read_overrides(path: Path, tiles: pd.DataFrame) -> Overrides:
    """Reads the table of the user for the tiles (tables.TILES).

    Raises:
        OverridesError, TextTableError: naming the file, the line, what is wrong with it and the remedy.
    """
    given = overrides_table.read(path, [filenames.paths_of(tile) for tile in tiles.to_dict("records")])
    _check_reach(path, given, tiles)
    numbers = tiles["tile"].tolist()
    rows = [
        (np.nan if row.fixed is None else numbers[row.fixed], numbers[row.moving], *(row.place or (np.nan, np.nan)))
        for row in given
    ]
    return Overrides(pd.DataFrame(rows, columns=list(overrides_table.COLUMNS)).astype(float), tiles)


def _check_reach(path: Path, given: list[Correction], tiles: pd.DataFrame) -> None:
    """Raises OverridesError where a tile would lie further outside the mosaic than that is long: it would never be finished."""
    nominal, size = tiles[["y", "x"]].to_numpy(float), tables.usual_size(tiles)
    low, high = nominal.min(axis=0), nominal.max(axis=0)
    reach = np.maximum(high - low, LEAST_REACH * size)
    for row in given:
        if row.place is not None:
            first, last = (low - reach, high + reach) if row.fixed is None else (low - high - reach, high - low + reach)
            if (row.place < first).any() or (row.place > last).any():
                what = f"y, x is {row.place[0]:g}, {row.place[1]:g} px, far outside the mosaic"
                limits = f"y between {first[0]:.0f} and {last[0]:.0f}, and x between {first[1]:.0f} and {last[1]:.0f}"
                raise OverridesError(f"{path}, line {row.line}: {what}: give {limits}")
