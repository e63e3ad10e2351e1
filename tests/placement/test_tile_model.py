"""The model that the pairs call for."""

import numpy as np
import pytest
from support.pair_graphs import make_graph

from dlir.core.affine import BASIS
from dlir.core.tables import LINEAR_COVARIANCE
from dlir.placement import tile_model
from dlir.placement.solver import initial_stage, measurements, solve
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
def test_the_model_is_that_of_the_tiles(linear: tuple[float, ...], free: int, seed: int) -> None:
    graph = make_graph(6, 7, linear=linear, seed=seed)
    spread = choose(measurements(graph.tiles, graph.pairs), len(graph.tiles)).deviations
    assert len(spread) == free
    assert spread == pytest.approx(linear[:free], rel=0.5)


@pytest.mark.parametrize("claimed", [0.1, 3.0, 10.0])
def test_covariances_that_are_too_wide_hide_no_turned_tiles(claimed: float) -> None:
    """Pairs that say that their linear parts are ten times less sure than they are; those that claim more are believed."""
    graph = make_graph(6, 7, linear=(0.004, 0.003, 0, 0))
    wide = graph.pairs.assign(**{name: claimed**2 * graph.pairs[name] for name in LINEAR_COVARIANCE})
    known = measurements(graph.tiles, wide)
    found = calibrated(known, len(graph.tiles)).linear_covariance[0].diagonal() / known.linear_covariance[0].diagonal()
    assert claimed**2 * found == pytest.approx([min(1.0, claimed) ** 2] * 4, rel=0.6)
    assert len(choose(calibrated(known, len(graph.tiles)), len(graph.tiles)).deviations) == 2 or claimed < 1


@pytest.mark.parametrize("seed", range(8, 12))
def test_pairs_that_are_sure_and_wrong_hide_no_scaled_tiles(seed: int) -> None:
    """A few pairs misjudge the scale across their overlap by five times what the tiles differ in."""
    graph = make_graph(5, 6, linear=(0.005, 0.003, 0, 0), seed=seed)
    wrong = np.random.default_rng(seed).permutation(len(graph.pairs))[:3]
    graph.pairs.loc[wrong, "xx"] += 0.03
    graph.pairs.loc[wrong, "x0"] -= 0.03 * graph.pairs.loc[wrong, "centre_x"]
    graph.pairs.loc[wrong, LINEAR_COVARIANCE] *= 10
    assert choose(calibrated(measurements(graph.tiles, graph.pairs), len(graph.tiles)), len(graph.tiles)).name == "similarity"


def test_a_turn_is_told_from_a_shear_where_there_is_none() -> None:
    """Narrow overlaps: how much of the slant along them is a turn and how much a shear, the pairs do not know."""
    graph = make_graph(5, 6, noise=0.02, linear=(0.004, 0.003, 0, 0))
    unknown = np.random.default_rng(0).normal(0, 0.003, len(graph.pairs))
    for side, name, shift, at in (("right", "yx", "y0", "centre_x"), ("down", "xy", "x0", "centre_y")):
        here = graph.pairs["side"] == side
        graph.pairs.loc[here, name] += unknown[here]  # a turn and a shear that cancel along the overlap
        graph.pairs.loc[here, shift] -= unknown[here] * graph.pairs.loc[here, at]
        graph.pairs.loc[here, f"cov_{name}_{name}"] += 0.003**2
    known, model = choose_model(measurements(graph.tiles, graph.pairs), len(graph.tiles))
    assert model.name == "similarity"
    solution = solve(known, initial_stage(graph.tiles, known), model.deviations)
    turned = np.einsum("kab,nab->nk", BASIS, graph.truth[:, :, :2]) / 2
    apart = (solution.linear - turned)[:, 0]
    assert np.std(apart) < 1e-4


def test_a_part_of_very_many_tiles_tells_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = make_graph(20, 20, linear=(0.004, 0.003, 0, 0))
    wide = graph.pairs.assign(**{name: 9 * graph.pairs[name] for name in LINEAR_COVARIANCE})
    monkeypatch.setattr(tile_model, "MANY", 200)
    known = calibrated(measurements(graph.tiles, wide), 400)
    assert known.linear_covariance[0].diagonal() == pytest.approx(graph.pairs[LINEAR_COVARIANCE[0]][0] / 2, rel=0.6)
    assert choose(known, 400).deviations == pytest.approx((0.004, 0.003), rel=0.3)
