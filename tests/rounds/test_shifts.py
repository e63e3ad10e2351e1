"""How far two patches lie from each other: against known shifts, with noise, and where there is nothing to see."""

import numpy as np
import pytest
from support.specimens import Specimen

from dlir.core import affine
from dlir.rounds.shifts import Shifts, shifts

SIDE, COUNT = 96, 6


def patches(shift: tuple[float, float], noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Patches (n, h, w) of which the second shows everything `shift` px farther down and right, bleached."""
    rng, pairs = np.random.default_rng(3), []
    for seed in range(COUNT):
        specimen = Specimen(seed, waves=120, shortest=10.0)
        places = affine.translation(np.zeros(2)), affine.translation(-np.array(shift))
        pairs.append([100 * specimen.tile(place, SIDE, SIDE) for place in places])
    fixed, moving = np.array(pairs).swapaxes(0, 1)
    noisy = [1000 + gain * part + noise * rng.standard_normal(part.shape) for gain, part in ((1.0, fixed), (0.5, moving))]
    return noisy[0], noisy[1]


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.3, -0.2), (1.7, 0.4), (15.0, 9.0)])
def test_a_known_shift_is_found_as_exactly_as_it_says(shift: tuple[float, float]) -> None:
    found = shifts(*patches(shift, noise=60.0))
    errors = np.linalg.norm(found.shift - np.array(shift), axis=1)
    assert np.median(errors) < 0.08 and (errors < 6 * np.maximum(found.deviation, 0.01)).all()
    assert (found.after > 0.8).all() and np.median(found.deviation) < 0.15


def test_noise_alone_is_known_to_say_nothing() -> None:
    rng = np.random.default_rng(5)
    found = shifts(*rng.normal(1000, 100, (2, COUNT, SIDE, SIDE)))
    assert ((found.deviation > 0.25) | (found.after < 0.3)).all()


def test_a_patch_whose_stain_is_bleached_has_less_contrast() -> None:
    found = shifts(*patches((0.0, 0.0), noise=1.0))
    np.testing.assert_allclose(found.contrast[:, 1] / found.contrast[:, 0], 0.5, atol=0.02)


def test_batches_are_joined_in_their_order() -> None:
    parts = [shifts(*patches(shift, noise=1.0)) for shift in ((0.5, 0.0), (-0.5, 0.0))]
    assert (np.sign(Shifts.joined(parts).shift[:, 0]) == [1.0] * COUNT + [-1.0] * COUNT).all()
