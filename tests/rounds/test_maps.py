"""The maps of rounds: exact, robust, without aspect and shear that nothing shows, and with islands that the stage misplaced."""

import numpy as np
import pytest
from support.round_graphs import Rounds, Shape, coarse_maps, make_rounds

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.placement.settings import Place
from dlir.rounds.common_frame import numbered
from dlir.rounds.maps import OwnTiles, fit_maps

TURNED = Shape(turn=4.0, scale=1.03, shift=(60.0, -80.0))


def own_tiles(made: Rounds) -> list[OwnTiles]:
    found = []
    for each in made.rounds:
        table, size = each.own_placement(Place()), tables.sizes(each.tiles)
        affines = affine.from_table(table)
        middles = affine.apply(affines, (size - 1)[:, None] / 2)[:, 0]
        found.append(OwnTiles(affines, middles, table["deviation"].to_numpy(), table["group"].to_numpy(), 1600.0))
    return found


def fitted(made: Rounds) -> Array:
    between = numbered(made.between, [each.name for each in made.rounds], [each.tiles for each in made.rounds])
    return fit_maps(own_tiles(made), between, affine.from_table(made.maps), np.array([0.0, *[3.0] * (len(made.rounds) - 1)]))


def linear_error(made: Rounds, maps: Array) -> float:
    """The largest entry by which the linear parts of the maps are off."""
    truth = np.stack([of[0, :, :2] for of in made.truth])
    return float(np.abs(maps[:, :, :2] - truth).max())


def test_exact_pairs_show_the_maps_exactly() -> None:
    made = make_rounds(Shape(), TURNED._replace(shear=0.002), Shape(turn=-2.0, rows=3, cols=3), noise=0.0, coarse=20.0)
    assert linear_error(made, fitted(made)) < 2e-6


def test_a_tenth_of_wrong_pairs_does_no_harm() -> None:
    made = make_rounds(Shape(), TURNED, Shape(turn=-2.0), wrong=0.1)
    maps = fitted(made)
    assert linear_error(made, maps) < 8e-5
    assert np.linalg.det(maps[1, :, :2]) == pytest.approx(1.03**2, rel=1e-4)
    assert maps[:, 0, 0] == pytest.approx(maps[:, 1, 1], abs=1e-9)  # neither aspect nor shear is clear
    assert maps[:, 0, 1] == pytest.approx(-maps[:, 1, 0], abs=1e-9)


def test_a_round_without_pairs_keeps_its_map() -> None:
    made = make_rounds(Shape(), TURNED, Shape(turn=-2.0))
    alone = made._replace(between=made.between[(made.between["moving_round"] == "R2")].reset_index(drop=True))
    maps, told = fitted(alone), affine.from_table(made.maps)
    assert maps[2] == pytest.approx(told[2], abs=1e-9) and np.abs(maps[1] - told[1]).max() > 1e-4
    assert fitted(made._replace(between=made.between[:0])) == pytest.approx(told)


def test_islands_that_the_stage_misplaced_do_not_shear_the_map() -> None:
    made = make_rounds(Shape(), TURNED, wrong=0.05)
    tiles, pairs = made.rounds[1].tiles.copy(), made.rounds[1].affines
    part = tiles["col"].to_numpy() // 2
    tiles["x"] += np.array([0.0, 40.0, 15.0])[part]
    inside = part[pairs["fixed"]] == part[pairs["moving"]]
    rounds = [made.rounds[0], made.rounds[1]._replace(tiles=tiles, affines=pairs[inside].reset_index(drop=True))]
    made = made._replace(rounds=rounds, maps=coarse_maps(rounds, made.truth, 5.0, "pixels", np.random.default_rng(0)))
    assert linear_error(made, fitted(made)) < 8e-5
