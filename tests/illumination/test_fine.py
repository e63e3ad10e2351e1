"""Dust on the camera: found in tiles of any specimen, and not invented where there is none."""

import numpy as np
import pytest
from scipy import ndimage

from dlir.illumination.fine import fixed_pattern

SHAPE = (131, 190)  # px (y, x) of a tile; no multiple of a cell or of the pyramid's factors


def tissue(count: int, contrast: float = 0.1) -> np.ndarray:
    """The logarithm (n, y, x) of tiles of dense structure, fine and coarse, which differs from tile to tile."""
    noise = np.random.default_rng(0).standard_normal((count, *SHAPE))
    parts = [ndimage.gaussian_filter(noise, (0, s, s)) for s in (1.0, 4.0, 16.0)]
    return sum(contrast * part / part.std() for part in parts) + 0.02 * np.random.default_rng(1).standard_normal(noise.shape)


def dust() -> np.ndarray:
    """The logarithm (y, x) of a flat-field with specks of two sizes and a bad column."""
    rng, pattern = np.random.default_rng(2), np.zeros(SHAPE)
    for sigma in (1.5, 4.0):
        specks = np.zeros(SHAPE)
        specks[rng.integers(0, SHAPE[0], 8), rng.integers(0, SHAPE[1], 8)] = 1
        specks = ndimage.gaussian_filter(specks, sigma)
        pattern -= 0.25 * specks / specks.max()
    pattern[:, 60] += 0.1
    return pattern


def found(logarithm: np.ndarray, levels: np.ndarray | None = None) -> np.ndarray:
    """The pattern that is found in tiles with this logarithm (n, y, x), each times its level (n,)."""
    levels = np.ones(len(logarithm)) if levels is None else levels
    tiles = (1000 * levels[:, None, None] * np.exp(logarithm)).astype(np.float32)
    one = np.ones(SHAPE, np.float32)
    return fixed_pattern(tiles, (1000 * levels).astype(np.float32), one, 0 * one)


def error(pattern: np.ndarray) -> float:
    """The error of a pattern as a part of the dust, both root mean square."""
    return float((pattern - dust()).std() / dust().std())


def test_dust_is_found_in_tiles_of_tissue() -> None:
    assert error(found(tissue(30, contrast=0.05) + dust())) < 0.45


def test_even_places_count_more_than_structure() -> None:
    specimen = tissue(30, contrast=0.2)
    structured = error(found(specimen + dust()))
    left = 1 / (1 + np.exp((np.arange(SHAPE[1]) - 95) / 5))  # 1 in the left half, 0 in the right half
    specimen[::2] *= 1.05 - left  # every second tile is even on the left, the others on the right
    specimen[1::2] *= 0.05 + left
    assert error(found(specimen + dust())) < 0.6 * structured


def test_the_brightness_of_a_tile_does_not_change_its_weight() -> None:
    levels = np.random.default_rng(3).uniform(0.2, 5, 30)
    specimen = tissue(30) + dust()
    assert found(specimen, levels) == pytest.approx(found(specimen), abs=1e-3)


@pytest.mark.parametrize("count", [4, 30])
def test_a_specimen_without_dust_gives_no_pattern(count: int) -> None:
    assert found(tissue(count)).std() < 0.002


def test_saturated_places_do_not_hide_the_dust() -> None:
    specimen = tissue(30, contrast=0.05) + dust()
    saturated = specimen.copy()
    saturated[:10, :, :120] = np.log(2.0)  # shows neither dust nor noise
    inside = np.s_[:, :100]
    without_them = found(specimen[10:])[inside] - dust()[inside]
    assert (found(saturated)[inside] - dust()[inside]).std() < 1.3 * without_them.std()


def test_a_black_tile_gives_a_finite_pattern() -> None:
    specimen = tissue(30) + dust()
    dark = np.append(specimen, np.full((1, *SHAPE), -50.0), axis=0)
    assert np.isfinite(found(dark)).all()


def test_places_where_hardly_any_noise_shows_do_not_hide_the_dust() -> None:
    """A camera is all but saturated there: two of a hundred pixels are a little darker than the others."""
    specimen = tissue(30, contrast=0.05) + dust()
    saturated = specimen.copy()
    darker = np.random.default_rng(4).random((10, SHAPE[0], 120)) < 0.02
    saturated[:10, :, :120] = np.log(2.0) - 0.01 * darker
    inside = np.s_[:, :100]
    without_them = found(specimen[10:])[inside] - dust()[inside]
    assert (found(saturated)[inside] - dust()[inside]).std() < 1.3 * without_them.std()


def test_a_place_that_one_tile_alone_shows_has_no_pattern() -> None:
    """All other tiles are saturated there; what the one shows may be the specimen."""
    saturated = tissue(30)
    saturated[1:, :, :120] = np.log(2.0)
    assert found(saturated)[:, :60].std() < 0.002
