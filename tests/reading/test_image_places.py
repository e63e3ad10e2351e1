"""Places in the metadata of files, and many images in one file: tiles lie where the stage stood."""

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from support.micro_manager import Index, write_stack

from dlir.reading import contents
from dlir.reading.grid_layout import TileError
from dlir.reading.inventory import find_tiles
from dlir.reading.settings import Dataset
from dlir.reading.tile_reader import TileReader

PLACES = [(0.0, 0.0), (0.0, 24.5), (16.0, 0.5), (16.5, 24.0)]  # (y, x) px, of the first pixels
SIZE = 0.4  # micrometres
RNG = np.random.default_rng(0)
PIXELS = [RNG.integers(0, 999, (20, 30)).astype(np.uint16) for _ in PLACES]


def ome(k: int, unit: str | None = "µm", factor: float = 1.0, size: float = SIZE) -> dict[str, Any]:
    """The metadata of an image in OME-XML; the places are those of centres, a constant beside those of the first pixels."""
    y, x = (place * size * factor + 1000 * factor for place in PLACES[k])
    plane = {"PositionY": y, "PositionX": x, **({"PositionYUnit": unit, "PositionXUnit": unit} if unit else {})}
    return {"axes": "YX", "PhysicalSizeX": size, "PhysicalSizeY": size, "Plane": plane}


def write_ome(path: Path, k: int, **keys: Any) -> None:
    tifffile.imwrite(path, PIXELS[k], ome=True, metadata=ome(k, **keys))


def write_micro_manager(path: Path, k: int) -> None:
    told = {"YPositionUm": PLACES[k][0] * SIZE - 50, "XPositionUm": PLACES[k][1] * SIZE + 70, "PixelSizeUm": SIZE}
    tifffile.imwrite(path, PIXELS[k], metadata=None, extratags=[(51123, 2, 0, json.dumps(told), True)])


def write_meta_series(path: Path, k: int) -> None:
    told = {"spatial-calibration-x": SIZE, "spatial-calibration-y": SIZE}
    told |= {"stage-position-y": PLACES[k][0] * SIZE, "stage-position-x": PLACES[k][1] * SIZE}
    props = "".join(f'<prop id="{name}" type="float" value="{value}"/>' for name, value in told.items())
    props += '<prop id="spatial-calibration-units" type="string" value="um"/>'
    xml = f"<MetaData><PlaneInfo>{props}</PlaneInfo></MetaData>"
    tifffile.imwrite(path, PIXELS[k], metadata=None, description=xml, software="MetaSeries")


def write_image_j(path: Path, k: int) -> None:
    told = {"unit": "micron", "axes": "YX", "yorigin": -PLACES[k][0], "xorigin": -PLACES[k][1]}
    tifffile.imwrite(path, PIXELS[k], imagej=True, resolution=(1 / SIZE, 1 / SIZE), metadata=told)


def write_info(path: Path, k: int, lines: Callable[[float, float], str]) -> None:
    """Writes an image of ImageJ with the text that programs add as Info; `lines` makes it of a place, in micrometres."""
    info = "Comment = by hand\n" + lines(PLACES[k][0] * SIZE + 5, PLACES[k][1] * SIZE - 7) + "\nSizeX: 30"
    told = {"unit": "micron", "axes": "YX", "Info": info}
    tifffile.imwrite(path, PIXELS[k], imagej=True, resolution=(1 / SIZE, 1 / SIZE), metadata=told)


def write_scan(path: Path, **keys: Any) -> None:
    """Writes all tiles as images of one file."""
    with tifffile.TiffWriter(path, ome=True) as file:
        for k, pixels in enumerate(PIXELS):
            file.write(pixels, metadata=ome(k, **keys))


def found(images: Path | str, **keys: Any) -> tuple[np.ndarray, float]:
    """The places of the tiles, less that of the first one, in the order of PLACES, and the size of a pixel."""
    table = find_tiles(Dataset.checked({"images": str(images), **keys}))
    table = table.assign(number=[int("".join(filter(str.isdigit, Path(path).name))) for path in table["path"]])
    places = table.sort_values("number")[["y", "x"]].to_numpy(float)
    return places - places[0], table["pixel_size"].iloc[0]


@pytest.mark.parametrize("write", [write_ome, write_micro_manager, write_meta_series, write_image_j])
def test_the_places_and_the_size_of_a_pixel_come_from_the_files(write: Callable[[Path, int], None], tmp_path: Path) -> None:
    for k in range(4):
        write(tmp_path / f"t{k}.tif", k)
    places, size = found(tmp_path / "t*.tif", positions="metadata")
    np.testing.assert_allclose(places, PLACES, atol=1e-4)
    assert size == pytest.approx(SIZE)
    assert find_tiles(Dataset.checked({"images": str(tmp_path / "t{index}.tif"), "columns": 2}))["pixel_size"][
        0
    ] == pytest.approx(SIZE)


@pytest.mark.parametrize(
    "lines",
    [
        lambda y, x: f"XPositionUm: {x}\nYPositionUm: {y}",
        lambda y, x: f'  "XPositionUm": {x},\n  "YPositionUm": "{y}",\n  "YPositionUm": {y}',
        lambda y, x: f"Image 0 PositionX = {x} µm\nImage 0 PositionY = {y} µm",
        lambda y, x: f"Plane 0 PositionX = {x / 1000}\nPlane 0 PositionXUnit = mm\nPositionY = {y * 1e3}\nPositionYUnit = nm",
    ],
    ids=["um", "JSON", "unit behind", "unit in a line"],
)
def test_places_come_from_the_text_in_an_image_of_image_j(lines: Callable[[float, float], str], tmp_path: Path) -> None:
    for k in range(4):
        write_info(tmp_path / f"t{k}.tif", k, lines)
    places, size = found(tmp_path / "t*.tif", positions="metadata")
    np.testing.assert_allclose(places, PLACES, atol=1e-4)
    assert size == pytest.approx(SIZE)


@pytest.mark.parametrize(
    "lines",
    [
        lambda y, x: f"XPositionUm: {x}\nYPositionUm: {y}\nXPositionUm: {x + 1}",  # of two images
        lambda y, x: f"PositionX = {x}\nPositionY = {y}",  # no unit
        lambda y, x: f"PositionX = {x} turns\nPositionY = {y} µm",
        lambda y, x: f"XPositionUm: {x}",
        lambda y, x: f"MaxXPositionUm: {x}\nMaxYPositionUm: {y}",
    ],
    ids=["two", "no unit", "no length", "no y", "others"],
)
def test_a_text_that_is_not_clear_tells_no_place(lines: Callable[[float, float], str], tmp_path: Path) -> None:
    for k in range(2):
        write_info(tmp_path / f"t{k}.tif", k, lines)
    with pytest.raises(TileError, match="tell no place of the stage"):
        find_tiles(Dataset.checked({"images": str(tmp_path / "t*.tif"), "positions": "metadata"}))


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1e-3), ("nm", 1e3), ("m", 1e-6), (None, 1.0)])
def test_places_may_have_other_units(unit: str | None, factor: float, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for k in range(4):
        write_ome(tmp_path / f"t{k}.ome.tif", k, unit=unit, factor=factor)
    with caplog.at_level(logging.WARNING):
        places, _ = found(tmp_path / "t*.ome.tif", positions="metadata")
    np.testing.assert_allclose(places, PLACES, atol=1e-4)
    assert ("the places in the metadata have no unit: they are taken for micrometres" in caplog.text) == (unit is None)


def test_images_of_one_file_are_tiles_with_their_own_pixels(tmp_path: Path) -> None:
    write_scan(tmp_path / "scan.ome.tif")
    table = find_tiles(Dataset.checked({"images": str(tmp_path / "scan.ome.tif"), "positions": "metadata"}))
    reader = TileReader(table)
    for k, pixels in enumerate(PIXELS):
        np.testing.assert_array_equal(reader.read(f"{tmp_path / 'scan.ome.tif'}#{k}", 0, 0)[0], pixels)
    assert len({*table["sha256"]}) == 4  # what is kept of one tile must not be taken for another one's
    by_table = tmp_path / "TileConfiguration.txt"
    by_table.write_text(
        "dim = 2\nmultiseries = true\n" + "".join(f"scan.ome.tif; {k}; ({x}, {y})\n" for k, (y, x) in enumerate(PLACES))
    )
    for keys in ({"positions": "metadata"}, {"positions": by_table}):
        table = find_tiles(Dataset.checked({"images": str(tmp_path / "scan.ome.tif"), **keys}))
        numbers = [int(path.rpartition("#")[2]) for path in table["path"]]
        np.testing.assert_allclose(table[["y", "x"]] - table[["y", "x"]].iloc[0], np.array(PLACES)[numbers], atol=1e-4)


def test_images_of_one_file_may_be_numbered_tiles(tmp_path: Path) -> None:
    write_scan(tmp_path / "scan.ome.tif")
    layout = {"images": f"{tmp_path / 'scan.ome.tif'}#{{index}}", "columns": 2, "snake": True}
    table = find_tiles(Dataset.checked(layout))
    assert [path.rpartition("#")[2] for path in table["path"]] == ["0", "1", "3", "2"]
    assert table[["row", "col"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (
            {"positions": "metadata", "unit": "px"},
            "the places in the metadata are in um, and the setting unit is px: delete unit",
        ),
        ({"positions": "metadata", "pixel_size": 0.5}, ""),
        ({"columns": 2}, r"holds 4 images, and a tile is one: set positions: metadata.* or #\{index\} after the name"),
    ],
)
def test_what_contradicts_the_files_is_said(
    keys: dict[str, Any], words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_scan(tmp_path / "scan_1.ome.tif")
    settings = Dataset.checked(
        {"images": str(tmp_path / ("scan_{index}.ome.tif" if "columns" in keys else "scan_1.ome.tif")), **keys}
    )
    if words:
        with pytest.raises(TileError, match=words):
            find_tiles(settings)
    else:
        table = find_tiles(settings)
        assert "pixel_size is 0.5 micrometres in the settings, and 0.4 in the files: the settings count" in caplog.text
        assert np.ptp(table["x"]) == pytest.approx(24.5 * SIZE / 0.5)


def test_files_without_places_or_with_one_place_are_named(tmp_path: Path) -> None:
    for k in range(2):
        tifffile.imwrite(tmp_path / f"plain{k}.tif", PIXELS[k])
        write_ome(tmp_path / f"same{k}.tif", 1)
        write_ome(tmp_path / f"some{k}.tif", k)
    tifffile.imwrite(tmp_path / "some2.tif", PIXELS[2])
    for name, words in (
        ("plain", r"plain0\.tif, .*plain1\.tif: tell no place of the stage: give positions, a table"),
        ("same", "all 2 tiles have one place in their metadata"),
        ("some", r"some2\.tif: tells no place of the stage, as other files do: copy it again if a part may be missing"),
    ):
        with pytest.raises(TileError, match=words):
            find_tiles(Dataset.checked({"images": str(tmp_path / f"{name}*.tif"), "positions": "metadata"}))


@pytest.mark.parametrize(
    ("damaged", "words"),
    [
        (lambda whole: whole[: len(whole) * 6 // 10], r"is damaged \(cut short: .*\): copy it again from the microscope$"),
        (lambda whole: whole.replace(b"<Image", b"<Imbge"), r"is damaged \(its OME metadata are no valid XML.*\): copy it"),
        (lambda whole: whole[:-9], "tells no place of the stage, as other files do: copy it again if a part may be missing"),
    ],
    ids=["pixels", "metadata", "end of the metadata"],
)
def test_a_damaged_file_is_called_damaged(damaged: Callable[[bytes], bytes], words: str, tmp_path: Path) -> None:
    for k in range(4):
        write_ome(tmp_path / f"t{k}.tif", k)
    (tmp_path / "t2.tif").write_bytes(damaged((tmp_path / "t2.tif").read_bytes()))
    os.utime(tmp_path / "t2.tif", (10**9, 10**9))
    with pytest.raises(TileError, match=rf"\n  [^\n]*t2\.tif: {words}"):
        find_tiles(Dataset.checked({"images": str(tmp_path / "t*.tif"), "positions": "metadata"}))


def write_two_images(path: Path, *numbers: int | None) -> None:
    """Writes a file of many images; None is one without a place."""
    with tifffile.TiffWriter(path, ome=True) as file:
        for k in numbers:
            file.write(PIXELS[k or 0], metadata={"axes": "YX"} if k is None else ome(k))


def test_a_file_of_many_images_without_any_place_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_two_images(tmp_path / "s0.ome.tif", 0, 1)
    write_two_images(tmp_path / "s1.ome.tif", None, None)
    settings = Dataset.checked({"images": str(tmp_path / "s*.ome.tif"), "positions": "metadata"})
    with pytest.raises(TileError, match=r"^[^#]*s1\.ome\.tif: tells no place of the stage, as other files do: copy it again"):
        find_tiles(settings)
    write_two_images(tmp_path / "s1.ome.tif", 2, None)  # as a picture of the label of a slide
    with caplog.at_level(logging.INFO):
        paths = [Path(path).name for path in find_tiles(settings)["path"]]
    assert sorted(paths) == ["s0.ome.tif#0", "s0.ome.tif#1", "s1.ome.tif#0"]
    assert "left out, since no place of the stage is told for them: " in caplog.text and "s1.ome.tif#1" in caplog.text
    write_ome(tmp_path / "s3.ome.tif", 3)
    assert len(find_tiles(settings)) == 4


@pytest.mark.parametrize("kept", [6, 0.5, 1.0])
def test_a_file_that_is_still_being_written_is_left_out(
    kept: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for k in range(3):
        write_ome(tmp_path / f"t{k}.tif", k)
    late = tmp_path / "t3.tif"
    tifffile.imwrite(late, PIXELS[3])  # its place comes last
    whole = late.read_bytes()
    late.write_bytes(whole[: int(kept * len(whole)) if kept <= 1 else int(kept)])
    monkeypatch.setattr(contents, "WATCH", 0.0)
    monkeypatch.setattr(time, "sleep", lambda _: late.write_bytes(late.read_bytes() + b"more"))
    settings = Dataset.checked({"images": str(tmp_path / "t*.tif"), "positions": "metadata"})
    assert len(find_tiles(settings)) == 3
    words = f"{late}: still being written, so left out now: run again when it is finished, which adds it"
    assert [record.getMessage() for record in caplog.records if "still" in record.getMessage()] == [words]
    write_ome(late, 3)
    assert len(find_tiles(settings)) == 4
    late.write_bytes(whole[:6])
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(TileError, match=r"t3\.tif: is damaged"):
        find_tiles(settings)


def test_a_wrong_number_of_an_image_is_named(tmp_path: Path) -> None:
    write_scan(tmp_path / "scan.ome.tif")
    (tmp_path / "p.csv").write_text("path,y,x\nscan.ome.tif#0,0,0\nscan.ome.tif#7,0,25\n")
    settings = Dataset.checked({"images": str(tmp_path / "scan.ome.tif"), "positions": tmp_path / "p.csv"})
    with pytest.raises(TileError, match="has 4 images, numbered from 0, and no image 7: correct the number after #"):
        find_tiles(settings)


def stack_pages(positions: int, channels: int) -> dict[Index, Any]:
    """The pages of a stack of Micro-Manager, the channels of a position one after the other."""
    return {(c, 0, 0, k): PIXELS[k] + 1000 * c for k in range(positions) for c in range(channels)}


def told_by_micro_manager(k: int) -> dict[str, Any]:
    y, x = PLACES[k]
    return {"YPositionUm": y * SIZE - 9, "XPositionUm": x * SIZE, "PixelSizeUm": SIZE, "PositionName": f"Pos{k}"}


@pytest.mark.parametrize("channels", [1, 2])
def test_the_positions_in_a_stack_of_micro_manager_are_images(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "a_MMStack.tif"
    write_stack(path, stack_pages(4, channels), [told_by_micro_manager(k) for k in range(4)])
    table = find_tiles(Dataset.checked({"images": str(path), "positions": "metadata"}))
    assert [*table["path"].sort_values()] == [f"{path}#{k}" for k in range(4)]
    table = table.sort_values("path")
    np.testing.assert_allclose(table[["y", "x"]] - table[["y", "x"]].iloc[0], PLACES, atol=1e-6)
    assert {*table["channels"]} == {channels} and {*table["pixel_size"]} == {SIZE}
    reader = TileReader(table)
    for k, c in np.ndindex(4, channels):
        np.testing.assert_array_equal(reader.read(f"{path}#{k}", 0, 0)[c], PIXELS[k] + 1000 * c)


def test_a_stack_of_micro_manager_may_have_ended_early(tmp_path: Path) -> None:
    path = tmp_path / "a_MMStack.tif"
    pages = stack_pages(3, 2)
    write_stack(path, pages, [told_by_micro_manager(k) for k in range(3)], intended=9)
    settings = Dataset.checked({"images": str(path), "positions": "metadata"})
    assert len(find_tiles(settings)) == 3
    pages.pop((1, 0, 0, 2))
    write_stack(path, pages, [told_by_micro_manager(k) for k in range(3)])
    with pytest.raises(TileError, match=r"MMStack\.tif: is damaged \(some of its pixels were never written"):
        find_tiles(settings)


def test_one_position_in_a_stack_of_micro_manager_is_a_tile(tmp_path: Path) -> None:
    for k in range(4):
        pages = {(c, 0, 0, 0): PIXELS[k] + c for c in range(2)}
        write_stack(tmp_path / f"a_MMStack_Pos{k}.tif", pages, [told_by_micro_manager(k)], intended=4)
    places, size = found(tmp_path / "a_MMStack_*.tif", positions="metadata")
    np.testing.assert_allclose(places, PLACES, atol=1e-6)
    assert size == SIZE
