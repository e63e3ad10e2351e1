"""The OME-TIFF has the pixels and the metadata of the store that it was converted from."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
import zarr

from dlir.fusion.ome_tiff import ome_tiff
from dlir.fusion.ome_zarr_metadata import shown_by_pixels, write_metadata
from dlir.fusion.pyramid import Pyramid
from dlir.fusion.settings import Mosaic


def store(
    folder: Path, shape: tuple[int, int, int, int, int], dtype: str, pixel_size: float = np.nan, names: tuple[str, ...] = ()
) -> list[np.ndarray]:
    """Writes a mosaic of noise to a folder, and returns its levels (t, c, z, y, x)."""
    options = Mosaic(interpolation=1, blend="linear", bands=1, chunk=64, shard=128)
    pyramid = Pyramid(folder, shape, dtype, options)
    pixels = np.random.default_rng(1).integers(0, 255, shape).astype(dtype)
    for time, z in np.ndindex(shape[0], shape[2]):
        plane, blocks = pixels[time, :, z], pyramid.band_blocks(0, 1)
        pyramid.build(blocks, 0, lambda block, plane=plane: plane[:, *pyramid.region(block).slices], time, z, 1)
    write_metadata(folder, pyramid, "mosaic", pixel_size, shown_by_pixels(pyramid, names))
    group = zarr.open_group(folder, mode="r")
    return [np.asarray(group[str(level)][...]) for level in range(len(list(group.array_keys())))]


@pytest.mark.parametrize(
    ("shape", "dtype", "axes"),
    [((1, 1, 1, 700, 1100), "uint16", "YX"), ((1, 2, 1, 600, 530), "float32", "CYX"), ((2, 2, 3, 90, 70), "uint8", "TCZYX")],
)
def test_every_level_has_the_pixels_of_the_store(tmp_path: Path, shape: tuple, dtype: str, axes: str) -> None:
    levels = store(tmp_path / "m.ome.zarr", shape, dtype)
    ome_tiff(tmp_path / "m.ome.zarr", tmp_path / "m.ome.tif")
    with tifffile.TiffFile(tmp_path / "m.ome.tif") as file:
        assert file.is_bigtiff and file.is_ome and file.pages[0].is_tiled
        series = file.series[0]
        assert series.axes == axes
        assert len(series.levels) == len(levels)
        for written, level in zip(series.levels, levels, strict=True):
            assert np.array_equal(written.asarray(), level.squeeze())


def test_three_channels_of_8_bit_become_one_colour_plane_with_the_pixel_size(tmp_path: Path) -> None:
    levels = store(tmp_path / "m.ome.zarr", (1, 3, 1, 520, 600), "uint8", pixel_size=0.25)
    ome_tiff(tmp_path / "m.ome.zarr", tmp_path / "m.ome.tif")
    with tifffile.TiffFile(tmp_path / "m.ome.tif") as file:
        assert file.series[0].axes == "YXS"
        assert np.array_equal(file.series[0].asarray(), np.moveaxis(levels[0], 0, -1))
        assert 'PhysicalSizeX="0.25"' in str(file.ome_metadata)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_channels_have_their_names_and_colours(tmp_path: Path, dtype: str) -> None:
    names = ("DAPI", "FITC", "<script>alert(1)</script>")
    levels = store(tmp_path / "m.ome.zarr", (1, 3, 1, 120, 100), dtype, names=names)
    ome_tiff(tmp_path / "m.ome.zarr", tmp_path / "m.ome.tif")
    with tifffile.TiffFile(tmp_path / "m.ome.tif") as file:
        assert file.series[0].axes == "CYX"
        assert np.array_equal(file.series[0].asarray(), levels[0].squeeze())
        channels = ElementTree.fromstring(str(file.ome_metadata)).findall(".//{*}Channel")
    assert [channel.get("Name") for channel in channels] == [*names]
    # red, green, blue, opacity: blue 0x0000FFFF, green 0x00FF00FF, and red for the name that tells nothing
    assert [int(channel.get("Color", "0")) & 0xFFFFFFFF for channel in channels] == [0x0000FFFF, 0x00FF00FF, 0xFF0000FF]
    assert all(-(2**31) <= int(channel.get("Color", "0")) < 2**31 for channel in channels)
