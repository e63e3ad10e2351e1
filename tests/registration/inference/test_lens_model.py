"""Which distortion pairs share: found where it is clear, with no more terms than it needs, and none in noise."""

import numpy as np
import pytest

from dlir.core.affine import Array
from dlir.core.lens import POWERS, basis
from dlir.registration.inference.lens_estimate import Overlap, _own
from dlir.registration.inference.lens_model import MODELS, Evidence, choose_fit

COUNT = 2 * len(POWERS)
SIZE, NOISE = (512, 512), 0.03  # px: of a tile; of the displacement that a block shows


def evidence(true: Array, pairs: int = 24, seed: int = 0, wrong: int = 0) -> Evidence:
    """What pairs say of the coefficients `true` (m,), each of eight combinations of them, with errors as it says (0.05 px).

    Args:
        wrong: so many pairs say something else.
    """
    rng = np.random.default_rng(seed)
    seen = rng.normal(0, 20 / np.sqrt(COUNT), (pairs, 8, COUNT))
    said = seen @ true + rng.standard_normal((pairs, 8))
    said[:wrong] += rng.normal(0, 10, (wrong, 8))
    return Evidence(seen.mT @ seen, np.einsum("nkm,nk->nm", seen, said))


def coefficients(model: str, size: float, seed: int = 0) -> Array:
    """A distortion (m,) of this model, whose coefficients are about `size` px."""
    return np.asarray(MODELS[model] @ np.random.default_rng(seed).normal(0, size, MODELS[model].shape[1]))


@pytest.mark.parametrize("pairs", [4, 7, 24, 60])
def test_none_is_found_in_noise(pairs: int) -> None:
    assert not any(choose_fit(evidence(np.zeros(COUNT), pairs, seed)) for seed in range(10))


@pytest.mark.parametrize("model", MODELS)
def test_the_coefficients_are_found_within_their_intervals(model: str) -> None:
    true = coefficients(model, 2.0)
    found = choose_fit(evidence(true, pairs=80))
    assert found is not None
    assert np.linalg.matrix_rank(MODELS[found.model]) <= np.linalg.matrix_rank(MODELS[model])
    assert np.abs(found.coefficients - true).max() < 0.3
    free = found.deviation > 0
    assert np.mean((np.abs(found.coefficients - true) < 3 * found.deviation)[free]) > 0.9


def test_a_term_that_explains_little_beside_the_others_is_found() -> None:
    """The k2 of 3 x 3 tiles, without which all offsets would be wrong by 0.2 px; pairs scatter more than they say."""
    k2 = MODELS["radial (k1, k2)"][:, 1]
    true = MODELS["radial (k1) about another centre, and tilted specimen"] @ np.array([3.0, 1.0, -1.0, 0.5, 0.3]) + 0.5 * k2
    rng, said = np.random.default_rng(0), []
    for along, across in np.repeat([[0, 1], [1, 0]], 6, axis=0):
        fixed, offset = np.zeros((32, 2)), np.zeros(2)
        fixed[:, along], fixed[:, across] = rng.uniform(461, 512, 32), rng.uniform(0, 512, 32)
        offset[along] = 461
        bent = (basis(fixed - offset, SIZE) - basis(fixed, SIZE)) @ true.reshape(2, -1).T
        pull = (bent + rng.normal(0, 1.7 * NOISE, bent.shape)) / NOISE**2
        overlap = Overlap(fixed, fixed - offset, np.tile(np.eye(2) / NOISE**2, (32, 1, 1)), pull)
        said.append(_own(overlap, np.eye(2), SIZE, 1e8 * np.eye(4)))
    found = choose_fit(Evidence(np.array([each.information for each in said]), np.array([each.pull for each in said])))
    assert found is not None and found.model == "radial (k1, k2) about another centre, and tilted specimen"
    assert np.abs(found.coefficients - true).max() < 0.3


def test_a_few_wrong_pairs_do_not_matter() -> None:
    true = coefficients("radial (k1)", 2.0, seed=1)
    found = choose_fit(evidence(true, wrong=3))
    assert found is not None and np.abs(found.coefficients - true).max() < 0.1
    assert not any(choose_fit(evidence(np.zeros(COUNT), seed=seed, wrong=3)) for seed in range(10))


def test_three_pairs_are_not_enough() -> None:
    assert choose_fit(evidence(coefficients("radial (k1)", 5.0), pairs=3)) is None
