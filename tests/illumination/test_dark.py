"""The dark-field: found where the tiles prove one, and not taken from a specimen that looks like one."""

import numpy as np
import pytest
from scipy import ndimage

from dlir.illumination.dark import darkest, find_dark
from dlir.illumination.smooth import Polynomials

Y, X = np.mgrid[-1:1:96j, -1:1:128j]
FLAT = 1 - 0.3 * (Y - 0.2) ** 2 - 0.2 * (X + 0.1) ** 2
FLAT /= FLAT.mean()
POLYNOMIALS = Polynomials(np.zeros(FLAT.shape, bool))
LEVELS = np.linspace(300, 3000, 20)[:, None, None]


def specimens(count: int, seed: int = 0) -> np.ndarray:
    """Even specimens (n, y, x): values around 1 with a noise of 5 %."""
    return 1 + 0.05 * np.random.default_rng(seed).standard_normal((count, *FLAT.shape))


def found_in(tiles: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The flat-field and the dark-field (y, x) that tiles (n, y, x) prove."""
    return find_dark(tiles, np.stack([POLYNOMIALS.medians(tile) for tile in tiles]), POLYNOMIALS)


def test_an_offset_is_found_and_reaches_to_the_last_pixel() -> None:
    found = found_in(400 + LEVELS * FLAT * specimens(20))
    assert found is not None
    assert found[0] == pytest.approx(FLAT, abs=0.01)
    assert found[1] == pytest.approx(400, abs=20) and found[1].shape == FLAT.shape


def test_a_shape_is_found_up_to_a_multiple_of_the_flat_field() -> None:
    dark = 300 + 250 * Y
    found = found_in(dark + LEVELS * FLAT * specimens(20))
    assert found is not None
    assert found[0] == pytest.approx(FLAT, abs=0.01)
    light = (dark - found[1]) / FLAT
    assert light == pytest.approx(light.mean(), abs=20) and found[1].min() >= 0


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_dark_field_is_found_where_there_is_none(seed: int) -> None:
    assert found_in(LEVELS * FLAT * specimens(20, seed)) is None


def test_bright_tiles_of_more_contrast_are_no_dark_field_where_dark_pixels_contradict_it() -> None:
    contrast = 1 + 0.6 * (LEVELS - LEVELS.mean()) / LEVELS.mean() * (FLAT - 1)
    tiles = LEVELS * FLAT * contrast * specimens(20)
    tiles[:, 40:46, 60:66] = 2  # a pore of the specimen in every tile, far darker than what looks like the offset
    assert found_in(tiles) is None


@pytest.mark.parametrize("kind", ["pores", "noise"])
def test_the_darkest_pixels_bound_the_dark_field_from_above_by_little(kind: str) -> None:
    rng = np.random.default_rng(3)
    specimen = ndimage.gaussian_filter(rng.random((6, *FLAT.shape)), (0, 2, 2)) * 2000 + 200
    if kind == "pores":
        specimen[:, ::12, ::12] = specimen[:, 1::12, ::12] = specimen[:, ::12, 1::12] = specimen[:, 1::12, 1::12] = 0
        specimen = ndimage.grey_erosion(specimen, (1, 3, 3))
    else:
        specimen[2] = 0  # a tile without light
    bound = darkest(100 + specimen + 5 * rng.standard_normal(specimen.shape))
    assert 97 < bound.min() < 110


def test_too_few_tiles_prove_nothing() -> None:
    assert found_in(400 + LEVELS[::3] * FLAT * specimens(7)) is None
