"""The preview: a text with the names in their rows and columns, and a picture with each tile at its place."""

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from support.surveys import SIDE, cut_grid, write

from dlir.proposal.preview import preview
from dlir.reading.settings import Dataset


@pytest.fixture
def grid(tmp_path: Path) -> Dataset:
    """A snake of 2 x 3 tiles, whose grey values are their numbers; tile 4 is missing."""
    tiles = {f"t{k:02d}.tif": np.full((60, 80), 40 * k, np.uint8) for k in (0, 1, 2, 3, 5)}
    write(tmp_path / "in", tiles)
    return Dataset.checked({"images": str(tmp_path / "in" / "t{index}.tif"), "columns": 3, "snake": True, "overlap": 0.25})


def test_the_text_shows_names_in_their_places(grid: Dataset, tmp_path: Path) -> None:
    lines = preview("a", grid, tmp_path / "a.png").splitlines()
    assert lines[0].startswith("a: 5 tiles in 2 rows and 3 columns")
    assert [line.split() for line in lines[1:]] == [["0", "1", "2"], ["0", "00", "01", "02"], ["1", "05", "-", "03"]]


def test_the_picture_shows_each_tile_at_its_nominal_place(grid: Dataset, tmp_path: Path) -> None:
    preview("a", grid, tmp_path / "a.png")
    picture = np.asarray(Image.open(tmp_path / "a.png").convert("L"), float)
    height, width = 45 + 60 + 1, 2 * 60 + 80 + 1
    scale = np.array(picture.shape) / (height, width)
    for (y, x), number in {(10, 10): 0, (10, 95): 1, (10, 190): 2, (95, 190): 3, (95, 10): 5}.items():
        shown = picture[int(y * scale[0]), int(x * scale[1])]
        assert shown == pytest.approx(255 * number / 5, abs=6), (y, x)
    assert picture[int(95 * scale[0]), int(95 * scale[1])] == 64  # the place without a tile has the colour of the page


def test_the_picture_shows_each_image_of_one_file(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "all.ome.tif", ome=True) as file:
        for value in (0, 50, 100):
            file.write(np.full((60, 80), value, np.uint8))
    settings = Dataset.checked({"images": f"{tmp_path}/all.ome.tif#{{index}}", "columns": 3, "overlap": 0.25})
    preview("a", settings, tmp_path / "a.png")
    picture = np.asarray(Image.open(tmp_path / "a.png").convert("L"), float)
    for x, shown in ((10, 0), (95, 128), (190, 255)):
        assert picture[int(10 / 61 * picture.shape[0]), int(x / 201 * picture.shape[1])] == pytest.approx(shown, abs=6), x


def test_without_an_overlap_the_picture_has_the_one_that_the_tiles_show(tmp_path: Path) -> None:
    tiles = cut_grid(3, 3, (115.0, 0.0), (0.0, 77.0), seed=3)
    write(tmp_path, {f"r{row}_c{col}.tif": pixels for (row, col), pixels in tiles.items()})
    settings = Dataset.checked({"images": str(tmp_path / "r{row}_c{col}.tif")})
    text = preview("a", settings, tmp_path / "a.png")
    assert re.search(r"The overlap is the one that the tiles show: (9|10|11) % along y and (39|40|41) % along x\.$", text)
    height, width = np.asarray(Image.open(tmp_path / "a.png").convert("L")).shape
    assert height / width == pytest.approx((2 * 115 + SIDE) / (2 * 77 + SIDE), rel=0.02)


@pytest.mark.parametrize("broken", [False, True])
def test_an_overlap_that_is_not_known_is_said(broken: bool, tmp_path: Path) -> None:
    tiles = cut_grid(2, 2, (115.0, 0.0), (0.0, 77.0), blank=1.0)
    write(tmp_path, {f"r{row}_c{col}.tif": pixels for (row, col), pixels in tiles.items()})
    if broken:
        whole = (tmp_path / "r0_c0.tif").read_bytes()
        (tmp_path / "r0_c0.tif").write_bytes(whole[: len(whole) // 2])
    text = preview("a", Dataset.checked({"images": str(tmp_path / "r{row}_c{col}.tif")}), tmp_path / "a.png")
    assert text.endswith("The overlap is not yet known: the picture shows 10 %.")
