import numpy as np
import pandas as pd
import pytest

from dlir.core import affine
from dlir.placement.distortion import stretch

SIZE = np.array([256.0, 256.0])


def pairs(side: str, bow: tuple[float, float], *, count: int = 12, noise: float = 0.2, seed: int = 1) -> pd.DataFrame:
    """Pairs of a side, 180 px apart, with a bow (y, x) in common."""
    rng = np.random.default_rng(seed)
    offset = np.array([180.0, 0.0] if side == "down" else [0.0, 180.0]) + rng.normal(0, 2, (count, 2))
    bent = np.array(bow) + rng.normal(0, noise, (count, 2))
    columns = affine.to_columns(affine.translation(offset))
    return pd.DataFrame(
        {**columns, "side": side, "centre_y": 100.0, "centre_x": 100.0, "bow_y": bent[:, 0], "bow_x": bent[:, 1]}
    )


def test_a_radial_distortion_stretches_the_places_by_what_the_bow_says() -> None:
    """With a displacement -k r^2 p: the offset of two tiles, averaged over their overlap, is wrong by this much."""
    k, half, length = 1e-6, 90.0, 128.0
    along = np.linspace(-length, length, 1001)
    wrong = -2 * k * half * (half**2 + along**2).mean()
    found = stretch(pairs("right", (0.0, -2 * k * half * length**2), noise=0.01), SIZE)
    assert found[1, 1] * 2 * half == pytest.approx(wrong, rel=0.02)
    assert np.abs(found[:, 0]).max() == 0 and abs(found[0, 1]) < 1e-4


def test_what_noise_explains_is_no_bow() -> None:
    for seed in range(20):
        assert not stretch(pairs("down", (0.0, 0.0), noise=0.5, seed=seed), SIZE).any()


def test_few_pairs_and_pairs_that_were_not_refined_show_no_bow() -> None:
    bent = pairs("down", (-3.0, 0.0))
    assert stretch(bent, SIZE).any()
    assert not stretch(bent[:2], SIZE).any()
    assert not stretch(bent.assign(bow_y=np.nan, bow_x=np.nan), SIZE).any()
