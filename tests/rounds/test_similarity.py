"""The similarity that fits points of two rounds, some of which are wrong."""

import numpy as np
import pytest

from dlir.core import affine
from dlir.rounds.similarity import similarity_between, turning


def test_the_true_similarity_is_found_among_wrong_points() -> None:
    rng = np.random.default_rng(1)
    true = np.c_[turning(0.6, 1.003), [12.0, -7.0]]
    places = rng.uniform(0, 800, (40, 2))
    there = affine.apply(true, places) + 0.1 * rng.standard_normal((40, 2))
    there[:10] += rng.uniform(20, 40, (10, 2))
    found = similarity_between(places, there)
    assert np.abs(affine.apply(found, places) - affine.apply(true, places)).max() < 0.2


def test_without_a_point_it_is_the_identity() -> None:
    assert similarity_between(np.zeros((0, 2)), np.zeros((0, 2))) == pytest.approx(np.eye(2, 3))


def test_a_turn_goes_from_y_to_x() -> None:
    assert turning(90.0, 2.0) @ [1.0, 0.0] == pytest.approx([0.0, -2.0])
