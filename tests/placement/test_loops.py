"""What the pairs around four tiles say of each other."""

import numpy as np

from dlir.placement.loops import loops_of_four, loops_of_three, probability_by_loops

# three by three tiles, numbered row by row: first the pairs along the rows, then those along the columns
FIXED = np.array([0, 1, 3, 4, 6, 7, 0, 1, 2, 3, 4, 5])
MOVING = np.array([1, 2, 4, 5, 7, 8, 3, 4, 5, 6, 7, 8])


def probability(pair: int, off: float, i: np.ndarray = FIXED, j: np.ndarray = MOVING, confidence: float = 0.99) -> np.ndarray:
    """The probability (n,) of each pair, one of which is off by so many px, where right ones scatter by 0.1 px."""
    residual = np.random.default_rng(0).normal(0, 0.1, (len(i), 2))
    residual[pair, 0] += off
    covariance = np.tile(0.01 * np.eye(2), (len(i), 1, 1))
    return probability_by_loops(loops_of_four(i, j), np.full(len(i), confidence), residual, covariance)


def test_each_loop_is_found_once_and_runs_round() -> None:
    rng = np.random.default_rng(1)
    places, turned = rng.uniform(0, 900, (9, 2)), rng.random(len(FIXED)) < 0.5
    i, j = np.where(turned, MOVING, FIXED), np.where(turned, FIXED, MOVING)
    loops = loops_of_four(i, j)
    assert len({tuple(sorted(loop)) for loop in loops.pairs.tolist()}) == len(loops.pairs) == 4
    assert np.allclose(np.einsum("mp,mpa->ma", loops.signs, (places[j] - places[i])[loops.pairs]), 0)


def test_loops_of_three_are_found_once_and_run_round() -> None:
    rng = np.random.default_rng(1)
    fixed, moving = np.r_[FIXED, 0, 4, 1], np.r_[MOVING, 4, 8, 3]  # and three pairs corner to corner
    places, turned = rng.uniform(0, 900, (9, 2)), rng.random(len(fixed)) < 0.5
    i, j = np.where(turned, moving, fixed), np.where(turned, fixed, moving)
    loops = loops_of_three(i, j)
    assert len({tuple(sorted(loop)) for loop in loops.pairs.tolist()}) == len(loops.pairs) == 6
    assert np.allclose(np.einsum("mp,mpa->ma", loops.signs, (places[j] - places[i])[loops.pairs]), 0)


def test_without_loops_every_pair_keeps_its_confidence() -> None:
    assert np.allclose(probability(1, 9.0, np.arange(5), np.arange(5) + 1), 0.99)
    assert (
        len(probability_by_loops(loops_of_four(FIXED[:0], MOVING[:0]), np.zeros(0), np.zeros((0, 2)), np.zeros((0, 2, 2)))) == 0
    )


def test_of_four_pairs_that_do_not_close_each_may_be_the_wrong_one() -> None:
    right = probability(2, 9.0, np.array([0, 2, 0, 1]), np.array([1, 3, 2, 3]))
    assert np.allclose(right, 0.75, atol=0.02)


def test_the_pair_whose_loops_all_fail_is_the_wrong_one() -> None:
    right = probability(2, 9.0)
    assert right[2] < 0.05 and np.delete(right, 2).min() > 0.95


def test_loops_that_close_make_doubtful_pairs_certain() -> None:
    assert (probability(0, 0.0, confidence=0.7) > 0.99).all()


def test_a_pair_a_little_off_may_be_right_within_two_px() -> None:
    near, far = (probability(2, off)[2] for off in (0.5, 3.0))
    assert far < 0.5 < 0.95 < near
