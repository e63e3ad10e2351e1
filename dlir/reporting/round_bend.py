"""What bends within tiles, against another round: tissue was stretched there, and no rigid tile can mend that.

The shifts that the patches of a tile show against the first round have three parts:

1. What a shift and a turn of the whole tile would mend: the rigid part, by least squares.
2. A smooth field beside it: a polynomial of the place in the tile, of degree 1, 2 or 3 by the number of patches.
3. The noise of the measurement.

Where the specimen is so sparse that few patches of a tile are measured, all tiles of a round are taken as one: its own pairs
hold them together, so its tiles cannot follow the field without opening its seams.

Whether there is a smooth field, patches tell that are left out of both fits, one at a time (cross-validation): by how much the
polynomial predicts their squares better than the rigid part is the mean square of the field.
"""

from math import sqrt
from typing import NamedTuple

import numpy as np
import pandas as pd

from dlir.core.affine import Array

FEWEST, DEGREES = 6, (6, 9, 20)  # patches of a tile; from these numbers on the polynomial has the degree 1, 2 and 3
ENOUGH = 0.5  # of the patches of a round lie in tiles with as many: else all tiles are taken as one
CLEAR = 3.0  # standard errors, by which the polynomial has to be better
COLUMNS = ["rigid_y", "rigid_x", "bend_y", "bend_x", "gain"]


class Fit(NamedTuple):
    """What a linear model explains of the shifts of n patches."""

    fitted: Array  # (n, 2) px
    left_out: Array  # (n, 2) px: what is left of each patch by a fit to all others


def with_bend(patches: pd.DataFrame) -> pd.DataFrame:
    """Returns patches (see `round_agreement.agreement`) with further columns, in px, which are NaN where too few patches tell.

    - rigid_y, rigid_x: what a shift and a turn of the tile would mend
    - bend_y, bend_x: the smooth field beside it
    - gain: by how much the square, px^2, of a patch that is left out is predicted better with the field
    """
    patches = patches.assign(**dict.fromkeys(COLUMNS, np.nan))
    measured = patches[patches["state"] == "measured"]
    for part in (part for _, of_round in measured.groupby("round") for part in _parts(of_round)):
        places, shift = part[["y", "x"]].to_numpy(float), part[["dy", "dx"]].to_numpy(float)
        about = (places - places.mean(axis=0)) / max(np.ptp(places, axis=0).max(), 1.0)
        rigid, smooth = _fit(_rigid_terms(about), shift), _fit(_smooth_terms(about), shift)
        gain = (rigid.left_out**2).sum(axis=1) - (smooth.left_out**2).sum(axis=1)
        patches.loc[part.index, COLUMNS] = np.c_[rigid.fitted, smooth.fitted - rigid.fitted, gain]
    return patches


def smooth_power(measured: pd.DataFrame) -> float:
    """Returns the mean square, px^2, of the smooth field in patches of `with_bend`; 0 where it is not clearly there."""
    gain = measured["gain"].dropna()
    if len(gain) < FEWEST:
        return 0.0
    mean = float(gain.mean())
    return mean if mean > CLEAR * float(gain.std()) / sqrt(len(gain)) else 0.0


def _parts(measured: pd.DataFrame) -> list[pd.DataFrame]:
    """The patches of each tile of a round, where there are enough of them; else those of the round, if there are enough."""
    tiles = [of_tile for _, of_tile in measured.groupby("tile") if len(of_tile) >= FEWEST]
    if sum(map(len, tiles)) < ENOUGH * len(measured):
        return [measured] if len(measured) >= FEWEST else []
    return tiles


def _rigid_terms(places: Array) -> Array:
    """What a shift along y, one along x, and a turn do (n, 2, 3) at places (n, 2)."""
    y, x = places.T
    one, zero = np.ones_like(y), np.zeros_like(y)
    return np.stack([np.stack([one, zero, x], 1), np.stack([zero, one, -y], 1)], 1)


def _smooth_terms(places: Array) -> Array:
    """What the terms of a polynomial do (n, 2, terms) along y and along x at places (n, 2)."""
    y, x = places.T
    degree = sum(len(y) >= count for count in DEGREES)
    powers = np.stack([y**i * x**j for i in range(degree + 1) for j in range(degree + 1 - i)], 1)
    zero = np.zeros_like(powers)
    return np.stack([np.c_[powers, zero], np.c_[zero, powers]], 1)


def _fit(terms: Array, shift: Array) -> Fit:
    """Fits shifts (n, 2) by least squares; what is left of a patch by a fit without it follows from the hat matrix."""
    count, _, size = terms.shape
    design = terms.reshape(2 * count, size)
    hat = design @ np.linalg.pinv(design)
    fitted = (hat @ shift.reshape(-1)).reshape(-1, 2)
    own = hat.reshape(count, 2, count, 2)[np.arange(count), :, np.arange(count)]  # (n, 2, 2)
    left_out = np.linalg.solve(np.eye(2) - own + 1e-9 * np.eye(2), (shift - fitted)[:, :, None])[:, :, 0]
    return Fit(fitted, np.asarray(left_out, float))
