"""All rounds in one solve: exact against truth, robust to wrong pairs, and honest about what no pair tells."""

import logging

import numpy as np
import pandas as pd
import pytest
from support.round_graphs import Rounds, Shape, coarse_maps, make_rounds

from dlir.rounds.together import place_together

TURNED = Shape(turn=3.0, scale=1.02, shift=(60.0, -80.0)), Shape(turn=-5.0, scale=0.97, shift=(200.0, 130.0))


def placed(made: Rounds) -> pd.DataFrame:
    return place_together(made.rounds, made.maps, made.between)[0]


def of_round(made: Rounds, table: pd.DataFrame, number: int) -> pd.DataFrame:
    return table[table["round"] == made.rounds[number].name].reset_index(drop=True)


def without_pairs_of(made: Rounds, name: str, but: int = 0) -> Rounds:
    """The rounds without the pairs of this one and others, except the first `but` pairs with the first round."""
    of = (made.between[["fixed_round", "moving_round"]] == name).any(axis=1)
    kept = made.between.index[of & (made.between["fixed_round"] == "R1")][40 : 40 + but]
    return made._replace(between=made.between[~of | made.between.index.isin(kept)].reset_index(drop=True))


def test_exact_pairs_place_the_corners_of_turned_and_scaled_tiles_exactly() -> None:
    made = make_rounds(Shape(), TURNED[0]._replace(aspect=0.001, shear=0.002), TURNED[1], noise=0.0, coarse=3.0)
    errors = made.errors(placed(made))
    assert max(of.max() for of in errors) < 0.002


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])
def test_noisy_pairs_a_tenth_of_them_wrong(seed: int) -> None:
    made = make_rounds(Shape(), *TURNED, Shape(turn=1.0, shift=(-90.0, 30.0)), wrong=0.1, seed=seed)
    errors = np.stack(made.errors(placed(made)))
    assert np.median(errors) < 0.025 and np.quantile(errors, 0.95) < 0.06 and errors.max() < 0.15


def test_rough_maps_and_tiles_of_other_sizes_do_no_harm() -> None:
    shapes = TURNED[0]._replace(side=300, rows=9, cols=10), TURNED[1]._replace(side=700, rows=3, cols=4)
    made = make_rounds(Shape(), *shapes, wrong=0.1, coarse=30.0, found="stage")
    assert max(np.quantile(of, 0.95) for of in made.errors(placed(made))) < 0.07


def test_wrong_pairs_of_two_rounds_are_overruled() -> None:
    made = make_rounds(Shape(), *TURNED, wrong=0.1)
    without = made._replace(between=made.between[~made.wrong].reset_index(drop=True))
    for found, clean in zip(made.errors(placed(made)), without.errors(placed(without)), strict=True):
        assert np.quantile(found, 0.95) < 1.3 * np.quantile(clean, 0.95)


def test_blank_tiles_lie_where_the_stage_of_their_round_puts_them() -> None:
    blank, exact = (7, 14, 22), (9, 10, 20)
    made = make_rounds(Shape(stage_error=1.0), TURNED[0]._replace(stage_error=12.0, blank=blank),
                       TURNED[1]._replace(stage_error=0.3, blank=exact), wrong=0.05)  # fmt: skip
    table = placed(made)
    errors = [of.mean(axis=1) for of in made.errors(table)]
    for number, tiles, error in ((1, blank, 12.0), (2, exact, 0.3)):
        own = of_round(made, table, number)
        assert own.loc[own["placed_by"] == "stage", "tile"].tolist() == list(tiles)
        assert errors[number][list(tiles)].max() < 3.5 * error
        assert own.loc[list(tiles), "deviation"].to_numpy() == pytest.approx(error * np.sqrt(2), rel=0.5)
        assert np.delete(errors[number], tiles).max() < 0.1


def test_a_round_with_one_pair_lies_as_well_as_this_one_tells() -> None:
    made = without_pairs_of(make_rounds(Shape(), *TURNED), "R3", but=1)
    table = placed(made)
    errors, own = made.errors(table), of_round(made, table, 2)
    assert (table["group"] == 0).all() and errors[2].max() < 2.0 and errors[1].max() < 0.1
    assert np.sqrt((errors[2] ** 2).mean()) < 2 * own["deviation"].median()


@pytest.mark.parametrize(("found", "least", "says"), [("pixels", 3.0, "low resolution"), ("stage", 200.0, "the stage says")])
def test_a_round_that_no_pair_joins_is_told(found: str, least: float, says: str, caplog: pytest.LogCaptureFixture) -> None:
    made = without_pairs_of(make_rounds(Shape(), *TURNED, found=found), "R3")
    with caplog.at_level(logging.WARNING):
        table = placed(made)
    assert "no accepted pair joins round R3" in caplog.text and says in caplog.text and "reference_channel" in caplog.text
    assert table.groupby("round")["group"].first().tolist() == [0, 0, 1]
    own, errors = of_round(made, table, 2), made.errors(table)
    assert own["deviation"].min() > least and errors[2].max() < 6.0 and errors[1].max() < 0.1


def test_rounds_that_nothing_joins_to_the_first_lie_exactly_to_each_other(caplog: pytest.LogCaptureFixture) -> None:
    made = without_pairs_of(make_rounds(Shape(), *TURNED, wrong=0.05), "R1")
    maps = made.maps.assign(found=["first", "stage", "pixels"], against=["", "", "R2"])
    with caplog.at_level(logging.WARNING):
        table = place_together(made.rounds, maps, made.between)[0]
    assert "no accepted pair joins round R1 to the others: it lies where the stage says" in caplog.text
    assert table.groupby("round")["group"].unique().map(list).to_dict() == {"R1": [1], "R2": [0], "R3": [0]}
    first, *others = made.errors(table)
    assert first.max() < 0.2 and max(of.max() for of in others) < 8  # within itself, and by the map of the second
    together = made._replace(rounds=made.rounds[1:], truth=made.truth[1:]).errors(table[table["round"] != "R1"])
    assert max(np.quantile(of, 0.95) for of in together) < 0.06
    deviation = table.groupby("round")["deviation"].median()
    assert deviation["R1"] > 200 and max(deviation["R2"], deviation["R3"]) < 10  # against the rounds that match each other
    within = table.groupby("round")["within"].median()
    assert within.max() < 2


def test_parts_of_a_round_between_which_the_stage_slipped_are_joined_by_other_rounds() -> None:
    """The right half of the second round lies 60 px from where its stage says, and no pair of the round itself tells."""
    made = make_rounds(Shape(), *TURNED, wrong=0.05)
    tiles, pairs = made.rounds[1].tiles.copy(), made.rounds[1].affines
    right = tiles["col"].to_numpy() >= 3
    tiles.loc[right, "x"] += 60.0
    joined = right[pairs["fixed"]] == right[pairs["moving"]]
    rounds = [
        made.rounds[0],
        made.rounds[1]._replace(tiles=tiles, affines=pairs[joined].reset_index(drop=True)),
        made.rounds[2],
    ]
    made = made._replace(rounds=rounds, maps=coarse_maps(rounds, made.truth, 1.0, "pixels", np.random.default_rng(0)))
    table = placed(made)
    own = of_round(made, table, 1)
    slip = own.loc[~right, "slip_x"].median() - own.loc[right, "slip_x"].median()
    assert abs(slip) == pytest.approx(60.0, abs=10) and (table["group"] == 0).all()
    assert max(np.quantile(of, 0.95) for of in made.errors(table)) < 0.07


def test_a_round_of_which_no_own_pair_was_accepted_lies_by_the_others() -> None:
    made = make_rounds(Shape(), *TURNED, wrong=0.05)
    rounds = [made.rounds[0], made.rounds[1]._replace(affines=made.rounds[1].affines[:0]), made.rounds[2]]
    made = made._replace(rounds=rounds, maps=coarse_maps(rounds, made.truth, 1.0, "pixels", np.random.default_rng(0)))
    errors = made.errors(placed(made))
    assert np.quantile(errors[1], 0.95) < 0.1 and np.quantile(errors[2], 0.95) < 0.06


def test_rounds_of_single_tiles() -> None:
    made = make_rounds(Shape(rows=1, cols=1), Shape(turn=4.0, rows=1, cols=1, scale=1.03), Shape(rows=1, cols=2))
    assert max(of.max() for of in made.errors(placed(made))) < 0.4


def test_inexact_pairs_of_two_rounds_do_not_make_the_places_within_a_round_look_inexact() -> None:
    made, rng = make_rounds(Shape(), *TURNED, noise=0.01), np.random.default_rng(0)
    error = rng.normal(0, 0.3, (len(made.between), 2))
    moved = made.between[["y0", "x0"]] + error
    between = made.between.assign(y0=moved["y0"], x0=moved["x0"], var_y=0.09, var_x=0.09)
    table = placed(made._replace(between=between))
    squares = np.concatenate([(of**2).mean(axis=1) for of in made.errors(table)])
    assert 0.6 < np.sqrt(squares.mean() / (table["deviation"] ** 2).mean()) < 1.2


@pytest.mark.slow
def test_the_deviations_cover_the_errors() -> None:
    """Both are against the mean of all tiles, after the turn and scale that no pair can tell."""
    squares, variances = [], []
    for seed in range(3):
        made = make_rounds(Shape(), *TURNED, wrong=0.1, seed=seed)
        table = placed(made)
        squares.append(np.concatenate([(of**2).mean(axis=1) for of in made.errors(table)]))
        variances.append(table["deviation"] ** 2)
    ratio = np.sqrt(np.mean(squares) / np.mean(variances))
    assert 0.3 < ratio < 1.2
    assert np.mean(np.sqrt(squares) < 2.5 * np.sqrt(variances)) > 0.95
