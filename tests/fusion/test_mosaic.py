"""The mosaic shows the specimen that its tiles were taken from."""

from pathlib import Path
from typing import Literal

import numpy as np
import ome_zarr_models
import pandas as pd
import pytest
import tifffile
import zarr
from ome_zarr_models import v05
from scipy import ndimage
from support.mosaics import SIDE, MosaicInputs, cut_tile, grid, specimen

from dlir.core import affine, tables
from dlir.fusion.blend import PlacedTiles, Region, borders
from dlir.fusion.mosaic import mosaic
from dlir.fusion.plan import CanvasError
from dlir.fusion.pyramid import halve
from dlir.fusion.settings import Mosaic
from dlir.illumination import fields
from dlir.reading.image_files import ImageError, read
from dlir.reading.inventory import tiles
from dlir.reading.settings import Dataset


def truth(shape: tuple[int, ...]) -> np.ndarray:
    """The specimen (y, x) at the pixels of a mosaic of this shape."""
    return specimen(np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1))


@pytest.mark.parametrize(("order", "bound"), [(0, 40), (1, 1.5), (3, 0.6)])
def test_tiles_at_parts_of_a_pixel_give_the_specimen(tmp_path: Path, order: int, bound: float) -> None:
    affines = grid(0.9)
    fused = MosaicInputs(tmp_path, [cut_tile(a) for a in affines], affines).run(order=order)["0"][...]
    inside = (slice(10, 2 * 80 + SIDE - 10), slice(10, 3 * 80 + SIDE - 10))
    assert np.abs(fused - truth(fused.shape))[inside].max() < bound


@pytest.mark.parametrize("order", [0, 1, 3])
def test_tiles_at_whole_pixels_are_copied_exactly(tmp_path: Path, order: int) -> None:
    affines = grid(0.0, step=SIDE)  # the tiles touch and do not overlap
    tiles = [np.random.default_rng(i).random((1, SIDE, SIDE), np.float32) for i in range(12)]
    fused = MosaicInputs(tmp_path, tiles, affines).run(order=order)["0"][...]
    expected = np.block([[tiles[4 * row + column][0] for column in range(4)] for row in range(3)])
    assert np.array_equal(fused, expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_mosaic_of_one_tile_is_the_tile(tmp_path: Path, dtype: str) -> None:
    tile = np.random.default_rng(0).integers(0, 256, (1, 70, 51)).astype(dtype)
    fused = MosaicInputs(tmp_path, [tile], grid(0, 1, 1)).run()["0"]
    assert fused.dtype == dtype
    assert np.array_equal(fused[...], tile[0])


def test_turned_tiles_are_turned_back(tmp_path: Path) -> None:
    places = grid(0.9, 2, 2)
    places[..., 2] += 10
    linear = [[[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]] * np.array(1.01) for t in (0.03, -0.02, 0.0, 0.05)]
    affines = np.concatenate([np.array(linear), places[..., 2:]], -1)
    inputs = MosaicInputs(tmp_path, [cut_tile(a) for a in affines], affines)
    placed = PlacedTiles(
        inputs.paths,
        [0] * 4,
        affines,
        np.ones((4, 1)),
        np.zeros(1),
        [fields.identity((1, SIDE, SIDE))],
        read,
        1,
        "linear",
        [None],
        [None] * 4,
        borders([fields.identity((1, SIDE, SIDE))], [0] * 4, [None] * 4),
    )
    fused, covered = placed.fuse(Region(0, 0, 190, 190))
    inside = (slice(20, 175), slice(20, 175))
    assert covered[inside].all()
    assert np.abs(fused[0] - truth((190, 190)))[inside].max() < 1.5
    assert np.abs(inputs.run()["0"][:185, :185] - fused[0, :185, :185]).max() == 0


@pytest.mark.parametrize("fraction", [0.0, 0.9])
@pytest.mark.parametrize(("dtype", "value"), [("uint8", 1), ("uint8", 255), ("uint16", 65535), ("float32", 1)])
def test_every_covered_pixel_is_written_and_none_overflows(tmp_path: Path, fraction: float, dtype: str, value: int) -> None:
    affines = grid(fraction)
    fused = MosaicInputs(tmp_path, [np.full((1, SIDE, SIDE), value, dtype)] * 12, affines).run()["0"][...]
    covered = np.zeros(fused.shape, bool)
    for y, x in np.ceil(affines[..., 2]).astype(int):
        covered[y : y + SIDE - (fraction > 0), x : x + SIDE - (fraction > 0)] = True
    assert np.allclose(fused[covered], value, rtol=1e-6, atol=0)
    beyond = fused[~covered & (fused != 0)]  # half a pixel beyond the centres may be covered too
    assert np.allclose(beyond, value, rtol=1e-6, atol=0)


def test_means_are_rounded_to_the_nearest_integer(tmp_path: Path) -> None:
    tiles = [np.full((1, SIDE, SIDE), value, np.uint8) for value in (100, 101)]
    affines = affine.translation([[0.0, 0.0], [0.0, 0.0]])
    assert (MosaicInputs(tmp_path, [*tiles, tiles[1]], affines[[0, 0, 1]]).run()["0"][...] == 101).all()  # the mean is 100.67


def test_the_seam_fades_from_one_tile_into_the_other(tmp_path: Path) -> None:
    tiles = [np.full((1, SIDE, SIDE), value, np.float32) for value in (0, 1)]
    affines = affine.translation([[0.0, 0.0], [0.0, 80.0]])
    row = MosaicInputs(tmp_path, tiles, affines).run()["0"][50]
    assert (row[:80] == 0).all() and (row[SIDE:] == 1).all()
    assert np.allclose(row[80:SIDE], np.arange(1, 17) / 17)


def test_tiles_are_corrected_for_the_flat_field(tmp_path: Path) -> None:
    affines = grid(0.0)
    flat = np.linspace(0.5, 1.5, SIDE, dtype=np.float32)[None, :, None] * np.ones((1, SIDE, SIDE), np.float32)
    tiles = [np.rint(cut_tile(a) * flat).astype(np.uint16) for a in affines]
    fused = MosaicInputs(tmp_path, tiles, affines, flat).run()["0"][...]
    assert np.abs(fused - truth(fused.shape)).max() < 1.6  # rounding: 1 of the tile where flat is 0.5, and 0.5


def test_tiles_are_corrected_for_dark_field_and_gains(tmp_path: Path) -> None:
    affines = grid(0.0)
    gains = np.linspace(0.7, 1.3, 12)[:, None]
    tiles = [(cut_tile(a) * g + 50).astype(np.float32) for a, g in zip(affines, gains[..., 0], strict=True)]
    inputs = MosaicInputs(tmp_path, tiles, affines)
    fields.write(
        [fields.identity((1, SIDE, SIDE))._replace(dark=np.full((1, SIDE, SIDE), 50, np.float32))],
        tmp_path / "illumination.tif",
    )
    inputs.expose(gains)
    fused = inputs.run()["0"][...]
    assert np.abs(fused - truth(fused.shape)).max() < 0.01


def test_pixels_below_the_dark_field_are_clipped_after_the_tiles_are_fused(tmp_path: Path) -> None:
    tiles = [np.full((1, SIDE, SIDE), value, np.uint16) for value in (90, 130)]
    inputs = MosaicInputs(tmp_path, tiles, affine.translation([[0.0, 0.0], [0.0, 0.0]]))
    fields.write(
        [fields.identity((1, SIDE, SIDE))._replace(dark=np.full((1, SIDE, SIDE), 100, np.float32))],
        tmp_path / "illumination.tif",
    )
    assert (inputs.run()["0"][...] == 10).all()  # the mean of -10 and 30


def test_the_pedestal_is_added_after_the_gains(tmp_path: Path) -> None:
    affines, gains = grid(0.0), np.linspace(0.7, 1.3, 12)[:, None]
    tiles = [(cut_tile(a) * g).astype(np.float32) for a, g in zip(affines, gains[..., 0], strict=True)]
    inputs = MosaicInputs(tmp_path, tiles, affines)
    inputs.expose(gains, pedestal=70.0)
    fused = inputs.run()["0"][...]
    assert np.abs(fused - truth(fused.shape) - 70).max() < 0.01


@pytest.mark.parametrize("blend", ["linear", "average", "max", "none"])
@pytest.mark.parametrize("fraction", [0.0, 0.9])
def test_blind_pixels_are_not_shown(tmp_path: Path, blend: str, fraction: float) -> None:
    affines, blind = grid(fraction), np.zeros((SIDE, SIDE), bool)
    blind[:3] = blind[-3:] = blind[:, :3] = blind[:, -3:] = True
    blind[:14, :14] |= np.add.outer(np.arange(14), np.arange(14)) < 14  # a corner that no light reaches
    tiles = [cut_tile(a) for a in affines]
    for tile in tiles:
        tile[:, blind] = 60000
    inputs = MosaicInputs(tmp_path, tiles, affines)
    fields.write([fields.identity((1, SIDE, SIDE))._replace(blind=blind)], tmp_path / "illumination.tif")
    fused = inputs.run(blend=blend)["0"][...]
    assert (fused[:2] == 0).all() and (fused[:, :2] == 0).all() and (fused[:9, :4] == 0).all()
    shown = fused[4:-4, 16:-4], truth(fused.shape)[4:-4, 16:-4]
    assert np.abs(shown[0] - shown[1]).max() < (0.01 if fraction == 0 else 15)


def test_a_dead_row_is_covered_by_the_other_tile_or_filled_from_both_sides(tmp_path: Path) -> None:
    affines, blind = grid(0.0, 2, 1), np.zeros((SIDE, SIDE), bool)
    blind[[4, 50]] = True
    tiles = [cut_tile(a) for a in affines]
    for tile in tiles:
        tile[:, blind] = 0
    inputs = MosaicInputs(tmp_path, tiles, affines)
    fields.write([fields.identity((1, SIDE, SIDE))._replace(blind=blind)], tmp_path / "illumination.tif")
    error = np.abs(inputs.run()["0"][...] - truth((80 + SIDE, SIDE)))
    assert error[84].max() < 3  # row 4 of the second tile lies in row 84 of the first, which shows it
    assert error[50].max() < 40 and error[130].max() < 40  # the step from one row to the next is up to 31 grey values


def test_colours_keep_their_order(tmp_path: Path) -> None:
    affines = grid(0.0, 2, 2)
    tile = np.stack([np.full((SIDE, SIDE), value, np.uint8) for value in (200, 100, 50)])
    group = MosaicInputs(tmp_path, [tile] * 4, affines).run()
    assert group["0"].shape == (3, 80 + SIDE, 80 + SIDE)
    assert [np.unique(channel).tolist() for channel in group["0"][...]] == [[200], [100], [50]]
    assert [axis["name"] for axis in group.attrs["ome"]["multiscales"][0]["axes"]] == ["c", "y", "x"]
    assert [c["color"] for c in group.attrs["ome"]["omero"]["channels"]] == ["FF0000", "00FF00", "0000FF"]


def test_the_store_is_valid_and_has_the_pixel_size(tmp_path: Path) -> None:
    affines = grid(0.5, 1, 8)
    MosaicInputs(tmp_path, [cut_tile(a) for a in affines], affines, pixel_size=0.25).run()
    image = ome_zarr_models.open_ome_zarr(zarr.open_group(tmp_path / "mosaic.ome.zarr", mode="r"))
    assert isinstance(image, v05.Image)
    multiscale = image.ome_attributes.multiscales[0]
    assert [axis.unit for axis in multiscale.axes] == ["micrometer", "micrometer"]
    scale, translation = multiscale.datasets[1].coordinateTransformations
    assert scale.scale == [0.5, 0.5] and translation.translation == [0.125, 0.125]
    assert not (tmp_path / "mosaic.ome.zarr.part").exists()


def test_each_level_of_the_pyramid_has_the_means_of_2_x_2_pixels(tmp_path: Path) -> None:
    affines = grid(0.5, 2, 14)  # 1137 px wide: levels 0 to 2, with odd sides
    group = MosaicInputs(tmp_path, [np.rint(cut_tile(a)).astype(np.uint16) for a in affines], affines).run()
    assert sorted(group.array_keys()) == ["0", "1", "2"]
    for fine, coarse in (("0", "1"), ("1", "2")):
        pixels = group[fine][...].astype(float)
        pixels = np.pad(pixels, [(0, length % 2) for length in pixels.shape], mode="edge")
        means = (pixels[::2, ::2] + pixels[1::2, ::2] + pixels[::2, 1::2] + pixels[1::2, 1::2]) / 4
        assert np.array_equal(group[coarse][...], np.rint(means))


def test_halving_counts_an_odd_last_row_or_column_twice() -> None:
    rows = np.array([[[1, 3, 5], [5, 7, 9], [2, 4, 8]]], np.float32)
    assert np.array_equal(halve(rows), [[[4, 7], [3, 8]]])


@pytest.fixture(scope="module")
def one_job(tmp_path_factory: pytest.TempPathFactory) -> MosaicInputs:
    """The inputs of a mosaic of 577 px, which are 10 rows of shards, and what one job made of them: `one_job`."""
    affines = grid(0.9, rows=7)
    tiles = [np.rint(cut_tile(a)).astype(np.uint16) for a in affines]
    inputs = MosaicInputs(tmp_path_factory.mktemp("one_job"), tiles, affines)
    inputs.run("one_job")
    return inputs


@pytest.mark.parametrize("bands", [2, 3, 5, 20])
def test_the_numbers_of_threads_and_bands_do_not_change_a_byte(one_job: MosaicInputs, bands: int) -> None:
    one_job.run(f"bands{bands}", threads=2, bands=bands)
    digests, found = one_job.digests("one_job"), one_job.digests(f"bands{bands}")
    assert len(digests) > 50
    assert {name for name, digest in found.items() if digests.get(name) != digest} == {"zarr.json"}  # it has the image's name
    assert len(found) == len(digests)


def test_the_files_of_bands_are_linked_and_not_copied(one_job: MosaicInputs) -> None:
    one_job.run("linked", bands=2)
    assert (one_job.folder / "linked/0/c/0/0").samefile(one_job.folder / "linked.bands/0/0/c/0/0")


@pytest.mark.parametrize(
    ("blend", "expected"), [("linear", [0.2, 0.5, 0.8]), ("average", [0.5] * 3), ("max", [1] * 3), ("none", [0, 1, 1])]
)
def test_the_overlap_is_blended_as_the_settings_say(tmp_path: Path, blend: str, expected: list[float]) -> None:
    tiles = [np.full((1, SIDE, SIDE), value, np.float32) for value in (0, 1)]
    affines = affine.translation([[0.0, 0.0], [0.0, 87.0]])  # 9 px overlap
    row = MosaicInputs(tmp_path, tiles, affines).run(blend=blend)["0"][50]
    assert row[[87 + 1, 87 + 4, 87 + 7]] == pytest.approx(expected)
    assert (row[:87] == 0).all() and (row[SIDE:] == 1).all()


def test_max_takes_the_brighter_tile_also_below_zero(tmp_path: Path) -> None:
    tiles = [np.full((1, SIDE, SIDE), value, np.float32) for value in (-3, -2)]
    affines = affine.translation([[0.0, 0.0], [0.0, 80.0]])
    row = MosaicInputs(tmp_path, tiles, affines).run(blend="max")["0"][50]
    assert (row[:80] == -3).all() and (row[80:] == -2).all()


def test_none_takes_each_pixel_from_one_tile(tmp_path: Path) -> None:
    affines = grid(0.0)
    tiles = [np.full((1, SIDE, SIDE), number + 1, np.uint8) for number in range(12)]
    fused = MosaicInputs(tmp_path, tiles, affines).run(blend="none")["0"][...]
    assert set(np.unique(fused)) == set(range(1, 13))
    assert fused[100, 100] == 1 + 4 + 1  # the tile of the second row and column, whose centre is nearest


def test_an_unreadable_tile_leaves_no_store(tmp_path: Path) -> None:
    affines = grid(0.0)
    inputs = MosaicInputs(tmp_path, [cut_tile(a) for a in affines], affines)
    Path(inputs.paths[9]).write_bytes(b"no longer a tile")
    with pytest.raises(ImageError, match=r"tile9\.tif"):
        inputs.run()
    assert not list(tmp_path.glob("mosaic*"))


def test_a_tile_whose_shape_changed_is_named_with_the_remedy(tmp_path: Path) -> None:
    affines = grid(0.0)
    inputs = MosaicInputs(tmp_path, [cut_tile(a) for a in affines], affines)
    tifffile.imwrite(inputs.paths[3], np.zeros((SIDE, SIDE + 1), np.float32))
    with pytest.raises(ImageError, match=r"tile3\.tif: was changed.*run again"):
        inputs.run()


def test_every_channel_z_and_time_is_fused_at_the_same_places(tmp_path: Path) -> None:
    """Each channel is a file with three z planes at two times; each plane of the mosaic shows the planes of its tiles."""
    affines = grid(0.0, 2, 2)
    (tmp_path / "in").mkdir()
    for number, matrix in enumerate(affines):
        for channel, name in enumerate(("DAPI", "GFP")):
            planes = [cut_tile(matrix)[0] + 100 * channel + 10 * z + time for time in range(2) for z in range(3)]
            stack = np.rint(planes).astype(np.uint16).reshape(2, 3, SIDE, SIDE)
            path = tmp_path / "in" / f"r{number // 2}_c{number % 2}_{name}.tif"
            tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "TZYX"})
    layout = {
        "overlap": 16 / 96,
        "rows": None,
        "columns": None,
        "start": "top-left",
        "order": "rows",
        "snake": False,
        "pixel_size": 0.5,
    }
    reference = {"reference_channel": None, "reference_z": "max", "reference_time": 0}
    images_of = str(tmp_path / "in" / "r{row}_c{col}_{channel}.tif")
    tiles(tmp_path / "tiles.csv", settings=Dataset(images=images_of, **layout, **reference))
    listed = tables.read(tmp_path / "tiles.csv", tables.TILES)
    others = {"pairs": 1, "residual": 0.1, "deviation": 0.1, "loop": np.nan, "placed_by": "pairs"}
    others |= dict.fromkeys(("group", "slip_y", "slip_x"), 0)
    placed = listed[["tile", "path"]].assign(**affine.to_columns(affines), **others)
    tables.write(placed, tables.PLACEMENT, tmp_path / "placement.csv")
    fields.write([fields.identity((2, SIDE, SIDE))], tmp_path / "illumination.tif")
    tile, channel = np.indices((4, 2)).reshape(2, -1)
    tables.write(
        pd.DataFrame({"tile": tile, "channel": channel, "gain": 1.0, "scale": 1.0, "pedestal": 0.0, "clipped": 0}),
        tables.EXPOSURE,
        tmp_path / "exposure.csv",
    )
    files = [tmp_path / name for name in ("tiles.csv", "illumination.tif", "exposure.csv", "placement.csv")]
    options = Mosaic(interpolation=1, blend="linear", bands=1, chunk=32, shard=64)
    mosaic(*files, tmp_path / "m.ome.zarr", sums=tmp_path / "m.sha256", settings=options)
    group = zarr.open_group(tmp_path / "m.ome.zarr", mode="r")
    ome = group.attrs["ome"]
    assert [axis["name"] for axis in ome["multiscales"][0]["axes"]] == ["t", "c", "z", "y", "x"]
    assert [channel["label"] for channel in ome["omero"]["channels"]] == ["DAPI", "GFP"]
    fused = group["0"][...].astype(float)
    assert fused.shape == (2, 2, 3, 176, 176)
    for time, channel, z in np.ndindex(2, 2, 3):
        assert np.abs(fused[time, channel, z] - truth((176, 176)) - 100 * channel - 10 * z - time).max() < 1.01


@pytest.mark.parametrize("shift", [0.0, 0.3, 0.5])
def test_tiles_that_touch_leave_no_gap(tmp_path: Path, shift: float) -> None:
    """A pixel reaches half a pixel beyond its centre; the second tile begins `shift` px after the first one ends."""
    tiles = [np.ones((1, SIDE, SIDE), np.float32)] * 2
    row = MosaicInputs(tmp_path, tiles, affine.translation([[0.0, 0.0], [0.0, SIDE + shift]])).run()["0"][50]
    assert (row[: 2 * SIDE] == 1).all()


@pytest.mark.parametrize("order", [0, 1, 3])
def test_a_part_of_the_mosaic_is_as_in_the_whole(tmp_path: Path, order: Literal[0, 1, 3]) -> None:
    """To a millionth of its brightness: the shards of a mosaic are fused one by one."""
    affines = grid(0.9, 2, 2)
    tiles = [np.random.default_rng(i).uniform(0, 1000, (1, SIDE, SIDE)).astype(np.float32) for i in range(4)]
    paths = MosaicInputs(tmp_path, tiles, affines).paths
    light = [fields.identity((1, SIDE, SIDE))]
    placed = PlacedTiles(
        paths, [0] * 4, affines, np.ones((4, 1)), np.zeros(1), light, read, order, "linear", [None], [None] * 4,
        borders(light, [0] * 4, [None] * 4),
    )  # fmt: skip
    whole, _ = placed.fuse(Region(0, 0, 170, 170))
    part, _ = placed.fuse(Region(37, 41, 64, 64))
    assert np.abs(part - whole[:, 37:101, 41:105]).max() < 2e-3


@pytest.mark.parametrize("blend", ["linear", "average", "max", "none"])
@pytest.mark.parametrize("fraction", [0.0, 0.9])
def test_tiles_of_unequal_size_show_the_specimen_and_reach_to_the_border(tmp_path: Path, blend: str, fraction: float) -> None:
    affines, rng = grid(fraction), np.random.default_rng(3)
    sizes = rng.integers(90, 120, (12, 2)).tolist()
    tiles = [cut_tile(matrix, *size) for matrix, size in zip(affines, sizes, strict=True)]
    fused = MosaicInputs(tmp_path, tiles, affines).run(blend=blend, threads=2)["0"][...]
    ends = np.ceil(affines[:, :, 2] + np.array(sizes) - 1 - 1e-6).max(axis=0) + 1
    assert fused.shape == tuple(ends.astype(int))
    covered = np.zeros(fused.shape, bool)
    for (y, x), (height, width) in zip(affines[:, :, 2], sizes, strict=True):
        covered[int(np.ceil(y)) : int(y) + height, int(np.ceil(x)) : int(x) + width] = True  # not half a px beyond
    error = np.abs(fused - truth(fused.shape))[covered]
    assert error.max() < (0.01 if fraction == 0 else 15) and np.quantile(error, 0.98) < 1  # a tile reaches half a px beyond
    assert (fused[~ndimage.binary_dilation(covered, iterations=2)] == 0).all()


@pytest.mark.parametrize("bands", [1, 2])
def test_the_mosaic_has_the_size_and_the_pixels_of_the_canvas(tmp_path: Path, bands: int) -> None:
    affines = grid(0.9)
    inputs = MosaicInputs(tmp_path, [cut_tile(a) for a in affines], affines, pixel_size=0.5)
    alone, shared = inputs.run("alone.ome.zarr"), inputs.run("shared.ome.zarr", canvas=(700, 341), bands=bands)
    height, width = alone["0"].shape
    assert shared["0"].shape == (700, 341)
    assert np.array_equal(shared["0"][:height, :width], alone["0"][...])
    assert not shared["0"][height:].any() and not shared["0"][:, width:].any()
    assert (
        v05.Image.from_zarr(shared).attributes.ome.multiscales[0].datasets[0].coordinateTransformations[0].scale == [0.25] * 2
    )


def test_a_tile_outside_the_canvas_is_an_error(tmp_path: Path) -> None:
    affines = grid(0.9)
    with pytest.raises(CanvasError, match="the tiles reach to 257 x 337 px, and the canvas of all rounds has 256 x 400: run"):
        MosaicInputs(tmp_path, [cut_tile(a) for a in affines], affines).run(canvas=(256, 400))
