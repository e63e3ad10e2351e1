"""Which distortion pairs share: found where it is clear, with no more terms than it needs, and none in noise."""

import numpy as np
import pytest

from dlir.core.affine import Array
from dlir.core.lens import POWERS
from dlir.registration.inference.lens_model import MODELS, Evidence, choose_fit

COUNT = 2 * len(POWERS)


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
    """Without k2, the mean over an overlap would be off by half a pixel; and pairs scatter more than they say."""
    k1, k2 = MODELS["radial (k1, k2)"].T
    exact = evidence(20 * k1 + 0.5 * k2)
    found = choose_fit(Evidence(3 * exact.information, 3 * exact.pull))
    assert found is not None and found.model == "radial (k1, k2)"
    assert found.coefficients @ k2 / (k2 @ k2) == pytest.approx(0.5, abs=0.1)


def test_a_few_wrong_pairs_do_not_matter() -> None:
    true = coefficients("radial (k1)", 2.0, seed=1)
    found = choose_fit(evidence(true, wrong=3))
    assert found is not None and np.abs(found.coefficients - true).max() < 0.1
    assert not any(choose_fit(evidence(np.zeros(COUNT), seed=seed, wrong=3)) for seed in range(10))


def test_three_pairs_are_not_enough() -> None:
    assert choose_fit(evidence(coefficients("radial (k1)", 5.0), pairs=3)) is None
