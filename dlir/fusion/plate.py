"""The step `plate`: the mosaics of the wells of a plate as one OME-Zarr plate, which every viewer of plates shows.

The plate has a group for each row, one for each well, and in each well the mosaic as its first field:

    plate.ome.zarr/B/2/0    the mosaic of well B02

The files of the mosaics are linked, not copied, where the file system can do that. The plate follows OME-Zarr 0.5
(https://ngff.openmicroscopy.org/0.5), and the classes of ome-zarr-models check it.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zarr
from ome_zarr_models.v05.hcs import HCS

from dlir.core.atomic import atomically, link_or_copy
from dlir.reading import patterns

WELL, NUMBERED_WELL = re.compile(r"([A-Za-z]{1,2})0*([0-9]+)"), re.compile(r"r([0-9]+)c([0-9]+)")


class PlateError(ValueError):
    """The wells cannot be those of one plate."""


def plate(mosaics: list[Path], output: Path, *, wells: list[str]) -> None:
    """Writes the plate `output`; its name is that of the folder that it lies in.

    Args:
        mosaics: the OME-Zarr stores of the wells.
        wells: the names of the wells, such as B02, in the same order.

    Raises:
        PlateError: when two names mean one well.
    """
    places = [place_of(well) for well in wells]
    for at, place in enumerate(places):
        if place in places[:at]:
            raise PlateError(f"{wells[places.index(place)]} and {wells[at]} are one well, {''.join(place)}: rename one of them")
    with atomically(output) as partial:
        group = zarr.open_group(partial, mode="w")
        group.attrs["ome"] = {"version": "0.5", "plate": _metadata(places, output.absolute().parent.name)}
        for (row, column), mosaic in zip(places, mosaics, strict=True):
            group.require_group(row)
            well = group.require_group(f"{row}/{column}")
            well.attrs["ome"] = {"version": "0.5", "well": {"version": "0.5", "images": [{"path": "0"}]}}
            for path in (path for path in mosaic.rglob("*") if path.is_file() and not path.name.startswith(".")):
                link_or_copy(path, partial / row / column / "0" / path.relative_to(mosaic))
        HCS.from_zarr(zarr.open_group(partial, mode="r"))


def place_of(well: str) -> tuple[str, str]:
    """Returns the names of the row and of the column of a well: B and 2 of B02, b2 and r02c02; raises PlateError."""
    if found := NUMBERED_WELL.fullmatch(well):
        tens, ones = divmod(int(found[1]) - 1, 26)
        return (chr(ord("A") + tens - 1) if tens else "") + chr(ord("A") + ones), str(int(found[2]))
    if found := WELL.fullmatch(well):
        return found[1].upper(), found[2]
    raise PlateError(f"{well} is no name of a well: give one or two letters and a number, such as B02")


def _metadata(places: Sequence[tuple[str, str]], name: str) -> dict[str, Any]:
    """Returns the metadata of a plate with wells at these places."""
    rows = sorted({row for row, _ in places}, key=lambda row: patterns.number("row", row))
    columns = sorted({column for _, column in places}, key=int)
    return {
        "version": "0.5",
        "name": name,
        "field_count": 1,
        "rows": [{"name": row} for row in rows],
        "columns": [{"name": column} for column in columns],
        "wells": [
            {"path": f"{row}/{column}", "rowIndex": rows.index(row), "columnIndex": columns.index(column)}
            for row, column in places
        ],
    }
