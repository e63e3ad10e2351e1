"""The solver: exact on exact pairs, deaf to wrong ones, faithful to the stage where nothing else speaks, and without drift."""

import numpy as np
import pandas as pd
import pytest
from support.pair_graphs import Graph, make_graph

from dlir.core import affine
from dlir.placement.solver import BASIS, FREE_PARTS, Solution, initial_stage, measurements, solve
from dlir.placement.stage_model import DEFAULT_ERROR, FLOOR

NONE = np.empty(0)


def solved(graph: Graph, spread: np.ndarray = NONE) -> Solution:
    known = measurements(graph.tiles, graph.pairs)
    return solve(known, initial_stage(graph.tiles, known), spread)


def error(graph: Graph, spread: np.ndarray = NONE) -> np.ndarray:
    return graph.error(affine.translation(solved(graph, spread).places))


def test_good_pairs_place_all_tiles() -> None:
    assert error(make_graph(6, 8)).max() < 0.4


@pytest.mark.parametrize("seed", range(5))
def test_a_fifth_of_wrong_pairs_moves_only_tiles_that_hang_on_them(seed: int) -> None:
    graph, rng = make_graph(8, 10, seed=seed), np.random.default_rng(seed)
    wrong = rng.permutation(len(graph.pairs))[: len(graph.pairs) // 5]
    graph.pairs.loc[wrong, ["y0", "x0"]] += rng.uniform(-25, 25, (len(wrong), 2))
    right = graph.pairs.drop(index=wrong)
    held = np.bincount(np.concatenate([right["fixed"], right["moving"]]) - 10, minlength=len(graph.tiles)) >= 3
    apart = error(graph)
    assert np.mean(apart[held] > 0.6) < 0.03
    assert apart.max() < 30
    weight = solved(graph).weight
    assert np.median(weight[wrong]) < 0.05 < 0.5 < np.median(weight[right.index])


def test_more_rounds_would_move_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, rng = make_graph(8, 10, stage_error=25.0), np.random.default_rng(0)
    graph.pairs.loc[::9, ["y0", "x0"]] += rng.uniform(-60, 60, (len(graph.pairs.loc[::9]), 2))
    places = solved(graph).places
    monkeypatch.setattr("dlir.placement.solver.ROUNDS", 200)
    monkeypatch.setattr("dlir.placement.solver.STILL", 0.0)
    np.testing.assert_allclose(places, solved(graph).places, atol=0.01)


def test_a_sure_pair_outvotes_two_that_are_not() -> None:
    """A row of tiles hangs on one exact pair, and on two doubtful ones that agree on another place."""
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
    apart = error(graph)
    assert apart[alone] < 3.5 * 3.0
    assert np.delete(apart, alone).max() < 0.5
    deviation = solved(graph).deviation
    assert deviation[alone] > 5 * np.delete(deviation, alone).max()


def test_the_deviation_is_that_of_the_errors() -> None:
    """Of the places against the mean of all, over many noises; few and many tiles are reckoned differently."""
    told = solved(make_graph(6, 8)).deviation
    seen = np.sqrt(np.mean([error(make_graph(6, 8, seed=seed)) ** 2 for seed in range(40)], axis=0))
    assert 0.5 < np.median(seen / told) < 1.3
    assert np.corrcoef(seen, told)[0, 1] > 0.5
    many = solved(make_graph(24, 24)).deviation
    assert many.mean() == pytest.approx(told.mean(), rel=0.6)


def test_too_sure_pairs_are_believed_less() -> None:
    graphs = [make_graph(6, 8, noise=0.5, seed=seed) for seed in range(8)]
    sure = [graph._replace(pairs=graph.pairs.assign(var_y=0.0025, var_x=0.0025)) for graph in graphs]
    assert np.median([error(graph) for graph in sure]) < 1.3 * np.median([error(graph) for graph in graphs])


def test_no_pair_at_all_gives_the_stage() -> None:
    graph = make_graph(2, 2)
    solution = solved(graph._replace(pairs=graph.pairs[:0]))
    assert (solution.stage.to_camera == np.eye(2)).all() and (solution.stage.error == DEFAULT_ERROR).all()
    assert solution.places == pytest.approx(graph.tiles[["y", "x"]].to_numpy())


def test_a_pair_is_measured_where_it_is_sure() -> None:
    """A turn about that point says nothing of the offset there, however far it moves the tile's corner."""
    graph = make_graph(1, 2)
    turn = np.deg2rad(0.5)
    linear = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    centre, offset = np.array([100.0, 10.0]), np.array([1.5, 183.0])
    moved = np.c_[linear, centre + offset - linear @ centre][None]
    row = graph.pairs.assign(**affine.to_columns(moved), centre_y=100.0, centre_x=10.0, var_y=0.01, confidence=0.5)
    found = measurements(graph.tiles, row)
    assert found.offset[0] == pytest.approx(offset)
    assert (found.i.tolist(), found.j.tolist()) == ([0], [1])
    assert np.diag(found.covariance[0]) == pytest.approx((0.01 + FLOOR**2) / 0.5)
    assert found.linear[0] == pytest.approx([np.sin(turn), np.cos(turn) - 1, 0, 0])


def test_a_single_row_of_tiles_is_placed() -> None:
    graph = make_graph(1, 6, stage_error=3.0)
    assert error(graph).max() < 0.5
    assert solved(graph).stage.to_camera[0, 0] == 1


def test_turned_and_scaled_tiles_are_found() -> None:
    spread = np.array([0.005, 0.004, 0.001, 0.001])
    graph = make_graph(6, 8, noise=0.02, linear=tuple(spread))
    solution = solved(graph, spread)
    linear = np.eye(2) + np.einsum("nk,kab->nab", solution.linear, BASIS)
    apart = linear - graph.truth[:, :, :2]
    assert np.abs(apart - apart.mean(axis=0)).max() < 0.0012
    assert solution.residual.std() < 0.03


@pytest.mark.parametrize("free", FREE_PARTS.values())
def test_no_model_drifts_on_tiles_that_are_not_distorted(free: int) -> None:
    graphs = [make_graph(10, 10, seed=seed) for seed in range(4)]
    plain, model = (np.mean([error(graph, np.full(k, 1e-6)) for graph in graphs]) for k in (0, free))
    assert model < 1.1 * plain


def test_equal_inputs_give_equal_places() -> None:
    graph = make_graph(6, 8)
    assert (solved(graph).places == solved(graph).places).all()
    shuffled = graph._replace(pairs=pd.DataFrame(graph.pairs.sample(frac=1, random_state=1)))
    assert solved(shuffled).places == pytest.approx(solved(graph).places, abs=1e-6)
