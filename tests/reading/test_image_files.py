"""Files of every format are read, and every kind of damage is an error that names the file and the remedy."""

import logging
import os
import struct
import subprocess
import sys
import threading
import tracemalloc
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile

from dlir.reading import image_files
from dlir.reading.png_jpeg import PNG
from dlir.reading.tiff import silenced

FLOAT = np.random.default_rng(0).integers(0, 60000, (96, 64), dtype=np.uint16)
BYTES = (FLOAT >> 8).astype(np.uint8)
COLOURS = np.stack([BYTES, BYTES // 2, BYTES // 3], -1)
ALPHA = np.concatenate([COLOURS, COLOURS[..., :1]], -1)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd", "packbits"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_tiffs_of_each_compression_and_byte_order_are_read(tmp_path: Path, compression: str | None, byteorder: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", FLOAT, compression=compression, byteorder=byteorder)
    pixels = image_files.read(tmp_path / "a.tif")
    np.testing.assert_array_equal(pixels, FLOAT[None])
    assert pixels.dtype == np.dtype("uint16") and pixels.flags.c_contiguous


@pytest.mark.parametrize(
    ("data", "axes"),
    [
        (np.stack([FLOAT, FLOAT + 1, FLOAT + 2, FLOAT + 3]), "CYX"),
        (np.stack([FLOAT.astype(np.float32), FLOAT.astype(np.float32) / 2]), "CYX"),
    ],
)
def test_the_channels_of_a_tiff_are_read(tmp_path: Path, data: image_files.Image, axes: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", data, metadata={"axes": axes}, photometric="minisblack")
    np.testing.assert_array_equal(image_files.read(tmp_path / "a.tif"), data)


@pytest.mark.parametrize("planar", [False, True])
def test_alpha_is_left_out(tmp_path: Path, planar: bool) -> None:
    data = np.moveaxis(ALPHA, -1, 0) if planar else ALPHA
    config = "separate" if planar else "contig"
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="rgb", planarconfig=config, extrasamples=["unassalpha"])
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(ALPHA))
    for name in ("a.tif", "a.png"):
        np.testing.assert_array_equal(image_files.read(tmp_path / name), np.moveaxis(COLOURS, -1, 0))


def test_png_and_jpeg_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(FLOAT))
    np.testing.assert_array_equal(image_files.read(tmp_path / "a.png"), FLOAT[None])
    smooth = np.add.outer(np.arange(64), np.arange(48)).astype(np.uint8)
    (tmp_path / "a.jpg").write_bytes(imagecodecs.jpeg_encode(smooth, level=98))
    np.testing.assert_allclose(image_files.read(tmp_path / "a.jpg")[0], smooth.astype(float), atol=3)


def test_the_content_tells_the_format_not_the_name(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(imagecodecs.png_encode(FLOAT))
    np.testing.assert_array_equal(image_files.read(tmp_path / "a.tif"), FLOAT[None])


def test_each_file_of_an_ome_set_is_its_own_tile(tmp_path: Path) -> None:
    """The files of a set list each other, and tifffile by itself returns the pixels of the first file for all of them."""
    image = (
        '<Image ID="Image:{i}"><Pixels ID="Pixels:{i}" DimensionOrder="XYCZT" Type="uint16" SizeX="64" SizeY="96" SizeC="1" '
        'SizeZ="1" SizeT="1"><Channel ID="Channel:{i}:0" SamplesPerPixel="1"/><TiffData IFD="0" PlaneCount="1">'
        '<UUID FileName="p{i}.ome.tif">urn:uuid:0000000{i}-0000-0000-0000-000000000000</UUID></TiffData></Pixels></Image>'
    )
    both = "".join(image.format(i=i) for i in range(2))
    for i in range(2):
        head = f'UUID="urn:uuid:0000000{i}-0000-0000-0000-000000000000"'
        xml = f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" {head}>{both}</OME>'
        tifffile.imwrite(tmp_path / f"p{i}.ome.tif", FLOAT + np.uint16(i), description=xml, metadata=None)
    for i in range(2):
        np.testing.assert_array_equal(image_files.read(tmp_path / f"p{i}.ome.tif")[0], FLOAT + np.uint16(i))


def encoded(kind: str, folder: Path) -> bytes:
    """Returns the bytes of a complete file of this format or compression."""
    if kind == "png":
        return imagecodecs.png_encode(FLOAT)
    if kind == "jpeg":
        return imagecodecs.jpeg_encode(BYTES)
    tifffile.imwrite(folder / "whole", FLOAT, compression=None if kind == "raw" else kind, rowsperstrip=16)
    return (folder / "whole").read_bytes()


@pytest.mark.parametrize("kind", ["raw", "zlib", "lzw", "zstd", "png", "jpeg"])
def test_a_file_cut_short_anywhere_is_an_error(tmp_path: Path, kind: str) -> None:
    whole = encoded(kind, tmp_path)
    path = tmp_path / "tile.tif"
    for size in (0, 1, 2, 8, 11, 60, 150, 200, 300, len(whole) // 2, len(whole) - 20, len(whole) - 1):
        path.write_bytes(whole[:size])
        what = r"is damaged .*: copy it again" if size > 7 else "is not a TIFF, PNG, JPEG" if size else "is an empty file"
        with pytest.raises(image_files.ImageError, match=rf"tile\.tif: {what}"):
            image_files.read(path)


@pytest.mark.parametrize("kind", ["zlib", "zstd", "png"])
def test_damaged_pixels_are_an_error(tmp_path: Path, kind: str) -> None:
    data = bytearray(encoded(kind, tmp_path))
    middle = len(data) // 2
    data[middle : middle + 300] = bytes(300)
    (tmp_path / "tile.tif").write_bytes(data)
    with pytest.raises(image_files.ImageError, match=r"tile\.tif: is damaged .*: copy it again"):
        image_files.read(tmp_path / "tile.tif")


def test_missing_pages_are_an_error(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "tile.tif") as writer:
        for _ in range(3):
            writer.write(FLOAT, metadata=None)
    whole = (tmp_path / "tile.tif").read_bytes()
    assert image_files.read(tmp_path / "tile.tif").shape == (3, 96, 64)
    (tmp_path / "tile.tif").write_bytes(whole[: len(whole) * 5 // 6])
    with pytest.raises(image_files.ImageError, match="cut short"):
        image_files.read(tmp_path / "tile.tif")


def test_a_file_of_another_format_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.tif").write_text("These are the notes of the day, and no image.")
    with pytest.raises(image_files.ImageError, match=r"notes\.tif: is a text and no image: move it away"):
        image_files.read(tmp_path / "notes.tif")


def test_what_is_not_an_image_costs_no_memory(tmp_path: Path) -> None:
    with (tmp_path / "huge.tif").open("wb") as file:
        file.truncate(2**33)
    (tmp_path / "bomb.png").write_bytes(header_of_a_png(50_000, 50_000))
    tracemalloc.start()
    try:
        for name, what in (("huge.tif", "holds nothing but zeros"), ("bomb.png", "is damaged .* announces 50000 x 50000 px")):
            with pytest.raises(image_files.ImageError, match=rf"{name}: {what}"):
                image_files.read(tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 1e6
    finally:
        tracemalloc.stop()


def header_of_a_png(height: int, width: int) -> bytes:
    """Returns a PNG whose header announces this size, and which has no pixels."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + bytes(4) + PNG.end


def test_a_plane_that_is_too_large_for_a_tile_is_an_error(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", FLOAT[:1, :16], metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages[0].tags["ImageLength"].overwrite(2**28)
    with pytest.raises(
        image_files.ImageError, match=r"a\.tif: its header announces 268435456 x 16 px, .*: export it in smaller"
    ):
        image_files.read(tmp_path / "a.tif")


@pytest.mark.parametrize("shape", [(40, 30), (40, 30, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_the_sizes_are_known_before_anything_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], dtype: str
) -> None:
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    encoders = {"a.png": imagecodecs.png_encode, "a.jpg": imagecodecs.jpeg_encode}
    for name, encode in encoders.items():
        bits = {} if name == "a.png" or dtype == "uint8" else {"bitspersample": 12}
        (tmp_path / name).write_bytes(encode(pixels, **bits))
        decoded = image_files.read(tmp_path / name)
        with monkeypatch.context() as patch:
            patch.setattr(imagecodecs, "png_decode", None)
            patch.setattr(imagecodecs, "jpeg_decode", None)
            with image_files.opened(tmp_path / name) as stack:
                assert stack.sizes == (1, 1, *decoded.shape) and decoded.shape[1:] == shape[:2]
                assert stack.dtype == decoded.dtype.name == dtype


def test_a_png_with_fewer_bits_or_a_palette_is_read(tmp_path: Path) -> None:
    """With 4 bits, 15 is white; of the palette, colour 0 is 0, 1, 2 and partly transparent, and colour 15 is 45, 46, 47."""
    row = bytes([0, 0x0F, 0xF0])
    palette = [(b"PLTE", bytes(range(48))), (b"tRNS", b"\x07")]
    wanted = {0: [[[0, 255, 255, 0]]], 3: [[[0, 45, 45, 0]], [[1, 46, 46, 1]], [[2, 47, 47, 2]]]}
    for colour, chunks in ((0, []), (3, palette)):
        header = (b"IHDR", struct.pack(">IIBBBBB", 4, 1, 4, colour, 0, 0, 0))
        parts = [header, *chunks, (b"IDAT", zlib.compress(row)), (b"IEND", b"")]
        packed = [
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
        ]
        (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
        np.testing.assert_array_equal(image_files.read(tmp_path / "a.png"), wanted[colour])


def test_a_path_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "link.tif").symlink_to(tmp_path / "gone.tif")
    os.mkfifo(tmp_path / "pipe.tif")
    reasons = {
        "folder.tif": "is a folder and not a file: move it away",
        "pipe.tif": "is a pipe or a device and not a file: move it away",
        "link.tif": rf"is a link to {tmp_path}/gone\.tif, which does not exist: copy the file itself",
        "none.tif": r"cannot be read \(No such file or directory\): check the path and its permissions",
    }
    for name, why in reasons.items():
        with pytest.raises(image_files.ImageError, match=rf"{name}: {why}"):
            image_files.read(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_an_error(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", FLOAT)
    (tmp_path / "a.tif").chmod(0)
    with pytest.raises(
        image_files.ImageError, match=r"a\.tif: cannot be read \(Permission denied\): check the path and its perm"
    ):
        image_files.read(tmp_path / "a.tif")


@pytest.mark.parametrize("axes", ["PYX", "AZYX"])
def test_axes_that_a_tile_does_not_have_are_an_error(tmp_path: Path, axes: str) -> None:
    shape = (2, 3)[-len(axes) + 2 :] + FLOAT.shape
    tifffile.imwrite(tmp_path / "stack.tif", np.broadcast_to(FLOAT, shape), metadata={"axes": axes}, photometric="minisblack")
    with pytest.raises(image_files.ImageError, match=rf"stack\.tif: has axes {axes}.*: export it as OME-TIFF"):
        image_files.read(tmp_path / "stack.tif")


def test_a_stack_is_an_error_where_one_plane_is_needed(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "stack.tif", np.stack([FLOAT] * 3), imagej=True, metadata={"axes": "ZYX"})
    with pytest.raises(image_files.ImageError, match=r"stack\.tif: holds 1 time points and 3 z planes.*: export each plane"):
        image_files.read(tmp_path / "stack.tif")


def test_pixels_that_are_no_grey_values_are_an_error(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", FLOAT.astype("complex64"))
    with pytest.raises(image_files.ImageError, match=r"a\.tif: has complex64 pixels, which are no grey values: save them as"):
        image_files.read(tmp_path / "a.tif")


def test_reading_a_file_logs_nothing_of_tifffile(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tifffile.imwrite(tmp_path / "a.tif", FLOAT, description="<OME xmlns='x'><Image></OME>", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.series and "OME series raised" in caplog.text
    caplog.clear()
    filters = list(logging.getLogger("tifffile").filters)
    with image_files.opened(tmp_path / "a.tif") as stack:
        np.testing.assert_array_equal(stack.read(), FLOAT[None])
    assert not caplog.records
    assert logging.getLogger("tifffile").filters == filters


def test_messages_of_tifffile_in_other_threads_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    logger, reading, logged = logging.getLogger("tifffile"), threading.Event(), threading.Event()

    def read() -> None:
        with silenced():
            with silenced():
                pass
            reading.set()
            logged.wait()
            logger.warning("from the thread that reads")
        logger.warning("after reading")

    thread = threading.Thread(target=read)
    thread.start()
    reading.wait()
    logger.warning("from another thread")
    with silenced():
        logger.warning("from a second thread that reads")
    logged.set()
    thread.join()
    assert caplog.messages == ["from another thread", "after reading"]


def test_an_import_does_not_change_the_logger_of_tifffile() -> None:
    code = """
import logging, tifffile
logger = logging.getLogger("tifffile")
before = logger.level, logger.disabled, logger.propagate, list(logger.filters), list(logger.handlers)
import dlir.reading.image_files
assert before == (logger.level, logger.disabled, logger.propagate, list(logger.filters), list(logger.handlers))
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_channel_mean_is_the_mean_over_the_channels() -> None:
    pixels = np.stack([np.full((4, 5), 10), np.full((4, 5), 30)]).astype(np.uint16)
    np.testing.assert_array_equal(image_files.channel_mean(pixels), np.full((4, 5), 20, np.float32))


@pytest.mark.parametrize(
    ("folder", "count", "shape", "dtype"),
    [
        ("brain", 63, (1, 512, 512), "uint16"),
        ("lscm", 12, (3, 1024, 1024), "uint8"),
        ("micrographs", 12, (1, 512, 512), "uint8"),
        ("grid_filename", 6, (1, 442, 512), "uint8"),
        ("phase", 25, (1, 183, 245), "uint16"),
    ],
)
def test_the_real_tiles_are_read(shared_data: Path, folder: str, count: int, shape: tuple[int, ...], dtype: str) -> None:
    tiles = [image_files.read(path) for path in (shared_data / folder).iterdir() if path.suffix != ".txt"]
    assert len(tiles) == count
    assert {(tile.shape, tile.dtype.name) for tile in tiles} == {(shape, dtype)}


def test_the_real_whole_images_are_read(shared_data: Path) -> None:
    assert image_files.read(shared_data / "cuts" / "dapi.tif").shape == (1, 4864, 3968)
    assert image_files.read(shared_data / "cuts" / "he.svs").shape == (3, 2967, 2220)
