"""The step `index`: one HTML page that shows the mosaics of many datasets beside each other, such as the wells of a plate.

Each mosaic is shown small, with its numbers and a link to its report. Wells lie as in their plate. The page is one file that
needs no network; it is made from the template `index.html.j2`.
"""

import base64
import io
import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import zarr
from matplotlib.image import imsave

from dlir.core import tables, time_points
from dlir.core.atomic import atomically
from dlir.fusion.display import grey_limits
from dlir.fusion.plate import place_of
from dlir.reading import patterns
from dlir.reading.tile_reader import TileReader
from dlir.reporting.figures import reference_plane, stretched
from dlir.reporting.pages import page

log = logging.getLogger(__name__)
SIDE = 160  # px, longest side of a small picture


class Entry(NamedTuple):
    """A dataset on the page."""

    name: str
    link: str  # to its report
    picture: str  # PNG, base64
    lines: list[str]  # its numbers
    doubtful: bool  # whether some of its tiles are joined to no other
    place: tuple[int, int]  # row and column in the plate, from 1; (0, 0) for datasets that are no wells


def index(results: list[Path], output: Path, *, wells: list[str] | None = None) -> None:
    """Writes the page `output`.

    Args:
        results: the folders of the results of the datasets; the links are relative to the folder of `output`.
        wells: the names of the wells, such as B02, in the same order; None for datasets that are no wells.
    """
    entries = [_entry(folder, output.parent, well) for folder, well in zip(results, wells or [""] * len(results), strict=True)]
    first_row, first_column = (min(entry.place[axis] for entry in entries) - 1 for axis in (0, 1))
    placed = [entry._replace(place=(entry.place[0] - first_row, entry.place[1] - first_column)) for entry in entries]
    doubtful = sum(entry.doubtful for entry in entries)
    content = {"name": output.absolute().parent.name, "entries": placed, "plate": bool(wells), "doubtful": doubtful}
    with atomically(output) as partial:
        partial.write_text(page("index.html.j2").render(content), encoding="utf-8")
    log.info("wrote %s: %d datasets, %d of them with tiles that no pair joins to the others", output, len(entries), doubtful)


def _entry(folder: Path, beside: Path, well: str) -> Entry:
    placed = tables.read(folder / "placement.csv", tables.PLACEMENT)
    groups = max(time_points.at(placed, time)["group"].nunique() for time in time_points.listed(placed) or [0])
    residual = placed["residual"].median()
    lines = [f"{placed['path'].nunique()} tiles"] + ([f"residual {residual:.2f} px"] if np.isfinite(residual) else [])
    if groups > 1:
        lines.append(f"{groups} groups")
    row, column = place_of(well) if well else ("", "0")
    place = (int(patterns.number("row", row)), int(column)) if row else (0, 0)
    picture = _picture(folder / "mosaic.ome.zarr", tables.read(folder / "tiles.csv", tables.TILES))
    link = f"{folder.resolve().relative_to(beside.resolve()).as_posix()}/report.html"
    return Entry(well or folder.name, link, picture, lines, groups > 1, place)


def _picture(store: Path, tiles: pd.DataFrame) -> str:
    """Returns the reference of a mosaic as a small PNG, base64."""
    ome: Any = zarr.open_group(store, mode="r").attrs["ome"]
    described = ome["multiscales"][0]
    level = zarr.open_array(store / described["datasets"][-1]["path"], mode="r")
    axes = "".join(axis["name"] for axis in described["axes"])
    pixels = reference_plane(level, axes, TileReader(tiles))
    step = max(1, -(-max(pixels.shape[1:]) // SIDE))
    grey = stretched(pixels, grey_limits(pixels))[::step, ::step]
    file = io.BytesIO()
    imsave(file, grey, cmap="gray", vmin=0, vmax=1, format="png")
    return base64.b64encode(file.getvalue()).decode()
