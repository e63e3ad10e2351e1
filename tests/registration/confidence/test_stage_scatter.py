"""Which of several offsets is right, judged by the stage alone, on grids of tiles whose errors are known."""

import numpy as np
import pytest
from support.lattices import vectors

from dlir.registration.confidence.stage_scatter import Errors, common_part, nearest_offsets, spread_bound, tie_probability
from dlir.registration.model.period import lattice_points

SURE = 0.95
NOTHING = np.zeros((2, 2))
TURNED = np.array([[0.0, 0.1], [-0.1, 0.0]])  # what a turned camera adds, in units of 20 px, to right and to down pairs


def grid(rows: int, cols: int, stage: float, seed: int, common: np.ndarray = NOTHING) -> tuple[Errors, np.ndarray]:
    """The errors of pairs of a grid of tiles that lie up to `stage` px off, and the true ones (n, 2); none is decided."""
    tile = np.arange(rows * cols).reshape(rows, cols)
    fixed = np.concatenate([tile[:, :-1].ravel(), tile[:-1].ravel()])
    moving = np.concatenate([tile[:, 1:].ravel(), tile[1:].ravel()])
    down = np.arange(len(fixed)) >= rows * (cols - 1)
    off = np.random.default_rng(seed).uniform(-stage, stage, (rows * cols, 2))
    error = off[moving] - off[fixed] + common[down.astype(int)]
    side = np.where(down, "down", "right").astype(object)
    return Errors(error, np.zeros(len(error), bool), side, fixed, moving), error


def blurred(errors: Errors, lattice: np.ndarray, seed: int) -> Errors:
    """The errors, moved by vectors of the lattice at random, as if each pair had matched anywhere; decided ones stay."""
    points, rng = lattice_points(lattice, 50), np.random.default_rng(seed)
    moved = points[rng.integers(0, len(points), len(errors.error))] + rng.normal(0, 0.1, errors.error.shape)
    return errors._replace(error=errors.error + moved * ~errors.decided[:, None])


def sure_and_wrong(errors: Errors, true: np.ndarray, lattice: np.ndarray) -> tuple[float, float]:
    """The shares of the pairs that are sure, and that are sure and wrong."""
    period, probability = nearest_offsets(errors, lattice)
    wrong = np.linalg.norm(errors.error - period - true, axis=1) > 1
    return float((probability >= SURE).mean()), float(((probability >= SURE) & wrong).mean())


@pytest.mark.parametrize("kind", ["squares", "hexagons"])
@pytest.mark.parametrize(("rows", "cols", "stage", "least"), [(3, 3, 2.0, 1.0), (4, 5, 2.5, 0.95), (6, 8, 4.5, 0.5)])
def test_a_stage_that_is_exact_against_the_period_decides(kind: str, rows: int, cols: int, stage: float, least: float) -> None:
    """The last stage is too inexact for pairs, which err by up to 9 px, and exact enough for tiles."""
    lattice, shares = vectors(kind, 20.0, 0.3), []
    for seed in range(10):
        errors, true = grid(rows, cols, stage, seed)
        shares.append(sure_and_wrong(blurred(errors, lattice, seed), true, lattice))
    sure, wrong = np.mean(shares, axis=0)
    assert sure >= least
    assert wrong == 0


@pytest.mark.parametrize("stage", [7.0, 12.0, 40.0])
def test_a_stage_that_errs_by_half_of_a_period_decides_nothing(stage: float) -> None:
    """In hardly any of the grids any pair is sure, however few tiles there are."""
    lattice, decided = vectors("squares", 12.0, 0.3), 0
    for seed in range(200):
        rows, cols = [(1, 2), (2, 2), (3, 4), (5, 6)][seed % 4]
        errors, true = grid(rows, cols, stage, seed)
        decided += sure_and_wrong(blurred(errors, lattice, seed), true, lattice)[0] > 0
    assert decided <= 4


def test_what_all_pairs_of_a_side_have_in_common_is_taken_off() -> None:
    lattice = vectors("squares", 20.0, 0.3)
    errors, true = grid(4, 5, 2.0, 1, 40 * TURNED)
    sure, wrong = sure_and_wrong(blurred(errors, lattice, 1), true, lattice)
    assert sure > 0.8
    assert wrong == 0


def test_pairs_that_the_pixels_decided_show_the_others() -> None:
    lattice = vectors("squares", 20.0, 0.3)
    errors, true = grid(4, 5, 2.0, 1, 300 * TURNED)  # more than a period
    decided = np.arange(len(true)) % 4 == 0
    assert sure_and_wrong(blurred(errors._replace(decided=decided), lattice, 1), true, lattice) == (1.0, 0.0)


def test_the_probability_of_a_tie_falls_to_that_of_any_offset() -> None:
    lattice = vectors("squares", 20.0)
    left = np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 9.9], [0.0, 0.0]])
    found = tie_probability(left, lattice, np.array([1.0, 6.0, 1.0, np.inf]))
    assert found[0] > 0.999
    assert 0.5 < found[1] < found[0]
    assert found[2] == pytest.approx(0.5, abs=0.05)
    assert found[3] == pytest.approx(1 / 9)


def test_the_bound_is_above_the_scatter() -> None:
    """In 99 of 100 samples."""
    lattice, rng = vectors("squares", 20.0), np.random.default_rng(1)
    bounds = np.array([spread_bound(rng.normal(0, 2.0, (6, 2)), lattice) for _ in range(400)])
    assert (bounds >= 0.1).mean() > 0.97
    assert np.median(bounds) < 0.25


def test_the_common_part_is_found_across_the_edge_of_the_cell() -> None:
    lattice = vectors("squares", 20.0)
    errors = np.array([[9.0, 1.0], [-10.0, 2.0], [-10.5, 0.0], [29.5, 21.0]])
    found = common_part(errors, lattice)
    assert min(abs(found[0] - 9.5), abs(found[0] + 10.5)) < 0.2
    assert found[1] == pytest.approx(1.0, abs=0.1)


def test_a_pair_that_the_pixels_decided_one_period_off_leaves_the_others_ambiguous() -> None:
    """The overlap was told wrong by about a period, and too few pairs were decided to show where the others are."""
    lattice = vectors("squares", 20.0, 0.3)
    errors, true = grid(6, 8, 4.5, 1)
    shifted = true + np.where(errors.side[:, None] == "down", lattice[0], 0.0)
    decided = np.zeros(len(true), bool)
    decided[np.flatnonzero(errors.side == "down")[:2]] = True
    wrong = blurred(errors._replace(error=shifted, decided=decided), lattice, 1)
    assert sure_and_wrong(wrong, shifted, lattice)[1] == 0
