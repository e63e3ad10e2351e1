"""Blind pixels: found where the camera shows no image, and not found where the specimen is empty or saturated."""

import numpy as np
import pytest
from scipy import ndimage

from dlir.illumination.blind import enclosed, filled, find_blind

SIZE = 160
Y, X = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2


def tissue(count: int, seed: int = 0) -> np.ndarray:
    """Tiles (n, y, x) of dense structure, 16 bit, with noise."""
    rng = np.random.default_rng(seed)
    specimen = ndimage.gaussian_filter(rng.standard_normal((count, SIZE, SIZE)), (0, 3, 3))
    tiles = 4000 + 1500 * specimen / specimen.std() + 30 * rng.standard_normal(specimen.shape)
    return tiles.clip(0, 65535).astype(np.uint16)


def cells(count: int, seed: int = 0) -> np.ndarray:
    """Tiles (n, y, x) of few cells, 8 bit, whose background is clipped to 0."""
    rng = np.random.default_rng(seed)
    spots = ndimage.gaussian_filter((rng.random((count, SIZE, SIZE)) < 0.001).astype(float), (0, 4, 4))
    return (400 * spots / spots.max() - 40 + 2 * rng.standard_normal(spots.shape)).clip(0, 255).astype(np.uint8)


def frame(width: int) -> np.ndarray:
    inside = np.zeros((SIZE, SIZE), bool)
    inside[width:-width, width:-width] = True
    return ~inside


def found_in(tiles: np.ndarray) -> np.ndarray:
    return find_blind(tiles[:, None]).blind


@pytest.mark.parametrize(("width", "value", "count"), [(1, 0, 16), (3, 0, 4), (2, 65535, 9), (5, 500, 2)])
def test_a_frame_is_found_to_the_pixel(width: int, value: int, count: int) -> None:
    tiles = tissue(count)
    tiles[:, frame(width)] = value
    wrong = found_in(tiles) != frame(width)
    assert not wrong[frame(width)].any() and wrong.sum() < 0.002 * wrong.size


def test_dead_rows_and_columns_are_found() -> None:
    tiles, dead = tissue(16), np.zeros((SIZE, SIZE), bool)
    dead[:4] = dead[:, -1] = dead[90] = dead[:, 40] = True
    tiles[:, dead] = 700
    assert np.array_equal(found_in(tiles), dead)
    between = enclosed(dead)
    assert between[90, 60] and between[20, 40] and not between[0, 60] and not between[20, -1]


def test_the_padding_of_turned_tiles_is_found_with_its_mixed_border() -> None:
    tiles = np.stack([ndimage.rotate(tile, 1.5, reshape=False, order=1) for tile in tissue(16)])
    shown = ndimage.rotate(np.ones((SIZE, SIZE)), 1.5, reshape=False, order=1)
    found = found_in(tiles)
    assert found[shown < 0.5].all() and found[shown > 0.99].mean() < 0.01


def test_the_outside_of_a_round_field_is_found_though_it_shows_noise() -> None:
    light = 1 / (1 + np.exp((np.hypot(Y, X) - 74) / 2))
    dark = 100 + 10 * np.random.default_rng(1).standard_normal((16, SIZE, SIZE))
    found = find_blind(((2000 + tissue(16) / 2) * light + dark).astype(np.uint16)[:, None])
    left_out = found.blind | found.dim
    assert found.blind[light < 0.01].all() and left_out[light < 0.8].mean() > 0.98
    assert not found.blind[light > 0.5].any() and left_out[np.hypot(Y, X) < 62].mean() < 0.03
    border = found.dim & (np.hypot(Y, X) > 66)
    assert np.abs(found.light[0][border] / light[border] - 1).mean() < 0.15 and (found.light[0][~found.dim] == 1).all()


def patches(count: int, seed: int, empty: float) -> np.ndarray:
    """Tiles (n, y, x) of patches of tissue on an even background, of which so much is empty, as parts of 1."""
    rng = np.random.default_rng(seed)
    broad = ndimage.gaussian_filter(rng.standard_normal((count, SIZE, SIZE)), (0, 25, 25))
    return np.where(broad > np.quantile(broad, empty), tissue(count, seed), 0)


@pytest.mark.parametrize("background", ["clipped", "saturated", "noisy"])
@pytest.mark.parametrize("count", [2, 4, 9, 16])
def test_a_place_that_is_empty_in_all_tiles_is_not_blind(background: str, count: int) -> None:
    for seed in range(5):
        specimen = patches(count, seed, 0.5)
        specimen[:, :20] = 0  # all tiles are empty along the upper border
        light = {"clipped": specimen, "saturated": np.where(specimen, specimen, 65535),
                 "noisy": 900 + specimen + 30 * np.random.default_rng(seed).standard_normal(specimen.shape)}  # fmt: skip
        assert not found_in(light[background].astype(np.uint16)).any()


def test_an_empty_corner_in_less_light_is_not_blind() -> None:
    shade = 1 - 0.5 * (Y**2 + X**2) / (Y**2 + X**2).max()
    for seed in range(5):
        specimen = patches(9, seed, 0.5)
        specimen[:, :30, :30] = 0
        tiles = 500 + shade * (1200 + specimen) + 30 * np.random.default_rng(seed).standard_normal(specimen.shape)
        assert not found_in(tiles.astype(np.uint16)).any()


def test_a_frame_hides_no_pixel_of_the_specimen() -> None:
    for seed in range(5):
        tiles = patches(4, seed, 0.5) + 300
        tiles[:, frame(8)] = 0
        assert np.array_equal(found_in(tiles.astype(np.uint16)), frame(8))


def test_what_one_channel_shows_is_not_blind() -> None:
    both = np.stack([tissue(9), tissue(9, seed=1)], axis=1)
    both[:, 1, :12] = 0
    assert not find_blind(both).blind.any()


@pytest.mark.parametrize("count", [4, 16, 40])
def test_an_empty_place_of_a_clipped_background_is_not_blind(count: int) -> None:
    tiles = cells(count)
    assert (tiles == 0).all(axis=0).any() or count == 40
    assert not found_in(tiles).any()


def test_glass_that_is_saturated_in_most_tiles_is_not_blind() -> None:
    tiles = tissue(12)
    tiles[:, :30] = 65535  # glass along the upper border, saturated
    tiles[::3] = tissue(4, seed=5)
    assert not found_in(tiles).any()


def test_shading_and_dust_are_not_blind() -> None:
    flat = (1 - 0.9 * (Y**2 + X**2) / (Y**2 + X**2).max()) * np.where(np.hypot(Y - 30, X + 20) < 5, 0.3, 1)
    assert not found_in((tissue(16) * flat).astype(np.uint16)).any()


def test_blind_pixels_continue_the_image_beside_them_without_an_edge() -> None:
    y, x = np.mgrid[:64, :64]
    tile, blind = (1000 + 10 * y + 5 * x).astype(np.uint16)[None], np.zeros((64, 64), bool)
    blind[:3] = blind[:, 50:] = blind[30] = True
    shown, tile[0, blind] = tile.copy(), 65535
    found = filled(tile, blind)
    assert found.dtype == np.uint16 and np.array_equal(found[0, ~blind], tile[0, ~blind])
    beside = np.abs(found[0].astype(int) - shown[0].astype(int))
    assert beside[30, :50].max() <= 10 and beside[2, :50].max() <= 40 and beside[10:, 50].max() <= 40
    assert found.min() >= 1000 and found.max() <= 2000 and tile.max() == 65535
    assert filled(tile, np.zeros((64, 64), bool)) is tile
