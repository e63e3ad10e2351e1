"""All tiles and pairs of all rounds in one frame: that of turned tiles, in which a round is not turned against the first one.

The map of round k (`maps.py`) has the linear part L_k. Turned by it about its middle m, a tile shows the specimen as the first
round does: its pixel p comes to  V p = m + L_k (p - m).  A pair of tiles of one round, or of two, with the affine A becomes
V_fixed A V_moving^-1,  and its covariances are turned alike. So the solver of the placement takes all pairs as those of one
dataset, and the affine of a tile is V, and then what the solver finds.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.core.tables import LINEAR_COVARIANCE
from dlir.rounds.maps import turn_covariance, turn_linear_covariance


class CommonFrame(NamedTuple):
    """The tiles of all rounds, one round after the other."""

    tiles: pd.DataFrame  # tables.TILES; the tiles are numbered from 0
    of_round: NDArray[np.int64]  # (n,) the place of the round of each tile in the list of rounds
    turned: Array  # (n, 2, 2) L of each tile
    pairs: pd.DataFrame  # the accepted pairs (tables.AFFINES) of turned tiles


def in_common_frame(
    tiles: Sequence[pd.DataFrame], within: Sequence[pd.DataFrame], between: pd.DataFrame, linear: Array
) -> CommonFrame:
    """Returns the tiles and pairs of all rounds in one frame.

    Args:
        tiles: of each round (tables.TILES).
        within: the accepted pairs of each round (tables.AFFINES).
        between: those of two rounds, as `numbered` returns them.
        linear: (rounds, 2, 2) the linear parts of the maps of the rounds.
    """
    counts = [len(table) for table in tiles]
    first = np.cumsum([0, *counts])
    of_round = np.repeat(np.arange(len(tiles)), counts)
    every = pd.concat(tiles, ignore_index=True).assign(tile=np.arange(first[-1]))
    numbers = [pd.Index(table["tile"]) for table in tiles]
    pairs = [
        table.assign(**{end: first[k] + numbers[k].get_indexer(table[end]) for end in ("fixed", "moving")})
        for k, table in enumerate(within)
    ]
    between = between.assign(**{end: first[between[f"{end}_round"]] + between[end] for end in ("fixed", "moving")})
    columns = [name for name in tables.AFFINES.columns if name != "time"]
    joined = pd.concat([table[columns] for table in (*pairs, between) if len(table)] or [between[columns]], ignore_index=True)
    turned = linear[of_round]
    return CommonFrame(every, of_round, turned, _turned_pairs(joined, (tables.sizes(every) - 1) / 2, turned))


def numbered(between: pd.DataFrame, rounds: Sequence[str], tiles: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Returns the pairs of two rounds (tables.ROUND_PAIRS) with rounds and tiles as places in their lists.

    Args:
        rounds: the names of the rounds, which all pairs have.
        tiles: of each round (tables.TILES).
    """
    found = between.copy()
    for end in ("fixed", "moving"):
        of = pd.Index(rounds).get_indexer(pd.Index(between[f"{end}_round"])).astype(np.int64)
        place = np.zeros(len(between), np.int64)
        for k, table in enumerate(tiles):
            place[of == k] = pd.Index(table["tile"]).get_indexer(pd.Index(between.loc[of == k, end]))
        found = found.assign(**{f"{end}_round": of, end: place})
    return found


def _turned_pairs(pairs: pd.DataFrame, middle: Array, turned: Array) -> pd.DataFrame:
    """Returns the pairs (tables.AFFINES) of tiles that are turned by the matrices (tiles, 2, 2) about `middle` (tiles, 2)."""
    turns = affine.moving(middle, np.zeros_like(middle), turned)
    i, j = pairs["fixed"].to_numpy(), pairs["moving"].to_numpy()
    affines = affine.compose(affine.compose(turns[i], affine.from_table(pairs)), affine.invert(turns[j]))
    centre = affine.apply(turns[j], pairs[["centre_y", "centre_x"]].to_numpy()[:, None])[:, 0]
    of_shift = turn_covariance(tables.shift_covariance(pairs), turned[i])
    of_entries = turn_linear_covariance(pairs[LINEAR_COVARIANCE].to_numpy().reshape(-1, 4, 4), turned[i], turned[j])
    return pairs.assign(
        **affine.to_columns(affines), centre_y=centre[:, 0], centre_x=centre[:, 1],
        var_y=of_shift[:, 0, 0], cov_yx=of_shift[:, 0, 1], var_x=of_shift[:, 1, 1],
        **dict(zip(LINEAR_COVARIANCE, of_entries.reshape(-1, 16).T, strict=True)),
    )  # fmt: skip
