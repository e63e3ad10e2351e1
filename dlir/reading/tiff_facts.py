"""What a TIFF file says of its images: the metadata of OME, by image."""

from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

from dlir.reading import ome_xml
from dlir.reading.image_facts import ImageFacts


def of_images(tiff: Any, ome: Element, series: Sequence[Any]) -> tuple[ImageFacts, ...]:
    """Returns what an open file (tifffile.TiffFile) says of each of its images, which tifffile calls series."""
    elements = of_series(ome, series)
    return tuple(ImageFacts() if element is None else ome_xml.facts(element) for element in elements)


def of_series(ome: Element, series: Sequence[Any]) -> list[Element | None]:
    """Returns the element of the OME metadata for each image; None where it is not known which it is."""
    elements: list[Element] = ome_xml.images_in_file(ome)
    if len(elements) == len(series):
        return list(elements)
    by_name = {element.get("Name"): element for element in elements}
    unique = len(by_name) == len(elements)  # an image whose pixels cannot be read has no series
    return [by_name.get(each.name) if unique else None for each in series]
