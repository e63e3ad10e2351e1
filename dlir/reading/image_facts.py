"""What a file says of an image beside its pixels: its name, where the stage stood, and how large a pixel is.

A file may hold many images: scenes, positions of a list, or the tiles of a mosaic. Each is a tile of its own.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

MICROMETRES = {  # in one unit, by its names in files
    **dict.fromkeys(("um", "µm", "μm", "\\u00b5m", "micron", "microns", "micrometer", "micrometre", "micrometers"), 1.0),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-3),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 1e4),
    **dict.fromkeys(("m", "meter", "metre"), 1e6),
    "pm": 1e-6,
    "å": 1e-4,
    "in": 25_400.0,
}
LEAST, LARGEST = 1e-6, 1e4  # micrometres, of a pixel; what lies outside is no pixel size
Pair = tuple[float, float]  # (y, x)


class ImageFacts(NamedTuple):
    """What a file says of one of its images; each part may be missing."""

    name: str = ""
    place: Pair | None = None  # (y, x) by the stage, in `unit`, along the axes of the stage
    unit: str = ""  # of the place: um or px; empty where the file does not say it
    pixel_size: Pair | None = None  # (y, x), micrometres
    of_centre: bool = False  # whether the place is that of the centre of the image, else that of its first pixel


NO_FACTS = ImageFacts()


def micrometres(number: float | None, unit: str | None) -> float | None:
    """Returns a length in micrometres; None where there is none, or the unit is no length."""
    factor = MICROMETRES.get((unit or "").strip().lower())
    return None if number is None or factor is None else number * factor


def pixel_size(y: float | None, x: float | None) -> Pair | None:
    """Returns the size of a pixel (y, x), micrometres; None unless both are known and can be true."""
    if y is None or x is None or not (LEAST <= y <= LARGEST and LEAST <= x <= LARGEST):
        return None
    return y, x


def place(y: float | None, x: float | None) -> Pair | None:
    """Returns a place (y, x); None unless both numbers are known and finite."""
    return None if y is None or x is None or not (math.isfinite(y) and math.isfinite(x)) else (y, x)


def number(text: object) -> float | None:
    """Returns the number that a file gives, as text or as a number; None where it is none."""
    try:
        return float(str(text))
    except ValueError:
        return None


def of_micro_manager(told: Mapping[str, Any]) -> ImageFacts:
    """Returns what Micro-Manager says of an image, in the words that it uses in all its files."""
    size = number(told.get("PixelSizeUm"))
    where = place(number(told.get("YPositionUm")), number(told.get("XPositionUm")))
    name = str(told.get("PositionName") or "")
    return ImageFacts(name, where, "um" if where else "", pixel_size(size, size), of_centre=True)


def first_known(facts: Iterable[ImageFacts]) -> ImageFacts:
    """Returns what several sources say of one image; of each part, what the first source says that knows it."""
    name, place_, unit, size, of_centre = "", None, "", None, False
    for each in facts:
        name, size = name or each.name, size or each.pixel_size
        if place_ is None and each.place is not None:
            place_, unit, of_centre = each.place, each.unit, each.of_centre
    return ImageFacts(name, place_, unit, size, of_centre)
