r"""Whether the illumination harms pixels: tiles with known truth, corrected as the workflow does.

    python benchmarks/illumination.py dark --bench ../shared/bench --cuts ../shared/data/cuts

`dark` makes tiles of cameras without a dark-field and with one, and prints beside each other the true one and the one that is
found, how far the flat-field is off, and how many pixels the correction drives out of the range of the data type.

All tiles are cut at whole pixels, so their true places are exact.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import cyclopts
import grids
import mosaic
import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from dlir.config import Settings
from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.fusion.exposure import exposure
from dlir.illumination import fields
from dlir.illumination.fields import Fields
from dlir.reading.settings import Dataset

Tiles = NDArray[Any]  # (n, y, x), whole grey values
PHOTONS, READ = 4000.0, 3.0  # photons of the light 1; deviation of the noise of reading, electrons
MARGIN = 20  # px of the specimen around the tiles
OVERLAP, JITTER = 0.1, 5.0  # of the sets of `dark`: part of a tile, px
SIZES = ((2, 3, 256), (3, 3, 384), (3, 4, 256), (4, 5, 384), (5, 8, 256))  # rows, columns, side of a tile, px
SHAPES = ("flat", "tilt", "glow")  # of a dark-field
app = cyclopts.App(help=__doc__, default_parameter=cyclopts.Parameter(consume_multiple=True))


class Scene(NamedTuple):
    """A specimen and the camera that looks at it."""

    specimen: str
    size: tuple[int, int, int]  # one of SIZES
    shade: float  # loss of light in the corners
    bits: int  # of a pixel
    grey: float  # grey values of the light 1
    background: float  # light where there is no specimen
    offset: float = 0.0  # grey values of the dark-field, in the mean
    shape: str = "flat"  # one of SHAPES
    flicker: float = 0.0  # largest change of the exposure between tiles


@app.command
def dark(*, bench: Path, cuts: Path, seeds: tuple[int, ...] = (1, 2)) -> None:
    """Print for each set the dark-field, the error of the flat-field, and the pixels that the correction loses.

    The error of the dark-field is its root mean square, in % of the range of the grey values (their quantiles 1 to 99.9 %)
    where there is no dark-field, and in % of the offset where there is one.

    Args:
        bench: folder with make_tiles.py.
        cuts: folder with the real images.
        seeds: of the sets.
    """
    make_tiles = imported(bench)
    columns = "seed", "specimen", "tiles", "px", "shade", "bits", "grey", "background", "shape", "flicker"
    print("|", " | ".join(columns), "| true dark | found | error, % | flat, rms % | lost pixels |\n" + "|---" * 15 + "|")
    for what, scenes in (("no dark-field", without_dark), ("a dark-field", with_dark)):
        errors, flats, losses, missed = [], [], [], 0
        for seed in seeds:
            for number, scene in enumerate(scenes(seed)):
                rng = np.random.default_rng([seed, number])
                error, flat_error, lost, found = measure_dark(scene, rng, make_tiles, cuts)
                rows, cols, side = scene.size
                camera = f"{scene.shade:.2f} | {scene.bits} | {scene.grey:.0f} | {scene.background}"
                form = f"{scene.shape} | {scene.flicker}" if scene.offset else f"- | {scene.flicker}"
                words = f"{error:.2f}" if found or not scene.offset else "none taken"
                print(f"| {seed} | {scene.specimen} | {rows} x {cols} | {side} | {camera} | {form} | {scene.offset:.0f} |",
                      f"{found:.1f} | {words} | {flat_error:.2f} | {lost} |", flush=True)  # fmt: skip
                missed += not found
                errors += [error] if found or not scene.offset else []
                flats.append(flat_error)
                losses.append(lost)
        print(f"\n{what}: {len(flats)} sets, none taken in {missed}; error of the others" if scene.offset else f"\n{what}: "
              f"{len(flats)} sets, none taken in {missed}; error of all", 
              f"at most {max(errors, default=0):.2f} %; flat at most {max(flats):.2f} %; {sum(losses)} pixels lost in "
              f"{np.count_nonzero(losses)} sets\n")  # fmt: skip


def without_dark(seed: int) -> Iterator[Scene]:
    """Sets of cameras whose pixels are 0 without light."""
    light = {"tissue": 0.0, "sparse": 0.0, "he.svs": 0.1, "dapi.tif": 0.03, "pores": 0.0, "cells": 0.02, "islands": 0.02}
    for number, (specimen, shade) in enumerate(product(light, (0.0, 0.4))):
        deep = specimen in ("cells", "islands")
        size = SIZES[(number + seed) % len(SIZES)]
        yield Scene(specimen, size, shade, 16 if deep else 8, 40000 if deep else 180, light[specimen])


def with_dark(seed: int) -> Iterator[Scene]:
    """Sets of cameras with an offset; the rest is drawn."""
    rng = np.random.default_rng([seed, 100])
    for specimen, offset in product(("tissue", "cells", "islands", "lowc"), (100, 300, 500, 1000)):
        size, shape = SIZES[rng.integers(1, len(SIZES))], SHAPES[rng.integers(len(SHAPES))]
        shade, grey, background, flicker = (rng.choice(values) for values in ((0, 0.2, 0.4), (4000, 40000), (0, 0.05), (0, 0.2)))
        yield Scene(specimen, size, float(shade), 16, float(grey), float(background), offset, shape, float(flicker))


def measure_dark(scene: Scene, rng: np.random.Generator, make_tiles: Any, cuts: Path) -> tuple[float, float, int, float]:
    """The errors of the dark-field and of the flat-field, %, the number of lost pixels, and the mean dark-field found."""
    rows, cols, side = scene.size
    step, top = side * (1 - OVERLAP), 2**scene.bits - 1
    flat, offsets = camera(rng, scene)
    true = draw_places(rng, rows, cols, step, JITTER)
    source = specimen(scene.specimen, (*(true.max(axis=0) + side + MARGIN),), rng, make_tiles, cuts)
    exposures = 1 + scene.flicker * rng.uniform(-1, 1, len(true))
    light = flat * exposures[:, None, None] * (crops(source, true, side) + scene.background)
    tiles = photographed(rng, light, scene.grey, offsets, top)
    with tempfile.TemporaryDirectory() as folder:
        found, gains = run_to_exposure(Path(folder), tiles, true, cols, step, correct=scene.flicker > 0)
    values = in_mosaic(tiles, found, gains)
    lost = ((values < 0) | (values > top)) & (tiles > 0) & (tiles < top)
    low, high = np.quantile(tiles, (0.01, 0.999))
    error = np.sqrt(np.mean((found.dark[0] - offsets) ** 2)) / (scene.offset or high - low)
    ratio = found.flat[0] / flat
    return 100 * float(error), 100 * float(np.std(ratio / ratio.mean())), int(lost.sum()), float(found.dark.mean())


def in_mosaic(tiles: Tiles, illumination: Fields, exposures: pd.DataFrame) -> Array:
    """The whole grey values (n, y, x) that the mosaic takes for the pixels of tiles, before it clips them to the data type."""
    corrected = np.stack([fields.correct(tile[None], illumination)[0] for tile in tiles])
    return np.asarray(np.rint(corrected / exposures["gain"].to_numpy()[:, None, None]))


def run_to_exposure(
    folder: Path, tiles: Tiles, true: Array, cols: int, step: float, *, correct: bool
) -> tuple[Fields, pd.DataFrame]:
    """The fields and the table of exposures (tables.EXPOSURE) that the workflow finds for tiles at their true places."""
    settings, dataset = write(folder, tiles, cols, step)
    listed, illumination, near, *_ = grids.run_to_pairs(settings, dataset, folder)
    table = tables.read(listed, tables.TILES)
    mosaic.write_placement(table[["tile", "path"]], affine.translation(true), folder)
    placement, output = folder / "placement.csv", folder / "exposure.csv"
    exposure(listed, illumination, near, placement, output, settings=settings.exposure.model_copy(update={"correct": correct}))
    return fields.read(illumination, table), tables.read(output, tables.EXPOSURE)


def camera(rng: np.random.Generator, scene: Scene) -> tuple[Array, Array]:
    """The flat-field, of mean 1, and the dark-field of a camera, each (y, x)."""
    y, x = np.mgrid[-1 : 1 : scene.size[2] * 1j, -1 : 1 : scene.size[2] * 1j]
    cy, cx = rng.uniform(-0.2, 0.2, 2)
    flat = 1 - scene.shade * ((y - cy) ** 2 + (x - cx) ** 2) / 2.4
    corner = np.exp(-((y + 1) ** 2 + (x - 1) ** 2))
    smooth = {"flat": np.zeros_like(y), "tilt": (y + x) / 2, "glow": corner - corner.mean()}[scene.shape]
    return flat / flat.mean(), scene.offset * (1 + 0.2 * smooth)


def specimen(kind: str, shape: tuple[int, int], rng: np.random.Generator, make_tiles: Any, cuts: Path) -> Array:
    """The light (y, x), about 0 to 1, of a specimen of make_tiles.py, of an image in `cuts`, or of one of this benchmark."""
    if kind == "sparse":  # micrograph: few dark bodies on a bright ground
        bodies = np.zeros(shape, np.float32)
        make_tiles.add_nuclei(rng, bodies, shape[0] * shape[1] // 130**2, (8, 22), (0.2, 0.6))
        return np.asarray(ndimage.gaussian_filter(0.9 - bodies, make_tiles.PSF).clip(0.01))
    known = "tissue" if kind == "pores" else kind
    image = make_tiles.specimen(str(cuts / known) if "." in known else known, shape, int(rng.integers(1 << 30)))
    if kind == "pores":  # 0 to 5 grey values of 8 bit
        pores = make_tiles.band(rng, shape, [5.0], [1]) > 1.5
        image[pores] = 5 / 180 * rng.random(pores.sum())
    return np.asarray(image[: shape[0], : shape[1]])


def draw_places(rng: np.random.Generator, rows: int, cols: int, step: float, jitter: float) -> NDArray[np.int64]:
    """The true places (n, 2) of the tiles of a grid whose stage errs by up to `jitter`: whole px of the specimen."""
    nominal = step * np.indices((rows, cols)).reshape(2, -1).T
    return np.rint(MARGIN + nominal + rng.uniform(-jitter, jitter, nominal.shape)).astype(int)


def crops(source: Array, places: NDArray[np.int64], side: int) -> Array:
    """The light (n, y, x) that the tiles at these places see.

    Raises:
        SystemExit: when the source is too small.
    """
    if (places.max(axis=0) + side > source.shape).any():
        raise SystemExit(f"the specimen is {source.shape}, too small for tiles up to {places.max(axis=0) + side}")
    return np.stack([source[y : y + side, x : x + side] for y, x in places])


def photographed(rng: np.random.Generator, light: Array, grey: float, offsets: Array | float, top: int) -> Tiles:
    """What a camera makes of light: grey values of 0 to `top`, 255 or 65535, with `grey` for the light 1."""
    electrons = rng.poisson(light.clip(0) * PHOTONS) + rng.normal(0, READ, light.shape)
    return np.clip(np.rint(electrons * grey / PHOTONS + offsets), 0, top).astype(np.min_scalar_type(top))


def write(folder: Path, tiles: Tiles, cols: int, step: float) -> tuple[Settings, Dataset]:
    """Write the tiles of a grid; their settings."""
    for number, tile in enumerate(tiles):
        tifffile.imwrite(folder / f"r{number // cols}_c{number % cols}.tif", tile, photometric="minisblack")
    return grids.settings_for(images=str(folder / "r{row}_c{col}.tif"), overlap=1 - step / tiles.shape[-1])


def imported(bench: Path) -> Any:
    """The module make_tiles.py in this folder."""
    sys.path.insert(0, str(bench.resolve()))
    return import_module("make_tiles")


if __name__ == "__main__":
    app()
