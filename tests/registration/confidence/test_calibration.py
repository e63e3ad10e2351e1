"""The probability that a pair is right, on cues whose distributions are known."""

import numpy as np
import pandas as pd
import pytest

from dlir.core.tables import LINEAR, LINEAR_COVARIANCE
from dlir.registration.confidence.calibration import probability, with_verdict


def drawn(right: int, wrong: int, strangers: int, apart: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cues of pairs, whether each is right, and cues of strangers: two normal cues, `apart` deviations from each other."""
    rng = np.random.default_rng(seed)
    cues = np.concatenate([rng.normal(apart, 1, (right, 2)), rng.normal(0, 1, (wrong, 2))])
    return cues, np.arange(len(cues)) < right, rng.normal(0, 1, (strangers, 2))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_the_probability_is_that_of_being_right(share: float) -> None:
    cues, right, strangers = drawn(round(2000 * share), round(2000 * (1 - share)), 1000, apart=2.0)
    told = probability(cues, strangers)
    for low, high in ((0.0, 0.2), (0.4, 0.6), (0.8, 1.0)):
        there = (told >= low) & (told <= high)
        if there.sum() > 50:
            assert right[there].mean() == pytest.approx(told[there].mean(), abs=0.15)


@pytest.mark.parametrize(("right", "wrong"), [(40, 0), (30, 10), (10, 40)])
def test_few_pairs_are_told_apart(right: int, wrong: int) -> None:
    rejected, taken = [], []
    for seed in range(20):
        cues, true, strangers = drawn(right, wrong, 64, apart=6.0, seed=seed)
        told = probability(cues, strangers)
        rejected.append(told[true] <= 0.5)
        taken.append(told[~true] > 0.5)
    assert np.mean(rejected) < 0.01
    assert np.mean(taken) < 0.08 if wrong else True


def test_pairs_like_strangers_are_all_wrong() -> None:
    cues, _, strangers = drawn(0, 60, 64, apart=0.0)
    assert (probability(cues, strangers) > 0.5).mean() < 0.1


def test_a_better_cue_is_never_held_against_a_pair() -> None:
    cues, _, strangers = drawn(100, 100, 100, apart=2.0)
    told = probability(np.concatenate([cues, cues + np.array([0.5, 0]), cues + np.array([0, 0.5])]), strangers).reshape(3, -1)
    assert (np.diff(told[[0, 1]], axis=0) >= 0).all() and (np.diff(told[[0, 2]], axis=0) >= 0).all()


def test_places_tell_more_and_the_probability_stays_that_of_being_right() -> None:
    """Right pairs lie where the stage says, to 3 px on either axis, wrong ones anywhere within the 20 px that are searched."""
    cues, right, strangers = drawn(1000, 1000, 1000, apart=2.0)
    rng = np.random.default_rng(1)
    off = np.where(right[:, None], rng.normal(0, 3, (2000, 2)), rng.uniform(-20, 20, (2000, 2)))
    near = np.log(40**2 / (2 * np.pi * 3**2)) - (off**2).sum(1) / (2 * 3**2)
    told = probability(cues, strangers, near)
    assert ((told > 0.5) != right).mean() < 0.5 * ((probability(cues, strangers) > 0.5) != right).mean()
    for low, high in ((0.0, 0.2), (0.3, 0.7), (0.8, 1.0)):
        there = (told >= low) & (told <= high)
        assert right[there].mean() == pytest.approx(told[there].mean(), abs=0.15)


def test_without_strangers_nothing_is_known() -> None:
    assert (probability(np.zeros((3, 2)), np.zeros((0, 2))) == 0.5).all()
    assert len(probability(np.zeros((0, 2)), np.zeros((5, 2)))) == 0


def clear(count: int = 30) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Registered pairs that all show clearly the same, where they were expected, and strangers."""
    rng = np.random.default_rng(1)
    pairs = pd.DataFrame({"score_after": 0.9, "confidence": 0.99, "cov_yx": 0.0, "var_y": 0.01, "var_x": 0.01}, range(count))
    pairs = pairs.assign(away=rng.uniform(0, 4, count), expected=3.0, searched=20.0, inside=True, overlap=0.5)
    pairs[list(LINEAR)] = np.eye(2).ravel()
    pairs[LINEAR_COVARIANCE] = (1e-6 * np.eye(4)).ravel()
    strangers = pairs.assign(score_after=rng.uniform(0, 0.2, count), confidence=rng.uniform(0, 0.3, count))
    return pairs, strangers.assign(away=rng.uniform(0, 20, count))


def test_a_pair_that_is_turned_unlike_the_others_counts_for_less() -> None:
    pairs, strangers = clear()
    pairs[list(LINEAR)] += 0.001 * np.random.default_rng(2).standard_normal((30, 4))
    pairs.loc[7, list(LINEAR)] += 0.02
    judged = with_verdict(pairs, strangers, 0.5)
    others = judged.drop(index=7)
    assert judged.loc[7, "confidence"] < 0.7 * others["confidence"].min()
    assert judged.loc[7, "var_y"] > 10 * others["var_y"].max()


def test_a_faint_pair_is_accepted_but_may_not_be_exact() -> None:
    pairs, strangers = clear()
    pairs.loc[3, ["var_y", "var_x"]] = 4.0
    judged = with_verdict(pairs, strangers, 0.5)
    rng = np.random.default_rng(1)
    draws = 2.0 * rng.standard_normal((20000, 2)) / np.sqrt(rng.chisquare(4, 20000) / 4)[:, None]
    assert judged["accepted"].all() and judged["confidence"].drop(index=3).min() > 0.95
    assert judged.loc[3, "confidence"] == pytest.approx((np.linalg.norm(draws, axis=1) < 2).mean(), abs=0.03)


def test_a_pair_for_which_only_its_place_speaks_has_to_be_exact() -> None:
    pairs, strangers = clear()
    pairs.loc[:19, ["score_after", "confidence", "away"]] = strangers.loc[:19, ["score_after", "confidence", "away"]]
    pairs.loc[[3, 4, 5], ["score_after", "confidence"]] = 0.19, 0.29  # as few strangers
    pairs.loc[[3, 4, 5], "away"] = 1.0, 1.0, 19.0
    pairs.loc[4, ["var_y", "var_x"]] = 4.0
    assert with_verdict(pairs, strangers, 0.5).loc[[3, 4, 5], "accepted"].tolist() == [True, False, False]


def test_places_tell_nothing_where_nobody_knows_how_far_the_stage_errs() -> None:
    pairs, strangers = clear()
    pairs.loc[:19, ["score_after", "confidence"]] = strangers.loc[:19, ["score_after", "confidence"]]
    near, far = (with_verdict(pairs.assign(away=away, expected=np.inf), strangers, 0.5) for away in (0.0, 19.0))
    pd.testing.assert_frame_equal(near, far)
    assert near["accepted"].tolist() == [False] * 20 + [True] * 10


def test_a_small_overlap_has_to_match_better() -> None:
    pairs, strangers = clear()
    pairs.loc[:14, "score_after"] = strangers.loc[:14, "score_after"] = 0.5
    pairs.loc[:14, "confidence"] = 0.1
    pairs.loc[:14, "overlap"] = strangers.loc[:14, "overlap"] = 0.01
    judged = with_verdict(pairs, strangers, 0.5)
    assert judged["accepted"].tolist() == [False] * 15 + [True] * 15


@pytest.mark.parametrize("inside", [True, False])
def test_a_pair_outside_its_window_is_rejected(inside: bool) -> None:
    pairs, strangers = clear()
    judged = with_verdict(pairs.assign(inside=[True] * 29 + [inside]), strangers, 0.5)
    assert judged["accepted"].iloc[-1] == inside and (judged["reason"].iloc[-1] == "") == inside
