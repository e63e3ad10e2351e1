"""Turns pixels upright by the orientation that a file states, in the tag 274 of TIFF and of EXIF.

The tag has a number from 1 to 8. It says where the first row and the first column of the pixels lie in the picture: 1, at the
top and at the left, is upright. For each other number, rows and columns are exchanged, or the picture is flipped, or both.
"""

import struct
from contextlib import suppress
from typing import Any

from numpy.typing import NDArray

TAG = 274
UPRIGHT = 1
TURNS = {  # number: whether rows and columns are exchanged, and then whether y and x are flipped
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}  # any other number is taken for upright
WORDS = {
    2: "mirrored left to right",
    3: "turned by 180 degrees",
    4: "mirrored upside down",
    5: "mirrored along the diagonal",
    6: "turned by 90 degrees clockwise",
    7: "mirrored along the other diagonal",
    8: "turned by 90 degrees counterclockwise",
}


def upright(pixels: NDArray[Any], number: int) -> NDArray[Any]:
    """Returns the pixels (channels, y, x) as a viewer shows them."""
    exchanged, flip_y, flip_x = TURNS.get(number, (False, False, False))
    pixels = pixels.swapaxes(1, 2) if exchanged else pixels
    return pixels[:, :: -1 if flip_y else 1, :: -1 if flip_x else 1]


def upright_size(height: int, width: int, number: int) -> tuple[int, int]:
    """Returns the height and the width as a viewer shows them."""
    return (width, height) if TURNS.get(number, (False,))[0] else (height, width)


def of_exif(block: bytes) -> int:
    """Returns the orientation that EXIF metadata state, which have the form of a TIFF; UPRIGHT where they state none."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return UPRIGHT
    with suppress(struct.error):
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            tag, _, _, number = struct.unpack_from(f"{order}HHIH", block, place)
            if tag == TAG:
                return int(number)
    return UPRIGHT


def notes(number: int) -> tuple[str, ...]:
    """Returns a sentence on what becomes of the pixels; none where they are upright."""
    if number not in WORDS:
        return ()
    return (f"the file states the orientation {number}: its pixels are {WORDS[number]}, as viewers show them",)
