"""The exports: they give the places back when they are read as other programs read them."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from support.distorted import barrel
from support.pair_graphs import SIDE, make_graph
from support.placements import place_graph

from dlir.core import affine, lens
from dlir.placement.export import export
from dlir.reading.inventory import find_tiles
from dlir.reading.settings import Dataset


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


def test_the_distortion_is_left_out_and_said_to_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place_graph(make_graph(2, 2), tmp_path)
    texts = []
    for number, lenses in enumerate(({}, {0: barrel((SIDE, SIDE), 3.0)})):
        lens.write(lenses, tmp_path / "lens.csv")
        files = [tmp_path / f"{number}.txt", tmp_path / f"{number}.csv"]
        export(tmp_path / "tiles.csv", tmp_path / "placement.csv", files[1], fiji=files[0], lens=tmp_path / "lens.csv")
        texts.append([file.read_text() for file in files])
        assert ("leave out the distortion of the lens, up to 3.00 px" in caplog.text) == bool(lenses)
    assert texts[0][1] == texts[1][1]
    assert texts[1][0] == f"# The lens distorts the tiles by up to 3.00 px, which is left out here\n{texts[0][0]}"


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


@pytest.mark.parametrize("mixed", [False, True])
def test_images_in_one_file_have_the_form_of_many_series(tmp_path: Path, mixed: bool) -> None:
    graph = make_graph(2, 2)
    with tifffile.TiffWriter(tmp_path / "scan.ome.tif", ome=True) as file:
        for _ in range(6):
            file.write(np.zeros((SIDE, SIDE), np.uint16))
    tifffile.imwrite(tmp_path / "one.tif", np.zeros((SIDE, SIDE), np.uint16))
    paths = [str(tmp_path / name) for name in ("scan.ome.tif#3", "scan.ome.tif#0", "scan.ome.tif#5", "scan.ome.tif#1")]
    paths[1] = str(tmp_path / "one.tif") if mixed else paths[1]
    table = place_graph(graph._replace(tiles=graph.tiles.assign(path=paths)), tmp_path)
    fiji = tmp_path / "TileConfiguration.registered.txt"
    export(tmp_path / "tiles.csv", tmp_path / "placement.csv", tmp_path / "p.csv", fiji=fiji)
    words = fiji.read_text()
    assert "\nmultiseries = true\n" in words
    lines = re.findall(r"^(\S+); (\d+); \(", words, re.MULTILINE)
    assert lines == [(Path(path).name.partition("#")[0], path.partition("#")[2] or "0") for path in paths]
    # dlir counts the images as Fiji does
    found = find_tiles(Dataset.checked({"images": str(tmp_path / "*.tif"), "positions": fiji})).set_index("path")
    names = [f"{path}#0" if path.endswith("one.tif") else path for path in paths]
    middle = np.full((1, 2), (SIDE - 1) / 2)
    places = affine.apply(affine.from_table(table), middle)[:, 0] - middle
    assert found.loc[names, ["y", "x"]].to_numpy() == pytest.approx(places, abs=1e-3)
