"""What the user knows better than what was measured: pairs to ignore, pairs and tiles with a given offset.

The table has the columns fixed, moving, y and x; tiles are named by their file, or any of their files. In each row

    fixed and moving, y and x empty     the pair is ignored
    fixed and moving, y and x           the moving tile lies y, x px from the fixed one
    only moving, y and x                the stage's place of that tile is y, x, px, and certain
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import affine, tables
from dlir.core.tables import LINEAR_COVARIANCE
from dlir.placement.stage_model import Stage
from dlir.reading import filenames

SURE = 0.05  # px: deviation of what the user gives


class Overrides(NamedTuple):
    """The user's table, with the numbers of the tiles."""

    rows: pd.DataFrame
    tiles: pd.DataFrame

    def of_pairs(self, pairs: pd.DataFrame) -> pd.DataFrame:
        """The accepted pairs (tables.AFFINES) with the user's in their stead."""
        rows = self.rows[self.rows["fixed"].notna()]
        keys = {tuple(sorted(key)) for key in rows[["fixed", "moving"]].to_numpy(int).tolist()}
        kept = [tuple(sorted(key)) not in keys for key in pairs[["fixed", "moving"]].to_numpy(int).tolist()]
        given = rows[rows["y"].notna()]
        offset = given[["y", "x"]].to_numpy(float)
        size = self.tiles[["height", "width"]].iloc[0].to_numpy(float)
        nothing = dict.fromkeys(("cov_yx", "score_before", "score_after", *LINEAR_COVARIANCE), 0.0)
        tight = dict.fromkeys((f"cov_{e}_{e}" for e in ("yy", "yx", "xy", "xx")), 1e-12)
        own = pd.DataFrame(
            {
                "pair": -1, "fixed": given["fixed"].astype(int), "moving": given["moving"].astype(int),
                "side": np.where(np.abs(offset[:, 0]) > np.abs(offset[:, 1]), "down", "right"),
                **affine.to_columns(affine.translation(offset)),
                "centre_y": (size[0] - 1 - offset[:, 0]) / 2, "centre_x": (size[1] - 1 - offset[:, 1]) / 2,
                "var_y": SURE**2, "var_x": SURE**2, **nothing, **tight,
                "confidence": 1.0, "accepted": True, "reason": "", "method": "user",
            },
            index=given.index,
        )  # fmt: skip
        return pd.concat([pairs[kept], own[list(pairs.columns)]], ignore_index=True)

    def of_tiles(self, stage: Stage) -> Stage:
        """The stage with the user's places in it."""
        rows = self.rows[self.rows["fixed"].isna()]
        which = self._index(rows["moving"])
        nominal = stage.nominal.copy()
        nominal[which] = rows[["y", "x"]].to_numpy(float)
        certain = np.zeros(len(nominal), bool)
        certain[which] = True
        return stage.with_nominal(nominal, certain)

    def placed(self, tiles: pd.DataFrame) -> NDArray[np.bool_]:
        """Which tiles the user has placed, by themselves or as the moving tile of a pair."""
        named = self.rows[self.rows["y"].notna()]["moving"]
        return np.asarray(tiles["tile"].isin(named.astype(int)))

    def _index(self, numbers: pd.Series) -> NDArray[np.int64]:
        return np.asarray(pd.Index(self.tiles["tile"]).get_indexer(numbers.astype(int)), np.int64)


def read_overrides(path: Path, tiles: pd.DataFrame) -> Overrides:
    """The user's table for the tiles (tables.TILES).

    Raises:
        TableError: naming the file, the row and what is wrong with it.
    """
    rows = tables.read(path, tables.OVERRIDES)
    number = {name: row["tile"] for row in tiles.to_dict("records") for name in filenames.names_of(row)}
    for index, row in rows.iterrows():
        where = f"{path}: row {index}"  # type: str
        for end in ("fixed", "moving"):
            if pd.notna(row[end]) and Path(row[end]).name not in number:
                raise tables.TableError(f"{where}: {end} is {row[end]}, which is no tile of this dataset: give a file's name")
        if pd.isna(row["y"]) != pd.isna(row["x"]):
            raise tables.TableError(f"{where}: give both y and x, or neither")
        if pd.isna(row["fixed"]) and pd.isna(row["y"]):
            raise tables.TableError(f"{where}: a tile without a fixed one needs y and x")
    numbered = rows[["fixed", "moving"]].map(lambda name: number[Path(name).name] if pd.notna(name) else np.nan)
    return Overrides(rows.assign(fixed=numbered["fixed"], moving=numbered["moving"]), tiles)
