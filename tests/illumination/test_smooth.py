"""The smooth parts of flat-field and dark-field, against known ones."""

import numpy as np
import pytest

from dlir.illumination.smooth import block_medians, smooth_fields, without_polynomial

Y, X = np.mgrid[-1:1:65j, -1:1:97j]
FLAT = 1 - 0.3 * (Y - 0.2) ** 2 - 0.2 * (X + 0.1) ** 2
FLAT /= FLAT.mean()


def blocks(tiles: np.ndarray) -> np.ndarray:
    """The block medians (n, rows, columns) of tiles (n, y, x)."""
    return np.stack([block_medians(tile) for tile in tiles])


def specimens(count: int, seed: int = 0) -> np.ndarray:
    """Even specimens (n, y, x): values around 1 with a noise of 5 %."""
    return 1 + 0.05 * np.random.default_rng(seed).standard_normal((count, *FLAT.shape))


def test_blocks_are_medians_of_squares_and_leave_out_incomplete_ones() -> None:
    pixels = np.arange(65 * 97).reshape(65, 97)
    found = block_medians(pixels)
    assert found.shape == (32, 48)
    assert found[3, 5] == np.median(pixels[6:8, 10:12])


def test_an_even_camera_gives_an_even_flat_field() -> None:
    flat, dark = smooth_fields(blocks(1000 * specimens(20)), FLAT.shape, with_dark=True)
    assert flat.std() < 0.002 and not dark.any()


def test_flat_and_offset_reach_to_the_last_pixel() -> None:
    levels = np.linspace(300, 3000, 20)[:, None, None]
    flat, dark = smooth_fields(blocks(400 + levels * FLAT * specimens(20)), FLAT.shape, with_dark=True)
    assert flat.shape == dark.shape == FLAT.shape
    assert flat == pytest.approx(FLAT, abs=0.01)
    assert dark == pytest.approx(400, abs=15)


def test_without_a_dark_field_the_flat_field_is_found_alone() -> None:
    levels = np.linspace(300, 3000, 20)[:, None, None]
    flat, dark = smooth_fields(blocks(levels * FLAT * specimens(20)), FLAT.shape, with_dark=False)
    assert flat == pytest.approx(FLAT, abs=0.01)
    assert not dark.any()


def test_the_offset_does_not_exceed_the_darkest_tiles() -> None:
    levels = np.linspace(300, 3000, 20)[:, None, None]
    tiles = levels * FLAT * specimens(20) * (1 + 0.2 * (levels > 1500) * (FLAT - 1))  # bright tiles have more contrast
    _, dark = smooth_fields(blocks(tiles), FLAT.shape, with_dark=True)
    assert dark.max() < tiles[0].min() * 1.1


def test_half_covered_tiles_are_outvoted() -> None:
    edge, turn = np.random.default_rng(2).uniform(-0.5, 0.5, 8), np.random.default_rng(3).uniform(0, 2 * np.pi, 8)
    covered = np.cos(turn)[:, None, None] * Y + np.sin(turn)[:, None, None] * X > edge[:, None, None]
    specimen = specimens(24)
    specimen[:8] *= np.where(covered, 4, 1)
    flat, dark = smooth_fields(blocks(1000 * FLAT * specimen), FLAT.shape, with_dark=True)
    assert flat == pytest.approx(FLAT, abs=0.01)
    assert not dark.any()


def test_without_its_polynomial_a_smooth_image_is_zero_and_a_speck_stays() -> None:
    assert np.abs(without_polynomial(FLAT)).max() < 1e-9
    speck = np.zeros(FLAT.shape)
    speck[30, 40] = 1
    assert without_polynomial(FLAT + speck) == pytest.approx(speck, abs=0.03)
