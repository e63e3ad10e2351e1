"""The tile model: the pairs show which linear parts of the tiles are real."""

import numpy as np
import pandas as pd
import pytest
from support.pair_graphs import STEP, Graph, make_graph

from dlir.core import affine
from dlir.core.affine import BASIS
from dlir.core.tables import LINEAR_COVARIANCE
from dlir.placement import tile_model
from dlir.placement.measurements import measurements
from dlir.placement.solver import initial_stage, solve
from dlir.placement.tile_model import calibrated, choose, choose_model


@pytest.mark.parametrize(
    ("linear", "free"),
    [
        ((0, 0, 0, 0), 0),
        ((0.004, 0, 0, 0), 1),
        ((0.004, 0.003, 0, 0), 2),
        ((0.004, 0.003, 0.002, 0.002), 4),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_the_chosen_model_is_that_of_the_tiles(linear: tuple[float, ...], free: int, seed: int) -> None:
    graph = make_graph(6, 7, linear=linear, seed=seed)
    deviations = choose(measurements(graph.tiles, graph.pairs), len(graph.tiles)).deviations
    assert len(deviations) == free
    assert deviations == pytest.approx(linear[:free], rel=0.5)


@pytest.mark.parametrize("claimed", [0.1, 3.0, 10.0])
def test_turned_tiles_are_found_where_covariances_are_too_large(claimed: float) -> None:
    """Covariances that are too large become smaller; those that are too small stay."""
    graph = make_graph(6, 7, linear=(0.004, 0.003, 0, 0))
    wide = graph.pairs.assign(**{name: claimed**2 * graph.pairs[name] for name in LINEAR_COVARIANCE})
    measured = measurements(graph.tiles, wide)
    found = calibrated(measured, len(graph.tiles)).linear_covariance[0].diagonal() / measured.linear_covariance[0].diagonal()
    assert claimed**2 * found == pytest.approx([min(1.0, claimed) ** 2] * 4, rel=0.6)
    assert len(choose(calibrated(measured, len(graph.tiles)), len(graph.tiles)).deviations) == 2 or claimed < 1


def test_errors_that_cancel_around_two_loops_are_not_taken_for_affines_of_tiles() -> None:
    """A grid of 2 x 3 tiles has only two loops of pairs, around which errors often cancel by chance."""
    graphs = [make_graph(2, 3, noise=0.02, seed=seed) for seed in range(10)]
    names = [choose_model(measurements(graph.tiles, graph.pairs), 6)[1].name for graph in graphs]
    assert names.count("translation") >= 8


@pytest.mark.parametrize("shape", [(2, 3), (3, 3)])
def test_turned_and_scaled_tiles_of_a_small_grid_are_found(shape: tuple[int, int]) -> None:
    graphs = [make_graph(*shape, linear=(0.004, 0.003, 0, 0), seed=seed) for seed in range(5)]
    found = [choose_model(measurements(graph.tiles, graph.pairs), len(graph.tiles))[1].deviations for graph in graphs]
    assert sum(len(deviations) > 0 for deviations in found) >= 4


def scaled_beside_wrong_pairs(seed: int, count: int, scale: float) -> tuple[Graph, np.ndarray]:
    """A graph of turned and scaled tiles, and which pairs, `count` of them, measure the scale along x wrongly by `scale`."""
    graph = make_graph(5, 6, linear=(0.005, 0.003, 0, 0), seed=seed)
    wrong = np.random.default_rng(seed).permutation(len(graph.pairs))[:count]
    graph.pairs.loc[wrong, "xx"] += scale
    graph.pairs.loc[wrong, "x0"] -= scale * graph.pairs.loc[wrong, "centre_x"]
    return graph, wrong


@pytest.mark.parametrize("seed", range(8, 12))
def test_scaled_tiles_are_found_beside_wrong_pairs_of_small_covariance(seed: int) -> None:
    """A few pairs measure the scale across their overlap wrongly, by five times the deviation of the tiles."""
    graph, wrong = scaled_beside_wrong_pairs(seed, count=3, scale=0.03)
    graph.pairs.loc[wrong, LINEAR_COVARIANCE] *= 10
    assert choose(calibrated(measurements(graph.tiles, graph.pairs), len(graph.tiles)), len(graph.tiles)).name == "similarity"


def test_turns_are_exact_where_the_model_has_no_shear() -> None:
    """In narrow overlaps, a pair does not show how much of the slant along them is a turn and how much a shear."""
    graph = make_graph(5, 6, noise=0.02, linear=(0.004, 0.003, 0, 0))
    slant = np.random.default_rng(0).normal(0, 0.003, len(graph.pairs))
    for side, name, shift, at in (("right", "yx", "y0", "centre_x"), ("down", "xy", "x0", "centre_y")):
        of_side = graph.pairs["side"] == side
        graph.pairs.loc[of_side, name] += slant[of_side]  # a turn and a shear that cancel along the overlap
        graph.pairs.loc[of_side, shift] -= slant[of_side] * graph.pairs.loc[of_side, at]
        graph.pairs.loc[of_side, f"cov_{name}_{name}"] += 0.003**2
    measured, model = choose_model(measurements(graph.tiles, graph.pairs), len(graph.tiles))
    assert model.name == "similarity"
    solution = solve(measured, initial_stage(graph.tiles, measured), model.deviations)
    true = np.einsum("kab,nab->nk", BASIS, graph.truth[:, :, :2]) / 2
    turn_error = (solution.linear - true)[:, 0]
    assert np.std(turn_error) < 1e-4


def test_a_part_of_very_many_tiles_is_enough_to_choose_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = make_graph(20, 20, linear=(0.004, 0.003, 0, 0))
    wide = graph.pairs.assign(**{name: 9 * graph.pairs[name] for name in LINEAR_COVARIANCE})
    monkeypatch.setattr(tile_model, "MOST_TILES", 200)
    measured = calibrated(measurements(graph.tiles, wide), 400)
    assert measured.linear_covariance[0].diagonal() == pytest.approx(graph.pairs[LINEAR_COVARIANCE[0]][0] / 2, rel=0.6)
    assert choose(measured, 400).deviations == pytest.approx((0.004, 0.003), rel=0.3)


@pytest.mark.parametrize("seed", range(8, 12))
def test_scaled_tiles_are_found_beside_two_pairs_that_are_entirely_wrong(seed: int) -> None:
    graph, _ = scaled_beside_wrong_pairs(seed, count=2, scale=0.1)
    _, model = choose_model(measurements(graph.tiles, graph.pairs), len(graph.tiles))
    assert model.name == "similarity"


@pytest.mark.parametrize("corner_to_corner", [False, True])
@pytest.mark.parametrize("turn", [0.0, 45.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_distortion_that_all_tiles_share_is_not_taken_for_affines_of_tiles(
    seed: int, turn: float, corner_to_corner: bool
) -> None:
    """A keystone makes each tile wider at one end, so the pairs compare a wide end with a narrow one, all alike."""
    graph = make_graph(3, 3, noise=0.02, turn=turn, seed=seed)
    if corner_to_corner:
        graph = graph._replace(pairs=with_corners(graph))
    rng = np.random.default_rng(seed)
    change = 0.012 / STEP * measurements(graph.tiles, graph.pairs).offset
    at = graph.pairs[["centre_y", "centre_x"]].to_numpy()
    for name, shift, axis, by in (("xx", "x0", 1, 0), ("xy", "x0", 0, 1), ("yy", "y0", 0, 0)):
        part = change[:, by] + rng.normal(0, 1e-4, len(graph.pairs))
        graph.pairs[name] += part
        graph.pairs[shift] -= part * at[:, axis]
    measured = measurements(graph.tiles, graph.pairs)
    measured, model = choose_model(measured, len(graph.tiles))
    assert model.name == "translation"
    solution = solve(measured, initial_stage(graph.tiles, measured), model.deviations)
    assert graph.error(np.c_[graph.truth[:, :, :2], solution.places[:, :, None]]).max() < 0.3


def with_corners(graph: Graph) -> pd.DataFrame:
    """The pairs of the graph, and pairs of tiles that meet at a corner, as those of the two neighbours in between show them."""
    pairs = graph.pairs
    across = pairs[pairs["side"] == "right"].merge(pairs[pairs["side"] == "down"], left_on="moving", right_on="fixed")
    both = [affine.from_table(across.filter(like=end).rename(columns=lambda name: name[:-2])) for end in ("_x", "_y")]
    corner = pairs.iloc[: len(across)].assign(fixed=across["fixed_x"], moving=across["moving_y"], side="right")
    corner = corner.assign(**affine.to_columns(affine.compose(*both)), centre_y=10.0, centre_x=10.0)
    return pd.concat([pairs, corner], ignore_index=True)
