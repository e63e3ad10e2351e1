"""The lattice of a specimen that repeats itself, and what is left without it."""

import numpy as np
import pytest
from scipy import ndimage
from support.lattices import repeating, vectors
from support.specimens import Specimen

from dlir.registration.model.period import find_lattice, lattice_points, nearest, without_period

SIDE = 256  # px


def images(image: np.ndarray, noise: float = 0.2, count: int = 3) -> list[np.ndarray]:
    """Parts of an image with noise, each less its mean."""
    rng, parts = np.random.default_rng(1), []
    for _ in range(count):
        y, x = rng.integers(0, np.array(image.shape) - SIDE + 1)
        part = image[y : y + SIDE, x : x + SIDE] + rng.normal(0, noise, (SIDE, SIDE))
        parts.append((part - part.mean()).astype(np.float32))
    return parts


@pytest.mark.parametrize("kind", ["grating", "squares", "hexagons"])
@pytest.mark.parametrize(("period", "angle", "missing"), [(8.3, 0.4, 0.0), (31.4, 1.1, 0.03), (100.0, 0.0, 0.0)])
def test_the_lattice_is_found(kind: str, period: float, angle: float, missing: float) -> None:
    true = vectors(kind, period, angle)
    found = find_lattice(images(repeating(true, 300, 300, missing), 0.05))
    assert found is not None
    assert found.shape == true.shape
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), period, atol=0.004 * period + 0.02)
    if len(true) == 2:  # each is a vector of the true lattice; those of hexagons may be another pair
        np.testing.assert_allclose(found, nearest(true, found), atol=0.3)
    else:
        assert abs(found[0] @ true[0]) == pytest.approx(period**2, rel=0.005)


@pytest.mark.parametrize("seed", range(3))
def test_a_specimen_without_a_period_has_no_lattice(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = ndimage.gaussian_filter((rng.random((300, 300)) < 0.002).astype(float), 4)
    waves = Specimen(seed).tile(np.eye(2, 3), 300, 300)
    for image in (cells / cells.std(), waves / waves.std(), np.zeros((300, 300))):
        assert find_lattice(images(image)) is None


def test_two_lines_are_no_lattice() -> None:
    x = np.arange(300)
    lines = np.exp(-(((x - 110) / 3) ** 2)) + np.exp(-(((x - 190) / 3) ** 2))
    assert find_lattice(images(np.tile(lines, (300, 1)), 0.05)) is None


@pytest.mark.parametrize("kind", ["squares", "hexagons"])
def test_the_nearest_vector_is_the_nearest_of_all(kind: str) -> None:
    lattice, shifts = vectors(kind, 12.0, 0.3), np.random.default_rng(1).uniform(-40, 40, (200, 2))
    every = lattice_points(lattice, 60)
    best = every[np.linalg.norm(shifts[:, None] - every, axis=2).argmin(axis=1)]
    np.testing.assert_allclose(nearest(lattice, shifts), best)


def test_the_nearest_line_of_a_grating_does_not_depend_on_the_shift_along_it() -> None:
    (across,) = lattice = vectors("grating", 12.0, 0.3)
    along = np.array([-across[1], across[0]])
    np.testing.assert_allclose(nearest(lattice, np.array([1.3 * across + 5 * along])), [across])


def test_what_breaks_the_period_is_left() -> None:
    lattice = vectors("hexagons", 17.3, 0.2)
    perfect, broken = (repeating(lattice, 200, 200, missing) for missing in (0.0, 0.03))
    nothing, periodic = without_period(perfect.astype(np.float32), lattice[0])
    assert nothing[30:-30, 30:-30].std() < 0.003 * perfect.std()
    np.testing.assert_allclose(periodic[30:-30, 30:-30], perfect[30:-30, 30:-30], atol=0.01)
    left, _ = without_period(broken.astype(np.float32), lattice[0])
    assert np.corrcoef(left.ravel(), (broken - perfect).ravel())[0, 1] > 0.7
