"""A smooth field is found where there is one, within the bound, and none in noise."""

import numpy as np
import pandas as pd
import pytest

from dlir.core.local_field import LocalField
from dlir.rounds.local_fit import fit_local

SHAPE, STEP, SPACING = (1200, 1500), 64, 170.0  # px
FLAT = LocalField.over(*SHAPE, SPACING)


def stretched(points: np.ndarray, amplitude: float = 2.0) -> np.ndarray:
    y, x = points.T / 150
    return amplitude * np.stack([np.sin(x), np.cos(0.7 * y)], -1)


def patches(shift: np.ndarray, noise: float, seed: int = 0, deviation: float = 0.05) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    dy, dx = (shift + rng.normal(0, noise, shift.shape)).T
    return pd.DataFrame({"y": POINTS[:, 0], "x": POINTS[:, 1], "dy": dy, "dx": dx, "deviation": deviation})


POINTS = np.stack(np.meshgrid(*(np.arange(STEP / 2, side, STEP) for side in SHAPE), indexing="ij"), -1).reshape(-1, 2)


def test_a_stretch_is_found_though_some_patches_are_wrong() -> None:
    table = patches(stretched(POINTS), 0.1)
    wrong = np.random.default_rng(1).choice(len(table), len(table) // 20, replace=False)
    table.loc[wrong, ["dy", "dx"]] = np.random.default_rng(2).uniform(-12, 12, (len(wrong), 2))
    found = fit_local(table, FLAT, 4.0)
    assert found.field
    inside = (np.abs(POINTS - np.array(SHAPE) / 2) < np.array(SHAPE) / 2 - 100).all(axis=1)
    error = np.linalg.norm(found.field.at(POINTS) - stretched(POINTS), axis=1)[inside]
    assert np.median(error) < 0.1
    assert error.max() < 0.5
    assert np.median(found.after) < 0.2 < 1.0 < np.median(found.before)


@pytest.mark.parametrize("noise", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_noise_becomes_no_field(noise: float, seed: int) -> None:
    assert fit_local(patches(np.zeros_like(POINTS), noise, seed, noise), FLAT, 3.0).field is None


def test_tiles_that_are_placed_a_little_wrong_become_no_field() -> None:
    tile = (POINTS // 450).astype(int)
    errors = np.random.default_rng(3).normal(0, 0.1, (9, 9, 2))
    assert fit_local(patches(errors[tile[:, 0], tile[:, 1]], 0.05), FLAT, 3.0).field is None


def test_a_field_stays_within_the_bound() -> None:
    found = fit_local(patches(stretched(POINTS, 3.0), 0.1), FLAT, 1.5)
    assert found.field
    assert np.linalg.norm(found.field.at(POINTS), axis=1).max() <= 1.5


def test_a_field_is_zero_far_from_all_patches() -> None:
    table = patches(stretched(POINTS), 0.1)
    found = fit_local(table[table["x"] < 500], FLAT, 4.0)
    assert found.field
    assert np.linalg.norm(found.field.at([[600.0, 1450.0]]), axis=1).max() < 0.3


def test_few_patches_show_nothing() -> None:
    found = fit_local(patches(stretched(POINTS), 0.1)[:10], FLAT, 4.0)
    assert found.field is None
    assert len(found.before) == 10
    assert fit_local(patches(stretched(POINTS), 0.1)[:0], FLAT, 4.0).field is None
