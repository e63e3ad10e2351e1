"""The intrinsic deviation is the scatter that the measured variances do not explain."""

import numpy as np

from dlir.core.robust import intrinsic_deviation


def test_the_scatter_beyond_the_measured_variance_is_found() -> None:
    random = np.random.default_rng(1)
    variance = random.uniform(0.5, 2, 4000) * 1e-6
    values = random.normal(0, np.sqrt(variance + 3e-3**2))
    assert abs(intrinsic_deviation(lambda s: values**2 / (variance + s**2), 1) / 3e-3 - 1) < 0.25


def test_the_intrinsic_deviation_is_small_where_the_variances_explain_the_scatter() -> None:
    values = np.random.default_rng(1).normal(0, 1e-3, 4000)
    assert intrinsic_deviation(lambda s: values**2 / (1.1e-6 + s**2), 1) < 1e-5
