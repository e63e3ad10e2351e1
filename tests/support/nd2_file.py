"""Makes small ND2 files of Nikon, byte by byte, of version 3: named chunks, metadata as names and values, and a map."""

import struct
import zlib

import numpy as np

MAGIC = 0x0ABECEDA
RESERVED = 4072  # bytes of the name of a frame
TIME, POSITIONS, DEPTH = 1, 2, 4  # kinds of loops
LOSSLESS, LOSSY, NONE = 0, 1, 2
Value = bool | int | float | str | dict | list
Points = list[tuple[float, float, str]]  # y and x of the stage, micrometres, and the name


def nd2(
    pixels: np.ndarray,
    points: Points,
    calibration: float | None = 0.5,
    lost: tuple[int, ...] = (),
    compression: int = NONE,
    gap: int = 0,
    frames: int | None = None,
    dye: bool = True,
) -> bytes:
    """Returns the bytes of a file.

    Args:
        pixels: (times, positions, depth, y, x, channels, samples); three samples are blue, green, red.
        calibration: micrometres of a pixel; None where nobody calibrated.
        lost: numbers of frames that are not in the file.
        gap: bytes after each row.
        frames: how many frames the map holds before the scan was stopped; None for all.
        dye: whether the channels tell of a dye.
    """
    chunks = {
        "ImageAttributesLV!": _fields({"SLxImageAttributes": _attributes(pixels, compression, gap)}),
        "ImageMetadataSeqLV|0!": _fields({"SLxPictureMetadata": _picture(pixels, calibration, dye)}),
        "ImageMetadataLV!": _fields({"SLxExperiment": _loops(pixels, points)}),
    }
    data = _chunk("ND2 FILE SIGNATURE CHUNK NAME01!", b"Ver3.0".ljust(64, b"\0"), 32)
    places = b""
    images = list(pixels.reshape(-1, *pixels.shape[3:]))[:frames]
    named = {f"ImageDataSeq|{number}!": _frame(image, compression, gap) for number, image in enumerate(images)}
    for name, chunk in (chunks | {name: frame for k, (name, frame) in enumerate(named.items()) if k not in lost}).items():
        places += name.encode() + struct.pack("<QQ", len(data), len(chunk))
        data += _chunk(name, chunk, RESERVED if name in named else len(name))
    end = b"ND2 CHUNK MAP SIGNATURE 0000001!" + struct.pack("<Q", len(data))
    return data + _chunk("ND2 FILEMAP SIGNATURE NAME 0001!", places + end, 32)


def _chunk(name: str, data: bytes, reserved: int) -> bytes:
    return struct.pack("<IIQ", MAGIC, reserved, len(data)) + name.encode().ljust(reserved, b"\0") + data


def _frame(image: np.ndarray, compression: int, gap: int) -> bytes:
    rows = np.frombuffer(image.tobytes(), np.uint8).reshape(len(image), -1)
    data = np.pad(rows, ((0, 0), (0, gap))).tobytes()
    return bytes(8) + (zlib.compress(data) if compression == LOSSLESS else data)


def _attributes(pixels: np.ndarray, compression: int, gap: int) -> dict[str, Value]:
    height, width, channels, samples = pixels.shape[3:]
    bits, components = 8 * pixels.itemsize, channels * samples
    return {
        "uiWidth": width, "uiHeight": height, "uiWidthBytes": width * components * pixels.itemsize + gap, "uiComp": components,
        "uiBpcInMemory": bits, "uiBpcSignificant": bits, "uiSequenceCount": int(np.prod(pixels.shape[:3])),
        "eCompression": compression, "dCompressionParam": 0.0,
    }  # fmt: skip


def _picture(pixels: np.ndarray, calibration: float | None, dye: bool) -> dict[str, Value]:
    channels, samples = pixels.shape[5:]
    dyes: dict[str, Value] = {"pFluorescentProbe": {"m_sName": "dye"}} if dye else {}
    planes: dict[str, Value] = {
        f"a{number}": {"sDescription": f"channel {number}", "uiCompCount": samples} | dyes for number in range(channels)
    }
    return {
        "bCalibrated": calibration is not None, "dCalibration": calibration or 0.0,
        "sPicturePlanes": {"uiCount": channels, "sPlaneNew": planes},
    }  # fmt: skip


def _loops(pixels: np.ndarray, points: Points) -> dict[str, Value]:
    """Returns the loops of times, positions and depths, each within the one before."""
    times, _, depth = pixels.shape[:3]
    stops = [{"dPosX": x, "dPosY": y, "dPosZ": 0.0, "pPosName": name} for y, x, name in points]
    z = {"eType": DEPTH, "uLoopPars": {"uiCount": depth, "dZLow": 0.0, "dZHigh": 1.0, "dZStep": 1.0}}
    position = {"eType": POSITIONS, "uLoopPars": {"Points": stops}, "ppNextLevelEx": [z]}
    time = {"uiCount": times, "dStart": 0.0, "dPeriod": 1.0, "dDuration": 1.0}
    return {"eType": TIME, "uLoopPars": time, "ppNextLevelEx": [position]}


def _fields(values: dict[str, Value]) -> bytes:
    return b"".join(_field(name, value) for name, value in values.items())


def _field(name: str, value: Value) -> bytes:
    """Returns a name with its value: of kind 1 bool, 3 uint32, 6 double, 8 text, 11 a level of further ones."""
    kind = {bool: 1, int: 3, float: 6, str: 8, dict: 11, list: 11}[type(value)]
    head = struct.pack("BB", kind, len(name) + 1) + f"{name}\0".encode("utf-16-le")
    if isinstance(value, dict | list):
        items = list(value.items()) if isinstance(value, dict) else [("", item) for item in value]
        data = b"".join(_field(*item) for item in items)
        return head + struct.pack("<IQ", len(items), len(head) + 12 + len(data)) + data + bytes(8 * len(items))
    if isinstance(value, str):
        return head + f"{value}\0".encode("utf-16-le")
    return head + struct.pack({1: "<?", 3: "<I", 6: "<d"}[kind], value)
