"""The step `export`: it writes the placement for other programs, as Fiji's tile configuration and in the stage's own units."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from skimage.transform import SimilarityTransform

from dlir.core import affine, tables, time_points
from dlir.core.affine import Array
from dlir.core.atomic import atomically
from dlir.core.lens import read as read_lenses
from dlir.reading import filenames

log = logging.getLogger(__name__)


def export(tiles: Path, placement: Path, output: Path, *, fiji: Path, lens: Path | None = None) -> None:
    """Writes where the tiles lie as a CSV to `output`, and to `fiji` as its TileConfiguration.registered.txt.

    Fiji's file has the places of the tiles' first pixels, (x, y) px, without turn or scale; a tile of several files is named
    by the first of them, and one of many images in a file by its number, too. Fiji reads mirrored tiles as they are in the
    files, so there the whole mosaic is mirrored instead. The CSV has the place of each tile's middle in the frame of the stage,
    in micrometres where the pixel size is known, else in px. Where each time point is placed by itself, Fiji's file is of the
    first one, and the CSV has a column time.

    Neither file can hold the distortion of the lens (tables.LENS, in `lens`), so both leave it out; Fiji's file and the log say
    so.
    """
    lenses = read_lenses(lens) if lens else {}
    distorted = max((float(np.linalg.norm(each.at_corners(), axis=1).max()) for each in lenses.values()), default=0.0)
    if distorted:
        log.warning(
            "%s and %s leave out the distortion of the lens, up to %.2f px in the corners of a tile; dlir transform has it",
            output.name, fiji.name, distorted,
        )  # fmt: skip
    tile_table, placed = tables.read(tiles, tables.TILES), tables.read(placement, tables.PLACEMENT)
    size, times = tile_table[["height", "width"]].to_numpy(float), time_points.listed(placed) or [0]
    placements = {time: time_points.at(placed, time) for time in times}
    middles = {
        time: affine.apply(affine.from_table(table), ((size - 1) / 2)[:, None])[:, 0] for time, table in placements.items()
    }
    first_pixel = middles[times[0]] - (size - 1) / 2
    if tile_table["mirrored"].iloc[0]:
        first_pixel[:, 1] = first_pixel[:, 1].max() - first_pixel[:, 1]
    values = filenames.values_of(tile_table.iloc[0].to_dict())
    names = [Path(filenames.files(path, values)[0]).name for path in tile_table["path"]]
    with atomically(fiji) as partial:
        partial.write_text(
            _tile_configuration(names, [filenames.image_of(path) for path in tile_table["path"]], first_pixel, distorted)
        )
    pixel_size = tile_table["pixel_size"].to_numpy(float)
    known = np.isfinite(pixel_size).all()
    nominal = tile_table[["y", "x"]].to_numpy() + (size - 1) / 2
    in_units = np.concatenate(
        [_in_stage_frame(middle, nominal) * (pixel_size[:, None] if known else 1.0) for middle in middles.values()]
    )
    table = placed[["path", *(["time"] if "time" in placed else [])]].assign(
        y=in_units[:, 0], x=in_units[:, 1], unit="micrometre" if known else "pixel"
    )
    with atomically(output) as partial:
        table.to_csv(partial, index=False, float_format="%.4f")


def _tile_configuration(names: Sequence[str], images: Sequence[int | None], first_pixels: Array, distorted: float) -> str:
    """Returns the text of Fiji's table, which has its form of many series where a tile is one of many images in a file.

    Args:
        images: the number of each tile in its file; None where the file holds one.
        first_pixels: (n, 2) px.
        distorted: px in the corners of a tile, by the lens, which the table leaves out.
    """
    many = any(image is not None for image in images)
    heading = f"# The lens distorts the tiles by up to {distorted:.2f} px, which is left out here\n" if distorted else ""
    heading += "# Define the number of dimensions we are working on\ndim = 2\n"
    heading += "# Define that the files hold several images\nmultiseries = true\n" if many else ""
    series = [image or 0 for image in images] if many else [""] * len(images)
    lines = [
        f"{name}; {number}; ({x:.4f}, {y:.4f})\n" for name, number, (y, x) in zip(names, series, first_pixels, strict=True)
    ]
    return f"{heading}\n# Define the image coordinates\n{''.join(lines)}"


def _in_stage_frame(places: Array, nominal: Array) -> Array:
    """Returns places (n, 2) in the frame of the nominal positions (n, 2): moved, turned and scaled to fit these best.

    A single tile, or tiles at one place, lie at their nominal positions.

    Source: Umeyama 1991, without reflection.
    """
    fit = SimilarityTransform.from_estimate(places, nominal)
    return np.asarray(fit(places)) if fit else nominal
