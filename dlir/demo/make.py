"""The step `demo`: a dataset with known truth for trying dlir out, made by a simulated microscope.

The specimen is the retina image of scikit-image (its green channel, in which the vessels are dark). The stage moves to each
place of the grid with a random error. The camera is rotated against the stage by one angle, so every tile has the same linear
part R, a rotation about the tile's centre c. Pixel p of a tile shows the specimen at

    P = R (p - c) + stage + error

The illumination falls off towards the corners of the image. The number of photons follows a Poisson distribution, and the
read-out adds Gaussian noise. The specimen is interpolated by a spline of order 5, so the truth is exact to about 0.02 px.
"""

import logging
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
import skimage.data
import tifffile
from scipy import ndimage

from dlir.core import affine, tables
from dlir.core.atomic import atomically
from dlir.core.progress import progress
from dlir.demo.settings import Demo

log = logging.getLogger(__name__)
NAME = "Tp26_Y{row:03d}_X{col:03d}_040.tif"
ORDER: Final = 5  # of the spline
MARGIN = 4.0  # px of the specimen beyond all tiles, which the spline needs
READ_NOISE = 2.0  # electrons, root mean square
DARK_LEVEL, BRIGHTEST = 1000.0, 50000.0  # grey values without light, and of the brightest pixel above this
Array = affine.Array


class DemoError(ValueError):
    """The grid that the settings ask for does not fit into the specimen."""


class Microscope(NamedTuple):
    """The simulated camera and illumination."""

    rotation: float = 0.5  # degrees, camera against stage
    shading: float = 0.4  # fraction of the light that the corners of the image lose
    photons: float = 400.0  # in the brightest pixel


def demo(output: Path, *, settings: Demo = Demo()) -> None:
    """Writes the tiles to `output/tiles`, and the affine of each, tile px to specimen px, to `output/truth.csv`.

    Raises:
        DemoError: when the grid is larger than the specimen.
    """
    take_tiles(output, settings, Microscope())


def take_tiles(output: Path, settings: Demo, microscope: Microscope) -> None:
    """Writes the demo dataset as `microscope` takes it; see `demo`."""
    rng = np.random.default_rng(settings.seed)
    specimen = skimage.data.retina()[..., 1] / 255.0  # type: ignore[no-untyped-call]
    affines = _affines(rng, (specimen.shape[0], specimen.shape[1]), settings, microscope.rotation)
    spline = ndimage.spline_filter(specimen, ORDER, mode="mirror")
    cells = [(row, col) for row in range(settings.rows) for col in range(settings.columns)]
    names = [NAME.format(row=row, col=col) for row, col in cells]
    folder = output / "tiles"
    with atomically(folder) as partial:
        partial.mkdir()
        for name, truth in progress(list(zip(names, affines, strict=True)), "taking demo tiles"):
            photons = _sample(spline, truth, settings.tile) * (microscope.photons / specimen.max())
            tifffile.imwrite(partial / name, _expose(rng, photons, microscope), photometric="minisblack")
    table = pd.DataFrame({"path": [str(folder / name) for name in names], **affine.to_columns(affines)})
    tables.write(table, tables.TRUTH, output / "truth.csv")
    log.info("wrote %d tiles of %d x %d px to %s", len(names), settings.tile, settings.tile, folder)


def _affines(rng: np.random.Generator, shape: tuple[int, int], settings: Demo, rotation: float) -> Array:
    """Returns the affines (n, 2, 3), tile px to specimen px, in reading order.

    Args:
        rng: draws the stage errors.
        shape: of the specimen (y, x), px; the grid lies in its middle.
        settings: of the grid.
        rotation: of the camera against the stage, degrees.

    Raises:
        DemoError: when the grid is larger than the specimen.
    """
    angle = np.deg2rad(rotation)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    grid, half = np.array([settings.rows, settings.columns]), (settings.tile - 1) / 2
    distance = settings.tile * (1 - settings.overlap)  # px, from tile to tile
    need = (grid - 1) * distance + 1 + 2 * (half * np.abs(turn).sum(1) + settings.stage_error + MARGIN)
    if (need > shape).any():
        raise DemoError(
            f"demo: {settings.rows} x {settings.columns} tiles of {settings.tile} px need {need[0]:.0f} x {need[1]:.0f} px "
            f"of an image that has {shape[0]} x {shape[1]}: lower demo.rows, demo.columns or demo.tile, or raise demo.overlap"
        )
    cells = np.indices((settings.rows, settings.columns)).reshape(2, -1).T
    stage = (np.array(shape) - 1) / 2 + (cells - (grid - 1) / 2) * distance
    centres = stage + rng.uniform(-settings.stage_error, settings.stage_error, stage.shape)
    offsets = centres - turn @ [half, half]
    return np.concatenate([np.broadcast_to(turn, (len(cells), 2, 2)), offsets[..., None]], -1)


def _sample(spline: Array, truth: Array, side: int) -> Array:
    """Returns the tile (side, side) at the affine `truth` (2, 3), tile px to specimen px.

    `spline` (y, x) holds the spline coefficients of the specimen.
    """
    tile: Array = ndimage.affine_transform(
        spline, truth[:, :2], truth[:, 2], (side, side), order=ORDER, prefilter=False, mode="mirror"
    )
    return tile


def _expose(rng: np.random.Generator, photons: Array, microscope: Microscope) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Returns the grey values (y, x) that the camera records of the expected photons (y, x) of the evenly lit specimen."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in photons.shape), indexing="ij")
    illumination = 1 - microscope.shading * (y**2 + x**2) / 2
    electrons = rng.poisson(photons.clip(0) * illumination) + rng.normal(0, READ_NOISE, photons.shape)
    return np.clip(np.rint(electrons * (BRIGHTEST / microscope.photons) + DARK_LEVEL), 0, 65535).astype(np.uint16)
