"""Reads OME-XML: the images that it describes, where the stage stood, and how large a pixel is.

Positions stand with each plane (PositionX, PositionY), or with the image (StageLabel). Since 2015 they have a unit, and one
that is not given is the "reference frame", whose length nobody knows. A size of a pixel without a unit is in micrometres.

Source: the OME data model, Open Microscopy Environment, schema 2016-06.
"""

from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from dlir.reading.image_facts import ImageFacts, Pair, micrometres, number, pixel_size, place

DAMAGED = "damaged"  # the tag of an element that stands for metadata that are no valid XML
NOT_VALID = "its OME metadata are no valid XML, and are left out"
MICROMETRE, NO_UNIT = "µm", "reference frame"  # the units where a size or a position has none


def parsed(xml: str | None) -> Element:
    """Returns the OME metadata; an empty element where there are none, or one called DAMAGED where they are no valid XML."""
    try:
        return ElementTree.fromstring(xml or "<OME/>")
    except ElementTree.ParseError:
        return Element(DAMAGED)


def images_in_file(ome: Element) -> list[Element]:
    """Returns the images of which a plane lies in the file that the metadata were read from; a set of files shares them."""
    return [image for image in ome.iterfind("{*}Image") if _lies_here(image, ome.get("UUID"))]


def channel_names(image: Element, channels: int) -> tuple[str, ...]:
    """Returns the names of the channels, or what they show: the dye, or the emission; none unless each channel has one."""
    found = [_channel_name(channel) for channel in image.findall("{*}Pixels/{*}Channel")]
    return tuple(found) if len(found) == channels and all(found) else ()


def _channel_name(channel: Element) -> str:
    named = channel.get("Name", "").strip() or channel.get("Fluor", "").strip()
    emission = number(channel.get("EmissionWavelength"))
    in_nm = channel.get("EmissionWavelengthUnit", "nm") == "nm"
    return named or (f"emission {emission:.0f} nm" if emission and in_nm else "")


def facts(image: Element) -> ImageFacts:
    """Returns what the metadata say of an image."""
    where, unit = _position(image)
    return ImageFacts(image.get("Name", ""), where, unit, _pixel_size(image), of_centre=True)


def _lies_here(image: Element, own: str | None) -> bool:
    """Whether a block of planes names no file, or the file with this identifier."""
    blocks = image.findall("{*}Pixels/{*}TiffData")
    named = [block.find("{*}UUID") for block in blocks]
    return not blocks or any(uuid is None or uuid.text == own for uuid in named)


def _position(image: Element) -> tuple[Pair | None, str]:
    """Returns where the stage stood at the first plane that says it, and the unit."""
    planes = image.findall("{*}Pixels/{*}Plane")
    planes.sort(key=lambda plane: [number(plane.get(axis)) or 0.0 for axis in ("TheT", "TheZ", "TheC")])
    sources = [(plane, "Position") for plane in planes] + [(label, "") for label in image.findall("{*}StageLabel")]
    for source, name in sources:
        y, x = (number(source.get(f"{name}{axis}")) for axis in "YX")
        if place(y, x) is None:
            continue
        units = [source.get(f"{name}{axis}Unit", NO_UNIT) for axis in "YX"]
        if (known := place(micrometres(y, units[0]), micrometres(x, units[1]))) is not None:
            return known, "um"
        return place(y, x), "px" if units == ["pixel", "pixel"] else ""
    return None, ""


def _pixel_size(image: Element) -> Pair | None:
    pixels = image.find("{*}Pixels")
    if pixels is None:
        return None
    y, x = (
        micrometres(number(pixels.get(f"PhysicalSize{axis}")), pixels.get(f"PhysicalSize{axis}Unit", MICROMETRE))
        for axis in "YX"
    )
    return pixel_size(y, x)
