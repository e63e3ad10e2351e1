"""The exports: they give the places back when they are read as other programs read them."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.pair_graphs import SIDE, make_graph
from support.placements import place_graph

from dlir.core import affine
from dlir.placement.export import export


def test_both_exports_give_the_places_back(tmp_path: Path) -> None:
    graph = make_graph(3, 4, turn=1.0, scale=1.01)
    table = place_graph(graph, tmp_path)
    files = tmp_path / "TileConfiguration.registered.txt", tmp_path / "positions.csv"
    export(tmp_path / "tiles.csv", tmp_path / "placement.csv", files[1], fiji=files[0])
    lines = re.findall(r"^(\S+\.tif); ; \((\S+), (\S+)\)$", files[0].read_text(), re.MULTILINE)
    assert "dim = 2" in files[0].read_text() and len(lines) == 12
    found = np.array([[float(y), float(x)] for _, x, y in lines])
    assert found == pytest.approx(affine.from_table(table)[:, :, 2], abs=1e-3)
    # in the frame of the stage, which is not turned, the tiles lie where the stage really was
    angle = np.deg2rad(1.0)
    to_stage = 1.01 * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    true = affine.apply(graph.truth, np.full((1, 2), (SIDE - 1) / 2))[:, 0] @ to_stage.T
    positions = pd.read_csv(files[1])
    error = positions[["y", "x"]].to_numpy() - true
    assert np.abs(error - error.mean(axis=0)).max() < 8.0  # the fit of the frame has the error of the stage
    assert (positions["unit"] == "pixel").all()


def test_a_known_pixel_size_gives_micrometres(tmp_path: Path) -> None:
    graph = make_graph(2, 2)
    place_graph(graph._replace(tiles=graph.tiles), tmp_path)
    tiles = pd.read_csv(tmp_path / "tiles.csv").assign(pixel_size=0.5)
    tiles.to_csv(tmp_path / "tiles.csv", index=False)
    export(tmp_path / "tiles.csv", tmp_path / "placement.csv", tmp_path / "b.csv", fiji=tmp_path / "a.txt")
    positions = pd.read_csv(tmp_path / "b.csv")
    assert (positions["unit"] == "micrometre").all()
    assert positions["x"].iloc[1] - positions["x"].iloc[0] == pytest.approx(100, abs=8)


def test_a_single_tile_lies_at_its_nominal_position(tmp_path: Path) -> None:
    graph = make_graph(1, 1)
    place_graph(graph._replace(tiles=graph.tiles.assign(y=30.0, x=50.0)), tmp_path)
    export(tmp_path / "tiles.csv", tmp_path / "placement.csv", tmp_path / "p.csv", fiji=tmp_path / "fiji.txt")
    assert pd.read_csv(tmp_path / "p.csv")[["y", "x"]].to_numpy()[0] == pytest.approx(np.array([30, 50]) + (SIDE - 1) / 2)


def test_the_tiles_configuration_names_the_first_of_several_files(tmp_path: Path) -> None:
    graph = make_graph(2, 2)
    paths = [f"in/s{tile}_{{channel}}_z{{z}}.tif" for tile in graph.tiles["tile"]]
    place_graph(graph._replace(tiles=graph.tiles.assign(path=paths, channel_names="a|b", z_names="00|01")), tmp_path)
    export(tmp_path / "tiles.csv", tmp_path / "placement.csv", tmp_path / "p.csv", fiji=tmp_path / "fiji.txt")
    assert re.findall(r"^(\S+); ; ", (tmp_path / "fiji.txt").read_text(), re.MULTILINE) == [
        f"s{i}_a_z00.tif" for i in range(10, 14)
    ]
    assert pd.read_csv(tmp_path / "p.csv")["path"].tolist() == paths
