"""The stage model: its map to the camera, its error, its backlash, and their uncertainty."""

import numpy as np
import pytest
from support.pair_graphs import make_graph

from dlir.placement.measurements import measurements
from dlir.placement.settings import Camera
from dlir.placement.solver import initial_stage, solve
from dlir.placement.stage_model import Stage, turn_of


def stage_of(camera: Camera | None = None, **keys: float) -> Stage:
    """The stage model after a solution for a grid that `make_graph` makes with these keys."""
    graph = make_graph(6, 8, **keys)  # type: ignore[arg-type]
    measured = measurements(graph.tiles, graph.pairs)
    return solve(measured, initial_stage(graph.tiles, measured, camera), np.empty(0)).stage


def test_turn_and_scale_of_the_camera_are_found_beside_the_error_of_the_stage() -> None:
    stage = stage_of(stage_error=1.0, turn=1.0, scale=1.002)
    assert np.degrees(turn_of(stage.measured).rotation) == pytest.approx(1.0, abs=0.06)
    assert turn_of(stage.measured).scale == pytest.approx(1.002, abs=0.001)
    assert stage.error == pytest.approx(1.0, rel=0.35)


@pytest.mark.parametrize("share", [1.0, pytest.param(0.45, marks=pytest.mark.slow)])
def test_the_interval_contains_the_truth_as_often_as_it_should(share: float) -> None:
    """Also where so few pairs are left that many groups of tiles are small."""
    stages = []
    for seed in range(60):
        graph = make_graph(6, 8, stage_error=3.0, turn=0.5, seed=seed)
        measured = measurements(graph.tiles, graph.pairs.sample(frac=share, random_state=seed))
        stages.append(solve(measured, initial_stage(graph.tiles, measured), np.empty(0)).stage)
    errors = np.array([turn_of(s.measured) for s in stages]) - [np.radians(0.5), 1, 0]
    inside = np.abs(errors) < np.array([s.interval for s in stages])
    assert ((inside.mean(axis=0) > 0.85) & (inside.mean(axis=0) <= 1)).all()
    assert (np.abs(errors) > 0.3 * np.array([s.interval for s in stages])).mean() > 0.3  # nor is it too wide


def test_a_few_tiles_where_the_stage_slips_change_neither_its_map_nor_its_error() -> None:
    inside, errors = [], []
    for seed in range(20):
        graph, random = make_graph(6, 8, stage_error=3.0, turn=0.5, seed=seed), np.random.default_rng(seed)
        slipped = random.permutation(len(graph.tiles))[:8]
        graph.tiles.loc[slipped, ["y", "x"]] += random.normal(0, 60, (8, 2))
        measured = measurements(graph.tiles, graph.pairs)
        stage = solve(measured, initial_stage(graph.tiles, measured), np.empty(0)).stage
        inside.append(np.abs(np.array(turn_of(stage.measured)) - [np.radians(0.5), 1, 0]) < stage.interval)
        errors.append(stage.error)
    assert np.mean(inside) > 0.85
    assert np.mean(errors) == pytest.approx(3.0, rel=0.15)


def test_the_error_is_found_as_exactly_as_the_number_of_tiles_allows() -> None:
    errors = np.array([stage_of(stage_error=3.0, seed=seed).error for seed in range(40)])
    assert errors.mean() == pytest.approx(3.0, rel=0.05)
    # 48 normal numbers show their deviation to 1 / sqrt(2 * 48)
    assert np.sqrt(np.mean((errors / 3.0 - 1) ** 2)) < 1.2 / np.sqrt(2 * 48)


def test_backlash_is_found_beside_the_error_of_the_stage() -> None:
    stage = stage_of(stage_error=1.0, backlash=12.0)
    assert stage.backlash[0] == pytest.approx([0, 12], abs=1.2)
    assert stage.error == pytest.approx(1.0, rel=0.4)


def test_a_camera_that_the_user_knows_is_not_fitted() -> None:
    stage = stage_of(Camera(rotation=0.7, scale=1.01), stage_error=3.0)
    assert np.degrees(turn_of(stage.measured).rotation) == pytest.approx(0.7)
    assert turn_of(stage.measured).scale == pytest.approx(1.01)
    assert (stage.interval == 0).all()


def test_three_tiles_do_not_make_the_stage_seem_exact() -> None:
    """The two pairs between them may agree along one axis by chance."""
    smaller = []
    for seed in range(30):
        graph = make_graph(1, 3, stage_error=3.0, seed=seed)
        measured = measurements(graph.tiles, graph.pairs)
        smaller.append(solve(measured, initial_stage(graph.tiles, measured), np.empty(0)).stage.error.min())
    assert np.quantile(smaller, 0.1) > 0.4 * 3.0
