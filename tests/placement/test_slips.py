"""Slips of the stage: pairs that agree win over where the stage says, and what no pair supports is said to be uncertain."""

import numpy as np
import pytest
from support.pair_graphs import Graph, make_graph
from support.slips import KINDS, slipped_graph, with_wrong_pairs

from dlir.core import affine
from dlir.placement.measurements import measurements
from dlir.placement.slips import find_slips
from dlir.placement.solver import Solution, initial_stage, solve
from dlir.placement.stage_model import Stage

TRANSLATION = np.empty(0)


def solved(graph: Graph) -> Solution[Stage]:
    measured = measurements(graph.tiles, graph.pairs)
    return solve(measured, initial_stage(graph.tiles, measured), TRANSLATION)


def error(graph: Graph) -> np.ndarray:
    """The error (n,), px, of the place of each tile."""
    return graph.error(affine.translation(solved(graph).places))


def without(graph: Graph, tiles: list[int]) -> Graph:
    """The graph without the pairs of these tiles."""
    of_tile = graph.pairs[["fixed", "moving"]].isin([tile + 10 for tile in tiles]).any(axis=1)
    return graph._replace(pairs=graph.pairs[~of_tile].reset_index(drop=True))


@pytest.mark.parametrize("slip", [5.0, 20.0, 60.0, 200.0])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "cols", "stage_error"), [(2, 3, 0.5), (4, 4, 5.0), (6, 8, 2.0)])
def test_pairs_that_agree_win_over_the_stage(rows: int, cols: int, stage_error: float, kind: str, slip: float) -> None:
    assert error(slipped_graph(kind, rows, cols, slip, stage_error=stage_error, seed=3)).max() < 0.1


@pytest.mark.parametrize("slip", [20.0, 100.0])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "cols"), [(4, 4), (6, 8)])
def test_wrong_pairs_beside_a_slip_move_hardly_any_tile(rows: int, cols: int, kind: str, slip: float) -> None:
    graph = with_wrong_pairs(slipped_graph(kind, rows, cols, slip, stage_error=2.0, seed=3), 0.1, seed=3)
    assert np.sum(error(graph) > 2) <= rows * cols / 16


@pytest.mark.parametrize("seed", range(4))
def test_normal_errors_and_wrong_pairs_are_no_slip(seed: int) -> None:
    graph = with_wrong_pairs(make_graph(8, 10, seed=seed), 0.1, seed)
    measured = measurements(graph.tiles, graph.pairs)
    found = find_slips(measured, initial_stage(graph.tiles, measured), TRANSLATION)
    assert (found.shift != 0).any(axis=1).mean() < 0.05


def test_the_stage_is_as_exact_as_it_is_within_its_parts() -> None:
    errors = [solved(slipped_graph("half", 6, 8, 100.0, stage_error=3.0, seed=seed)).stage.error for seed in range(10)]
    assert np.mean(errors) == pytest.approx(3.0, rel=0.1)


def test_the_slip_is_told_of_the_smaller_part() -> None:
    graph = slipped_graph("row", 6, 8, 45.0, stage_error=1.0, seed=1)
    slip, row = solved(graph).slip, graph.tiles["row"].to_numpy()
    slipped = (slip != 0).any(axis=1)
    assert len(set(row[slipped])) == 1 and slipped.sum() == 8
    assert np.linalg.norm(slip[slipped], axis=1) == pytest.approx(45.0, abs=2.0)


def test_a_blank_tile_goes_with_the_part_around_it() -> None:
    """Deep in a part its place is known; at the border of a part it may belong to either, and its deviation says so."""
    graph = slipped_graph("half", 6, 8, 100.0, stage_error=3.0, seed=2)
    inside, border = 5 * 8 + 3, 3 * 8 + 5
    solution = solved(without(graph, [inside, border]))
    errors = graph.error(affine.translation(solution.places))
    assert errors[[inside, border]].max() < 4 * 3.0
    assert np.delete(errors, [inside, border]).max() < 0.1
    assert solution.deviation[border] > 25.0
    assert np.delete(solution.deviation, [inside, border]).max() < 2.0


def test_a_group_of_tiles_goes_with_the_part_around_it() -> None:
    graph = slipped_graph("half", 6, 8, 100.0, stage_error=1.0, seed=2)
    edge = graph.pairs[["fixed", "moving"]].isin([10 + 38, 10 + 39, 10 + 46, 10 + 47])
    solution = solved(graph._replace(pairs=graph.pairs[edge.all(axis=1) | ~edge.any(axis=1)]))
    assert graph.error(affine.translation(solution.places)).max() < 5.0
    assert set(solution.group[[38, 39, 46, 47]]) == {1} and (np.delete(solution.group, [38, 39, 46, 47]) == 0).all()


@pytest.mark.parametrize(("confidence", "believed"), [(0.9999, True), (0.95, False)])
@pytest.mark.parametrize("kind", ["tile", "chain"])
def test_a_single_pair_shows_a_slip_where_it_is_surer_than_the_stage(kind: str, confidence: float, believed: bool) -> None:
    """Whichever is believed, the deviation holds the other."""
    if kind == "tile":
        graph = make_graph(4, 5, noise=0.03, stage_error=2.0)
        graph = graph._replace(pairs=graph.pairs[(graph.pairs["fixed"] != 24)].reset_index(drop=True))
        moved, pair = [19], graph.pairs.index[graph.pairs["moving"] == 29]
    else:
        graph = make_graph(1, 9, noise=0.03, stage_error=2.0)
        moved, pair = [6, 7, 8], graph.pairs.index[graph.pairs["moving"] == 16]
    assert len(pair) == 1
    graph.tiles.loc[moved, ["y", "x"]] += [60.0, -80.0]
    graph.pairs.loc[pair, "confidence"] = confidence
    solution = solved(graph)
    errors = graph.error(affine.translation(solution.places))
    if believed:
        assert errors.max() < 0.3
    else:
        assert errors[moved].min() > 80.0
    assert 5.0 < solution.deviation[moved].max() < 100.0
    assert solution.overruled[pair].any() != believed


def test_pairs_along_an_edge_show_no_slip() -> None:
    """Along the edge, pairs that agree by chance know less than the stage."""
    graph = make_graph(4, 5, stage_error=1.0)
    graph.pairs[["var_y", "cov_yx", "var_x"]] = [50.0**2, 0.0, 0.05**2]
    graph.pairs.loc[graph.pairs["side"] == "down", "y0"] += np.repeat([0.0, 60.0, 0.0], 5)
    measured = measurements(graph.tiles, graph.pairs)
    assert not find_slips(measured, initial_stage(graph.tiles, measured), TRANSLATION).shift.any()
