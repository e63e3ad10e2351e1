"""Placement: the model that the data call for, and what the table says of each tile."""

import logging
from pathlib import Path

import numpy as np
import pytest
from support.pair_graphs import make_graph
from support.placements import place_graph

from dlir.core import affine, tables


def test_turned_tiles_meet_at_their_corners(tmp_path: Path) -> None:
    graph = make_graph(6, 7, noise=0.02, linear=(0.005, 0.004, 0, 0))
    table = place_graph(graph, tmp_path)
    found, corners = affine.from_table(table), affine.corners(220, 220)
    apart = affine.apply(found, corners) - affine.apply(graph.truth, corners)
    gauge = np.c_[affine.apply(found, corners).reshape(-1, 2), np.ones(4 * len(table))]
    left = apart.reshape(-1, 2) - gauge @ np.linalg.lstsq(gauge, apart.reshape(-1, 2), rcond=None)[0]
    assert np.median(np.linalg.norm(left, axis=1)) < 0.2


def test_the_table_tells_of_each_tile(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    graph = make_graph(4, 5)
    pairs = graph.pairs[~graph.pairs[["fixed", "moving"]].isin([10 + 7]).any(axis=1)].reset_index(drop=True)
    off = (pairs["fixed"] == 10 + 10) & (pairs["side"] == "right")
    pairs.loc[off, "y0"] += 3.0
    with caplog.at_level(logging.WARNING):
        table = place_graph(graph._replace(pairs=pairs), tmp_path).set_index("tile")
    assert table.loc[17, "placed_by"] == "stage" and table.loc[17, "pairs"] == 0 and np.isnan(table.loc[17, "residual"])
    assert "7.tif" in caplog.text and "stage" in caplog.text
    others = table.drop(index=17)
    assert (others["placed_by"] == "pairs").all()
    assert table.loc[17, "deviation"] > 5 * others["deviation"].max()
    assert table.loc[20, "loop"] == pytest.approx(3.0, abs=0.6)
    closed = table["loop"].drop(index=[20, 15])  # 15 is above the pair that is off
    assert closed.max() < 0.9 and closed.notna().sum() >= 4


def test_groups_that_no_pair_joins_keep_their_place_by_the_stage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    graph = make_graph(4, 8, stage_error=2.0, turn=0.8)
    column = (graph.pairs["fixed"] - 10) % 8
    pairs = graph.pairs[~((graph.pairs["side"] == "right") & (column == 4))]
    with caplog.at_level(logging.WARNING):
        table = place_graph(graph._replace(pairs=pairs), tmp_path)
    assert "groups of their own" in caplog.text
    assert graph.error(affine.from_table(table)).max() < 4.0


def test_what_is_found_of_stage_and_camera_is_told(tmp_path: Path) -> None:
    place_graph(make_graph(8, 9, stage_error=2.0, turn=0.8, scale=1.01, backlash=6.0, seed=2), tmp_path)
    found = tables.read(tmp_path / "stage.csv", tables.STAGE).iloc[0]
    assert found["rotation"] == pytest.approx(0.8, abs=found["rotation_interval"]) and found["rotation_interval"] < 0.1
    assert found["scale"] == pytest.approx(1.01, abs=found["scale_interval"]) and found["scale_interval"] < 0.002
    assert found["backlash_row_x"] == pytest.approx(6.0, abs=2) and found["backlash_column_y"] == 0
    assert found[["error_y", "error_x"]].to_numpy(float) == pytest.approx([2, 2], abs=0.7)
    assert found["model"] == "translation" and max(found[f"foretold_{part}"] for part in tables.LINEAR_PARTS) < 0.3
