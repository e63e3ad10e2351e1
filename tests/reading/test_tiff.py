"""A stack returns the planes that were written, whatever the order of the axes, and decodes no other page."""

import contextlib
import math
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from dlir.reading import image_files

SIZES = {"T": 2, "Z": 3, "C": 4, "Y": 24, "X": 32}
ORDERS = ["TZCYX", "TCZYX", "ZTCYX", "ZCTYX", "CTZYX", "CZTYX"]
KINDS: dict[str, dict[str, Any]] = {"ome": {"ome": True}, "named": {}, "zlib": {"ome": True, "compression": "zlib"}}


def stack(axes: str, dtype: str = "uint16") -> np.ndarray:
    """Returns pixels with these axes, all different up to 60000."""
    shape = [SIZES.get(letter, 3) for letter in axes]
    return (np.arange(np.prod(shape)).reshape(shape) % 60000).astype(dtype)


def write(path: Path, data: np.ndarray, axes: str, **options: Any) -> Path:
    names = options.pop("metadata", {})
    photometric = "rgb" if "S" in axes else "minisblack"
    tifffile.imwrite(path, data, photometric=photometric, metadata={"axes": axes, **names}, **options)
    return path


def expected(data: np.ndarray, axes: str, time: int, z: int) -> np.ndarray:
    """Returns the plane (channels, y, x) by the indexing of numpy."""
    at = {"T": time, "Z": z}
    plane = data[tuple(at.get(letter, slice(None)) for letter in axes)]
    left = [letter for letter in axes if letter not in at]
    order = [letter for letter in "CSIQYX" if letter in left]
    plane = plane.transpose([left.index(letter) for letter in order])
    return plane.reshape(-1, *plane.shape[-2:])


def assert_planes(path: Path, data: np.ndarray, axes: str, pages: image_files.Pages = "channel") -> None:
    """Asserts that the file holds the planes of `data`, which has these axes."""
    with image_files.opened(path, pages) as found:
        times, depth, channels, *_ = found.sizes
        assert (times, depth) == tuple(SIZES[letter] if letter in axes else 1 for letter in "TZ")
        for time, z in np.ndindex(times, depth):
            wanted = expected(data, axes, time, z)
            np.testing.assert_array_equal(found.read(time, z), wanted)
            assert channels == len(wanted)
            for channel in range(channels):
                np.testing.assert_array_equal(found.read(time, z, channel), wanted[channel][None])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axes", [*ORDERS, "ZYX", "TYX", "CYX", "TZYX", "CZYX", "YX"])
def test_each_order_of_axes_is_read(tmp_path: Path, axes: str, kind: str) -> None:
    assert_planes(write(tmp_path / "a.tif", data := stack(axes), axes, **KINDS[kind]), data, axes)


@pytest.mark.parametrize("axes", ["TZCYX", "ZCYX", "TCYX", "ZYX", "CYX", "TYX", "YX"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_hyperstacks_of_imagej_are_read(tmp_path: Path, axes: str, byteorder: Any) -> None:
    assert_planes(write(tmp_path / "a.tif", data := stack(axes), axes, imagej=True, byteorder=byteorder), data, axes)


@pytest.mark.parametrize("imagej", [True, False])
def test_a_stack_with_one_page_and_the_other_planes_after_it_is_read(tmp_path: Path, imagej: bool) -> None:
    """Programs write files above 4 GB in this way."""
    options = {"imagej": True, "truncate": True} if imagej else {"truncate": True}
    path = write(tmp_path / "a.tif", data := stack("TZCYX"), "TZCYX", **options)
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == 1
    assert_planes(path, data, "TZCYX")


@pytest.mark.parametrize(
    ("axes", "config"), [("YXS", "contig"), ("ZYXS", "contig"), ("SYX", "separate"), ("TZSYX", "separate")]
)
@pytest.mark.parametrize("ome", [True, False])
def test_samples_are_channels(tmp_path: Path, axes: str, config: Any, ome: bool) -> None:
    assert_planes(write(tmp_path / "a.tif", data := stack(axes, "uint8"), axes, ome=ome, planarconfig=config), data, axes)


def test_the_samples_of_each_channel_are_channels(tmp_path: Path) -> None:
    assert_planes(write(tmp_path / "a.tif", data := stack("ZCYXS", "uint8"), "ZCYXS"), data, "ZCYXS")


def test_planes_stored_in_tiles_are_read(tmp_path: Path) -> None:
    assert_planes(write(tmp_path / "a.tif", data := stack("ZCYX"), "ZCYX", tile=(16, 16), compression="zlib"), data, "ZCYX")


def test_a_tiff_without_a_page_that_can_be_read_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stack("YX"), metadata=None)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        data[file.pages[0].tags["ImageLength"].offset] = 77  # so that there is no height
    path.write_bytes(data)
    with pytest.raises(image_files.ImageError, match=r"a\.tif: is damaged .*: copy it again"), image_files.opened(path):
        pass


@pytest.mark.parametrize(("pages", "axis"), [("z", "Z"), ("time", "T"), ("channel", "C")])
@pytest.mark.parametrize("colours", [False, True])
@pytest.mark.parametrize("kind", ["pages", "shaped", "truncated"])
def test_pages_without_names_are_what_they_are_told_to_be(
    tmp_path: Path, pages: image_files.Pages, axis: str, colours: bool, kind: str
) -> None:
    axes = f"{axis}YXS" if colours else f"{axis}YX"
    data, photometric = stack(axes, "uint8" if colours else "uint16"), "rgb" if colours else "minisblack"
    options: dict[str, Any] = {"pages": {"metadata": None}, "shaped": {}, "truncated": {"truncate": True}}[kind]
    tifffile.imwrite(tmp_path / "a.tif", data, photometric=photometric, **options)
    assert_planes(tmp_path / "a.tif", data, axes, pages)
    with image_files.opened(tmp_path / "a.tif") as found:
        assert found.unnamed_pages == len(data)


def test_pages_with_names_are_what_the_file_says(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", data := stack("TZCYX"), "TZCYX")
    assert_planes(path, data, "TZCYX", "z")
    with image_files.opened(path) as found:
        assert found.unnamed_pages == 1


def test_pages_beside_named_channels_are_what_they_are_told_to_be(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", data := stack("CQYX"), "CQYX")
    with image_files.opened(path, "z") as found:
        assert found.sizes[:3] == (1, 3, 4) and found.unnamed_pages == 3
        np.testing.assert_array_equal(found.read(0, 2), data[:, 2])


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Collects the numbers of the pages that tifffile decodes."""
    pages: list[int] = []
    for kind in (tifffile.TiffPage, tifffile.TiffFrame):
        original = kind.asarray

        def counted(self: Any, *args: Any, _original: Any = original, **options: Any) -> Any:
            pages.append(self.index)
            return _original(self, *args, **options)

        monkeypatch.setattr(kind, "asarray", counted)
    yield pages


@pytest.mark.parametrize("kind", KINDS)
def test_reading_one_plane_decodes_no_other_page(tmp_path: Path, decoded: list[int], kind: str) -> None:
    path = write(tmp_path / "a.tif", stack("TZCYX"), "TZCYX", **KINDS[kind])
    with image_files.opened(path) as found:
        found.read(1, 2)
        assert sorted(set(decoded)) == [20, 21, 22, 23]
        decoded.clear()
        found.read(0, 1, 3)
        assert set(decoded) == {7}


def test_damage_is_an_error_only_in_the_plane_that_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", data := stack("ZCYX"), "ZCYX", compression="zlib")
    with tifffile.TiffFile(path) as file:
        page = file.pages[7]
        start, length = page.dataoffsets[0], page.databytecounts[0]
    content = bytearray(path.read_bytes())
    content[start + length // 2 : start + length] = bytes(length - length // 2)
    path.write_bytes(content)
    with image_files.opened(path) as found:
        np.testing.assert_array_equal(found.read(0, 0), data[0])
        np.testing.assert_array_equal(found.read(0, 1, 0), data[1, :1])
        with pytest.raises(image_files.ImageError, match=r"a\.tif: is damaged .*: copy it again"):
            found.read(0, 1)


@pytest.mark.parametrize(
    "options", [{"ome": True}, {"imagej": True}, {}, {"imagej": True, "truncate": True}, {"truncate": True}]
)
def test_a_stack_cut_short_is_an_error(tmp_path: Path, options: dict[str, Any]) -> None:
    whole = write(tmp_path / "a.tif", stack("ZCYX"), "ZCYX", **options).read_bytes()
    (tmp_path / "a.tif").write_bytes(whole[: len(whole) * 2 // 3])
    with (
        pytest.raises(image_files.ImageError, match=r"a\.tif: is damaged .*: copy it again"),
        image_files.opened(tmp_path / "a.tif") as a,
    ):
        for z in range(3):
            a.read(0, z)


def test_the_channels_have_names_where_each_has_one(tmp_path: Path) -> None:
    named = {"Channel": {"Name": ["DAPI", "Alexa 488", "a|b", "4"]}}
    for name, metadata in (("named", named), ("some", {"Channel": {"Name": ["DAPI", "", "", "4"]}}), ("none", {})):
        path = write(tmp_path / f"{name}.tif", stack("CYX"), "CYX", ome=True, metadata=metadata)
        with image_files.opened(path) as found:
            assert found.names == (("DAPI", "Alexa 488", "a|b", "4") if name == "named" else ())


def test_a_channel_without_a_name_is_called_by_its_dye_or_its_emission(tmp_path: Path) -> None:
    channels = {"Name": ["DAPI", "", "", ""], "Fluor": ["", "FITC", "", ""], "EmissionWavelength": [461, 525, 610, 670]}
    tifffile.imwrite(tmp_path / "a.ome.tif", stack("CYX"), metadata={"axes": "CYX", "Channel": channels}, ome=True)
    with image_files.opened(tmp_path / "a.ome.tif") as found:
        assert found.names == ("DAPI", "FITC", "emission 610 nm", "emission 670 nm")


@pytest.mark.parametrize("axes", ["QQYX", "CQYX", "TZCRYX"])
def test_axes_that_a_tile_does_not_have_are_an_error(tmp_path: Path, axes: str) -> None:
    path = write(tmp_path / "a.tif", stack(axes, "uint8"), axes)
    with (
        pytest.raises(image_files.ImageError, match=rf"a\.tif: has axes {axes}, .*: export it as OME-TIFF, which names them"),
        image_files.opened(path),
    ):
        pass


def test_the_stack_of_a_file_of_an_ome_set_has_the_planes_in_this_file(tmp_path: Path) -> None:
    """The set has a file for each channel, and each file has the metadata of the whole set."""
    data = stack("CZYX")
    planes = [
        f'<TiffData FirstC="{c}" FirstZ="{z}" FirstT="0" IFD="{z}" PlaneCount="1">'
        f'<UUID FileName="c{c}.ome.tif">urn:uuid:{c}</UUID></TiffData>'
        for c, z in np.ndindex(data.shape[:2])
    ]
    channels = "".join(f'<Channel ID="Channel:0:{c}" SamplesPerPixel="1"/>' for c in range(len(data)))
    pixels = '<Pixels ID="P" DimensionOrder="XYZCT" Type="uint16" SizeX="32" SizeY="24" SizeC="4" SizeZ="3" SizeT="1">'
    body = f'<Image ID="Image:0">{pixels}{channels}{"".join(planes)}</Pixels></Image>'
    for c, volume in enumerate(data):
        xml = f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{c}">{body}</OME>'
        tifffile.imwrite(tmp_path / f"c{c}.ome.tif", volume, description=xml, metadata=None, photometric="minisblack")
    for c, volume in enumerate(data):
        assert_planes(tmp_path / f"c{c}.ome.tif", volume, "ZYX")


@pytest.mark.parametrize("ome", [True, False])
def test_a_file_with_several_images_is_an_error(tmp_path: Path, ome: bool) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif", ome=ome) as writer:
        for height in (24, 24, 16):
            writer.write(stack("YX")[:height], metadata={"axes": "YX"})
    with (
        pytest.raises(image_files.ImageError, match=r"a\.tif: holds 3 images, and a tile is one: set positions: metadata"),
        image_files.opened(tmp_path / "a.tif"),
    ):
        pass


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize(
    "pages",
    [
        [(1, 0), (4, 0)],  # a small picture after the image, which does not say that it is a preview
        [(4, 0), (1, 0)],  # and before it
        [(1, 0), (2, 1), (4, 1), (8, 1)],  # a pyramid
        [(1, 0), (1.2, 1)],  # a preview that is hardly smaller, and says so
        [(1, 0), (1.2, 4)],  # a mask
    ],
)
def test_previews_are_no_images_of_their_own(tmp_path: Path, named: bool, pages: list[tuple[float, int]]) -> None:
    data = stack("YX")
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for smaller, kind in pages:
            preview = data[: int(24 / smaller), : int(32 / smaller)]
            mask = {"photometric": "mask"} if kind == 4 else {}
            pixels = preview > 0 if mask else preview
            writer.write(pixels, subfiletype=kind, metadata={"axes": "YX"} if named else None, **mask)
    assert_planes(tmp_path / "a.tif", data, "YX")
    with image_files.opened(tmp_path / "a.tif") as found:
        assert all("a preview; that is left out" in note for note in found.notes)
        assert len(found.notes) <= 1  # none where tifffile takes them for a pyramid


def test_an_image_below_its_preview_is_read(tmp_path: Path) -> None:
    """Cameras write a preview as the first page, and the image below it."""
    data = stack("YX")
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(data[::4, ::4], subifds=1, subfiletype=1, metadata=None)
        writer.write(data, metadata=None)
    assert_planes(tmp_path / "a.tif", data, "YX")


@pytest.mark.parametrize("planar", [False, True])
def test_a_fourth_number_beside_three_colours_is_left_out_with_a_note(tmp_path: Path, planar: bool) -> None:
    """Many programs do not say that it is alpha. Without colours, it is a channel."""
    data = np.random.default_rng(1).integers(0, 255, (24, 32, 4)).astype(np.uint8)
    config, pixels = ("separate", np.moveaxis(data, -1, 0)) if planar else ("contig", data)
    for photometric, kept in (("rgb", 3), ("minisblack", 4)):
        tifffile.imwrite(
            tmp_path / "a.tif", pixels, photometric=photometric, planarconfig=config, extrasamples=[0] * (kept * 2 - 5)
        )
        with image_files.opened(tmp_path / "a.tif") as found:
            np.testing.assert_array_equal(found.read(), np.moveaxis(data, -1, 0)[:kept])
            assert ["fourth number of each pixel" in note for note in found.notes] == [True] * (kept == 3)


@pytest.mark.parametrize(
    ("options", "text", "other"),
    [
        ({"ome": True}, b'SizeZ="3"', b'SizeZ="9999999999"'),
        ({"ome": True}, b'PlaneCount="3"', b'PlaneCount="9999999999"'),
        ({"imagej": True}, b"images=3", b"images=999999999"),
        ({"imagej": True}, b"slices=3", b"slices=999999999"),
        ({}, b'"shape": [3, ', b'"shape": [9999999999, '),
    ],
)
def test_a_header_that_announces_absurdly_many_planes_costs_no_memory(
    tmp_path: Path, options: dict[str, Any], text: bytes, other: bytes
) -> None:
    path = write(tmp_path / "a.tif", stack("ZYX"), "ZYX", **options)
    with tifffile.TiffFile(path) as file:
        tag = file.pages[0].tags["ImageDescription"]
        description = tag.value.encode()
    assert text in description
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["ImageDescription"].overwrite(description.replace(text, other))
    tracemalloc.start()
    try:
        with contextlib.suppress(image_files.ImageError), image_files.opened(path) as found:
            assert math.prod(found.sizes[:3]) == 3
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()
