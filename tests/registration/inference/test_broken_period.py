"""Whether what breaks the period decides at which offset two windows match, on windows with exact truth."""

import numpy as np
import pytest
from support.lattices import repeating, vectors

from dlir.registration.inference.broken_period import Broken, decided_shift, what_breaks
from dlir.registration.pairs.planes import TilePlanes

SIDE, STRIP = 200, 96  # px, of a tile and of the width of its windows
SHIFT = np.array([-3.0, 60.0])  # px: fixed pixel p of the windows matches moving pixel p + SHIFT
LATTICE = vectors("squares", 16.0, 0.3)
NEAR, FAR = (100, 12), (92, 55)  # (y, x) px of the fixed window: the moving window shows the first only


def windows(fixed: np.ndarray, moving: np.ndarray, noise: float = 0.1) -> tuple[Broken, Broken]:
    """What breaks the period in the right end of the fixed tile and the left end of the moving one."""
    rng = np.random.default_rng(1)
    tiles = [(image + rng.normal(0, noise, image.shape)).astype(np.float32) for image in (fixed, moving)]
    planes = TilePlanes.of_arrays(tiles)
    return tuple(what_breaks(planes, k, (0, x, SIDE, STRIP), LATTICE[0]) for k, x in ((0, SIDE - STRIP), (1, 0)))  # type: ignore[return-value]


def tiles(specimen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two tiles of a specimen (300, 400) at the offset that SHIFT says."""
    y, x = 20 - SHIFT[0], SIDE - STRIP - SHIFT[1]
    return specimen[20 : 20 + SIDE, :SIDE], specimen[int(y) : int(y) + SIDE, int(x) : int(x) + SIDE]


def decided(pair: tuple[Broken, Broken], estimate: np.ndarray = SHIFT) -> np.ndarray | None:
    """The shift that is decided for, when it is expected within 44 px of (0, 20)."""
    return decided_shift(*pair, np.array([0.0, 20.0]), estimate, 44.0, LATTICE)


def spot(at: tuple[int, int]) -> np.ndarray:
    """A spot in a tile at a place of the fixed window."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.exp(-((y - at[0]) ** 2 + (x - at[1] - SIDE + STRIP) ** 2) / (2 * 3.0**2))


@pytest.mark.parametrize("periods_off", [(0, 0), (1, 0), (-1, 1)])
def test_defects_decide_wherever_the_method_found_the_pair(periods_off: tuple[int, int]) -> None:
    pair = windows(*tiles(repeating(LATTICE, 300, 400, 0.1)))
    found = decided(pair, SHIFT + np.array(periods_off) @ LATTICE)
    assert found is not None
    np.testing.assert_allclose(found, SHIFT, atol=0.3)


@pytest.mark.parametrize("noise", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("gain", [1.0, 1.2])
def test_a_perfect_lattice_decides_nothing(noise: float, gain: float) -> None:
    """Neither do noise, nor shading that differs between the tiles."""
    fixed, moving = tiles(repeating(LATTICE, 300, 400))
    shaded = moving * np.linspace(gain, 1, SIDE)
    assert decided(windows(fixed, shaded, noise)) is None


def test_what_moved_decides_nothing() -> None:
    """Two spots match at an offset where the lattice does not."""
    fixed, moving = tiles(repeating(LATTICE, 300, 400))
    y, x = np.rint(SHIFT + LATTICE[0]).astype(int)
    moved = np.roll(spot(NEAR), (y, x - SIDE + STRIP), axis=(0, 1))
    assert decided(windows(fixed + spot(FAR), moving + moved)) is None


def test_a_defect_that_covers_another_decides_nothing() -> None:
    """Each tile has a spot beyond the true overlap: at a wrong offset they match, and at the right one nothing contradicts."""
    fixed, moving = tiles(repeating(LATTICE, 300, 400))
    y, x = np.rint(SHIFT - 5 * LATTICE[1]).astype(int)
    assert decided(windows(fixed + spot(FAR), moving + np.roll(spot(FAR), (y, x - SIDE + STRIP), axis=(0, 1)))) is None
