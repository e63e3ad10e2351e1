"""A dataset with known truth, for trying dlir out: a microscope in numbers looks at a real image, tile by tile.

The specimen is the retina that scikit-image carries (green channel, where the vessels are dark). The stage goes to each
place of the grid, and errs; the camera is turned against the stage by one angle, so that every tile has the same linear
part R, a rotation about its centre c, and its pixel p shows the source at

    P = R (p - c) + stage + error

Fields falls off towards the corners of the camera, photons are counted with Poisson noise, reading adds Gaussian noise.
Samples come from a spline of order 5, so truth is exact to about 0.02 px.
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
MARGIN = 4.0  # px of the source around all tiles, where the spline still knows both sides
READ_NOISE = 2.0  # electrons, root mean square
OFFSET, FULL = 1000.0, 50000.0  # counts in the dark, and above them from the brightest pixel
Array = affine.Array


class DemoError(ValueError):
    """The grid that the settings ask for does not fit into the source image."""


class Microscope(NamedTuple):
    """The camera and the lamp of the demo."""

    rotation: float = 0.5  # degrees between camera and stage
    shading: float = 0.4  # loss of light in the corners, fraction
    photons: float = 400.0  # of the brightest pixel


def demo(output: Path, *, settings: Demo = Demo()) -> None:
    """Write the tiles to `output/tiles` and the affine of each, tile px to source px, to `output/truth.csv`.

    Raises:
        DemoError: when the grid is larger than the source.
    """
    take_tiles(output, settings, Microscope())


def take_tiles(output: Path, settings: Demo, microscope: Microscope) -> None:
    """Write the demo dataset as `microscope` takes it; see `demo`."""
    rng = np.random.default_rng(settings.seed)
    source = skimage.data.retina()[..., 1] / 255.0  # type: ignore[no-untyped-call]
    affines = _affines(rng, (source.shape[0], source.shape[1]), settings, microscope.rotation)
    spline = ndimage.spline_filter(source, ORDER, mode="mirror")
    cells = [(row, col) for row in range(settings.rows) for col in range(settings.columns)]
    names = [NAME.format(row=row, col=col) for row, col in cells]
    folder = output / "tiles"
    with atomically(folder) as partial:
        partial.mkdir()
        for name, truth in progress(list(zip(names, affines, strict=True)), "taking demo tiles"):
            photons = _sample(spline, truth, settings.tile) * (microscope.photons / source.max())
            tifffile.imwrite(partial / name, _expose(rng, photons, microscope), photometric="minisblack")
    table = pd.DataFrame({"path": [str(folder / name) for name in names], **affine.to_columns(affines)})
    tables.write(table, tables.TRUTH, output / "truth.csv")
    log.info("%d tiles of %d px in %s", len(names), settings.tile, folder)


def _affines(rng: np.random.Generator, shape: tuple[int, int], settings: Demo, rotation: float) -> Array:
    """Where the tiles lie in a source of this shape: affines (n, 2, 3) in reading order, the grid in the middle."""
    angle = np.deg2rad(rotation)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    grid, half = np.array([settings.rows, settings.columns]), (settings.tile - 1) / 2
    step = settings.tile * (1 - settings.overlap)
    need = (grid - 1) * step + 1 + 2 * (half * np.abs(turn).sum(1) + settings.stage_error + MARGIN)
    if (need > shape).any():
        raise DemoError(
            f"demo: {settings.rows} x {settings.columns} tiles of {settings.tile} px need {need[0]:.0f} x {need[1]:.0f} px "
            f"of an image that has {shape[0]} x {shape[1]}: lower demo.rows, demo.columns or demo.tile, or raise demo.overlap"
        )
    cells = np.indices((settings.rows, settings.columns)).reshape(2, -1).T
    stage = (np.array(shape) - 1) / 2 + (cells - (grid - 1) / 2) * step
    centres = stage + rng.uniform(-settings.stage_error, settings.stage_error, stage.shape)
    offsets = centres - turn @ [half, half]
    return np.concatenate([np.broadcast_to(turn, (len(cells), 2, 2)), offsets[..., None]], -1)


def _sample(spline: Array, truth: Array, side: int) -> Array:
    """The square tile that lies in the source, given by its spline coefficients (y, x), at the affine `truth` (2, 3)."""
    tile: Array = ndimage.affine_transform(
        spline, truth[:, :2], truth[:, 2], (side, side), order=ORDER, prefilter=False, mode="mirror"
    )
    return tile


def _expose(rng: np.random.Generator, photons: Array, microscope: Microscope) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """What the camera makes of the photons (y, x) that the specimen sends to it."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in photons.shape), indexing="ij")
    light = 1 - microscope.shading * (y**2 + x**2) / 2
    electrons = rng.poisson(photons.clip(0) * light) + rng.normal(0, READ_NOISE, photons.shape)
    return np.clip(np.rint(electrons * (FULL / microscope.photons) + OFFSET), 0, 65535).astype(np.uint16)
