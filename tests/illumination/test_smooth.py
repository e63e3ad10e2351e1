"""The smooth part of the flat-field, against a known one."""

import numpy as np
import pytest

from dlir.illumination.smooth import Polynomials, block_medians, normalised_flat, proven_pattern, without_polynomial

Y, X = np.mgrid[-1:1:65j, -1:1:97j]
FLAT = 1 - 0.3 * (Y - 0.2) ** 2 - 0.2 * (X + 0.1) ** 2
FLAT /= FLAT.mean()
POLYNOMIALS = Polynomials(np.zeros(FLAT.shape, bool))


def flat_of(tiles: np.ndarray) -> np.ndarray:
    """The smooth flat-field (y, x) that is found in tiles (n, y, x)."""
    blocks = np.stack([POLYNOMIALS.medians(tile) for tile in tiles])
    return normalised_flat(POLYNOMIALS.image(proven_pattern(blocks, POLYNOMIALS.at_blocks)))


def specimens(count: int, seed: int = 0) -> np.ndarray:
    """Even specimens (n, y, x): values around 1 with a noise of 5 %."""
    return 1 + 0.05 * np.random.default_rng(seed).standard_normal((count, *FLAT.shape))


def test_blocks_are_medians_of_squares_and_leave_out_incomplete_ones() -> None:
    pixels = np.arange(65 * 97).reshape(65, 97)
    found = block_medians(pixels)
    assert found.shape == (32, 48)
    assert found[3, 5] == np.median(pixels[6:8, 10:12])


def test_an_even_camera_gives_an_even_flat_field() -> None:
    assert flat_of(1000 * specimens(20)).std() < 0.002


def test_the_flat_field_is_found_to_the_last_pixel() -> None:
    levels = np.linspace(300, 3000, 20)[:, None, None]
    assert flat_of(levels * FLAT * specimens(20)) == pytest.approx(FLAT, abs=0.01)


def test_half_covered_tiles_are_outvoted() -> None:
    edge, turn = np.random.default_rng(2).uniform(-0.5, 0.5, 8), np.random.default_rng(3).uniform(0, 2 * np.pi, 8)
    covered = np.cos(turn)[:, None, None] * Y + np.sin(turn)[:, None, None] * X > edge[:, None, None]
    specimen = specimens(24)
    specimen[:8] *= np.where(covered, 4, 1)
    assert flat_of(1000 * FLAT * specimen) == pytest.approx(FLAT, abs=0.01)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_specimen_of_few_tiles_is_not_taken_for_shading(seed: int) -> None:
    rng = np.random.default_rng(seed)
    slopes = rng.uniform(-0.5, 0.5, (2, 5, 1, 1))  # each tile gets brighter in a direction of its own
    assert flat_of(1000 * (1 + slopes[0] * Y + slopes[1] * X) * specimens(5, seed)).std() < 0.02


def test_without_its_polynomial_a_smooth_image_is_zero_and_a_speck_stays() -> None:
    assert np.abs(without_polynomial(FLAT)).max() < 1e-9
    speck = np.zeros(FLAT.shape)
    speck[30, 40] = 1
    assert without_polynomial(FLAT + speck) == pytest.approx(speck, abs=0.03)
