"""Viewers show a mosaic with the grey values of its tissue, and each channel in the colour that its name tells."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from dlir.fusion import display
from dlir.fusion.ome_zarr_metadata import shown_by_pixels, write_metadata
from dlir.fusion.pyramid import Pyramid
from dlir.fusion.settings import Mosaic

BLUE, GREEN, RED, MAGENTA = display.BLUE, display.GREEN, display.RED, display.MAGENTA


@pytest.mark.parametrize(
    ("name", "colour"),
    [
        ("DAPI", BLUE), ("Hoechst 33342", BLUE), ("405", BLUE), ("BV421", BLUE), ("EBFP2", BLUE),
        ("ECFP", display.CYAN), ("CSU_445", display.CYAN),
        ("GFP", GREEN), ("EGFP", GREEN), ("FITC", GREEN), ("Alexa Fluor 488", GREEN), ("AF488", GREEN), ("w1_488_conf", GREEN),
        ("emission 525 nm", GREEN), ("525/50", GREEN), ("Ex488 Em525", GREEN),
        ("YFP", display.YELLOW), ("Cy3", display.ORANGE), ("TRITC", display.ORANGE), ("ATTO 550", display.ORANGE),
        ("mCherry", RED), ("Texas Red", RED), ("Alexa594", RED), ("em 620", RED),
        ("Cy5", MAGENTA), ("Alexa Fluor 647", MAGENTA), ("Far Red", MAGENTA), ("MitoTracker Deep Red", MAGENTA),
        ("Brightfield", display.WHITE), ("TL DIC", display.WHITE), ("Phase", display.WHITE),
        ("C3", None), ("channel 2", None), ("Hu antigen", None), ("z0488", None), ("transferrin", None), ("<script>", None),
        ("", None), ("2026", None), ("1.488", None),
    ],
)  # fmt: skip
def test_the_name_of_a_channel_tells_its_colour(name: str, colour: str | None) -> None:
    assert display.colour_of(name) == colour


def test_channels_of_which_nothing_is_known_have_the_colours_that_are_left() -> None:
    assert display.colours([""]) == [display.WHITE]
    assert display.colours(["", "", ""]) == [RED, GREEN, BLUE]
    assert display.colours(["DAPI", "Sox9", "GFP", "Pax6"]) == [BLUE, RED, GREEN, MAGENTA]
    assert len(set(display.colours([str(number) for number in range(6)]))) == 6
    assert len(display.colours([""] * 40)) == 40


def stored(folder: Path, pixels: np.ndarray, names: tuple[str, ...] = ()) -> list[dict]:
    """Writes a mosaic (t, c, z, y, x), and returns how viewers show its channels."""
    pyramid = Pyramid(folder, pixels.shape, str(pixels.dtype), Mosaic(interpolation=1, blend="linear", chunk=64, shard=128))
    for time, z in np.ndindex(pixels.shape[0], pixels.shape[2]):
        plane, blocks = pixels[time, :, z], pyramid.band_blocks(0, 1)
        pyramid.build(blocks, 0, lambda block, plane=plane: plane[:, *pyramid.region(block).slices], time, z, 1)
    write_metadata(folder, pyramid, "mosaic", np.nan, shown_by_pixels(pyramid, names))
    attributes = zarr.open_group(folder, mode="r").attrs
    assert attributes["omero"] == attributes["ome"]["omero"]  # the first is for neuroglancer
    return attributes["ome"]["omero"]["channels"]


def section(bright: float, speck: float) -> np.ndarray:
    """A canvas (y, x) of which a half is empty, with tissue of grey values up to `bright`, and a speck."""
    canvas = np.zeros((400, 600))
    canvas[:, 300:] = np.random.default_rng(1).uniform(0.1, 1, (400, 300)) * bright
    canvas[10:14, 400:404] = speck
    return canvas


def test_the_window_is_that_of_the_tissue_by_channel(tmp_path: Path) -> None:
    pixels = np.stack([section(8000, 65000), section(300, 300)]).astype(np.uint16)[None, :, None]
    one, other = stored(tmp_path / "m.ome.zarr", pixels, ("DAPI", "GFP"))
    assert one["window"]["start"] == pytest.approx(800 + 0.005 * 7200, rel=0.02)
    assert one["window"]["end"] == pytest.approx(8000, rel=0.02)
    assert (one["window"]["min"], one["window"]["max"]) == (0, 65535)
    assert other["window"]["end"] == pytest.approx(300, rel=0.02) and other["window"]["max"] == 511
    assert [channel["label"] for channel in (one, other)] == ["DAPI", "GFP"]
    assert [channel["color"] for channel in (one, other)] == [BLUE, GREEN]


def test_a_channel_that_is_dark_where_another_has_light_counts_there(tmp_path: Path) -> None:
    pixels = np.stack([section(1000, 1000), np.zeros((400, 600))]).astype(np.uint16)[None, :, None]
    _, empty = stored(tmp_path / "m.ome.zarr", pixels)
    assert (empty["window"]["start"], empty["window"]["end"]) == (0, 1)


def test_a_colour_picture_keeps_its_colours(tmp_path: Path) -> None:
    pixels = np.stack([section(200, 250)] * 3).astype(np.uint8)[None, :, None]
    channels = stored(tmp_path / "m.ome.zarr", pixels)
    assert [channel["color"] for channel in channels] == [RED, GREEN, BLUE]
    assert [channel["label"] for channel in channels] == ["red", "green", "blue"]
    assert all(channel["window"] == {"min": 0, "max": 255, "start": 0, "end": 255} for channel in channels)


def test_three_dyes_of_8_bit_are_no_colour_picture(tmp_path: Path) -> None:
    pixels = np.stack([section(100, 250)] * 3).astype(np.uint8)[None, :, None]
    channels = stored(tmp_path / "m.ome.zarr", pixels, ("DAPI", "FITC", "Cy5"))
    assert [channel["color"] for channel in channels] == [BLUE, GREEN, MAGENTA]
    assert all(channel["window"]["end"] < 101 for channel in channels)


@pytest.mark.parametrize("value", [0, 7])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_an_even_image_has_a_window_too(tmp_path: Path, dtype: str, value: int) -> None:
    (channel,) = stored(tmp_path / "m.ome.zarr", np.full((1, 1, 1, 50, 60), value, dtype))
    window = channel["window"]
    assert window["min"] <= window["start"] < window["end"] <= window["max"]


def test_of_many_planes_some_are_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(display, "MOST_SAMPLED", 4 * 2 * 90 * 70)
    pixels = np.zeros((6, 2, 5, 90, 70), np.uint16)
    stored(tmp_path / "m.ome.zarr", pixels)
    array = zarr.open_array(tmp_path / "m.ome.zarr" / "0", mode="r")
    sampled = display.sampled([array], "tczyx")
    assert sampled.shape[0] == 2 and sampled.size <= display.MOST_SAMPLED


def test_ome_zarr_py_shows_the_names_colours_and_windows(tmp_path: Path) -> None:
    io, reader = pytest.importorskip("ome_zarr.io"), pytest.importorskip("ome_zarr.reader")
    pixels = np.stack([section(8000, 65000), section(300, 300)]).astype(np.uint16)[None, :, None]
    channels = stored(tmp_path / "m.ome.zarr", pixels, ("DAPI", "GFP"))
    (node,) = reader.Reader(io.parse_url(tmp_path / "m.ome.zarr"))()
    assert node.metadata["channel_names"] == ["DAPI", "GFP"] and node.metadata["visible"] == [True, True]
    assert node.metadata["contrast_limits"] == [[c["window"]["start"], c["window"]["end"]] for c in channels]
    assert [colours[1] for colours in node.metadata["colormap"]] == [[0, 0, 1], [0, 1, 0]]
    assert np.array_equal(np.asarray(node.data[0]), pixels[0, :, 0])
