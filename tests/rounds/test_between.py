"""Pairs of tiles of two rounds: pieces that both show, turned, registered, and given back as affines of the tiles."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from support.acquisitions import acquired, pair_error, true_map

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.core.lens import NO_LENSES, Lens
from dlir.registration.model.checkpoint import GENERIC
from dlir.registration.model.methods import load_method
from dlir.registration.settings import Register
from dlir.rounds.between import Registration, register_rounds
from dlir.rounds.inputs import PlacedRound
from dlir.rounds.pictures import picture
from dlir.rounds.pieces import common_structure, find_pieces
from dlir.rounds.turned import turned, turning

SIDE = 192  # px
TURN, SCALE, SHIFT = 3.0, 1.02, (30.0, -20.0)
CPU = torch.device("cpu")


class Two(NamedTuple):
    """Two rounds, and the true map of the second."""

    first: PlacedRound
    second: PlacedRound
    true: Array


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Two:
    folder, true = tmp_path_factory.mktemp("specimen"), true_map(TURN, SCALE, SHIFT)
    second = acquired(folder / "R2", true, light=0.5, debris=1, blank=(5,), seed=2)
    return Two(acquired(folder / "R1", true_map()), second, true)


def pieces_of(two: Two) -> pd.DataFrame:
    first, second = (picture(each.round.planes(), each.round.tiles, each.placement, 2) for each in two[:2])
    common = common_structure(first.prepared(), second, two.true)
    return find_pieces(two.first, two.second, (true_map(), two.true), common, list(range(6)))


def test_pieces_lie_in_both_tiles_and_show_what_both_share(two: Two) -> None:
    pieces = pieces_of(two)
    assert set(pieces["tile"]) == set(range(6))
    both = turned(two.first, two.second, (true_map(), two.true), pieces)
    planes, first = both.planes, len(both.tiles) - len(pieces)
    for number, piece in enumerate(pieces.to_dict("records")):
        here = planes.plane(first + number)
        y, x = np.rint(both.tiles[["y", "x"]].to_numpy()[first + number] - both.tiles[["y", "x"]].to_numpy()[piece["fixed"]])
        assert min(y, x) >= 0
        there = planes.plane(piece["fixed"], slice(int(y), int(y) + piece["side"]), slice(int(x), int(x) + piece["side"]))
        assert there.shape == here.shape == (piece["side"],) * 2
        if piece["tile"] != 5:
            assert np.corrcoef(np.clip(here, 2000, 4500).ravel(), np.clip(there, 2000, 4500).ravel())[0, 1] > 0.5


def test_a_tile_far_from_the_other_round_has_no_piece(two: Two) -> None:
    first, second = (picture(each.round.planes(), each.round.tiles, each.placement, 2) for each in two[:2])
    away = true_map(TURN, SCALE, (5000.0, 0.0))
    assert find_pieces(two.first, two.second, (true_map(), away), common_structure(first, second, away), [0, 5]).empty


def test_the_piece_with_most_in_common_is_taken_first(two: Two) -> None:
    first, second = (picture(each.round.planes(), each.round.tiles, each.placement, 2) for each in two[:2])
    common = common_structure(first.prepared(), second, two.true)
    image = np.zeros_like(common.image)
    spot = np.rint(affine.apply(two.true, np.array([[100.0, 240.0]]))[0] / 2).astype(int)  # px of the picture, in tile 1
    image[spot[0] - 8 : spot[0] + 8, spot[1] - 8 : spot[1] + 8] = 1
    pieces = find_pieces(two.first, two.second, (true_map(), two.true), common._replace(image=image), [1])
    place = turned(two.first, two.second, (true_map(), two.true), pieces).tiles.iloc[6][["y", "x"]].to_numpy(float)
    assert (place < 2 * spot - 10).all()
    assert (2 * spot + 10 < place + pieces["side"][0]).all()


def test_a_tile_is_turned_about_its_middle_through_its_lens(two: Two) -> None:
    tiles, linear = two.second.round.tiles, two.true[:, :2]
    own = {0: Lens.of((SIDE, SIDE), [(3.0, -2.0)], [(2, 0)])}
    middle = (np.array([SIDE, SIDE]) - 1) / 2
    points = affine.corners(SIDE, SIDE) * 0.5 + 40
    back = (points - middle) @ np.linalg.inv(linear).T + middle
    assert turning(NO_LENSES, tiles, linear)[0].to_raw(points) == pytest.approx(back, abs=1e-9)
    assert turning(own, tiles, linear)[0].to_raw(points) == pytest.approx(own[0].to_raw(back), abs=1e-6)
    assert turning(own, tiles, np.eye(2)) is own


@pytest.mark.parametrize("wrong", [(0.0, 0.0), (9.0, -7.0)])
def test_tiles_are_registered_exactly_also_from_a_rough_map(two: Two, wrong: tuple[float, float]) -> None:
    start = affine.compose(affine.translation(wrong), two.true)
    shown = {each.round.name: picture(each.round.planes(), each.round.tiles, each.placement, 2) for each in two[:2]}.__getitem__
    how = Registration(load_method("network", GENERIC, CPU), Register(), CPU, (), None)
    found, to_first = register_rounds(two.first, two.second, list(range(6)), {"R1": true_map(), "R2": start}, shown, how)
    tables.check(found.assign(pair=np.arange(len(found)))[list(tables.ROUND_PAIRS.columns)], tables.ROUND_PAIRS, Path("b.csv"))
    accepted = found[found["accepted"]]
    assert set(accepted["moving"]) == set(range(5))  # tile 5 is blank
    error = pair_error(accepted, (two.first, true_map()), (two.second, two.true))
    assert np.median(np.linalg.norm(error, axis=1)) < 0.1
    assert np.linalg.norm(error, axis=1).max() < 0.5
    square = np.einsum("na,nab,nb->n", error, np.linalg.inv(tables.shift_covariance(accepted)), error)
    assert np.median(square) < 3  # chi square with two degrees of freedom has the median 1.4
    linear = affine.from_table(accepted)[:, :, :2]
    assert np.abs(linear - two.true[:, :2]).max() < 0.004
    middle = np.array([[200.0, 250.0]])
    assert affine.apply(to_first, middle) == pytest.approx(affine.apply(two.true, middle), abs=0.15)


def test_estimates_are_kept_from_run_to_run(two: Two, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shown = {each.round.name: picture(each.round.planes(), each.round.tiles, each.placement, 2) for each in two[:2]}.__getitem__
    how = Registration(load_method("network", GENERIC, CPU), Register(), CPU, (), tmp_path)
    maps = {"R1": true_map(), "R2": two.true}
    once = register_rounds(two.first, two.second, [0, 1], maps, shown, how)[0]
    caplog.set_level("INFO")
    again = register_rounds(two.first, two.second, [0, 1], maps, shown, how)[0]
    pd.testing.assert_frame_equal(once, again)
    assert any("registering 0 of" in line for line in caplog.messages)
    assert not any("registering all" in line or "registering 1 of" in line for line in caplog.messages)
