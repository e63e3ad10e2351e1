"""How far the places may be off because the camera distorts all tiles alike.

All pairs of a side then have offsets that are wrong alike. It adds up from tile to tile, so the whole mosaic is stretched, and
neither loops nor residuals tell. This module says how large it may be.

**A distortion that registration left in the tiles.** All pairs of a side have the same bow B, by which the ends of an overlap
are displaced against its middle (`registration/model/bow.py`). For a radial distortion, whose displacement is proportional to
the cube of the distance from the middle of the tile, the error of an offset of length d, between tiles whose overlap is 2 Y
long, is

    B ((d / 2 Y)^2 + 1 / 3)

**A distortion that was taken out of the tiles, and is known only so well.** The intervals of its terms say how exactly it knows
the offset of two tiles (`Lens.offset_deviation`).
"""

import numpy as np
import pandas as pd

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.core.lens import Lenses
from dlir.core.tables import BOW

FEWEST_PAIRS = 3  # of a side, that show a bow
LEAST_BOW = 0.3  # px: a smaller one is not told
CLEAR = 4.0  # standard errors, by which a bow that all pairs share differs from none
SIDES = ("down", "right")  # the side of pairs along y, and along x


def stretched(places: Array, tiles: pd.DataFrame, pairs: pd.DataFrame, lenses: Lenses) -> Array:
    """Returns how far (n,), px, places may be off, both axes together, since the camera distorts all tiles alike.

    Args:
        places: (n, 2) px, of the middles of tiles.
        tiles: tables.TILES.
        pairs: the accepted pairs (tables.AFFINES).
        lenses: those that were taken out of the tiles.
    """
    usual = pairs[pairs[["fixed", "moving"]].isin(tables.of_usual_size(tiles)["tile"].tolist()).all(axis=1)]
    apart = places - places.mean(axis=0)
    by_bow = np.linalg.norm(apart @ stretch(usual, tables.usual_size(tiles).astype(float)).T, axis=1)
    return np.asarray(np.hypot(by_bow, np.linalg.norm(apart * lens_deviation(tiles, pairs, lenses), axis=1)))


def stretch(pairs: pd.DataFrame, size: Array) -> Array:
    """Returns the matrix (2, 2) by which places, relative to their middle, may be wrong, since pairs have a bow in common.

    Args:
        pairs: the accepted pairs (tables.AFFINES).
        size: (2,) px, of a tile (y, x).
    """
    wrong = np.zeros((2, 2))
    offset = _offsets(pairs)
    for axis, side in enumerate(SIDES):
        of_side = (pairs["side"] == side).to_numpy() & pairs["bow_y"].notna().to_numpy()
        if of_side.sum() < FEWEST_PAIRS:
            continue
        each = pairs.loc[of_side, list(BOW)].to_numpy()
        found = np.median(each, axis=0)
        error = 1.25 * 1.4826 * np.median(np.abs(each - found), axis=0) / np.sqrt(len(each))
        if (np.abs(found) > np.maximum(LEAST_BOW, CLEAR * error)).any():
            length = float(np.median(np.abs(offset[of_side, axis])))
            wrong[:, axis] = found * ((length / size[1 - axis]) ** 2 + 1 / 3) / length
    return wrong


def lens_deviation(tiles: pd.DataFrame, pairs: pd.DataFrame, lenses: Lenses) -> Array:
    """Returns how exactly lengths along y and x (2,) are known by the lenses: standard deviations, as parts of the length.

    Where tiles of several cameras are stitched, it is that of the camera which is known worst.

    Args:
        tiles, pairs, lenses: as those of `stretched`.
    """
    deviation, offset = np.zeros(2), _offsets(pairs)
    camera = tiles.set_index("tile")["camera"]
    fixed, moving = (pairs[end].map(camera).to_numpy() for end in ("fixed", "moving"))
    for axis, side in enumerate(SIDES):
        for number, lens in lenses.items():
            chosen = (pairs["side"] == side).to_numpy() & (fixed == number) & (moving == number)
            if chosen.any():
                usual = np.median(offset[chosen], axis=0)
                of_lens = float(np.linalg.norm(lens.offset_deviation(usual))) / abs(float(usual[axis]))
                deviation[axis] = max(deviation[axis], of_lens)
    return deviation


def _offsets(pairs: pd.DataFrame) -> Array:
    """Returns the offsets (n, 2), px, of pairs (tables.AFFINES) from the fixed to the moving tile."""
    return affine.offsets(affine.from_table(pairs), pairs[["centre_y", "centre_x"]].to_numpy())
