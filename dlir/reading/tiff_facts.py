"""What a TIFF file says of its images beside the pixels, in the forms in which programs write it.

OME-XML has an element for each image. Micro-Manager has a tag for each page, also where a file holds the images of several
positions. MetaMorph (MetaSeries) has a description, and ImageJ the unit of its resolution; these tell of a file with one image.
ImageJ also keeps a text, Info, to which programs add lines:

    XPositionUm: 12.5                Image 0 PositionX = 12.5 µm        Plane 0 PositionX = 12.5, and PositionXUnit = µm
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from dlir.reading import ome_xml
from dlir.reading.image_facts import NO_FACTS, ImageFacts, first_known, micrometres, number, of_micro_manager, pixel_size, place

LINE = re.compile(
    r"""^[ \t"]*(?:Image \d+ |Plane \d+ )*(?P<key>[XY]PositionUm|Position[XY](?:Unit)?)"?[ \t]*[:=](?P<value>.*)$""", re.M
)
VALUE = re.compile(r"(?P<number>[-+.\deE]+)[ \t]*(?P<unit>.*)")


def of_images(tiff: Any, ome: Element, series: Sequence[Any]) -> tuple[ImageFacts, ...]:
    """Returns what an open file (tifffile.TiffFile) says of each of its images, which tifffile calls series."""
    elements = of_series(ome, series)
    described = [NO_FACTS if element is None else ome_xml.facts(element) for element in elements]
    if len(described) > 1:
        return tuple(
            first_known([_micro_manager(_first_page(own)), each]) if own.kind == "mmstack" else each
            for own, each in zip(series, described, strict=True)
        )
    return (first_known([_micro_manager(tiff.pages.first), *described, _meta_series(tiff), _image_j(tiff), _info(tiff)]),)


def of_series(ome: Element, series: Sequence[Any]) -> list[Element | None]:
    """Returns the element of the OME metadata for each image; None where it is not known which it is."""
    elements: list[Element] = ome_xml.images_in_file(ome)
    if len(elements) == len(series):
        return list(elements)
    by_name = {element.get("Name"): element for element in elements}
    unique = len(by_name) == len(elements)  # an image whose pixels cannot be read has no series
    return [by_name.get(each.name) if unique else None for each in series]


def _first_page(series: Any) -> Any:
    """Returns the first page of a series that is in the file, with its tags; None where there is none."""
    return next((page.aspage() for page in series if page is not None and page.offset), None)


def _micro_manager(page: Any) -> ImageFacts:
    """Returns what Micro-Manager writes in the tag of a page."""
    tag = None if page is None else page.tags.get("MicroManagerMetadata")
    return of_micro_manager(tag.value) if tag is not None and isinstance(tag.value, Mapping) else NO_FACTS


def _meta_series(tiff: Any) -> ImageFacts:
    """Returns what MetaMorph and programs like it write in the description."""
    told = (tiff.metaseries_metadata or {}).get("PlaneInfo", {}) if tiff.is_metaseries else {}
    y, x = (number(told.get(f"stage-position-{axis}")) for axis in "yx")
    unit = str(told.get("spatial-calibration-units") or "um")
    sizes = (micrometres(number(told.get(f"spatial-calibration-{axis}")), unit) for axis in "yx")
    where = place(y, x)
    return ImageFacts(str(told.get("stage-label") or ""), where, "um" if where else "", pixel_size(*sizes), of_centre=True)


def _image_j(tiff: Any) -> ImageFacts:
    """Returns the size of a pixel by ImageJ, and the place of the first pixel, in px, where the origin is not the default."""
    told = tiff.imagej_metadata or {}
    sizes = []
    for name in ("YResolution", "XResolution"):
        tag = tiff.pages.first.tags.get(name)
        above, below = tag.value if tag is not None else (0, 1)
        sizes.append(micrometres(below / above, str(told.get("unit"))) if told and above else None)
    y, x = (number(told.get(f"{axis}origin")) for axis in "yx")
    where = place(None if y is None else -y, None if x is None else -x)
    return ImageFacts("", where, "px" if where else "", pixel_size(*sizes))


def _info(tiff: Any) -> ImageFacts:
    """Returns the place by the text that ImageJ keeps, where all lines agree on it and on its unit."""
    values: dict[str, set[str]] = {}
    for line in LINE.finditer(str((tiff.imagej_metadata or {}).get("Info", ""))):
        values.setdefault(line["key"], set()).add(line["value"].strip(' \t\r",'))
    told = {key: texts.pop() for key, texts in values.items() if len(texts) == 1}
    where = place(*(_in_micrometres(told, axis) for axis in "YX"))
    return ImageFacts("", where, "um" if where else "", of_centre=True)


def _in_micrometres(told: Mapping[str, str], axis: str) -> float | None:
    """Returns the place along an axis by the lines of a text, without their spaces."""
    if f"{axis}PositionUm" in told:
        return number(told[f"{axis}PositionUm"])
    found = VALUE.fullmatch(told.get(f"Position{axis}", ""))
    return micrometres(number(found["number"]), found["unit"] or told.get(f"Position{axis}Unit")) if found else None
