"""What is no image that dlir reads is called what it is, and never damaged."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlir.reading import image_files

KINDS = {
       "OLE file": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "HDF5": b"\x89HDF\r\n\x1a\n", "MRC": bytes(208) + b"MAP \x44\x44\0\0",
    "Gatan DM3": b"\0\0\0\x03\0\x01\x02\x03\0\0\0\x01", "Gatan DM4": b"\0\0\0\x04" + bytes(6) + b"\x09\x01\0\0\0\x01",
    "NIfTI": b"\x5c\1\0\0" + bytes(340) + b"n+1\0", "FITS": b"SIMPLE  =                    T", "DICOM": bytes(128) + b"DICM",
    "NRRD": b"NRRD0004\n", "PDF": b"%PDF-1.7\n", "archive": b"\x1f\x8b\x08\0", "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0",
    "AVIF": b"\0\0\0\x1cftypavif\0\0\0\0", "film": b"\0\0\0\x18ftypmp42\0\0\0\0", "JPEG XL": b"\xff\x0a\0\0",
    "PSD": b"8BPS\0\1",    "text": "Prüfbericht\nÜbersicht\n".encode(), "OpenEXR": b"v/1\1\2\0\0\0", "ETS": b"SIS\0\x40\0\0\0",
    "SVG": b"<?xml?>\n<svg>",
    "PNM": b"P5\n32 24\n255\n", "nothing but zeros": bytes(500), "JPEG XR": b"II\xbc\x01",
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_is_named_with_a_remedy(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.tif").write_bytes(KINDS[kind])
    with pytest.raises(
        image_files.ImageError, match=rf"a\.tif: (is|holds) .*{kind}.*: (export|unpack|move|save|copy)"
    ) as caught:
        image_files.read(tmp_path / "a.tif")
    assert "damaged" not in str(caught.value)


def test_files_that_programs_write_are_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "zip.tif", "w") as archive:
        archive.writestr("a", "b")
    np.save(tmp_path / "numpy.npy", np.zeros(5))
    Image.new("L", (8, 8)).save(tmp_path / "grey.pgm")
    Image.new("RGB", (8, 8)).save(tmp_path / "page.pdf")
    for name, words in {"zip.tif": "an archive, which dlir does not read: unpack it", "numpy.npy": "an array of NumPy",
                        "grey.pgm": "a PNM image", "page.pdf": "a PDF file"}.items():  # fmt: skip
        with pytest.raises(image_files.ImageError, match=f"{name}: is {words}"):
            image_files.read(tmp_path / name)


def test_the_small_picture_of_a_vsi_is_no_tile(tmp_path: Path) -> None:
    Image.new("L", (64, 64)).save(tmp_path / "a.tif")
    (tmp_path / "a.tif").rename(tmp_path / "a.vsi")
    with pytest.raises(
        image_files.ImageError, match=r"a\.vsi: is an Olympus VSI file, whose pixels lie in other files: export"
    ):
        image_files.read(tmp_path / "a.vsi")


def test_what_nobody_knows_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(bytes(range(256)))
    with pytest.raises(image_files.ImageError, match=r"a\.tif: is not a TIFF, PNG, JPEG, .* or WebP file: export it as TIFF"):
        image_files.read(tmp_path / "a.tif")
