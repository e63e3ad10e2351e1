"""Names the kind of a file that dlir does not read, by its first bytes, so that nobody takes a sound file for a damaged one."""

import re
from typing import NamedTuple

HEAD = 4096  # bytes at the start of a file that tell its kind
EXPORT = "export it as OME-TIFF or TIFF from the program that wrote it"
TEXT = re.compile(rb"[\t\n\r\f\x1b\x20-\x7e\x80-\xff]+")  # bytes of a text in any encoding of one byte, or in UTF-8
LEAST_TEXT = 4  # bytes; of fewer, nobody can tell whether they are a text


class Kind(NamedTuple):
    """A kind of files that dlir does not read."""

    start: re.Pattern[bytes]  # the first bytes of such a file
    name: str
    remedy: str = EXPORT


def _kind(start: bytes, name: str, remedy: str = EXPORT) -> Kind:
    return Kind(re.compile(start, re.DOTALL), name, remedy)


KINDS = [
    _kind(rb"SIS\0", "an Olympus ETS file"),
    _kind(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an OLE file, such as an Olympus OIB, a Zeiss ZVI or an old Office file"),
    _kind(rb"\x89HDF\r\n\x1a\n", "an HDF5 file, such as an Imaris IMS"),
    _kind(rb"\0\0\0\x03.{4}\0\0\0[\0\x01]", "a Gatan DM3 file"),
    _kind(rb"\0\0\0\x04.{8}\0\0\0[\0\x01]", "a Gatan DM4 file"),
    _kind(rb"II\x97\x01", "an FEI SER file of an electron microscope"),
    _kind(rb".{208}MAP[ \0]", "an MRC file"),
    _kind(rb"\x5c\x01\0\0.{340}n[i+]1\0|\0\0\x01\x5c.{340}n[i+]1\0|.{4}n[i+]2\0\r\n\x1a\n", "a NIfTI file"),
    _kind(rb"SIMPLE  =", "a FITS file"),
    _kind(rb"NRRD000", "an NRRD file"),
    _kind(rb".{128}DICM", "a DICOM file"),
    _kind(rb".{0,4}ics_version", "an ICS file"),
    _kind(rb"\x93NUMPY", "an array of NumPy", "save it as TIFF with tifffile.imwrite"),
    _kind(rb"MATLAB 5\.0 MAT-file", "a MATLAB file", "save each image as TIFF with imwrite"),
    _kind(rb"8BPS", "a Photoshop PSD file", "save it as TIFF from Photoshop"),
    _kind(rb"gimp xcf", "a GIMP XCF file", "export it as TIFF from GIMP"),
    _kind(rb".{4}ftyp(?:heic|heix|heim|heis|hevc|mif1|msf1)", "an HEIC image of a telephone", "export it as TIFF or PNG"),
    _kind(rb".{4}ftypavi[fs]", "an AVIF image", "export it as TIFF or PNG"),
    _kind(rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image", "export it as TIFF or PNG"),
    _kind(rb"II\xbc", "a JPEG XR image", "export it as TIFF or PNG"),
    _kind(rb"v/1\x01", "an OpenEXR image", "export it as TIFF"),
    _kind(rb"qoif", "a QOI image", "export it as TIFF or PNG"),
    _kind(rb"P[1-6]\s+[#0-9]|P7\n", "a PNM image (PBM, PGM or PPM)", "export it as TIFF or PNG"),
    _kind(rb".{4}ftyp|RIFF.{4}AVI |\x1aE\xdf\xa3", "a film", "export its pictures as TIFF"),
    _kind(rb"PK\x03\x04|PK\x05\x06|\x1f\x8b|7z\xbc\xaf\x27\x1c|Rar!|BZh|\xfd7zXZ\0|\x28\xb5\x2f\xfd",
          "an archive", "unpack it"),
    _kind(rb"%PDF", "a PDF file", "export each image as TIFF"),
    _kind(rb"%!PS", "a PostScript file", "export each image as TIFF"),
    _kind(rb"\s*(?:<\?xml[^>]*>)?\s*(?:<!--.*?-->\s*|<!DOCTYPE svg.*?>\s*)*<svg", "an SVG drawing", "export it as TIFF or PNG"),
]  # fmt: skip
NAMES = {".vsi": "is an Olympus VSI file, whose pixels lie in other files: export it as OME-TIFF or TIFF"}  # begins as a TIFF
OTHER = "is not a TIFF, PNG, JPEG, JPEG 2000, GIF, BMP or WebP file: export it as TIFF"


def described(head: bytes) -> str:
    """Returns what a file with these first bytes is, in place of an image that dlir reads, and the remedy."""
    if not head:
        return "is an empty file: copy it again"
    for kind in KINDS:
        if kind.start.match(head):
            return f"is {kind.name}, which dlir does not read: {kind.remedy}"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or (len(head) >= LEAST_TEXT and TEXT.fullmatch(head)):
        return "is a text and no image: move it away, or make images match fewer files"
    if not head.strip(b"\0"):
        return "holds nothing but zeros: copy it again from the microscope"
    return OTHER
