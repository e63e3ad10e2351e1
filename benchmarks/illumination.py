r"""Whether the illumination harms pixels and places: tiles with known truth, corrected as the workflow does.

    python benchmarks/illumination.py dark --bench ../shared/bench --cuts ../shared/data/cuts
    python benchmarks/illumination.py periods --bench ../shared/bench
    python benchmarks/illumination.py edges --bench ../shared/bench

`dark` corrects tiles of cameras without a dark-field and with one. `periods` places periodic specimens with and without the
correction. `edges` puts frames, wedges and dead rows into all tiles. Tiles are cut at whole pixels. --bench is the folder with
make_tiles.py, --cuts the one with the real images.
"""

import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import cyclopts
import grids
import numpy as np
import pandas as pd
import tifffile
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.fusion.blend import PlacedTiles, Region, camera_weight
from dlir.fusion.exposure import exposure
from dlir.fusion.settings import Exposure
from dlir.illumination import fields
from dlir.illumination.blind import filled

Tiles = NDArray[Any]  # (n, y, x), whole grey values
PHOTONS, READ = 4000.0, 3.0  # photons of the light 1; deviation of the noise of reading, electrons
MARGIN, JITTER = 20, 5.0  # px: of the specimen around the tiles; the largest error of the stage
GRIDS = ((2, 3, 256), (3, 3, 384), (3, 4, 256), (4, 5, 384), (5, 8, 256))  # of `dark`: rows, columns, side of a tile, px
GRID = (4, 4, 256)  # of `periods` and `edges`
SHAPES = ("flat", "tilt", "glow")  # of a dark-field
PERIODS, LONGEST_STEP = (8, 12, 20, 30, 40, 60, 80, 100), 218  # px, of the specimen and of the stage: an overlap of about 15 %
BAR = 0.02  # px, by which the correction may raise the error of the places
WORDS, RANGE = ("**no**", "yes"), (0.01, 0.999)  # for a bar; quantiles of grey values that give their range
BORDER = 48  # px, of a mosaic, that is not compared: the corners that a round field does not reach
DAMAGES = {  # what is put into the tiles, for each overlap
    0.15: (
        *("black frame of 1 px", "black frame of 3 px", "white frame of 2 px", "wedges of 1 degree"),
        *("4 dead rows at the top, bright last column", "dead row in the middle", "dead column at a third"),
    ),
    0.35: ("round field",),
}
app = cyclopts.App(help=__doc__, default_parameter=cyclopts.Parameter(consume_multiple=True))


class Scene(NamedTuple):
    """A specimen and the camera that looks at it."""

    specimen: str
    grid: tuple[int, int, int]  # one of GRIDS
    shade: float  # loss of light in the corners
    bits: int  # of a pixel
    grey: float  # grey values of the light 1
    background: float  # light where there is no specimen
    flicker: float  # largest change of the exposure between tiles
    offset: int = 0  # grey values of the dark-field, before its shape
    shape: str = "flat"  # one of SHAPES


@app.command
def dark(*, bench: Path, cuts: Path, seeds: tuple[int, ...] = (1, 2)) -> None:
    """Print for each set the dark-field, the error of the flat-field, and the pixels that the correction loses.

    The error of the dark-field is its root mean square, in % of the offset, or of the range of the grey values where there is
    none. Lost pixels come out below 0 or above the maximum of the data type, and were at neither before.
    """
    print_row("seed", "specimen", "tiles", "px", "shade", "bits", "grey", "background", "flicker", "shape of the dark-field",
               "true mean", "found", "error, %", "flat-field, rms %", "lost pixels", head=True)  # fmt: skip
    for what, scenes in (("no dark-field", without_dark), ("a dark-field", with_dark)):
        results = []
        for seed, (number, scene) in ((each, numbered) for each in seeds for numbered in enumerate(scenes(each))):
            true, found, error, flat, lost = measure(scene, np.random.default_rng([seed, number]), bench, cuts)
            results.append((found != 0, error * (found != 0), flat, lost, lost > 0))
            size, shape = (f"{scene.grid[0]} x {scene.grid[1]}", scene.grid[2]), scene.shape if scene.offset else "-"
            camera = (scene.shade, scene.bits, f"{scene.grey:.0f}", scene.background, scene.flicker)
            words = "none taken" if scene.offset and not found else f"{error:.2f}"
            numbers = (f"{true:.0f}", f"{found:.1f}", words, f"{flat:.2f}", lost)
            print_row(seed, scene.specimen, *size, *camera, shape, *numbers)
        taken, errors, flats, losses, lossy = np.transpose(results)
        print(f"\n{len(results)} sets with {what}; one is taken in {taken.sum():.0f}, off by at most {errors.max():.1f} %;",
              f"flat-field off by {np.median(flats):.2f} % in the median, at most {flats.max():.2f} %;",
              f"{losses.sum():.0f} lost pixels in {lossy.sum():.0f} sets\n", flush=True)  # fmt: skip


def without_dark(seed: int) -> Iterator[Scene]:
    """Sets of cameras whose pixels are 0 without light."""
    light = {"dense": 0.0, "sparse": 0.0, "he.svs": 0.1, "dapi.tif": 0.03, "pores": 0.0, "cells": 0.02, "islands": 0.02}
    for number, (kind, shade, flicker) in enumerate(product(light, (0.0, 0.4), (0.0, 0.2))):
        bits, grey = (16, 40000) if kind in ("cells", "islands") else (8, 180)
        yield Scene(kind, GRIDS[(number + seed) % len(GRIDS)], shade, bits, grey, light[kind], flicker)


def with_dark(seed: int) -> Iterator[Scene]:
    """Sets of cameras with an offset; the grid, the shape of the dark-field and the light are drawn."""
    rng = np.random.default_rng([seed, 100])
    for kind, offset, flicker in product(("dense", "cells", "islands", "lowc"), (100, 300, 500, 1000), (0.0, 0.2)):
        grid, shape = GRIDS[rng.integers(2, len(GRIDS))], SHAPES[rng.integers(len(SHAPES))]
        shade, grey, background = (float(rng.choice(each)) for each in ((0, 0.2, 0.4, 0.4), (1500, 4000, 40000), (0, 0.05)))
        yield Scene(kind, grid, shade, 16, grey, background, flicker, offset, shape)


def measure(scene: Scene, rng: Generator, bench: Path, cuts: Path) -> tuple[float, float, float, float, int]:
    """The mean dark-field, true and found, the errors of dark-field and flat-field, %, and the number of lost pixels."""
    (_, cols, side), top = scene.grid, 2**scene.bits - 1
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    flat = 1 - scene.shade * ((y - rng.uniform(-0.2, 0.2)) ** 2 + (x - rng.uniform(-0.2, 0.2)) ** 2) / 2.4
    flat /= flat.mean()
    smooth = {"flat": 0 * y, "tilt": (y + x) / 2, "glow": np.exp(-((y + 1) ** 2 + (x - 1) ** 2))}[scene.shape]
    offsets = scene.offset * (1 + 0.2 * smooth)
    true, _, seen = specimen(scene.specimen, scene.grid, step := 0.9 * side, JITTER, rng, bench, cuts)
    light = flat * (seen + scene.background) * (1 + scene.flicker * rng.uniform(-1, 1, (len(true), 1, 1)))
    tiles = photographed(rng, light, scene.grey, offsets, top)
    found, _, gains = run(tiles, true, cols, step, place=False, equal=scene.flicker > 0)
    values = np.rint([fused(tiles[[n]], true[[n]], found, gains.iloc[[n]]) for n in range(len(tiles))])
    lost = ((values < 0) | (values > top)) & (tiles > 0) & (tiles < top)
    error = np.sqrt(np.mean((found.dark[0] - offsets) ** 2)) / (scene.offset or np.ptp(np.quantile(tiles, RANGE)))
    ratio = found.flat[0] / flat
    return offsets.mean(), found.dark.mean(), 100 * error, 100 * float(np.std(ratio / ratio.mean())), int(lost.sum())


@app.command
def periods(*, bench: Path, seeds: tuple[int, ...] = (1, 2)) -> None:
    """Print for each periodic specimen the errors of the places with illumination.correct on and off.

    The step of the stage is a multiple of the period, or half a px more.
    """
    print_row("seed", "specimen", "period, px", "step, px", "jitter, px", "on: median / most, px", "off: median / most, px",
               f"on - off, medians (bar {BAR})", "met", "flat-field", head=True)  # fmt: skip
    worse = []
    for seed, period, kind in product(seeds, PERIODS, ("dots", "stripes")):
        rng = np.random.default_rng([seed, period, kind == "dots"])
        step, jitter = period * (LONGEST_STEP // period) + rng.choice((0, 0.5)), rng.uniform(1, 5)
        true, _, seen = specimen(f"{kind} {period}", GRID, step, jitter, rng, bench)
        tiles = photographed(rng, seen)
        on, off = (run(tiles, true, GRID[1], step, place=True, correct=correct) for correct in (True, False))
        errors = [np.linalg.norm(errors_of(each, true), axis=1) for each in (on, off)]
        worse.append(float(np.median(errors[0]) - np.median(errors[1])))
        words = [f"{np.median(error):.3f} / {error.max():.3f}" for error in errors]
        flat = f"{on.illumination.flat.min():.2f} to {on.illumination.flat.max():.2f}"
        print_row(seed, kind, period, step, f"{jitter:.1f}", *words, f"{worse[-1]:+.3f}", WORDS[worse[-1] <= BAR], flat)
    print(f"\n{len(worse)} sets; {sum(each > BAR for each in worse)} miss the bar, at most by {max(worse) - BAR:.3f} px")


@app.command
def edges(*, bench: Path, seeds: tuple[int, ...] = (1, 2)) -> None:
    """Print how far tiles move when frames, wedges or dead rows are put into all of them, and what the mosaic shows of these.

    The distance is that of the tile that moves most, without the mean of all tiles; beside it is twice the deviation that both
    placements state for it. The mosaics with and without the damage are compared at the true places, more than BORDER px
    inside; the largest error is in % of the range of the grey values.
    """
    print_row("seed", "specimen", "overlap", "what is put in", "moved by, px", "2 deviations, px", "all tiles within",
               "most off before, px", "most off after, px", "mosaic off by, %", head=True)  # fmt: skip
    within = []
    for seed, kind, (overlap, damages) in product(seeds, ("tissue", "cells"), DAMAGES.items()):
        rng, step = np.random.default_rng([seed, kind == "cells"]), GRID[2] * (1 - overlap)
        true, source, sharp = specimen(kind, GRID, step, JITTER, rng, bench)
        tiles = photographed(rng, sharp)
        before = run(tiles, true, GRID[1], step, place=True)
        clean = fused(tiles, true, before.illumination, before.exposures, BORDER)
        for damage in damages:
            bad = damaged(damage, tiles, rng, source, true)
            after = run(bad, true, GRID[1], step, place=True)
            moved = np.linalg.norm(errors_of(after, true) - errors_of(before, true), axis=1)
            stated, most = 2 * np.hypot(*(each.placement["deviation"].to_numpy() for each in (after, before))), moved.argmax()
            within.append(bool((moved <= stated).all()))
            off = [f"{np.linalg.norm(errors_of(each, true), axis=1).max():.3f}" for each in (before, after)]
            seen = fused(bad, true, after.illumination, after.exposures, BORDER)
            shown = np.abs(seen * np.median(clean) / np.median(seen) - clean).max() / np.ptp(np.quantile(clean, RANGE))
            numbers = (f"{moved[most]:.3f}", f"{stated[most]:.3f}", WORDS[within[-1]], *off, f"{100 * shown:.0f}")
            print_row(seed, kind, overlap, damage, *numbers)
    print(f"\n{len(within)} sets; in {within.count(False)} of them a tile moves by more than 2 deviations")


def damaged(damage: str, tiles: Tiles, rng: Generator, source: Array, true: Array) -> Tiles:
    """The tiles with one of DAMAGES."""
    tiles, side = tiles.copy(), tiles.shape[-1]
    if damage.startswith("wedges"):  # the camera is turned, and its pictures are turned back, with 0 outside
        angle, centre = np.deg2rad(1.0), np.full(2, (side - 1) / 2)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        spline = ndimage.spline_filter(source.astype(float), mode="mirror")
        starts = true + centre - turn @ centre
        seen = [ndimage.affine_transform(spline, turn, at, (side, side), prefilter=False, mode="mirror") for at in starts]
        frames, back = photographed(rng, np.stack(seen)).astype(float), centre - turn.T @ centre
        tiles = np.stack([ndimage.affine_transform(frame, turn.T, back, order=1) for frame in frames]).astype(tiles.dtype)
    elif "frame" in damage:
        width = int(damage.split()[3])
        inside, value = tiles[:, width:-width, width:-width], 65535 if damage.startswith("white") else 0
        tiles = np.pad(inside, [(0, 0), (width, width), (width, width)], constant_values=value)
    elif damage == "round field":
        y, x = np.mgrid[:side, :side] - (side - 1) / 2
        tiles = (tiles / (1 + np.exp((np.hypot(y, x) - 0.48 * side) / 2))).astype(tiles.dtype)
    elif damage.startswith("4 dead rows"):
        tiles[:, :4], tiles[:, :, -1] = 500, 65535
    elif damage == "dead row in the middle":
        tiles[:, side // 2] = 500
    else:
        tiles[:, :, side // 3] = 500
    return tiles


class Found(NamedTuple):
    """What the workflow finds for a grid."""

    illumination: fields.Fields
    placement: pd.DataFrame  # tables.PLACEMENT
    exposures: pd.DataFrame  # tables.EXPOSURE, for tiles at their true places


def run(tiles: Tiles, true: Array, cols: int, step: float, *, place: bool, correct: bool = True, equal: bool = False) -> Found:
    """What the workflow finds for tiles, where they are not to `place` at their true places; `equal` is exposure.correct."""
    with tempfile.TemporaryDirectory() as name:
        folder, side = Path(name), tiles.shape[-1]
        for number, tile in enumerate(tiles):
            tifffile.imwrite(folder / f"r{number // cols}_c{number % cols}.tif", tile, photometric="minisblack")
        settings, dataset = grids.settings_for(images=str(folder / "r{row}_c{col}.tif"), overlap=1 - step / side)
        settings = settings.model_copy(update={"illumination": settings.illumination.model_copy(update={"correct": correct})})
        steps = grids.run_to_placement if place else grids.run_to_pairs
        listed, illumination, near, _, placement, _ = steps(settings, dataset, folder)
        table, at_truth, output = tables.read(listed, tables.TILES), folder / "true.csv", folder / "exposure.csv"
        others: dict[str, Any] = {"pairs": 1, "residual": 0.0, "deviation": 0.0, "loop": np.nan, "placed_by": "pairs"}
        others |= affine.to_columns(affine.translation(true)) | dict.fromkeys(("group", "slip_y", "slip_x"), 0)
        tables.write(table[["tile", "path"]].assign(**others), tables.PLACEMENT, at_truth)
        exposure(listed, illumination, at_truth, output, pairs=near, settings=Exposure(correct=equal))
        placed = tables.read(placement if place else at_truth, tables.PLACEMENT)
        return Found(fields.read(illumination, table), placed, tables.read(output, tables.EXPOSURE))


def fused(tiles: Tiles, places: Array, illumination: fields.Fields, exposures: pd.DataFrame, border: int = 0) -> Array:
    """The grey values (y, x) of the mosaic of tiles at these places, less its border, before they are rounded and clipped."""
    paths, gains = [str(number) for number in range(len(tiles))], tables.gains(exposures, pd.Series(exposures["tile"].unique()))
    affines = affine.translation(places - places.min(axis=0))
    height, width = np.ptp(places, axis=0).astype(int) + tiles.shape[1:] - 2 * border
    weight = camera_weight(illumination, "linear")
    pedestal = tables.pedestals(exposures)

    def read(path: str) -> Tiles:
        return filled(tiles[int(path)][None], illumination.blind)

    placed = PlacedTiles(paths, affines, gains, pedestal, illumination, read, 1, "linear", weight)
    return np.asarray(placed.fuse(Region(border, border, height, width))[0][0])


def errors_of(found: Found, true: Array) -> Array:
    """How far the centres (n, 2) of tiles of GRID are placed from their true places, px, without the mean of all tiles."""
    centre = np.full((1, 2), (GRID[2] - 1) / 2)
    error = affine.apply(affine.from_table(found.placement), centre)[:, 0] - centre - true
    return np.asarray(error - error.mean(axis=0))


def specimen(
    kind: str, grid: tuple[int, int, int], step: float, jitter: float, rng: Generator, bench: Path, cuts: Path = Path()
) -> tuple[Array, Array, Array]:
    """The true places (n, 2) of the tiles of a grid, whole px; a specimen, light (y, x) of about 0 to 1; what each tile sees.

    The specimen is one of make_tiles.py, an image in `cuts`, or one of this benchmark, which may end in a period.
    """
    sys.path.insert(0, str(bench.resolve()))
    make_tiles = import_module("make_tiles")
    nominal, side = step * np.indices(grid[:2]).reshape(2, -1).T, grid[2]
    true = np.rint(MARGIN + nominal + rng.uniform(-jitter, jitter, nominal.shape))
    shape = (true.max(axis=0) + side + MARGIN).astype(int)
    name, period = kind.split()[0], int(kind.partition(" ")[2] or 1)
    known = {"dense": "tissue", "pores": "tissue", "stripes": "cells", "dots": "tissue", "sparse": "lowc"}.get(name, name)
    image = make_tiles.specimen(str(cuts / known) if "." in known else known, tuple(shape), int(rng.integers(1 << 30)))
    y, x = (int(rng.integers(max(have - want, 0) + 1)) for have, want in zip(image.shape, shape, strict=True))
    image = image[y : y + shape[0], x : x + shape[1]]
    lines = [ndimage.gaussian_filter1d(np.arange(n) % period < period / 2, 1.0, output=float) for n in shape]
    if name == "dots":
        image = 0.1 + 0.5 * image + 0.4 * np.outer(*lines)
    elif name == "stripes":
        image = 0.1 + image + 0.15 * np.add.outer(*lines) + 0.03 * make_tiles.band(rng, tuple(shape), [1.0, 4.0], [1, 1])
    elif name == "sparse":  # few dark bodies on a bright ground
        make_tiles.add_nuclei(rng, image, shape.prod() // 130**2, (8, 22), (-0.5, -0.2))
    if name in ("dense", "sparse", "pores"):  # a section is not equally thick everywhere
        image = (image * np.exp(0.15 * make_tiles.band(rng, tuple(shape), [200.0], [1]))).clip(0.01, 1.3)
    if name == "pores":  # 0 to 5 grey values of 180
        holes = make_tiles.band(rng, tuple(shape), [5.0], [1]) > 1.5
        image[holes] = 5 / 180 * rng.random(holes.sum())
    return true, image, np.stack([image[y : y + side, x : x + side] for y, x in true.astype(int)])


def photographed(rng: Generator, light: Array, grey: float = 48e3, offsets: Array | float = 500.0, top: int = 65535) -> Tiles:
    """What a camera makes of light: grey values of 0 to `top`, 255 or 65535, with `grey` for the light 1."""
    electrons = rng.poisson(light.clip(0) * PHOTONS) + rng.normal(0, READ, light.shape)
    return np.clip(np.rint(electrons * grey / PHOTONS + offsets), 0, top).astype(np.min_scalar_type(top))


def print_row(*cells: Any, head: bool = False) -> None:
    """Print a row of a table, or its head."""
    print("|", " | ".join(map(str, cells)), "|" + head * ("\n" + "|---" * len(cells) + "|"), flush=True)


if __name__ == "__main__":
    app()
