"""The probability that a pair is right, on cues whose distributions are known, and the verdicts that follow from it."""

import numpy as np
import pandas as pd
import pytest

from dlir.core.tables import LINEAR, LINEAR_COVARIANCE
from dlir.registration.confidence.calibration import (
    FAINT,
    LIKE_UNRELATED,
    OUTSIDE,
    UNSURE,
    exactness,
    probability,
    with_acceptance,
    with_verdict,
)


def drawn(
    right: int, wrong: int, unrelated: int, separation: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two normal cues of pairs (n, 2), whether each pair is right (n,), and the cues of unrelated pairs (m, 2).

    The cues of right pairs lie `separation` standard deviations above those of wrong and of unrelated pairs.
    """
    rng = np.random.default_rng(seed)
    cues = np.concatenate([rng.normal(separation, 1, (right, 2)), rng.normal(0, 1, (wrong, 2))])
    return cues, np.arange(len(cues)) < right, rng.normal(0, 1, (unrelated, 2))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_the_probability_is_that_of_being_right(share: float) -> None:
    cues, right, unrelated = drawn(round(2000 * share), round(2000 * (1 - share)), 1000, separation=2.0)
    found = probability(cues, unrelated)
    for low, high in ((0.0, 0.2), (0.4, 0.6), (0.8, 1.0)):
        within = (found >= low) & (found <= high)
        if within.sum() > 50:
            assert right[within].mean() == pytest.approx(found[within].mean(), abs=0.15)


@pytest.mark.parametrize(("right", "wrong"), [(40, 0), (30, 10), (10, 40)])
def test_a_few_pairs_are_enough_to_tell_right_from_wrong(right: int, wrong: int) -> None:
    rejected, accepted = [], []
    for seed in range(20):
        cues, true, unrelated = drawn(right, wrong, 64, separation=6.0, seed=seed)
        found = probability(cues, unrelated)
        rejected.append(found[true] <= 0.5)
        accepted.append(found[~true] > 0.5)
    assert np.mean(rejected) < 0.01
    assert np.mean(accepted) < 0.08 if wrong else True


def test_pairs_that_look_like_unrelated_pairs_are_all_wrong() -> None:
    cues, _, unrelated = drawn(0, 60, 64, separation=0.0)
    assert (probability(cues, unrelated) > 0.5).mean() < 0.1


def test_a_better_cue_never_lowers_the_probability() -> None:
    cues, _, unrelated = drawn(100, 100, 100, separation=2.0)
    both = np.concatenate([cues, cues + np.array([0.5, 0]), cues + np.array([0, 0.5])])
    plain, *better = probability(both, unrelated).reshape(3, -1)
    assert all((found >= plain).all() for found in better)


def test_the_place_of_a_pair_is_a_further_cue_and_the_probability_stays_that_of_being_right() -> None:
    """Right pairs lie where the stage says, to 3 px on each axis; wrong ones anywhere within the 20 px that are searched."""
    cues, right, unrelated = drawn(1000, 1000, 1000, separation=2.0)
    rng = np.random.default_rng(1)
    error = np.where(right[:, None], rng.normal(0, 3, (2000, 2)), rng.uniform(-20, 20, (2000, 2)))
    log_ratio = np.log(40**2 / (2 * np.pi * 3**2)) - (error**2).sum(1) / (2 * 3**2)
    found = probability(cues, unrelated, log_ratio)
    assert ((found > 0.5) != right).mean() < 0.5 * ((probability(cues, unrelated) > 0.5) != right).mean()
    for low, high in ((0.0, 0.2), (0.3, 0.7), (0.8, 1.0)):
        within = (found >= low) & (found <= high)
        assert right[within].mean() == pytest.approx(found[within].mean(), abs=0.15)


def test_without_unrelated_pairs_every_probability_is_a_half() -> None:
    assert (probability(np.zeros((3, 2)), np.zeros((0, 2))) == 0.5).all()
    assert len(probability(np.zeros((0, 2)), np.zeros((5, 2)))) == 0


def clear_pairs(count: int = 30) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Registered pairs that all match clearly, near their nominal offsets, and unrelated pairs."""
    rng = np.random.default_rng(1)
    pairs = pd.DataFrame({"score_after": 0.9, "confidence": 0.99, "cov_yx": 0.0, "var_y": 0.01, "var_x": 0.01}, range(count))
    pairs = pairs.assign(distance=rng.uniform(0, 4, count), expected_deviation=3.0, searched=20.0, inside=True, overlap=0.5)
    pairs[list(LINEAR)] = np.eye(2).ravel()
    pairs[LINEAR_COVARIANCE] = (1e-6 * np.eye(4)).ravel()
    unrelated = pairs.assign(score_after=rng.uniform(0, 0.2, count), confidence=rng.uniform(0, 0.3, count))
    return pairs, unrelated.assign(distance=rng.uniform(0, 20, count))


def test_a_pair_that_is_turned_unlike_the_others_is_less_certain() -> None:
    pairs, unrelated = clear_pairs()
    pairs[list(LINEAR)] += 0.001 * np.random.default_rng(2).standard_normal((30, 4))
    pairs.loc[7, list(LINEAR)] += 0.02
    found = with_verdict(pairs, unrelated, 0.5)
    others = found.drop(index=7)
    assert found.loc[7, "confidence"] < 0.7 * others["confidence"].min()
    assert found.loc[7, "var_y"] > 10 * others["var_y"].max()


def test_a_faint_pair_is_accepted_with_the_probability_that_it_is_exact() -> None:
    pairs, unrelated = clear_pairs()
    pairs.loc[3, ["var_y", "var_x"]] = 4.0
    found = with_verdict(pairs, unrelated, 0.5)
    rng = np.random.default_rng(1)
    draws = 2.0 * rng.standard_normal((20000, 2)) / np.sqrt(rng.chisquare(4, 20000) / 4)[:, None]
    assert found["accepted"].all() and found["confidence"].drop(index=3).min() > 0.95
    assert found.index[found["reason"] == FAINT].tolist() == [3]
    assert found.loc[3, "confidence"] == pytest.approx((np.linalg.norm(draws, axis=1) < 2).mean(), abs=0.03)


def test_a_pair_that_only_its_place_speaks_for_has_to_be_exact() -> None:
    pairs, unrelated = clear_pairs()
    pairs.loc[:19, ["score_after", "confidence", "distance"]] = unrelated.loc[:19, ["score_after", "confidence", "distance"]]
    pairs.loc[[3, 4, 5], ["score_after", "confidence"]] = 0.19, 0.29  # which few unrelated pairs reach
    pairs.loc[[3, 4, 5], "distance"] = 1.0, 1.0, 19.0
    pairs.loc[4, ["var_y", "var_x"]] = 4.0
    assert with_verdict(pairs, unrelated, 0.5).loc[[3, 4, 5], "accepted"].tolist() == [True, False, False]


def test_the_place_is_no_cue_while_the_error_of_the_stage_is_unknown() -> None:
    pairs, unrelated = clear_pairs()
    pairs.loc[:19, ["score_after", "confidence"]] = unrelated.loc[:19, ["score_after", "confidence"]]
    near, far = (
        with_verdict(pairs.assign(distance=distance, expected_deviation=np.inf), unrelated, 0.5) for distance in (0.0, 19.0)
    )
    pd.testing.assert_frame_equal(near, far, atol=1e-4)
    assert near["accepted"].tolist() == [False] * 20 + [True] * 10


def test_a_pair_with_a_small_overlap_needs_a_higher_ncc() -> None:
    pairs, unrelated = clear_pairs()
    pairs.loc[:14, "score_after"] = unrelated.loc[:14, "score_after"] = 0.5
    pairs.loc[:14, "confidence"] = 0.1
    pairs.loc[:14, "overlap"] = unrelated.loc[:14, "overlap"] = 0.01
    found = with_verdict(pairs, unrelated, 0.5)
    assert found["accepted"].tolist() == [False] * 15 + [True] * 15


@pytest.mark.parametrize("inside", [True, False])
def test_a_pair_outside_its_window_is_rejected(inside: bool) -> None:
    pairs, unrelated = clear_pairs()
    found = with_verdict(pairs.assign(inside=[True] * 29 + [inside]), unrelated, 0.5)
    assert found["accepted"].iloc[-1] == inside and (found["reason"].iloc[-1] == "") == inside


def test_a_few_pairs_leave_room_for_doubt() -> None:
    """The cues of right and wrong pairs hardly overlap. Hardly any pair may be what its probability all but excludes."""
    excluded = []
    for seed in range(20):
        cues, right, unrelated = drawn(15, 15, 20, separation=3.0, seed=seed)
        found = probability(cues, unrelated)
        excluded.append(np.where(right, found, 1 - found) < 0.01)
    assert np.mean(excluded) < 0.01


def test_pairs_whose_linear_parts_vary_as_those_of_all_tiles_keep_their_confidence() -> None:
    """All pairs are right, and their linear parts are drawn from one normal distribution."""
    pairs, unrelated = clear_pairs(200)
    pairs[list(LINEAR)] += 0.004 * np.random.default_rng(2).standard_normal((200, 4))
    found = with_verdict(pairs, unrelated, 0.5)
    assert (found["confidence"] < 0.95).mean() < 0.03


def test_a_tile_that_is_turned_far_more_than_the_others_keeps_its_pairs() -> None:
    """Its four pairs are right, and match as clearly as all others."""
    pairs, unrelated = clear_pairs()
    pairs[list(LINEAR)] += 0.001 * np.random.default_rng(2).standard_normal((30, 4))
    pairs.loc[10:13, ["yx", "xy"]] += np.array([0.02, -0.02])
    assert with_verdict(pairs, unrelated, 0.5)["accepted"].all()


def test_a_strict_setting_does_not_make_a_pair_probably_wrong() -> None:
    pairs = pd.DataFrame({"match": [0.95, 0.7, 0.2, 0.0], "confidence": [0.95, 0.7, 0.2, 0.6], "reason": ["", "", "", OUTSIDE]})
    usual, strict = (with_acceptance(pairs, accept) for accept in (0.5, 0.9))
    assert usual["reason"].tolist() == ["", "", LIKE_UNRELATED, OUTSIDE]
    assert strict["reason"].tolist() == ["", UNSURE, LIKE_UNRELATED, OUTSIDE]


def test_a_pair_is_as_exact_as_the_longest_axis_of_its_covariance_allows() -> None:
    """Along a line at 45 degrees the shift is unknown, across it is exact; turned, the answer is the same."""
    along, across = 30.0**2, 0.05**2
    half, half_less = (along + across) / 2, (along - across) / 2
    pairs = pd.DataFrame({"var_y": [along, half, across], "cov_yx": [0, half_less, 0], "var_x": [across, half, across]})
    lying, turned, round_ = exactness(pairs)
    assert lying == pytest.approx(turned)
    assert lying < 0.01
    assert round_ > 0.99
