"""Placement: exact on exact pairs, deaf to wrong ones, and faithful to the stage where nothing else speaks."""

import numpy as np
import pandas as pd
import pytest

from dlir.solve import DEFAULT_STAGE_ERROR, FLOOR, Offsets, offsets, solve


def grid_offsets(
    rows: int, cols: int, noise: float, stage_error: float, turn: float = 0.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, Offsets]:
    """True places (n, 2) in the camera's frame, the stage's places (n, 2), and the offsets of all neighbours."""
    rng = np.random.default_rng(seed)
    stage = np.stack(np.meshgrid(np.arange(rows), np.arange(cols), indexing="ij"), -1).reshape(-1, 2) * 200.0
    angle = np.deg2rad(turn)
    camera = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    true = (stage + rng.normal(0, stage_error, stage.shape)) @ camera.T
    index = np.arange(rows * cols).reshape(rows, cols)
    i = np.concatenate([index[:, :-1].ravel(), index[:-1].ravel()])
    j = np.concatenate([index[:, 1:].ravel(), index[1:].ravel()])
    offset = true[j] - true[i] + rng.normal(0, noise, (len(i), 2))
    covariance = np.tile(np.eye(2) * noise**2, (len(i), 1, 1))
    return true, stage, Offsets(i, j, offset, covariance, stage[j] - stage[i])


def error(places: np.ndarray, true: np.ndarray) -> np.ndarray:
    apart = places - true
    return np.linalg.norm(apart - np.median(apart, axis=0), axis=1)


def solved(stage: np.ndarray, offsets: Offsets) -> np.ndarray:
    return solve(offsets, stage)[0]


def test_good_pairs_place_all_tiles() -> None:
    true, stage, offsets = grid_offsets(6, 8, noise=0.1, stage_error=4.0)
    assert error(solved(stage, offsets), true).max() < 0.4


@pytest.mark.parametrize("seed", range(5))
def test_a_fifth_of_wrong_pairs_moves_only_tiles_that_hang_on_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    true, stage, offsets = grid_offsets(8, 10, noise=0.1, stage_error=4.0, seed=seed)
    wrong = rng.permutation(len(offsets.i))[: len(offsets.i) // 5]
    offsets.offset[wrong] += rng.uniform(-25, 25, (len(wrong), 2))
    right = np.setdiff1d(np.arange(len(offsets.i)), wrong)
    held = np.bincount(np.concatenate([offsets.i[right], offsets.j[right]]), minlength=len(true)) >= 3
    apart = error(solved(stage, offsets), true)
    assert np.mean(apart[held] > 0.6) < 0.03
    assert apart.max() < 30


def test_a_turned_camera_is_told_from_the_stages_error() -> None:
    _, stage, offsets = grid_offsets(6, 8, noise=0.1, stage_error=1.0, turn=1.0)
    _, to_camera, deviation = solve(offsets, stage)
    assert np.degrees(np.arcsin(to_camera[0, 1])) == pytest.approx(1.0, abs=0.06)
    assert deviation == pytest.approx(1.0, rel=0.35)


def test_a_tile_without_pairs_stays_where_the_stage_says() -> None:
    true, stage, offsets = grid_offsets(5, 6, noise=0.1, stage_error=3.0, turn=1.0)
    alone = 14
    keep = (offsets.i != alone) & (offsets.j != alone)
    places = solved(stage, Offsets(*(part[keep] for part in offsets)))
    assert error(places, true)[alone] < 3.5 * 3.0
    others = np.arange(len(true)) != alone
    assert error(places[others], true[others]).max() < 0.5


def test_too_sure_pairs_are_believed_less() -> None:
    true, stage, offsets = grid_offsets(6, 8, noise=0.5, stage_error=4.0)
    sure = offsets._replace(covariance=offsets.covariance / 100)
    assert np.median(error(solved(stage, sure), true)) < 1.3 * np.median(error(solved(stage, offsets), true))


def test_no_pair_at_all_gives_the_stage() -> None:
    _, stage, offsets = grid_offsets(2, 2, noise=0.1, stage_error=3.0)
    nothing = Offsets(*(part[:0] for part in offsets))
    places, to_camera, deviation = solve(nothing, stage)
    assert (to_camera == np.eye(2)).all() and deviation == DEFAULT_STAGE_ERROR
    assert places == pytest.approx(stage)


def test_a_pair_is_measured_at_the_middle_of_its_overlap() -> None:
    """A turn about the overlap's middle says nothing of the offset there, however far it moves the tile's corner."""
    tiles = pd.DataFrame({"tile": [4, 7], "y": [0.0, 0.0], "x": [0.0, 180.0]})
    turn = np.deg2rad(0.5)
    linear = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    centre, offset = np.array([100.0, 10.0]), np.array([1.5, 183.0])
    start = centre + offset - linear @ centre
    row = {"fixed": 4, "moving": 7, "yy": linear[0, 0], "yx": linear[0, 1], "y0": start[0], "xy": linear[1, 0],
           "xx": linear[1, 1], "x0": start[1], "centre_y": centre[0], "centre_x": centre[1], "var_y": 0.01,
           "cov_yx": 0.0, "var_x": 0.01, "confidence": 0.5}  # fmt: skip
    found = offsets(tiles, pd.DataFrame([row]))
    assert found.offset[0] == pytest.approx(offset)
    assert (found.i.tolist(), found.j.tolist()) == ([0], [1])
    assert np.diag(found.covariance[0]) == pytest.approx((0.01 + FLOOR**2) / 0.5)


def test_a_single_row_of_tiles_is_placed() -> None:
    true, stage, offsets = grid_offsets(1, 6, noise=0.1, stage_error=3.0)
    places, to_camera, _ = solve(offsets, stage)
    assert error(places, true).max() < 0.5
    assert to_camera[0, 0] == 1
