"""How far the places may be off because the camera distorts all tiles alike.

All pairs of a side then have the same bow B, by which the ends of an overlap are displaced against its middle
(`registration/model/bow.py`), and offsets that are wrong alike. For a radial distortion, whose displacement is proportional to
the cube of the distance from the middle of the tile, the error of an offset of length d, between tiles whose overlap is 2 Y
long, is

    B ((d / 2 Y)^2 + 1 / 3)

It adds up from tile to tile, so the whole mosaic is stretched, and neither loops nor residuals tell. This module says how large
it may be, where registration left it as it is.
"""

import numpy as np
import pandas as pd

from dlir.core import affine
from dlir.core.affine import Array
from dlir.core.tables import BOW

FEWEST_PAIRS = 3  # of a side, that show a bow
LEAST_BOW = 0.3  # px: a smaller one is not told
CLEAR = 4.0  # standard errors, by which a bow that all pairs share differs from none


def stretch(pairs: pd.DataFrame, size: Array) -> Array:
    """Returns the matrix (2, 2) by which places, relative to their middle, may be wrong, since the camera distorts the tiles.

    Args:
        pairs: the accepted pairs (tables.AFFINES).
        size: (2,) px, of a tile (y, x).
    """
    wrong = np.zeros((2, 2))
    offset = affine.offsets(affine.from_table(pairs), pairs[["centre_y", "centre_x"]].to_numpy())
    for axis, side in enumerate(("down", "right")):
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
