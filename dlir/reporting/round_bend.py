"""What bends within tiles, against another round: tissue was stretched there, and no rigid tile can mend that.

The shifts that patches of a tile show against the first round have three parts:

1. What a shift and a turn of the whole tile would mend: the rigid part, a least squares fit to its patches.
2. A smooth field beside it.
3. The noise of the measurement.

The mean over the neighbours of a patch, after 1, predicts the field, and not the noise, since patches do not overlap. So the
mean product of what is left in a patch with that of its neighbours is the mean square of the field (cross-validation).
"""

from math import sqrt

import numpy as np
import pandas as pd

from dlir.core.affine import Array

FEWEST = 4  # patches of a tile from which its rigid part follows
NEIGHBOURS = 3  # patches, at least, whose mean is the smooth field
CLEAR = 3.0  # standard errors, by which the smooth field has to be above zero


def with_bend(patches: pd.DataFrame) -> pd.DataFrame:
    """Returns the patches with rigid_y, rigid_x, bend_y and bend_x, px: the rigid part of each tile, and the smooth field
    beside it; see the head of this module."""
    columns = ["rigid_y", "rigid_x", "rest_y", "rest_x", "bend_y", "bend_x", "near_y", "near_x"]
    patches = patches.assign(**dict.fromkeys(columns, np.nan))
    for _, of_tile in patches[patches["state"] == "measured"].groupby(["round", "tile"]):
        if len(of_tile) >= FEWEST:
            shift = of_tile[["dy", "dx"]].to_numpy()
            rigid = _rigid(of_tile[["y", "x"]].to_numpy(), shift)
            patches.loc[of_tile.index, ["rigid_y", "rigid_x"]] = rigid
            patches.loc[of_tile.index, ["rest_y", "rest_x"]] = shift - rigid
    for _, of_round in patches.dropna(subset=["rest_y"]).groupby("round"):
        places, rest = of_round[["y", "x"]].to_numpy(), of_round[["rest_y", "rest_x"]].to_numpy()
        step = _step(places)
        for at, index in enumerate(of_round.index):
            apart = np.abs(places - places[at]).max(axis=1)
            near = (apart > 0) & (apart < 1.5 * step)
            if near.sum() >= NEIGHBOURS:
                patches.loc[index, ["near_y", "near_x"]] = rest[near].mean(axis=0)
                patches.loc[index, ["bend_y", "bend_x"]] = rest[near | (apart == 0)].mean(axis=0)
    return patches


def smooth_power(measured: pd.DataFrame) -> float:
    """Returns the mean square, px^2, of the smooth field in patches of `with_bend`; 0 where it is not clearly above zero."""
    product = (measured["rest_y"] * measured["near_y"] + measured["rest_x"] * measured["near_x"]).dropna()
    if len(product) < FEWEST:
        return 0.0
    mean = float(product.mean())
    return mean if mean > CLEAR * float(product.std()) / sqrt(len(product)) else 0.0


def _rigid(places: Array, shift: Array) -> Array:
    """What a shift and a small turn explain (n, 2), px, of shifts (n, 2) at places (n, 2), by least squares."""
    about = places - places.mean(axis=0)
    turned = np.stack([about[:, 1], -about[:, 0]], 1)
    mean = shift.mean(axis=0)
    angle = float((turned * (shift - mean)).sum()) / max(float((turned**2).sum()), 1e-9)
    return np.asarray(mean + angle * turned)


def _step(places: Array) -> float:
    """The step, px, of the grid on which places (n, 2) lie."""
    steps = [np.diff(np.unique(axis)) for axis in places.T]
    return float(min((each.min() for each in steps if len(each)), default=1.0))
