"""How much things differ beyond what their measured uncertainties say."""

from collections.abc import Callable

import numpy as np
from scipy.special import chdtri

from dlir.core.affine import Array

INLIER = 3.0  # deviations: beyond, a measurement counts for little
DEVIATIONS = np.geomspace(1e-6, 0.1, 60)


def geman_mcclure(square: Array) -> Array:
    """How far each of n measurements is believed, 0 to 1, by the square of its residual in units of its variance."""
    return np.asarray((INLIER**2 / (INLIER**2 + square)) ** 2)


def intrinsic_deviation(square: Callable[[float], Array], freedom: int) -> float:
    """The least deviation of linear parts at which the pairs fit: half of them lie below the median of chi square.

    Args:
        square: the squares (n,) of what the pairs measured, in units of their variance and that deviation together.
        freedom: the degrees of freedom of each.
    """
    middle = chdtri(freedom, 0.5)
    return float(next((s for s in DEVIATIONS if np.median(square(s)) <= middle), DEVIATIONS[-1]))
