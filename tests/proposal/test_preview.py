"""The preview: a text with the names in their rows and columns, and a picture with each tile at its place."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from support.surveys import write

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
