"""LIF files that were made byte by byte (`support/lif_file.py`), read through the real library `liffile`."""

from pathlib import Path

import numpy as np
import pytest
from support.lif_file import Picture, lif

from dlir.reading import image_files
from dlir.reading.image_files import ImageError
from dlir.reading.inventory import find_tiles
from dlir.reading.settings import Dataset

pytest.importorskip("liffile", reason="needs the extra vendor: pip install 'dlir[vendor]'")

PIXELS = np.random.default_rng(0).integers(0, 999, (3, 2, 4, 2, 20, 30)).astype(np.uint16)  # tile, time, z, channel, y, x
PLACES = ((5e-6, 7e-6), (5e-6, 19e-6), (13e-6, 7e-6))  # (y, x), metres
SCAN = Picture("scan", PIXELS, "MTZCYX", places=PLACES)
COLOURS = np.random.default_rng(1).integers(0, 255, (20, 30, 3)).astype(np.uint8)  # blue first
ALONE = Picture("alone", COLOURS, "YXS")


def written(folder: Path, *pictures: Picture) -> Path:
    (folder / "t.lif").write_bytes(lif(*pictures))
    return folder / "t.lif"


@pytest.mark.parametrize("axes", ["MTZCYX", "MTCZYX", "CTMZYX", "TZCMYX"])
def test_each_tile_is_an_image_in_any_order_of_the_axes(axes: str, tmp_path: Path) -> None:
    order = ["MTZCYX".index(axis) for axis in axes]
    file = written(tmp_path, SCAN._replace(pixels=np.ascontiguousarray(PIXELS.transpose(order)), axes=axes))
    for number, where in enumerate(PLACES):
        with image_files.opened(file, image=number) as stack:
            told = stack.images[number]
            assert stack.sizes == (2, 4, 2, 20, 30) and told.name == f"scan, tile {number}"
            assert told.place == pytest.approx([1e6 * metres for metres in where]) and told.unit == "um"
            assert told.pixel_size == pytest.approx((0.5, 0.5))
            np.testing.assert_array_equal(stack.read(1, 3), PIXELS[number, 1, 3])
            np.testing.assert_array_equal(stack.read(0, 2, 1), PIXELS[number, 0, 2, 1:])


def test_the_tiles_are_placed_by_the_file(tmp_path: Path) -> None:
    one_plane = SCAN._replace(pixels=PIXELS[:, 0, 0, 0].copy(), axes="MYX")
    table = find_tiles(Dataset.checked({"images": str(written(tmp_path, one_plane, ALONE)), "positions": "metadata"}))
    assert [path.rpartition("#")[2] for path in table["path"]] == ["0", "1", "2"]
    found = table[["y", "x"]] - table[["y", "x"]].iloc[0]
    np.testing.assert_allclose(found, (np.array(PLACES) - PLACES[0]) / 0.5e-6, atol=1e-6)


@pytest.mark.parametrize(("turned", "sign", "swapped"), [
    ('FlipX="1" FlipY="0" SwapXY="0"', (1, -1), False),
    ('FlipX="0" FlipY="1" SwapXY="0"', (-1, 1), False),
    ('FlipX="1" FlipY="0" SwapXY="1"', (1, -1), True),
    ('FlipX="1" FlipY="1" SwapXY="1"', (-1, -1), True),
])  # fmt: skip
def test_the_axes_of_the_stage_are_turned_to_the_picture(
    turned: str, sign: tuple[int, int], swapped: bool, tmp_path: Path
) -> None:
    with image_files.opened(written(tmp_path, SCAN._replace(turned=turned)), image=0) as stack:
        found = [facts.place for facts in stack.images]
    stage = 1e6 * np.array(PLACES)[:, ::-1] if swapped else 1e6 * np.array(PLACES)
    np.testing.assert_allclose(found, stage * sign)


def test_colours_come_red_first_and_an_image_alone_has_no_place(tmp_path: Path) -> None:
    with image_files.opened(written(tmp_path, ALONE, SCAN), image=0) as stack:
        assert stack.sizes == (1, 1, 3, 20, 30) and stack.images[0].place is None and len(stack.images) == 4
        np.testing.assert_array_equal(stack.read(), np.moveaxis(COLOURS[..., ::-1], -1, 0))


def test_a_tile_scan_of_one_tile_has_its_place_and_a_stitched_image_none(tmp_path: Path) -> None:
    one = SCAN._replace(pixels=PIXELS[:1], places=PLACES[1:2])
    merged = Picture("merged", PIXELS[0, 0, 0, 0], "YX", places=PLACES)
    with image_files.opened(written(tmp_path, one, merged), image=1) as stack:
        assert stack.images[0].place == pytest.approx((5, 19)) and stack.images[1].place is None
        np.testing.assert_array_equal(stack.read()[0], PIXELS[0, 0, 0, 0])


@pytest.mark.parametrize("unit", ["", "pixel"])
def test_pixels_that_are_not_calibrated_have_no_size(unit: str, tmp_path: Path) -> None:
    with image_files.opened(written(tmp_path, SCAN._replace(unit=unit)), image=0) as stack:
        assert stack.images[0].pixel_size is None


@pytest.mark.parametrize(("picture", "reason"), [
    (Picture("odd", PIXELS[0, 0, :, 0], "λYX"), "it has axes λ, which no tile has"),
    (Picture("odd", PIXELS[0, 0, :, 0], "YZX"), "it is no scan along x and y"),
    (Picture("odd", PIXELS[0, 0, 0, 0], "YX", lost=1200), "without pixels"),
    (Picture("odd", PIXELS[0, 0, 0, 0], "YX", lost=2), "it has fewer pixels than it announces"),
    (Picture("odd", COLOURS[:, :7].copy(), "YXS", gap=3), "it has gaps between its rows, which liffile does not skip"),
    (Picture("odd", COLOURS[:, :7].copy(), "YXS", gap=1), "its pixels lie in a way that liffile does not read"),
])  # fmt: skip
def test_what_cannot_be_a_tile_is_left_out_and_named(picture: Picture, reason: str, tmp_path: Path) -> None:
    with image_files.opened(written(tmp_path, picture, SCAN), image=0) as stack:
        assert stack.notes == (f"left out of the file, since they cannot be tiles: odd ({reason})",)
        assert len(stack.images) == 3
        np.testing.assert_array_equal(stack.read(), PIXELS[0, 0, 0])
    words = f"holds no image that can be a tile: odd ({reason}): export the images as OME-TIFF"
    with pytest.raises(ImageError) as told, image_files.opened(written(tmp_path, picture)):
        pass
    assert str(told.value) == f"{tmp_path / 't.lif'}: {words}"


def test_a_file_that_ends_anywhere_is_an_error_that_names_it(tmp_path: Path) -> None:
    file = written(tmp_path, SCAN, ALONE)
    whole = file.read_bytes()
    for end in np.linspace(10, len(whole) - 1, 50).astype(int):
        file.write_bytes(whole[:end])
        with pytest.raises(ImageError, match=r"t\.lif: is damaged"), image_files.opened(file, image=3) as stack:
            stack.read()
