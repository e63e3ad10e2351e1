"""The grey levels of the mosaic: the correction clips nothing, and changes nothing where it need not."""

from pathlib import Path

import numpy as np
import pytest
from support.mosaics import SIDE, MosaicInputs

from dlir.core import affine, tables
from dlir.fusion.levels import levels
from dlir.illumination import fields
from dlir.illumination.fields import Fields

FLAT = np.linspace(0.5, 1.5, SIDE, dtype=np.float32)[None, :, None] * np.ones((1, SIDE, SIDE), np.float32)
NOTHING = fields.identity((1, SIDE, SIDE))


def tile(low: int, high: int, dtype: str = "uint16", seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (1, SIDE, SIDE)).astype(dtype)


def with_dark(level: float, flat: np.ndarray = FLAT) -> Fields:
    return NOTHING._replace(flat=flat, dark=np.full((1, SIDE, SIDE), level, np.float32))


def found(folder: Path, tiles: list[np.ndarray], light: Fields, **options: bool) -> "tuple[float, float, list[int]]":
    """The scale, the pedestal and the clipped pixels of each of the tiles."""
    MosaicInputs(folder, tiles, affine.translation([[0.0, 80.0 * n] for n in range(len(tiles))]))
    listed = tables.read(folder / "tiles.csv", tables.TILES)
    table = levels(listed, np.ones((len(tiles), 1)), [light], **options)
    return table["scale"].iloc[0], table["pedestal"].iloc[0], table["clipped"].tolist()


def fused(folder: Path, tiles: list[np.ndarray], light: Fields, **options: bool) -> np.ndarray:
    inputs = MosaicInputs(folder, tiles, affine.translation([[0.0, 0.0]] * len(tiles)))
    fields.write([light], folder / "illumination.tif")
    listed = tables.read(folder / "tiles.csv", tables.TILES)
    tables.write(levels(listed, np.ones((len(tiles), 1)), [light], **options), tables.EXPOSURE, folder / "exposure.csv")
    return inputs.run()["0"][...]


def test_without_illumination_the_mosaic_has_the_grey_values_of_the_tiles(tmp_path: Path) -> None:
    assert found(tmp_path, [tile(0, 65536)], NOTHING) == (1, 0, [0])


def test_far_from_the_maximum_nothing_is_scaled(tmp_path: Path) -> None:
    assert found(tmp_path, [tile(100, 20000)], with_dark(0)) == (1, 0, [0])


@pytest.mark.parametrize(("dtype", "top"), [("uint8", 255), ("uint16", 65535)])
def test_no_unsaturated_pixel_reaches_the_maximum_and_all_keep_their_proportion(tmp_path: Path, dtype: str, top: int) -> None:
    pixels = tile(top // 10, top + 1, dtype)
    mosaic, (scale, _, _) = fused(tmp_path, [pixels], with_dark(0)), found(tmp_path, [pixels], with_dark(0))
    unsaturated = pixels[0] < top
    assert 0.95 * top < mosaic[unsaturated].max() <= top
    assert mosaic[unsaturated] == pytest.approx((pixels[0] / FLAT[0] * scale)[unsaturated], abs=0.51)


def test_the_mosaic_keeps_the_level_of_the_dark_field(tmp_path: Path) -> None:
    assert found(tmp_path, [tile(480, 9000)], with_dark(500)) == (1, 500, [0])
    assert np.abs(fused(tmp_path, [np.full((1, SIDE, SIDE), 500, np.uint16)], with_dark(500)).astype(int) - 500).max() == 0


def test_the_pedestal_is_as_high_as_the_darkest_pixel_needs(tmp_path: Path) -> None:
    pixels = tile(1, 9000)
    scale, pedestal, clipped = found(tmp_path, [pixels], with_dark(500))
    assert (scale, clipped) == (1, [0])
    assert pedestal == pytest.approx(-((pixels - 500.0) / FLAT).min(), rel=1e-5)
    assert (fused(tmp_path, [pixels], with_dark(500)) >= 0).all()


def test_without_the_pedestal_the_clipped_pixels_are_counted(tmp_path: Path) -> None:
    tiles = [tile(450, 9000), tile(600, 9000)]
    scale, pedestal, clipped = found(tmp_path, tiles, with_dark(500), pedestal=False)
    assert (scale, pedestal) == (1, 0)
    assert clipped == [int(((tiles[0] - 500.0) / FLAT < -0.5).sum()), 0] and clipped[0] > 50


def test_blind_pixels_do_not_count(tmp_path: Path) -> None:
    pixels, blind = tile(600, 9000, "uint8") % 200 + 1, np.zeros((SIDE, SIDE), bool)
    blind[:4] = True
    pixels = pixels.astype(np.uint8)
    pixels[:, :4] = 254
    scale, _, _ = found(tmp_path, [pixels], with_dark(0)._replace(blind=blind))
    assert scale > 0.63  # the largest pixel that shows the image is 200, where flat is at least 0.54


def test_numbers_with_a_point_are_never_scaled(tmp_path: Path) -> None:
    assert found(tmp_path, [tile(0, 9000, "float32")], with_dark(500)) == (1, 500, [0])
