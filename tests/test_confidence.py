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


def anywhere(count: int) -> np.ndarray:
    """How far off the middle pairs lie on average that may lie anywhere in their windows: it tells nothing."""
    return np.full(count, np.sqrt(2 / 3))


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_the_probability_is_that_of_being_right(share: float) -> None:
    cues, right, strangers = drawn(round(2000 * share), round(2000 * (1 - share)), 1000, apart=2.0)
    told = probability(cues, strangers, anywhere(len(cues)))
    for low, high in ((0.0, 0.2), (0.4, 0.6), (0.8, 1.0)):
        there = (told >= low) & (told <= high)
        if there.sum() > 50:
            assert right[there].mean() == pytest.approx(told[there].mean(), abs=0.15)


@pytest.mark.parametrize(("right", "wrong"), [(40, 0), (30, 10), (10, 40)])
def test_few_pairs_are_told_apart(right: int, wrong: int) -> None:
    cues, true, strangers = drawn(right, wrong, 64, apart=6.0)
    told = probability(cues, strangers, anywhere(len(cues)))
    assert (told[true] > 0.5).mean() > 0.95
    assert (told[~true] < 0.5).mean() > 0.85 if wrong else True


def test_pairs_like_strangers_are_all_wrong() -> None:
    cues, _, strangers = drawn(0, 60, 64, apart=0.0)
    assert (probability(cues, strangers, anywhere(60)) > 0.5).mean() < 0.1


def test_a_better_cue_is_never_held_against_a_pair() -> None:
    cues, _, strangers = drawn(100, 100, 100, apart=2.0)
    better = np.concatenate([cues, cues + np.array([0.5, 0]), cues + np.array([0, 0.5])])
    told = probability(better, strangers, np.tile(anywhere(200), 3)).reshape(3, -1)
    assert (np.diff(told[[0, 1]], axis=0) >= 0).all() and (np.diff(told[[0, 2]], axis=0) >= 0).all()


def test_without_strangers_nothing_is_known() -> None:
    assert (probability(np.zeros((3, 2)), np.zeros((0, 2)), np.zeros(3)) == 0.5).all()
    assert len(probability(np.zeros((0, 2)), np.zeros((5, 2)), np.zeros(0))) == 0


def alike(count: int) -> pd.DataFrame:
    """Registered pairs that are all equally right."""
    cues = {"score_after": 0.9, "confidence": 0.99, "inside": True, "off": 0.2, "var_y": 0.01, "cov_yx": 0.0, "var_x": 0.01}
    linear = dict(zip(LINEAR, (1.0, 0.0, 0.0, 1.0), strict=True))
    covariance = dict(zip(LINEAR_COVARIANCE, (1e-6 * np.eye(4)).ravel(), strict=True))
    return pd.DataFrame(cues | linear | covariance, index=range(count))


@pytest.mark.parametrize(("spread", "differ"), [(0.2, True), (1.0, False)])
def test_faint_pairs_count_for_more_where_the_stage_expects_them(spread: float, differ: bool) -> None:
    """Unless right pairs lie anywhere in their windows, as wrong ones do."""
    rng, pairs, strangers = np.random.default_rng(2), alike(60), alike(60)
    pairs["score_after"], strangers["score_after"] = rng.normal(0.6, 0.15, 60), rng.normal(0.1, 0.1, 60)
    pairs["off"] = spread * np.linalg.norm(rng.uniform(-1, 1, (60, 2)), axis=1)
    pairs.loc[:1, "score_after"] = 0.3
    pairs.loc[:1, "off"] = 0.1, 0.9
    near, far = judge(pairs, strangers, 0.5)["confidence"][:2]
    assert (near > far + 0.3) == differ
    assert near >= far


def test_a_pair_that_is_turned_unlike_the_others_counts_for_less() -> None:
    rng = np.random.default_rng(1)
    pairs = alike(30)
    linear = np.eye(2).ravel() + 0.001 * rng.standard_normal((30, 4))
    linear[7] += 0.02
    pairs[list(LINEAR)] = linear
    strangers = pairs.assign(score_after=rng.uniform(0, 0.2, 30), confidence=rng.uniform(0, 0.3, 30))
    judged = judge(pairs, strangers, 0.5)
    others = judged.drop(index=7)
    assert judged.loc[7, "confidence"] < 0.7 * others["confidence"].min()
    assert judged.loc[7, "var_y"] > 10 * others["var_y"].max()


def test_a_faint_pair_is_accepted_but_may_not_be_exact() -> None:
    rng = np.random.default_rng(1)
    pairs = alike(30)
    pairs.loc[3, ["var_y", "var_x"]] = 4.0
    strangers = pairs.assign(score_after=rng.uniform(0, 0.2, 30), confidence=rng.uniform(0, 0.3, 30))
    judged = judge(pairs, strangers, 0.5)
    draws = 2.0 * rng.standard_normal((20000, 2)) / np.sqrt(rng.chisquare(4, 20000) / 4)[:, None]
    assert judged["accepted"].all() and judged["confidence"].drop(index=3).min() > 0.95
    assert judged.loc[3, "confidence"] == pytest.approx((np.linalg.norm(draws, axis=1) < 2).mean(), abs=0.03)
