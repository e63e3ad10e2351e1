"""Dust on the camera: found behind any specimen, and nothing where there is none."""

import numpy as np
import pytest
from scipy import ndimage

from dlir.illumination.fine import fixed_pattern

SHAPE = (131, 190)  # odd, as no camera's


def tissue(count: int, contrast: float = 0.1) -> np.ndarray:
    """Dense structure, fine and coarse, that differs from tile to tile: the logarithm (n, y, x)."""
    noise = np.random.default_rng(0).standard_normal((count, *SHAPE))
    parts = [ndimage.gaussian_filter(noise, (0, s, s)) for s in (1.0, 4.0, 16.0)]
    return sum(contrast * part / part.std() for part in parts) + 0.02 * np.random.default_rng(1).standard_normal(noise.shape)


def dust() -> np.ndarray:
    """Specks of two sizes and a bad column, the logarithm (y, x)."""
    rng, pattern = np.random.default_rng(2), np.zeros(SHAPE)
    for sigma in (1.5, 4.0):
        specks = np.zeros(SHAPE)
        specks[rng.integers(0, SHAPE[0], 8), rng.integers(0, SHAPE[1], 8)] = 1
        specks = ndimage.gaussian_filter(specks, sigma)
        pattern -= 0.25 * specks / specks.max()
    pattern[:, 60] += 0.1
    return pattern


def found(logarithm: np.ndarray, levels: np.ndarray | None = None) -> np.ndarray:
    """The pattern of tiles of that logarithm, each times its level."""
    levels = np.ones(len(logarithm)) if levels is None else levels
    tiles = (1000 * levels[:, None, None] * np.exp(logarithm)).astype(np.float32)
    one = np.ones(SHAPE, np.float32)
    return fixed_pattern(tiles, (1000 * levels).astype(np.float32), one, 0 * one)


def error(pattern: np.ndarray) -> float:
    """What is left of the dust, as a part of it, root mean square."""
    return float((pattern - dust()).std() / dust().std())


def test_dust_is_found_behind_tissue() -> None:
    assert error(found(tissue(30, contrast=0.05) + dust())) < 0.45


def test_even_places_count_for_more_than_structure() -> None:
    specimen = tissue(30, contrast=0.2)
    everywhere = error(found(specimen + dust()))
    left = 1 / (1 + np.exp((np.arange(SHAPE[1]) - 95) / 5))  # what every second tile is even on, and the others on the right
    specimen[::2] *= 1.05 - left
    specimen[1::2] *= 0.05 + left
    assert error(found(specimen + dust())) < 0.6 * everywhere


def test_tiles_count_alike_however_they_are_lit() -> None:
    levels = np.random.default_rng(3).uniform(0.2, 5, 30)
    specimen = tissue(30) + dust()
    assert found(specimen, levels) == pytest.approx(found(specimen), abs=1e-3)


@pytest.mark.parametrize("count", [4, 30])
def test_a_specimen_alone_has_no_pattern(count: int) -> None:
    assert found(tissue(count)).std() < 0.002


def test_saturated_places_say_nothing() -> None:
    specimen = tissue(30, contrast=0.05) + dust()
    saturated = specimen.copy()
    saturated[:10, :, :120] = np.log(2.0)  # no dust shows there, nor any noise
    there = np.s_[:, :100]
    alone = found(specimen[10:])[there] - dust()[there]
    assert (found(saturated)[there] - dust()[there]).std() < 1.3 * alone.std()


def test_a_tile_without_a_pixel_of_light_says_nothing() -> None:
    specimen = tissue(30) + dust()
    dark = np.append(specimen, np.full((1, *SHAPE), -50.0), axis=0)
    assert np.isfinite(found(dark)).all()
