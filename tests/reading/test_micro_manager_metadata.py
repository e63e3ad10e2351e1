"""The metadata.txt of Micro-Manager: places and the size of a pixel for images that carry none themselves."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from dlir.core import sealed
from dlir.core.text_tables import TextTableError
from dlir.reading import contents, found_tiles, inventory, micro_manager_metadata
from dlir.reading.grid_layout import TileError
from dlir.reading.settings import Dataset

PLACES = [(0.0, 0.0), (0.0, 24.0), (16.0, 0.5), (16.5, 24.0)]  # (y, x) px, of the first pixels
SIZE = 0.65  # micrometres
FORMS = ("1.4", "2.0")


def file_name(form: str, k: int) -> str:
    return f"img_{k:09d}_DAPI_000.tif" if form == "1.4" else f"img_channel000_position{k:03d}_time000000000_z000.tif"


def entries(form: str, k: int) -> dict[str, Any]:
    """What Micro-Manager writes of an image."""
    told = {"YPositionUm": PLACES[k][0] * SIZE - 50, "XPositionUm": PLACES[k][1] * SIZE + 70, "PixelSizeUm": SIZE}
    told |= {"PositionName": f"Pos{k}", "Exposure-ms": 10}
    if form == "1.4":
        return {f"FrameKey-{k}-0-0": {**told, "FileName": file_name(form, k)}}
    name = f"Default/{file_name(form, k)}"
    return {f"Coords-{name}": {"PositionIndex": k, "Channel": 0}, f"Metadata-{name}": told}


def write(folder: Path, form: str, numbers: range = range(4)) -> Path:
    """Writes a folder with some of the images, without metadata of their own, and the metadata.txt beside them."""
    folder.mkdir(parents=True)
    for k in numbers:
        pixels = np.random.default_rng(k).integers(0, 999, (20, 30)).astype(np.uint16)
        tifffile.imwrite(folder / file_name(form, k), pixels, metadata=None)
    summary = {"Summary": {"Prefix": "Größe", "Positions": 4, "ChNames": ["DAPI"]}}
    text = json.dumps(summary | {key: each for k in numbers for key, each in entries(form, k).items()}, ensure_ascii=False)
    (folder / "metadata.txt").write_text(text, encoding="latin-1" if form == "1.4" else "utf-8")
    return folder / "metadata.txt"


def dataset(folder: Path, **keys: Any) -> Dataset:
    return Dataset.checked({"images": str(folder / "img_*.tif"), "positions": "metadata", **keys})


def places(table: Any) -> np.ndarray:
    """The places of the tiles in the order of their names, less that of the first one."""
    found = table.sort_values("path")[["y", "x"]].to_numpy(float)
    return found - found[0]


@pytest.mark.parametrize("form", FORMS)
def test_places_and_the_size_of_a_pixel_come_from_the_list(form: str, tmp_path: Path) -> None:
    write(tmp_path / "in", form)
    table = inventory.find_tiles(dataset(tmp_path / "in"))
    np.testing.assert_allclose(places(table), PLACES, atol=1e-6)
    assert table["pixel_size"].tolist() == [SIZE] * 4


@pytest.mark.parametrize("form", FORMS)
def test_each_folder_has_its_own_list_and_it_is_read_once(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = [write(tmp_path / f"Pos{half}", form, range(2 * half, 2 * half + 2)) for half in range(2)]
    read, original = [], micro_manager_metadata.read
    monkeypatch.setattr(micro_manager_metadata, "read", lambda table: read.append(table) or original(table))
    table = inventory.find_tiles(dataset(tmp_path, images=str(tmp_path / "Pos*" / "img_*.tif")))
    np.testing.assert_allclose(places(table), PLACES, atol=1e-6)
    assert read == lists


def test_what_an_image_tells_itself_counts_before_the_list(tmp_path: Path) -> None:
    table = write(tmp_path / "in", "1.4")
    for k, (y, x) in enumerate(PLACES):
        told = {"YPositionUm": 2 * y, "XPositionUm": 2 * x, "PixelSizeUm": 1.0}
        extra = [(51123, 2, 0, json.dumps(told), True)]
        tifffile.imwrite(tmp_path / "in" / file_name("1.4", k), np.full((40, 60), k, np.uint16), metadata=None, extratags=extra)
    table.write_text("{")  # then it does not matter that the list is damaged
    np.testing.assert_allclose(places(inventory.find_tiles(dataset(tmp_path / "in"))), 2 * np.array(PLACES), atol=1e-6)


@pytest.mark.parametrize(
    ("text", "where"),
    [('{"Summary": {},\n"FrameKey-0-0-0": {"FileNa', ", line 2"), ("", ", line 1"), ("[1]", ""), ("[" * 10**5, "")],
)
def test_a_damaged_list_is_named_once(tmp_path: Path, text: str, where: str) -> None:
    table = write(tmp_path / "in", "1.4")
    table.write_text(text)
    with pytest.raises(TileError) as error:
        inventory.find_tiles(dataset(tmp_path / "in"))
    words = (
        "is cut short, damaged, or not the one of Micro-Manager: copy it again from the microscope, or give positions, a table"
    )
    assert str(error.value).splitlines()[1:] == [f"  {table}{where}: {words}"]


@pytest.mark.parametrize("text", ['{"Summary": {},\n"Frame', None])
def test_images_whose_list_is_still_being_written_are_left_out(
    tmp_path: Path, text: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "Pos0", "1.4", range(2))
    table = write(tmp_path / "Pos1", "1.4", range(2, 4))
    table.write_text(text or json.dumps(entries("1.4", 2)))
    monkeypatch.setattr(contents, "WATCH", 0.0)
    monkeypatch.setattr(time, "sleep", lambda _: table.write_text(table.read_text() + " "))
    found = inventory.find_tiles(dataset(tmp_path, images=str(tmp_path / "Pos*" / "img_*.tif")))
    assert len(found) == (2 if text else 3)
    assert f"{tmp_path / 'Pos1' / file_name('1.4', 3)}: still being written, so left out now" in caplog.text.replace(
        f"{tmp_path / 'Pos1' / file_name('1.4', 2)}, ", ""
    )


def test_an_image_that_the_list_does_not_name_tells_no_place(tmp_path: Path) -> None:
    write(tmp_path / "in", "2.0")
    tifffile.imwrite(tmp_path / "in" / "img_other.tif", np.zeros((20, 30), np.uint16))
    with pytest.raises(TileError, match=r"img_other\.tif: tells no place of the stage, as other files do"):
        inventory.find_tiles(dataset(tmp_path / "in"))


def test_numbers_that_make_no_sense_are_none(tmp_path: Path) -> None:
    (tmp_path / "metadata.txt").write_text(
        '{"FrameKey-0-0-0": {"FileName": "Pos0\\\\a.tif", "XPositionUm": NaN, "YPositionUm": 1, "PixelSizeUm": 0.0},'
        '"FrameKey-0-0-1": {"XPositionUm": 3}, "FrameKey-0-0-2": 4}'
    )
    (facts,) = micro_manager_metadata.read(tmp_path / "metadata.txt").values()
    assert facts.place is None and facts.pixel_size is None
    (tmp_path / "metadata.txt").unlink()
    with pytest.raises(TextTableError, match=r"cannot be read \(No such file or directory\)"):
        micro_manager_metadata.read(tmp_path / "metadata.txt")


def test_a_change_of_the_list_is_a_change_of_the_dataset(tmp_path: Path) -> None:
    table = write(tmp_path / "in", "1.4")
    settings = dataset(tmp_path / "in")
    files = sorted((tmp_path / "in").glob("img_*.tif"))

    def held() -> str:
        """What the Snakefile compares."""
        return contents.of_dataset(contents.Contents().sums(map(str, files)), found_tiles.tables(settings, files))

    before = held()
    inventory.tiles(tmp_path / "out" / "files.csv", settings=settings, content=before)
    assert (sealed.read(tmp_path / "out" / contents.READ) or b"").decode() == before
    table.write_text(table.read_text("latin-1").replace("70", "71"), encoding="latin-1")
    assert held() != before
    assert found_tiles.tables(settings.model_copy(update={"positions": None}), files) == []
