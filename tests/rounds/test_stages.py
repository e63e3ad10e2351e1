"""The stages of several rounds: each has its own map and error, and the others do not touch it."""

import numpy as np
import pytest

from dlir.placement.stage_model import Stage, error_of_pairs
from dlir.rounds.stages import Stages

GRID = np.stack(np.divmod(np.arange(30), 6), 1) * 400.0


def stage(error: float) -> Stage:
    none = np.zeros((30, 2))
    return Stage(
        GRID, none, np.eye(2), np.zeros((2, 2)), np.full(2, error), GRID, np.eye(2), np.zeros(3), None, np.zeros(30, bool)
    )


def test_each_round_has_its_own_map_and_error() -> None:
    rng = np.random.default_rng(0)
    turned = np.array([[1.0, 0.01], [-0.01, 1.0]])
    places = np.concatenate([GRID + rng.normal(0, 0.5, (30, 2)), GRID @ turned.T + 7 + rng.normal(0, 4.0, (30, 2))])
    one_group = np.zeros(60, np.int64)
    found = Stages((stage(5.0), stage(5.0))).with_fitted_map(places, one_group).with_measured_error(places, one_group)
    assert found.error[:30] == pytest.approx(0.5, rel=0.4) and found.error[30:] == pytest.approx(4.0, rel=0.4)
    assert np.abs(found.of_round[0].to_camera - np.eye(2)).max() < 1e-3
    assert found.of_round[1].to_camera == pytest.approx(turned, abs=0.006)
    assert np.abs(found.prior - places).max() < 30 and np.abs((found.prior - places)[:30]).max() < 3


def test_tiles_in_other_groups_do_not_move_a_map() -> None:
    """The group of the last five tiles lies elsewhere, and its number is that of tiles of the other round."""
    places, group = np.concatenate([GRID, GRID]), np.zeros(60, np.int64)
    places[25:30] += 100.0
    group[25:30] = 3
    found = Stages((stage(1.0), stage(1.0))).with_fitted_map(places, group)
    assert np.abs(np.diff(found.prior[:25] - GRID[:25], axis=0)).max() < 1e-6
    assert found.prior[30:] == pytest.approx(GRID, abs=1e-6)


def test_slips_move_the_positions_of_single_tiles_and_pairs_have_the_errors_of_both() -> None:
    both, shift = Stages((stage(1.0), stage(7.0))), np.zeros((60, 2))
    shift[40] = 5.0, -3.0
    moved = both.slipped(shift).prior - both.prior
    assert moved == pytest.approx(shift)
    assert error_of_pairs(both, np.array([0]), np.array([59]))[0] == pytest.approx([5.0, 5.0])
