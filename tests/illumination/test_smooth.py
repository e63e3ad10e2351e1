"""The smooth part of flat and dark, block by block, against shapes that are known."""

import numpy as np
import pytest

from dlir.illumination.smooth import in_blocks, smooth, without

Y, X = np.mgrid[-1:1:65j, -1:1:97j]
FLAT = 1 - 0.3 * (Y - 0.2) ** 2 - 0.2 * (X + 0.1) ** 2
FLAT /= FLAT.mean()


def blocks(tiles: np.ndarray) -> np.ndarray:
    return np.stack([in_blocks(tile) for tile in tiles])


def specimens(count: int, seed: int = 0) -> np.ndarray:
    """Grey values (n, y, x) around 1 that scatter by 5 %."""
    return 1 + 0.05 * np.random.default_rng(seed).standard_normal((count, *FLAT.shape))


def test_blocks_are_medians_of_squares_and_leave_out_what_is_less() -> None:
    pixels = np.arange(65 * 97).reshape(65, 97)
    found = in_blocks(pixels)
    assert found.shape == (32, 48)
    assert found[3, 5] == np.median(pixels[6:8, 10:12])


def test_a_flat_camera_shows_no_shading() -> None:
    flat, dark = smooth(blocks(1000 * specimens(20)), FLAT.shape, dark=True)
    assert flat.std() < 0.002 and not dark.any()


def test_flat_and_offset_reach_to_the_last_pixel() -> None:
    levels = np.linspace(300, 3000, 20)[:, None, None]
    flat, dark = smooth(blocks(400 + levels * FLAT * specimens(20)), FLAT.shape, dark=True)
    assert flat.shape == dark.shape == FLAT.shape
    assert flat == pytest.approx(FLAT, abs=0.01)
    assert dark == pytest.approx(400, abs=15)


def test_without_dark_the_depth_is_that_of_the_tiles() -> None:
    levels = np.linspace(300, 3000, 20)[:, None, None]
    flat, dark = smooth(blocks(levels * FLAT * specimens(20)), FLAT.shape, dark=False)
    assert flat == pytest.approx(FLAT, abs=0.01)
    assert not dark.any()


def test_an_offset_is_nowhere_more_than_the_tiles_show() -> None:
    levels = np.linspace(300, 3000, 20)[:, None, None]
    tiles = levels * FLAT * specimens(20) * (1 + 0.2 * (levels > 1500) * (FLAT - 1))  # bright tiles are deeper by themselves
    _, dark = smooth(blocks(tiles), FLAT.shape, dark=True)
    assert dark.max() < tiles[0].min() * 1.1


def test_half_covered_tiles_are_outvoted() -> None:
    edge, turn = np.random.default_rng(2).uniform(-0.5, 0.5, 8), np.random.default_rng(3).uniform(0, 2 * np.pi, 8)
    covered = np.cos(turn)[:, None, None] * Y + np.sin(turn)[:, None, None] * X > edge[:, None, None]
    light = specimens(24)
    light[:8] *= np.where(covered, 4, 1)
    flat, dark = smooth(blocks(1000 * FLAT * light), FLAT.shape, dark=True)
    assert flat == pytest.approx(FLAT, abs=0.01)
    assert not dark.any()


def test_what_is_smooth_leaves_nothing_and_what_is_fine_stays() -> None:
    assert np.abs(without(FLAT)).max() < 1e-9
    speck = np.zeros(FLAT.shape)
    speck[30, 40] = 1
    assert without(FLAT + speck) == pytest.approx(speck, abs=0.03)
