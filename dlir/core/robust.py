"""Robust statistics: the weights of measurements with outliers, and scatter beyond the measured uncertainty."""

from collections.abc import Callable

import numpy as np
from scipy.special import chdtri

from dlir.core.affine import Array

INLIER = 3.0  # residual, in standard deviations, at which a measurement has a quarter of the full weight
DEVIATIONS = np.geomspace(1e-6, 0.1, 60)  # of linear parts, dimensionless: those that intrinsic_deviation tries


def geman_mcclure(square: Array) -> Array:
    """Returns the weights (n,), 0 to 1, of measurements with squared residuals `square` (n,), in units of their variance.

    This is the weight function of Geman and McClure (Bulletin of the ISI 52, 1987): w = (c^2 / (c^2 + square))^2, c = INLIER.
    """
    return np.asarray((INLIER**2 / (INLIER**2 + square)) ** 2)


def intrinsic_deviation(square: Callable[[float], Array], freedom: int) -> float:
    """Returns the smallest of DEVIATIONS that explains how far the pairs scatter beyond their measured uncertainty.

    That is the first at which the median of the squares is no larger than the median of the chi-square distribution; the
    largest of DEVIATIONS where there is none.

    Args:
        square: takes an intrinsic deviation s and returns the squares (n,) of what the pairs measured, in units of the
            measured variance and s^2 together.
        freedom: the degrees of freedom of each square.
    """
    median = chdtri(freedom, 0.5)
    return float(next((s for s in DEVIATIONS if np.median(square(s)) <= median), DEVIATIONS[-1]))
