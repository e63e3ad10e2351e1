"""The distortion that the user gives, by the setting `distortion` of a dataset, as the lens of each camera.

- `none`: the tiles are used as they are.
- a lens.csv of another run with the same camera.
- a TIFF of two planes, (2, y, x): by how many px further down, and further right, each pixel of the undistorted tile is seen in
  the tile as it was taken.
- `{k1: , k2: }` of a calibration (`settings.Radial`).

A shift, turn or scale in it says only how the undistorted tile is laid down, and is taken off.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from dlir.core import lens, tables
from dlir.core.affine import Array
from dlir.core.lens import Lens, LensError, Lenses
from dlir.reading.settings import Radial

LARGEST_REST = 0.1  # px, that the polynomial may miss of a displacement image, root mean square
REMEDY = "or use distortion: auto"


def given_lenses(distortion: str, tiles: pd.DataFrame) -> Lenses | None:
    """Returns the lenses of the cameras of these tiles (tables.TILES); None where they are to be found in the tiles.

    Args:
        distortion: auto, none, the path of a file, or k1 and k2 as JSON.

    Raises:
        LensError, TableError: when the file cannot be read, or does not fit the tiles.
    """
    if distortion in ("auto", "none"):
        return None if distortion == "auto" else lens.NO_LENSES
    if distortion.startswith("{"):
        radial = Radial.parse(distortion)
        found: Lenses = {camera: _of_radial(radial, size) for camera, size in _cameras(tiles, "k1 and k2").items()}
        return lens.fitting(found, tiles, Path("distortion"))
    file = Path(distortion)
    if file.suffix.lower() == ".csv":
        found = {camera: each._replace(source="given") for camera, each in lens.read(file).items()}
    else:
        found = {camera: _of_image(file, size) for camera, size in _cameras(tiles, str(file)).items()}
    return lens.fitting(found, tiles, file)


def _cameras(tiles: pd.DataFrame, what: str) -> dict[int, tuple[int, int]]:
    """Returns the size (y, x) of the one camera of the tiles, by its number."""
    sizes = {int(camera): size for camera, size in zip(tiles["camera"], map(tuple, tables.sizes(tiles).tolist()), strict=True)}
    if len(sizes) > 1:
        raise LensError(f"{what}: is the distortion of one camera, and the tiles have {len(sizes)}: give a lens.csv, {REMEDY}")
    return sizes


def _of_radial(radial: Radial, size: tuple[int, int]) -> Lens:
    """Returns the lens with k1 and k2."""
    middle = (np.array(size) - 1) / 2
    centre = middle if radial.centre is None else np.array(radial.centre)
    points = lens.grid(size)
    square = (((points - centre) / (radial.focal or np.hypot(*middle))) ** 2).sum(axis=1, keepdims=True)
    raw = centre + (points - centre) * (1 + radial.k1 * square + radial.k2 * square**2)
    return lens.without_affine(points, raw, size)


def _of_image(file: Path, size: tuple[int, int]) -> Lens:
    """Returns the lens nearest to the displacements in a TIFF."""
    try:
        image = np.asarray(tifffile.imread(file), float)
    except (OSError, ValueError, tifffile.TiffFileError) as error:
        raise LensError(f"{file}: cannot be read as a TIFF ({error}): export it again, {REMEDY}") from None
    if image.shape != (2, *size):
        raise LensError(
            f"{file}: has the shape {image.shape}, and tiles of {size[0]} x {size[1]} px need {(2, *size)}: "
            f"a plane for y and one for x, {REMEDY}"
        )
    if not np.isfinite(image).all():
        raise LensError(f"{file}: has pixels that are no numbers: fill them, {REMEDY}")
    points = np.unique(np.rint(lens.grid(size)), axis=0)
    raw = points + image[:, *points.astype(int).T].T
    found = lens.without_affine(points, raw, size)
    rest = float(np.sqrt(np.mean(_rest(found, points, raw) ** 2)))
    if rest > LARGEST_REST:
        raise LensError(
            f"{file}: a polynomial of degree {lens.MOST_DEGREE} misses it by {rest:.2g} px, and at most {LARGEST_REST} px is "
            f"allowed: smooth it, check its units (px), {REMEDY}"
        )
    return found


def _rest(found: Lens, points: Array, raw: Array) -> Array:
    """Returns what an affine of the undistorted tile and the lens leave of a field (n, 2), px."""
    undistorted = found.from_raw(raw)
    affine_terms = np.c_[points, np.ones(len(points))]
    return np.asarray(undistorted - affine_terms @ np.linalg.lstsq(affine_terms, undistorted, rcond=None)[0])
