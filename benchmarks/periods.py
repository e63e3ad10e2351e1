r"""Whether specimens that repeat themselves are placed right, or said to be ambiguous.

    python benchmarks/periods.py --scratch /tmp/periods --seeds 101 102 103

It makes grids of 3 x 4 tiles of 256 px with exact truth, runs the steps from `tiles` to `place` with the generic weights, and
compares pairs and places with the truth. The seed decides the period (8 to 100 px), the error of the stage (evenly up to 0.5 to
12 px on either axis), the light (40 to 2,000 photons) and the depth (8 or 16 bits). The kinds are

- grating: lines, at any angle;
- squares: half of each cell is bright along either axis;
- tilted: the same, turned by any angle;
- hexagons: round spots on a hexagonal lattice;
- cells: spots of many sizes, as bright as a grating below them, which repeats itself along x or y;
- random: the same spots without any lattice, where nothing may change.

With `defects` a few per cent of the cells of the lattice are empty; in gratings, pieces of lines.
"""

import shutil
from pathlib import Path
from typing import NamedTuple

import cyclopts
import grids
import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from dlir.core import affine, tables

ROWS, COLS, SIDE, OVERLAP = 3, 4, 256, 0.2
MARGIN = 40  # px around the grid
KINDS = ("grating", "squares", "tilted", "hexagons", "cells", "random")
PERIODS = (8.0, 100.0)  # px, least and largest
STAGE = (0.5, 2.0, 5.0, 12.0)  # px, most that a tile lies off its nominal place, on either axis
PHOTONS = (40.0, 300.0, 2000.0)  # of the brightest pixels
BACKGROUND, READ_NOISE, EDGE = 0.05, 3.0, 0.8  # of the brightest; electrons; px, sigma of the optics
DEFECTS = (0.0, 0.03)  # share of empty cells
WRONG, SURE, SAID = 2.0, 0.9, 3.0  # px; confidence; times the stated deviation that an error over WRONG may be
COLUMNS = ("set", "pairs", "accepted", "wrong", "sure and wrong", "ambiguous", "tiles", f"> {WRONG} px off", "of those unsaid")
app = cyclopts.App(help=__doc__, default_parameter=cyclopts.Parameter(consume_multiple=True))


class Conditions(NamedTuple):
    """What a seed decides."""

    period: float
    stage: float
    photons: float
    depth: int


@app.default
def periods(
    *,
    scratch: Path,
    seeds: tuple[int, ...] = (1, 2, 3),
    kinds: tuple[str, ...] = KINDS,
    defects: tuple[float, ...] = DEFECTS,
    each: bool = False,
) -> None:
    """Print a row for each kind of lattice, with and without defects, over all seeds.

    Args:
        scratch: folder for the grids, which are made anew.
        seeds: of the grids.
        each: print a row for each grid, too.
    """
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|", flush=True)
    for kind in kinds:
        for share in defects if kind not in ("cells", "random") else defects[:1]:
            counts = []
            for seed in seeds:
                made, counted = measured(scratch / f"{kind}_{share}_{seed}", kind, share, seed)
                counts.append(counted)
                if each:
                    said = f"period {made.period:.1f} px, stage {made.stage:g} px, {made.photons:g} photons"
                    print(row(f"{kind} {share:.0%}, seed {seed}: {said}", counted), flush=True)
            print(row(f"**{kind}, {share:.0%} defects**", np.sum(counts, axis=0)), flush=True)


def row(name: str, counts: NDArray[np.int64]) -> str:
    """A row of the table."""
    return "| " + " | ".join([name, *map(str, counts)]) + " |"


def measured(folder: Path, kind: str, defects: float, seed: int) -> tuple[Conditions, NDArray[np.int64]]:
    """Makes a grid and places its tiles; returns what the seed decided, and the counts of the columns."""
    truth, made = make(folder, kind, defects, seed)
    settings = grids.settings_for("grid", images=str(folder / "tiles" / "r{row}_c{col}.tif"), overlap=OVERLAP)
    *_, found, placement, _ = grids.run_to_placement(*settings, folder / "out")
    pairs, placed = tables.read(found, tables.AFFINES), tables.read(placement, tables.PLACEMENT)
    at = pairs[["centre_y", "centre_x"]].to_numpy()
    offset = affine.offsets(affine.from_table(pairs), at)
    true = truth[pairs["moving"]] - truth[pairs["fixed"]]
    accepted = pairs["accepted"].to_numpy(bool)
    wrong = accepted & (np.linalg.norm(offset - true, axis=1) > WRONG)
    sure = wrong & (pairs["confidence"] >= SURE).to_numpy()
    ambiguous = ~accepted & pairs["reason"].fillna("").str.startswith("ambiguous").to_numpy(bool)
    middle = np.full((len(truth), 2), (SIDE - 1) / 2)
    off = affine.offsets(affine.from_table(placed), middle) - truth
    error = np.linalg.norm(off - np.median(off, axis=0), axis=1)
    unsaid = (error > WRONG) & (SAID * placed["deviation"].to_numpy() < error)
    counts = [
        len(pairs),
        accepted.sum(),
        wrong.sum(),
        sure.sum(),
        ambiguous.sum(),
        len(truth),
        (error > WRONG).sum(),
        unsaid.sum(),
    ]
    return made, np.array(counts, int)


def make(folder: Path, kind: str, defects: float, seed: int) -> tuple[NDArray[np.float64], Conditions]:
    """Writes the tiles of a grid; returns their places (n, 2), px, and what the seed decided."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tiles").mkdir(parents=True)
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    period = float(np.exp(rng.uniform(*np.log(PERIODS))))
    if rng.random() < 0.5:
        period = float(round(period))
    made = Conditions(period, rng.choice(STAGE), rng.choice(PHOTONS), int(rng.choice([8, 16])))
    step = SIDE * (1 - OVERLAP)
    nominal = np.array([(row * step, col * step) for row in range(ROWS) for col in range(COLS)])
    truth = np.rint(nominal + MARGIN + rng.uniform(-made.stage, made.stage, nominal.shape))
    extent = np.array([(ROWS - 1) * step, (COLS - 1) * step]).astype(int) + SIDE + 2 * MARGIN
    image = specimen(rng, kind, period, defects, extent)
    for k, (y, x) in enumerate(truth.astype(int)):
        clean = made.photons * (image[y : y + SIDE, x : x + SIDE] + BACKGROUND)
        electrons = rng.poisson(clean) + rng.normal(0, READ_NOISE, clean.shape)
        white = (2**made.depth - 1) / (1.3 * made.photons + 10 * READ_NOISE)
        pixels = ((electrons + 3 * READ_NOISE) * white).round().clip(0, 2**made.depth - 1)
        name = folder / "tiles" / f"r{k // COLS}_c{k % COLS}.tif"
        tifffile.imwrite(name, pixels.astype(np.uint8 if made.depth == 8 else np.uint16), photometric="minisblack")
    return truth, made


def specimen(
    rng: np.random.Generator, kind: str, period: float, defects: float, extent: NDArray[np.int64]
) -> NDArray[np.float64]:
    """A specimen (y, x), 0 to 1."""
    y, x = np.mgrid[: extent[0], : extent[1]].astype(float)
    if kind in ("cells", "random"):
        cells = spots(rng, extent)
        if kind == "random":
            return cells
        lines = bright_half((y if rng.random() < 0.5 else x) / period, period)
        return np.asarray(0.6 * cells + 0.4 * ndimage.gaussian_filter(lines, EDGE))
    angle = 0.0 if kind == "squares" else rng.uniform(0, np.pi)
    basis = period * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # rows are the vectors (y, x)
    if kind == "hexagons":
        basis[1] = period * np.array([np.cos(angle + np.pi / 3), np.sin(angle + np.pi / 3)])
    if kind == "grating":
        basis[1] *= 3  # the length of the pieces of lines
    cell = np.stack([y, x], -1) @ np.linalg.inv(basis) + rng.uniform(0, 1, 2)
    number, part = np.floor(cell).astype(int), cell % 1
    number -= number.min(axis=(0, 1))
    empty = rng.random(number.max(axis=(0, 1)) + 1) < defects
    if kind == "grating":
        bright = bright_half(part[..., 0], period)
    elif kind == "hexagons":
        bright = (0.5 + 0.3 * period - np.linalg.norm((part - 0.5) @ basis, axis=-1)).clip(0, 1)
    else:
        bright = bright_half(part[..., 0], period) * bright_half(part[..., 1], period)
    return np.asarray(ndimage.gaussian_filter(bright * ~empty[number[..., 0], number[..., 1]], EDGE))


def bright_half(phase: NDArray[np.float64], period: float) -> NDArray[np.float64]:
    """1 in the middle half of each period, 0 elsewhere; the edges are a px wide, so that pixels do not break the period."""
    return np.asarray((0.5 + period * (0.25 - np.abs(phase % 1 - 0.5))).clip(0, 1))


def spots(rng: np.random.Generator, extent: NDArray[np.int64]) -> NDArray[np.float64]:
    """Round spots of many sizes at random places."""
    image = np.zeros(extent)
    for sigma in (2.0, 4.0, 7.0):
        points = (rng.random(extent) < 0.01 / sigma**2) * rng.uniform(0.3, 1, extent)
        image += ndimage.gaussian_filter(points, sigma) * 2 * np.pi * sigma**2
    return np.asarray(image.clip(max=1))


if __name__ == "__main__":
    app()
