"""Which of several pictures of the same places are the tiles."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from dlir.proposal.copies import without_copies


def write_all(folder: Path, sizes: dict[str, tuple[int, ...]]) -> list[str]:
    """Writes images of these sizes for four places; {} in a name stands for the place."""
    names = []
    for form, size in sizes.items():
        for place in range(4):
            path = folder / form.format(place)
            path.parent.mkdir(exist_ok=True)
            pixels = np.zeros(size, np.uint8)
            tifffile.imwrite(path, pixels) if path.suffix == ".tif" else Image.fromarray(pixels).save(path)
            names.append(path.relative_to(folder).as_posix())
    return names


@pytest.mark.parametrize(
    ("sizes", "tiles", "why"),
    [
        ({"r0_c{}.tif": (64, 64), "r0_c{}.jpg": (16, 16)}, "r0_c*.tif", "smaller copies of the tiles"),
        ({"t{}.tif": (64, 64), "t{}.jpg": (64, 64)}, "t*.tif", "lossy copies of the tiles"),
        ({"t{}.tif": (64, 64), "t{}.png": (64, 64)}, "t*.tif", "copies of the tiles in another format"),
        ({"t{}.jpg": (64, 64), "t{}.tif": (16, 16)}, "t*.jpg", "smaller copies of the tiles"),
        ({"t{}.tif": (16, 16), "t{}_full.tif": (64, 64)}, "t*_full.tif", "smaller copies of the tiles"),
        ({"t{}.tif": (64, 64), "thumbs/t{}.tif": (16, 16)}, "t*.tif", "smaller copies of the tiles"),
        ({"t{}_full.tif": (64, 64), "t{}_small.tif": (16, 16)}, "t*_full.tif", "smaller copies of the tiles"),
        ({"t{}_CH4.tif": (64, 64), "t{}_Overlay.tif": (64, 64, 3)}, "t*_CH4.tif", "colour pictures of the tiles"),
    ],
)
def test_the_largest_lossless_grey_images_are_the_tiles(
    sizes: dict[str, tuple[int, ...]], tiles: str, why: str, tmp_path: Path
) -> None:
    found, left_out = without_copies(tmp_path, write_all(tmp_path, sizes))
    assert len(found) == 1 and found[0].images.replace("{index}", "*").replace("{col}", "*").startswith(tiles)
    (line,) = left_out
    assert line.endswith(f" and 1 more: {why}")


def test_other_images_with_the_same_numbers_are_no_copies(tmp_path: Path) -> None:
    found, left_out = without_copies(tmp_path, write_all(tmp_path, {"t{}.tif": (64, 64), "u_{}.tif": (16, 16)}))
    assert len(found) == 2 and not left_out
