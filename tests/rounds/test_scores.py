"""The scores of two pictures over all shifts."""

import numpy as np
import pytest
from support.specimens import Specimen

from dlir.core import affine
from dlir.rounds.scores import Scored

SIDE = 96


def image(y: float, x: float) -> np.ndarray:
    view = Specimen(3, shortest=4.0).tile(affine.translation([y, x]), SIDE, SIDE)
    return ((view - view.mean()) / view.std()).astype(np.float32)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (13.0, -21.0), (-30.4, 8.6)])
def test_the_true_shift_scores_highest(shift: tuple[float, float]) -> None:
    covered = np.ones((SIDE, SIDE), bool)
    peak = Scored(image(0, 0), covered, (SIDE, SIDE)).peak(image(*shift), covered, 500)
    assert peak.shift == pytest.approx(shift, abs=0.15)
    assert peak.height > 30


def test_what_is_not_covered_does_not_count_and_a_bright_speck_does_not_win() -> None:
    first, second, covered = image(0, 0), image(10, 5), np.ones((SIDE, SIDE), bool)
    covered[:40] = False
    first = np.where(covered, first, 0)
    first[70, 20], second[20, 70] = 60, 60
    peak = Scored(first, covered, (SIDE, SIDE)).peak(second, np.ones((SIDE, SIDE), bool), 500)
    assert peak.shift == pytest.approx([10, 5], abs=0.6)  # the speck bends the peak a little


def test_shifts_out_of_reach_are_not_tried_and_too_small_an_overlap_has_no_score() -> None:
    covered = np.ones((SIDE, SIDE), bool)
    near = Scored(image(0, 0), covered, (SIDE, SIDE), reach=6)
    assert np.abs(near.peak(image(13, -21), covered, 500).shift).max() <= 6.5
    scored = Scored(image(0, 0), covered, (SIDE, SIDE))
    assert scored.peak(image(0, 0), covered, 2 * SIDE**2).height == 0


@pytest.mark.parametrize(("top", "left", "near"), [(20, 30, (10, 9)), (0, 0, (0, 0)), (40, 48, (30, 34))])
def test_a_search_near_a_place_scores_as_one_over_all_shifts(top: int, left: int, near: tuple[int, int]) -> None:
    whole, covered = image(3.2, -4.6), np.ones((SIDE, SIDE), bool)
    block, seen = image(0, 0)[top : top + 48, left : left + 48], covered[:48, :48]
    around = slice(top - near[0], top + 62), slice(left - near[1], left + 62)
    first = Scored(whole[around], covered[around], block.shape).peak(block, seen, 500)
    second = Scored(whole[around], covered[around], block.shape, near, 14).peak(block, seen, 500)
    assert second.shift - near == pytest.approx([-3.2, 4.6], abs=0.15)
    assert second.shift == pytest.approx(first.shift, abs=1e-4) and second.height == pytest.approx(first.height, rel=1e-4)
