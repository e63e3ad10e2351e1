"""The solver: exact on exact pairs, robust to wrong ones, true to the stage where there are no pairs, and without drift."""

import numpy as np
import pandas as pd
import pytest
from support.pair_graphs import Graph, make_graph

from dlir.core import affine
from dlir.core.affine import BASIS
from dlir.placement.measurements import measurements
from dlir.placement.solver import FREE_PARTS, Solution, initial_stage, solve
from dlir.placement.stage_model import DEFAULT_ERROR, LEAST_DEVIATION, Stage

TRANSLATION = np.empty(0)  # deviations of the free linear parts, of which there is none


def solved(graph: Graph, deviations: np.ndarray = TRANSLATION) -> Solution[Stage]:
    """The solution for tiles whose linear parts have these standard deviations."""
    measured = measurements(graph.tiles, graph.pairs)
    return solve(measured, initial_stage(graph.tiles, measured), deviations)


def error(graph: Graph, deviations: np.ndarray = TRANSLATION) -> np.ndarray:
    """The error (n,), px, of the place of each tile."""
    return graph.error(affine.translation(solved(graph, deviations).places))


def test_good_pairs_place_all_tiles() -> None:
    assert error(make_graph(6, 8)).max() < 0.4


@pytest.mark.parametrize("seed", range(5))
def test_a_fifth_of_wrong_pairs_moves_only_tiles_that_depend_on_them(seed: int) -> None:
    graph, rng = make_graph(8, 10, seed=seed), np.random.default_rng(seed)
    wrong = rng.permutation(len(graph.pairs))[: len(graph.pairs) // 5]
    graph.pairs.loc[wrong, ["y0", "x0"]] += rng.uniform(-25, 25, (len(wrong), 2))
    right = graph.pairs.drop(index=wrong)
    supported = np.bincount(np.concatenate([right["fixed"], right["moving"]]) - 10, minlength=len(graph.tiles)) >= 3
    errors = error(graph)
    assert np.mean(errors[supported] > 0.6) < 0.03
    assert errors.max() < 30
    overruled = solved(graph).overruled
    assert overruled[wrong].mean() > 0.5 and overruled[right.index].mean() < 0.1


def test_the_rounds_have_converged(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, rng = make_graph(8, 10, stage_error=25.0), np.random.default_rng(0)
    graph.pairs.loc[::9, ["y0", "x0"]] += rng.uniform(-60, 60, (len(graph.pairs.loc[::9]), 2))
    places = solved(graph).places
    monkeypatch.setattr("dlir.placement.solver.ROUNDS", 200)
    monkeypatch.setattr("dlir.placement.solver.CONVERGED", 0.0)
    np.testing.assert_allclose(places, solved(graph).places, atol=0.01)


def test_an_exact_pair_overrules_two_uncertain_ones() -> None:
    """One exact pair joins a row of tiles to the next row, and two uncertain pairs agree on another place."""
    graph = make_graph(3, 4)
    across = graph.pairs.index[(graph.pairs["side"] == "down") & (graph.pairs["fixed"] < 14)]
    doubtful = across[:2]
    graph.pairs.loc[doubtful, "y0"] += 20.0
    graph.pairs.loc[doubtful, ["confidence", "var_y", "var_x"]] = [0.6, 0.5, 0.5]
    graph = graph._replace(pairs=graph.pairs.drop(index=across[2]))
    assert error(graph).max() < 0.6


def test_a_tile_without_pairs_stays_where_the_stage_says() -> None:
    graph, alone = make_graph(5, 6, stage_error=3.0, turn=1.0), 14
    joined = ~graph.pairs[["fixed", "moving"]].isin([alone + 10]).any(axis=1)
    graph = graph._replace(pairs=graph.pairs[joined])
    errors = error(graph)
    assert errors[alone] < 3.5 * 3.0
    assert np.delete(errors, alone).max() < 0.5
    deviation = solved(graph).deviation
    assert deviation[alone] > 5 * np.delete(deviation, alone).max()


def test_the_deviation_is_that_of_the_errors() -> None:
    """The errors are those of the places relative to the mean of all; for many tiles the deviation is estimated."""
    deviation = solved(make_graph(6, 8)).deviation
    observed = np.sqrt(np.mean([error(make_graph(6, 8, seed=seed)) ** 2 for seed in range(40)], axis=0))
    assert 0.5 < np.median(observed / deviation) < 1.3
    assert np.corrcoef(observed, deviation)[0, 1] > 0.5
    many = solved(make_graph(24, 24)).deviation
    assert many.mean() == pytest.approx(deviation.mean(), rel=0.6)


def test_covariances_that_are_too_small_hardly_change_the_places() -> None:
    graphs = [make_graph(6, 8, noise=0.5, seed=seed) for seed in range(8)]
    too_certain = [graph._replace(pairs=graph.pairs.assign(var_y=0.0025, var_x=0.0025)) for graph in graphs]
    assert np.median([error(graph) for graph in too_certain]) < 1.3 * np.median([error(graph) for graph in graphs])


def test_without_pairs_the_tiles_lie_where_the_stage_says() -> None:
    graph = make_graph(2, 2)
    solution = solved(graph._replace(pairs=graph.pairs[:0]))
    assert (solution.stage.to_camera == np.eye(2)).all() and (solution.stage.error == DEFAULT_ERROR).all()
    assert solution.places == pytest.approx(graph.tiles[["y", "x"]].to_numpy())


def test_an_offset_is_measured_where_the_pair_is_most_certain() -> None:
    """A turn about that point does not change the offset there, however far it moves the corner of the tile."""
    graph = make_graph(1, 2)
    turn = np.deg2rad(0.5)
    linear = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    centre, offset = np.array([100.0, 10.0]), np.array([1.5, 183.0])
    moved = np.c_[linear, centre + offset - linear @ centre][None]
    row = graph.pairs.assign(**affine.to_columns(moved), centre_y=100.0, centre_x=10.0, var_y=0.01, confidence=0.5)
    found = measurements(graph.tiles, row)
    assert found.offset[0] == pytest.approx(offset)
    assert (found.i.tolist(), found.j.tolist()) == ([0], [1])
    assert np.diag(found.covariance[0]) == pytest.approx((0.01 + LEAST_DEVIATION**2) / 0.5)
    assert found.linear[0] == pytest.approx([np.sin(turn), np.cos(turn) - 1, 0, 0])


def test_a_single_row_of_tiles_is_placed() -> None:
    graph = make_graph(1, 6, stage_error=3.0)
    assert error(graph).max() < 0.5
    assert solved(graph).stage.to_camera[0, 0] == 1


def test_turned_and_scaled_tiles_are_found() -> None:
    deviations = np.array([0.005, 0.004, 0.001, 0.001])
    graph = make_graph(6, 8, noise=0.02, linear=tuple(deviations))
    solution = solved(graph, deviations)
    linear = np.eye(2) + np.einsum("nk,kab->nab", solution.linear, BASIS)
    linear_error = linear - graph.truth[:, :, :2]
    assert np.abs(linear_error - linear_error.mean(axis=0)).max() < 0.0012
    assert solution.residual.std() < 0.03


def test_free_linear_parts_do_not_make_undistorted_tiles_drift() -> None:
    graphs = [make_graph(10, 10, seed=seed) for seed in range(4)]
    found = {free: np.mean([error(graph, np.full(free, 1e-6)) for graph in graphs]) for free in FREE_PARTS.values()}
    assert found[0] > 0 and max(found.values()) < 1.1 * found[0]


def test_the_places_are_reproducible_and_do_not_depend_on_the_order_of_pairs() -> None:
    graph = make_graph(6, 8)
    assert (solved(graph).places == solved(graph).places).all()
    shuffled = graph._replace(pairs=pd.DataFrame(graph.pairs.sample(frac=1, random_state=1)))
    assert solved(shuffled).places == pytest.approx(solved(graph).places, abs=1e-6)


def test_a_tile_without_pairs_is_as_uncertain_as_the_stage() -> None:
    graph, alone = make_graph(6, 8, stage_error=3.0), 20
    joined = ~graph.pairs[["fixed", "moving"]].isin([alone + 10]).any(axis=1)
    deviation = solved(graph._replace(pairs=graph.pairs[joined])).deviation
    assert deviation[alone] == pytest.approx(3.0 * np.sqrt(2), rel=0.35)  # on both axes together


def test_the_deviation_says_that_the_only_pair_of_a_tile_may_be_wrong() -> None:
    graph, last = make_graph(4, 5, stage_error=8.0), 19
    only, other = graph.pairs.index[graph.pairs["moving"] == last + 10]
    graph.pairs.loc[only, ["x0", "confidence"]] = [graph.pairs.loc[only, "x0"] + 15.0, 0.9]
    graph = graph._replace(pairs=graph.pairs.drop(index=other))
    errors, deviation = error(graph), solved(graph).deviation
    assert errors[last] == pytest.approx(15.0, abs=1.0) and 15.0 / 3 < deviation[last] < 2 * 15.0
    assert np.delete(errors, last).max() < 0.5 and np.delete(deviation, last).max() < 1.5


def test_doubtful_pairs_that_support_each_other_make_no_tile_uncertain() -> None:
    sure, doubtful = make_graph(5, 6), make_graph(5, 6)
    doubtful.pairs["confidence"] = 0.7
    assert solved(sure).deviation.max() < solved(doubtful).deviation.max() < 0.8


def test_pairs_along_an_edge_leave_the_tile_to_the_stage_along_it_and_do_not_make_the_stage_seem_exact() -> None:
    graph = make_graph(4, 5, stage_error=4.0)
    graph.pairs[["var_y", "cov_yx", "var_x"]] = [50.0**2, 0.0, 0.05**2]  # all tiles show lines along y
    graph.pairs["y0"] += np.random.default_rng(0).normal(0, 50, len(graph.pairs))
    solution = solved(graph)
    off = graph.truth[:, :, 2] - affine.translation(solution.places)[:, :, 2]
    off -= np.median(off, axis=0)
    assert np.abs(off[:, 1]).max() < 1.0
    assert np.abs(off[:, 0]).max() < 15.0
    assert solution.stage.error[0] > 2.0
