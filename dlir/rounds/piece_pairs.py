"""Pairs of a piece of a round and a tile of another one: found by what both show, turned, and given back as pairs of tiles."""

import numpy as np
import pandas as pd

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.core.tables import LINEAR_COVARIANCE
from dlir.registration.pairs.neighbours import ROUND, with_windows
from dlir.rounds.inputs import PlacedRound
from dlir.rounds.maps import turn_covariance, turn_linear_covariance
from dlir.rounds.pictures import Picture
from dlir.rounds.pieces import common_structure, find_pieces
from dlir.rounds.turned import Turned, turned

LONGEST = 700  # px, of the pictures that show what both rounds have in common
SEARCH = 12.0  # px, around where the rounds are known to lie


def pair_up(
    fixed: PlacedRound, moving: PlacedRound, maps: tuple[Array, Array], shown: tuple[Picture, Picture], tiles: list[int]
) -> tuple[Turned, pd.DataFrame]:
    """Returns pieces of tiles of the moving round, turned, with the tiles of the other one; and their pairs (tables.PAIRS).

    Args:
        maps: affines (2, 3) from the frames of both rounds to that of the first.
        shown: the pictures of both, not prepared.
        tiles: numbers of tiles of the moving round.
    """
    to_fixed = affine.compose(affine.invert(maps[0]), maps[1])
    common = common_structure(shown[0].prepared(), shown[1], to_fixed)
    pieces = find_pieces(fixed, moving, maps, common, tiles)
    both = turned(fixed, moving, maps, pieces)
    return both, list_pairs(both, pieces)


def list_pairs(both: Turned, pieces: pd.DataFrame) -> pd.DataFrame:
    """Returns the pairs (tables.PAIRS) of the pieces of a round with the tiles that show them, numbered as in `both`."""
    fixed = pieces["fixed"].to_numpy(int)
    moving = len(both.tiles) - len(pieces) + np.arange(len(pieces))
    places = both.tiles[["y", "x"]].to_numpy()
    y, x = (places[moving] - places[fixed]).T
    rows = pd.DataFrame({"pair": np.arange(len(pieces)), "fixed": fixed, "moving": moving, "side": ROUND, "nominal_y": y,
                         "nominal_x": x, "search": SEARCH})  # fmt: skip
    return with_windows(rows, both.tiles)[list(tables.PAIRS.columns)]


def of_tiles(found: pd.DataFrame, both: Turned) -> pd.DataFrame:
    """Returns registered pairs of turned tiles as those of the tiles themselves, by their numbers in their rounds.

    With T from px of a tile to px of the turned one, the affine A becomes T_fixed^-1 A T_moving, and covariances go with it.
    """
    fixed, moving = (found[end].to_numpy(int) for end in ("fixed", "moving"))
    to_fixed, to_moving = affine.invert(both.to_turned[fixed]), both.to_turned[moving]
    affines = affine.compose(to_fixed, affine.compose(affine.from_table(found), to_moving))
    centre = affine.apply(affine.invert(to_moving), found[["centre_y", "centre_x"]].to_numpy()[:, None])[:, 0]
    left, right = to_fixed[:, :, :2], to_moving[:, :, :2]
    shift = turn_covariance(tables.shift_covariance(found), left)
    linear = turn_linear_covariance(found[LINEAR_COVARIANCE].to_numpy().reshape(-1, 4, 4), left, np.linalg.inv(right))
    return found.assign(
        fixed=both.own[fixed], moving=both.own[moving], **affine.to_columns(affines),
        centre_y=centre[:, 0], centre_x=centre[:, 1], var_y=shift[:, 0, 0], cov_yx=shift[:, 0, 1], var_x=shift[:, 1, 1],
        **dict(zip(LINEAR_COVARIANCE, linear.reshape(-1, 16).T, strict=True)),
    )  # fmt: skip
