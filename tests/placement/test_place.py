"""The step place: turned tiles, the columns of its tables, and warnings of tiles that no pair joins to the others."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.pair_graphs import cropped, make_graph
from support.placements import place_graph

from dlir.core import affine, tables
from dlir.placement.place import place


def test_turned_tiles_are_placed_with_their_turn(tmp_path: Path) -> None:
    graph = make_graph(6, 7, noise=0.02, linear=(0.005, 0.004, 0, 0))
    table = place_graph(graph, tmp_path)
    found, corners = affine.from_table(table), affine.corners(220, 220)
    error = affine.apply(found, corners) - affine.apply(graph.truth, corners)
    # up to an affine that all tiles have in common
    common = np.c_[affine.apply(found, corners).reshape(-1, 2), np.ones(4 * len(table))]
    remaining = error.reshape(-1, 2) - common @ np.linalg.lstsq(common, error.reshape(-1, 2), rcond=None)[0]
    assert np.median(np.linalg.norm(remaining, axis=1)) < 0.2


def test_the_table_says_how_each_tile_was_placed_and_how_well(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    graph = make_graph(4, 5)
    pairs = graph.pairs[~graph.pairs[["fixed", "moving"]].isin([10 + 7]).any(axis=1)].reset_index(drop=True)
    shifted = (pairs["fixed"] == 10 + 10) & (pairs["side"] == "right")
    pairs.loc[shifted, "y0"] += 3.0
    with caplog.at_level(logging.WARNING):
        table = place_graph(graph._replace(pairs=pairs), tmp_path).set_index("tile")
    assert table.loc[17, "placed_by"] == "stage" and table.loc[17, "pairs"] == 0 and np.isnan(table.loc[17, "residual"])
    assert "7.tif" in caplog.text and "stage" in caplog.text
    others = table.drop(index=17)
    assert (others["placed_by"] == "pairs").all()
    assert table.loc[17, "deviation"] > 5 * others["deviation"].max()
    assert table.loc[20, "loop"] == pytest.approx(3.0, abs=0.6)
    closed = table["loop"].drop(index=[20, 15])  # the shifted pair belongs to the loops of tiles 20 and 15
    assert closed.max() < 0.9 and closed.notna().sum() >= 4


def test_groups_that_no_pair_joins_are_placed_by_the_stage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    graph = make_graph(4, 8, stage_error=2.0, turn=0.8)
    column = (graph.pairs["fixed"] - 10) % 8
    pairs = graph.pairs[~((graph.pairs["side"] == "right") & (column == 4))]
    with caplog.at_level(logging.WARNING):
        table = place_graph(graph._replace(pairs=pairs), tmp_path)
    assert "2 groups that no accepted pair joins" in caplog.text and "5.tif" in caplog.text and "overlap" in caplog.text
    assert graph.error(affine.from_table(table)).max() < 4.0
    assert table["group"].tolist() == 4 * [0, 0, 0, 0, 0, 1, 1, 1]
    # the unknown offset of the group is said: the error of the stage, on both axes
    offset = table["deviation"] / np.where(table["group"] == 0, 3 / 8, 5 / 8)
    assert offset.to_numpy() == pytest.approx(2.0 * np.sqrt(2), rel=0.4)


def test_a_pair_that_is_overruled_joins_no_groups(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The registration took nearly all confidence from the pair, so that its residual is small beside what it claims."""
    graph = make_graph(1, 9, stage_error=3.0)
    graph.pairs.loc[5, ["y0", "x0", "var_y", "var_x", "confidence"]] += [15.0, 16.0, 5.0, 9.0, -0.9977]
    with caplog.at_level(logging.WARNING):
        table = place_graph(graph, tmp_path)
    assert table["group"].tolist() == 6 * [0] + 3 * [1]
    assert "2 groups that no accepted pair joins" in caplog.text and "6.tif, 7.tif, 8.tif" in caplog.text


def test_the_log_and_the_table_say_where_the_stage_slipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    graph = make_graph(5, 6, stage_error=1.0)
    row = graph.tiles["row"] == 2
    graph.tiles.loc[row, "x"] -= 45.0
    with caplog.at_level(logging.INFO):
        table = place_graph(graph, tmp_path)
    assert "the stage slipped: 6 tiles lie (" in caplog.text and "12.tif" in caplog.text
    assert table.loc[row, "slip_x"].to_numpy() == pytest.approx(45.0, abs=2.0)
    assert (table.loc[~row, ["slip_y", "slip_x"]] == 0).all(axis=None) and (table["group"] == 0).all()


def test_the_table_of_the_stage_has_the_true_turn_scale_backlash_and_error(tmp_path: Path) -> None:
    place_graph(make_graph(8, 9, stage_error=2.0, turn=0.8, scale=1.01, backlash=6.0, seed=2), tmp_path)
    found = tables.read(tmp_path / "stage.csv", tables.STAGE).iloc[0]
    assert found["rotation"] == pytest.approx(0.8, abs=found["rotation_interval"]) and found["rotation_interval"] < 0.1
    assert found["scale"] == pytest.approx(1.01, abs=found["scale_interval"]) and found["scale_interval"] < 0.002
    assert found["backlash_row_x"] == pytest.approx(6.0, abs=2) and found["backlash_column_y"] == 0
    assert found[["error_y", "error_x"]].to_numpy(float) == pytest.approx([2, 2], abs=0.7)
    assert found["model"] == "translation" and max(found[f"foretold_{part}"] for part in tables.LINEAR_PARTS) < 0.3


def test_turn_and_skew_count_what_the_survey_took_in(tmp_path: Path) -> None:
    """The tiles follow steps that the survey found, 10 degrees turned and 5 skewed; no overlap was told."""
    place_graph(make_graph(5, 5, stage_error=1.0, seed=4), tmp_path)
    turn, skew = np.radians([10.0, 5.0])
    down, right = 200 * np.array([np.cos(turn), -np.sin(turn)]), 200 * np.array([np.sin(turn + skew), np.cos(turn + skew)])
    steps = {"step_y": [down[0], right[0]], "step_x": [down[1], right[1]]}
    nothing = dict.fromkeys(("told_y", "told_x", "found_y", "found_x", "spread_y", "spread_x"), np.nan)
    survey = pd.DataFrame({"side": ["down", "right"], **steps, **nothing, "pairs": 1, "sure": 1, "overlap": 0.1,
                           "layout": "fits", "advice": ""})  # fmt: skip
    tables.write(survey, tables.SURVEY, tmp_path / "survey.csv")
    given = tmp_path / "tiles.csv", tmp_path / "affines.csv", tmp_path / "placement.csv"
    place(*given, stage=tmp_path / "stage.csv", survey=tmp_path / "survey.csv")
    found = tables.read(tmp_path / "stage.csv", tables.STAGE).iloc[0]
    assert abs(found["rotation"]) == pytest.approx(12.5, abs=0.2)  # that of the middle of both axes
    assert found["skew"] == pytest.approx(5.0, abs=found["skew_interval"] + 0.1)
    assert np.isnan(found["scale"]) and np.isnan(found["scale_interval"])


@pytest.mark.parametrize("given", [False, True])
def test_tiles_that_lack_a_part_lie_where_the_whole_ones_do(tmp_path: Path, given: bool) -> None:
    whole, crops = make_graph(4, 4, stage_error=3.0), np.zeros((16, 2))
    crops[[3, 5, 6]], crops[12:, 0] = (40.0, 10.0), 70.0
    rows = ["fixed,moving,y,x", "5.tif,6.tif,{:.1f},{:.1f}", ",12.tif,{:.1f},{:.1f}"]
    placed = []
    for name, graph, cut in (("whole", whole, crops * 0), ("cropped", cropped(whole, crops), crops)):
        (tmp_path / name).mkdir()
        places = [np.array([2.0, 198.0]) + cut[6] - cut[5], np.array([604.0, -3.0]) + cut[12]]
        text = [rows[0], *(row.format(*place) for row, place in zip(rows[1:], places, strict=True))]
        (tmp_path / name / "overrides.csv").write_text("\n".join(text))
        table = place_graph(graph, tmp_path / name, tmp_path / name / "overrides.csv" if given else None)
        first = affine.apply(affine.from_table(table), -cut[:, None])[:, 0]  # of the whole tile
        placed.append((first - first[0], table))
    np.testing.assert_allclose(placed[1][0], placed[0][0], atol=1e-6)
    np.testing.assert_allclose(placed[1][1]["deviation"], placed[0][1]["deviation"], rtol=1e-6)
