"""OME-Zarr images are read as stacks, with their places; whatever is wrong with a store is said in words."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numcodecs import Blosc, GZip
from support.stores import pixels_of, write_image, write_series
from zarr.codecs import BloscCodec, GzipCodec

from dlir.reading import contents, image_files
from dlir.reading.image_facts import ImageFacts
from dlir.reading.image_files import ImageError
from dlir.reading.inventory import find_tiles
from dlir.reading.settings import Dataset
from dlir.reading.tile_reader import TileReader

UM = {"unit": "micrometer"}
versions = pytest.mark.parametrize("version", [2, 3], ids=["OME-Zarr 0.4", "OME-Zarr 0.5"])


def facts(path: Path) -> ImageFacts:
    with image_files.opened(path) as stack:
        return stack.images[0]


@versions
@pytest.mark.parametrize("axes", ["yx", "cyx", "zyx", "tyx", "czyx", "tczyx", "zcyx", "yxc", "xy"])
def test_each_plane_is_the_one_that_was_written(tmp_path: Path, version: int, axes: str) -> None:
    pixels = pixels_of(axes)
    write_image(tmp_path / "a.ome.zarr", pixels, axes, version)
    whole = pixels.transpose([axes.index(axis) for axis in "tzcyx" if axis in axes])
    whole = whole.reshape([dict(zip(axes, pixels.shape, strict=True)).get(axis, 1) for axis in "tzcyx"])
    with image_files.opened(tmp_path / "a.ome.zarr") as stack:
        assert stack.sizes == whole.shape and stack.dtype == "uint16" and not stack.notes
        for time, z in np.ndindex(whole.shape[:2]):
            np.testing.assert_array_equal(stack.read(time, z), whole[time, z])
            np.testing.assert_array_equal(stack.read(time, z, whole.shape[2] - 1), whole[time, z, -1:])


@versions
@pytest.mark.parametrize("dtype", ["uint8", ">u2", "int16", "float32", "float64", "bool"])
def test_types_of_pixels_and_their_byte_order(tmp_path: Path, version: int, dtype: str) -> None:
    pixels = (pixels_of("yx") % 2 == 1).astype(dtype)
    write_image(tmp_path / "a.zarr", pixels, "yx", version)
    with image_files.opened(tmp_path / "a.zarr") as stack:
        np.testing.assert_array_equal(stack.read(), pixels[None].astype(pixels.dtype.newbyteorder("=")))
        assert stack.dtype == pixels.dtype.name and stack.read().dtype.isnative


def test_pixels_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "a.zarr", pixels_of("yx").astype("complex64"), "yx", 3)
    with pytest.raises(ImageError, match=r"a\.zarr: has complex64 pixels"), image_files.opened(tmp_path / "a.zarr"):
        pass


@versions
def test_names_of_channels(tmp_path: Path, version: int) -> None:
    omero = {"channels": [{"label": "DAPI"}, {"label": "GFP"}]}
    write_image(tmp_path / "a.zarr", pixels_of("cyx"), "cyx", version, omero=omero)
    write_image(tmp_path / "b.zarr", pixels_of("cyx"), "cyx", version, omero={"channels": [{"label": "DAPI"}, {}]})
    with image_files.opened(tmp_path / "a.zarr") as named, image_files.opened(tmp_path / "b.zarr") as half_named:
        assert named.names == ("DAPI", "GFP") and half_named.names == ()


@versions
@pytest.mark.parametrize(
    ("unit", "level", "whole", "expected"),
    [
        ({}, [], [], ImageFacts("t")),
        (UM, [("scale", (0.5, 0.25))], [], ImageFacts("t", None, "", (0.5, 0.25))),
        (UM, [("scale", (0.5, 0.25)), ("translation", (100, -7))], [], ImageFacts("t", (100, -7), "um", (0.5, 0.25))),
        ({"unit": "nanometer"}, [("scale", (500, 250)), ("translation", (1000, 2000))], [],
         ImageFacts("t", (1, 2), "um", (0.5, 0.25))),
        (UM, [("scale", (1, 1)), ("translation", (100, 8))], [("scale", (0.5, 0.25)), ("translation", (1, 2))],
         ImageFacts("t", (51, 4), "um", (0.5, 0.25))),
        ({}, [("scale", (0.5, 0.25)), ("translation", (100, -7))], [], ImageFacts("t", (200, -28), "px")),
        ({"unit": "furlong"}, [("scale", (2, 2)), ("translation", (4, 2))], [], ImageFacts("t", (2, 1), "px")),
    ],
    ids=["nothing", "a size", "a place", "another unit", "transformations of all levels", "no unit", "an unknown unit"],
)  # fmt: skip
def test_places_and_sizes_of_pixels(
    tmp_path: Path, version: int, unit: dict[str, str], level: Any, whole: Any, expected: ImageFacts
) -> None:
    write_image(tmp_path / "t.zarr", pixels_of("yx"), "yx", version, unit=unit, level=level, whole=whole)
    assert facts(tmp_path / "t.zarr") == expected


@versions
def test_the_images_of_a_converter_are_numbered(tmp_path: Path, version: int) -> None:
    images = [pixels_of("yx") + number for number in range(3)]
    write_series(tmp_path / "scan.zarr", images, version)
    for number, pixels in enumerate(images):
        with image_files.opened(tmp_path / "scan.zarr", image=number) as stack:
            np.testing.assert_array_equal(stack.read()[0], pixels)
            assert [image.name for image in stack.images] == ["t0", "t1", "t2"]
    with pytest.raises(ImageError, match="holds 3 images, and a tile is one"), image_files.opened(tmp_path / "scan.zarr"):
        pass
    with pytest.raises(ImageError, match="no image 3"), image_files.opened(tmp_path / "scan.zarr", image=3):
        pass


def test_the_stage_of_a_converted_file_is_read_from_its_ome_xml(tmp_path: Path) -> None:
    write_series(tmp_path / "scan.zarr", [pixels_of("yx")], 2)
    plane = '<Plane TheT="0" TheZ="0" TheC="0" PositionX="5" PositionXUnit="µm" PositionY="7" PositionYUnit="µm"/>'
    pixels = f'<Pixels PhysicalSizeX="0.5" PhysicalSizeY="0.5">{plane}</Pixels>'
    (tmp_path / "scan.zarr" / "OME").mkdir()
    (tmp_path / "scan.zarr" / "OME" / "METADATA.ome.xml").write_text(f'<OME><Image Name="a">{pixels}</Image></OME>')
    assert facts(tmp_path / "scan.zarr") == ImageFacts("t0", (7, 5), "um", (0.5, 0.5), of_centre=True)


@versions
@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"plate": {"wells": []}}, r"is a plate of wells, .*s\.zarr/A/1/\{index\}"),
        ({"well": {"images": []}}, r"is a well of images, .*s\.zarr/\{index\}"),
        ({}, r"holds the images a, b, and a tile is one: .* as in .*s\.zarr/a"),
    ],
    ids=["plate", "well", "group"],
)
def test_what_is_no_image_is_named(tmp_path: Path, version: Any, attributes: dict[str, Any], message: str) -> None:
    store = tmp_path / "s.zarr"
    zarr.create_group(store, zarr_format=version, attributes=attributes if version == 2 else {"ome": attributes})
    for name in "ab":
        write_image(store / name, pixels_of("yx"), "yx", version)
    with pytest.raises(ImageError, match=message), image_files.opened(store):
        pass


@versions
def test_an_array_or_other_axes_are_no_tile(tmp_path: Path, version: Any) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=pixels_of("yx"), zarr_format=version)
    write_image(tmp_path / "b.zarr", pixels_of("zyx"), "vyx", version)
    for name, message in (("a", "without an OME-Zarr image"), ("b", "has the axes v, y, x, but a tile has")):
        with pytest.raises(ImageError, match=message), image_files.opened(tmp_path / f"{name}.zarr"):
            pass


@versions
def test_missing_chunks_hold_the_fill_value_and_are_noted(tmp_path: Path, version: int) -> None:
    pixels = pixels_of("yx") + 1
    write_image(tmp_path / "a.zarr", pixels, "yx", version)
    chunk = tmp_path / "a.zarr" / "0" / ("0/1" if version == 2 else "c/0/1")
    chunk.unlink()
    pixels[:16, 16:32] = 0
    with image_files.opened(tmp_path / "a.zarr") as stack:
        np.testing.assert_array_equal(stack.read()[0], pixels)
        assert "chunks of it are missing" in stack.notes[0]


def test_chunks_with_other_names_than_the_metadata_say_are_no_missing_chunks(tmp_path: Path) -> None:
    write_image(tmp_path / "a.zarr", pixels_of("yx"), "yx", 2)
    header = tmp_path / "a.zarr" / "0" / ".zarray"
    header.write_text(json.dumps({**json.loads(header.read_text()), "dimension_separator": "."}))
    with (
        pytest.raises(ImageError, match=r"has files such as 0/0/0, which are no chunks"),
        image_files.opened(tmp_path / "a.zarr"),
    ):
        pass


@versions
@pytest.mark.parametrize("codec", ["zstd", "blosc", "none"])
@pytest.mark.parametrize("length", [0, 1, 20, -1])
def test_a_chunk_cut_short_is_damage(tmp_path: Path, version: int, codec: str, length: int) -> None:
    codecs = {"zstd": "auto", "none": None, "blosc": Blosc("lz4") if version == 2 else BloscCodec(cname="lz4")}
    write_image(tmp_path / "a.zarr", pixels_of("yx"), "yx", version, compressors=codecs[codec])
    np.testing.assert_array_equal(image_files.read(tmp_path / "a.zarr")[0], pixels_of("yx"))
    chunk = tmp_path / "a.zarr" / "0" / ("0/1" if version == 2 else "c/0/1")
    chunk.write_bytes(chunk.read_bytes()[:length])
    with pytest.raises(ImageError, match=r"a\.zarr: is damaged"):
        image_files.read(tmp_path / "a.zarr")


@pytest.mark.parametrize("length", [0, 10, 100, -1])
def test_a_shard_cut_short_is_damage(tmp_path: Path, length: int) -> None:
    write_image(tmp_path / "a.zarr", pixels_of("yx"), "yx", 3, shards=(32, 32))
    shard = tmp_path / "a.zarr" / "0" / "c/0/0"
    shard.write_bytes(shard.read_bytes()[:length])
    with pytest.raises(ImageError, match=r"a\.zarr: is damaged"):
        image_files.read(tmp_path / "a.zarr")


@versions
def test_an_unknown_compression_is_no_damage(tmp_path: Path, version: int) -> None:
    gzip: Any = GZip() if version == 2 else GzipCodec()
    write_image(tmp_path / "a.zarr", pixels_of("yx"), "yx", version, compressors=gzip)
    header = tmp_path / "a.zarr" / "0" / (".zarray" if version == 2 else "zarr.json")
    header.write_text(header.read_text().replace('"gzip"', '"jpegxl"'))
    with pytest.raises(ImageError, match="has a compression which dlir does not read"), image_files.opened(tmp_path / "a.zarr"):
        pass


def test_a_header_that_announces_endless_planes_is_damage(tmp_path: Path) -> None:
    write_image(tmp_path / "a.zarr", pixels_of("tyx"), "tyx", 2)
    header = tmp_path / "a.zarr" / "0" / ".zarray"
    header.write_text(json.dumps({**json.loads(header.read_text()), "shape": [10**13, 40, 48]}))
    with pytest.raises(ImageError, match="announces 10000000000000 planes"), image_files.opened(tmp_path / "a.zarr"):
        pass


@versions
@pytest.mark.parametrize("damage", ["cut", "empty", "other keys", "no array", "lies outside"])
def test_damaged_metadata_are_named(tmp_path: Path, version: int, damage: str) -> None:
    store = tmp_path / "a.zarr"
    write_image(store, pixels_of("yx"), "yx", version)
    header = store / ("zarr.json" if version == 3 else ".zattrs")
    if damage == "no array":
        shutil.rmtree(store / "0")
    else:
        text = header.read_text()
        changes = {"cut": text[:-9], "empty": "", "other keys": text.replace("datasets", "sets")}
        header.write_text(changes.get(damage, text.replace('"path": "0"', '"path": "../a.zarr/0"')))
    with pytest.raises(ImageError, match=r"a\.zarr: (is damaged|cannot be read)"), image_files.opened(store):
        pass


def test_a_store_that_changes_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    write_image(tmp_path / "a.zarr", pixels_of("yx"), "yx", 3)
    with pytest.raises(ImageError, match="changed while it was read"), image_files.opened(tmp_path / "a.zarr"):
        (tmp_path / "a.zarr" / "new").write_text("A")


@versions
def test_stores_are_the_tiles_of_a_grid(
    tmp_path: Path, version: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "WATCH", 0.0)
    grid = {(row, col): pixels_of("czyx") + 10 * row + col for row, col in np.ndindex(2, 3)}
    omero = {"channels": [{"label": "DAPI"}, {"label": "GFP"}]}
    for (row, col), pixels in grid.items():
        write_image(tmp_path / f"r{row}_c{col}.ome.zarr", pixels, "czyx", version, omero=omero)
    write_image(tmp_path / "overview.ome.zarr", pixels_of("yx"), "yx", version)
    (tmp_path / "r1_c2.ome.zarr" / "0" / ("0/0/0/0" if version == 2 else "c/0/0/0/0")).unlink()
    settings = Dataset(images=f"{tmp_path}/r{{row}}_c{{col}}.ome.zarr", overlap=0.1)
    table = find_tiles(settings)
    assert table[["row", "col"]].to_numpy().tolist() == [list(cell) for cell in grid]
    assert table[["channels", "depth", "height", "width"]].drop_duplicates().to_numpy().tolist() == [[2, 3, 40, 48]]
    assert table["channel_names"][0] == "DAPI|GFP" and table["sha256"].nunique() == 6
    missing, others = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert missing.startswith(f"{tmp_path}/r1_c2.ome.zarr: chunks of it are missing") and "overview.ome.zarr" in others
    reader = TileReader(table)
    for path, pixels in zip(table["path"][:5], grid.values(), strict=False):
        np.testing.assert_array_equal(reader.read(path, 0, 2), pixels[:, 2])
    (tmp_path / "r0_c1.ome.zarr" / "new").write_text("A")
    with pytest.raises(ImageError, match=r"r0_c1\.ome\.zarr: was changed, or replaced by another file"):
        TileReader(table).read(table["path"][1], 0, 0)


def test_a_store_that_is_being_written_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        write_image(tmp_path / f"t{number}.zarr", pixels_of("yx") + number, "yx", 3)
    monkeypatch.setattr(contents.time, "sleep", lambda _: (tmp_path / "t2.zarr" / "0" / "c" / "new").write_text("A"))
    table = find_tiles(Dataset(images=f"{tmp_path}/t{{index}}.zarr", columns=3, overlap=0.1))
    assert table["path"].tolist() == [str(tmp_path / f"t{number}.zarr") for number in range(2)]
    assert "t2.zarr: still being written, so left out now" in caplog.text


def test_a_folder_of_another_kind_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(ImageError, match="is a folder and not a file"), image_files.opened(tmp_path / "a.zarr"):
        pass
