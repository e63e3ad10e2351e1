"""The probability that a pair is right, on cues whose distributions are known."""

import numpy as np
import pandas as pd
import pytest

from dlir.confidence import judge, probability
from dlir.tables import LINEAR, LINEAR_COVARIANCE


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
    cues, true, strangers = drawn(right, wrong, 64, apart=6.0)
    told = probability(cues, strangers)
    assert (told[true] > 0.5).mean() > 0.95
    assert (told[~true] < 0.5).mean() > 0.85 if wrong else True


def test_pairs_like_strangers_are_all_wrong() -> None:
    cues, _, strangers = drawn(0, 60, 64, apart=0.0)
    assert (probability(cues, strangers) > 0.5).mean() < 0.1


def test_a_better_cue_is_never_held_against_a_pair() -> None:
    cues, _, strangers = drawn(100, 100, 100, apart=2.0)
    told = probability(np.concatenate([cues, cues + np.array([0.5, 0]), cues + np.array([0, 0.5])]), strangers).reshape(3, -1)
    assert (np.diff(told[[0, 1]], axis=0) >= 0).all() and (np.diff(told[[0, 2]], axis=0) >= 0).all()


def test_without_strangers_nothing_is_known() -> None:
    assert (probability(np.zeros((3, 2)), np.zeros((0, 2))) == 0.5).all()
    assert len(probability(np.zeros((0, 2)), np.zeros((5, 2)))) == 0


def test_a_pair_that_is_turned_unlike_the_others_counts_for_less() -> None:
    rng = np.random.default_rng(1)
    pairs = pd.DataFrame({"score_after": 0.9, "confidence": 0.99, "inside": True, "var_y": 0.01, "cov_yx": 0.0, "var_x": 0.01},
                         index=range(30))  # fmt: skip
    linear = np.eye(2).ravel() + 0.001 * rng.standard_normal((30, 4))
    linear[7] += 0.02
    pairs[["yy", "yx", "xy", "xx"]] = linear
    pairs[LINEAR_COVARIANCE] = (1e-6 * np.eye(4)).ravel()
    strangers = pairs.assign(score_after=rng.uniform(0, 0.2, 30), confidence=rng.uniform(0, 0.3, 30))
    judged = judge(pairs, strangers, 0.5)
    others = judged.drop(index=7)
    assert judged.loc[7, "confidence"] < 0.7 * others["confidence"].min()
    assert judged.loc[7, "var_y"] > 10 * others["var_y"].max()


def test_a_faint_pair_is_accepted_but_may_not_be_exact() -> None:
    rng = np.random.default_rng(1)
    pairs = pd.DataFrame({"score_after": 0.9, "confidence": 0.99, "inside": True, "cov_yx": 0.0}, index=range(30))
    pairs = pairs.assign(var_y=0.01, var_x=0.01, **dict(zip(LINEAR, (1.0, 0.0, 0.0, 1.0), strict=True)))
    pairs[LINEAR_COVARIANCE] = (1e-6 * np.eye(4)).ravel()
    pairs.loc[3, ["var_y", "var_x"]] = 4.0
    strangers = pairs.assign(score_after=rng.uniform(0, 0.2, 30), confidence=rng.uniform(0, 0.3, 30))
    judged = judge(pairs, strangers, 0.5)
    draws = 2.0 * rng.standard_normal((20000, 2)) / np.sqrt(rng.chisquare(4, 20000) / 4)[:, None]
    assert judged["accepted"].all() and judged["confidence"].drop(index=3).min() > 0.95
    assert judged.loc[3, "confidence"] == pytest.approx((np.linalg.norm(draws, axis=1) < 2).mean(), abs=0.03)
