r"""Tiles seen through a known distortion of the camera: how well it is found, and what is left of it in the mosaic.

    python benchmarks/distortion.py --bench ../shared/bench --cuts ../shared/data/cuts --scratch /tmp/distortion --seeds 1 2

It makes grids with exact truth, runs the steps from `tiles` to `judge` on each with the default settings, and compares with the
truth. A set has the name KIND/AMOUNT/GRID/OVERLAP/SPECIMEN, for example barrel/3/5x6/10/tissue: the amount is the largest
displacement at the four corners of a tile, px, and the overlap is in %. The kinds are

- barrel, pincushion: radial, proportional to the cube of the distance from the middle of the tile; with -off from a point
  OFF half diagonals beside it, in a direction that the seed decides;
- keystone: the perspective of a specimen that is tilted in a direction that the seed decides;
- mix: pincushion-off, a radial term of the fifth power, keystone, and light that falls off towards the corners;
- none; affine: none, but each tile is turned by up to 0.5 degrees and scaled by up to 0.5 %.

`distorted_tiles.py` says what the truth is. Stage errors are the same for all kinds, so that `none` shows what errors are left
where there is no distortion.
"""

import json
import sys
import time
from fnmatch import fnmatch
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import cyclopts
import grids
import numpy as np
import pandas as pd
from distorted_tiles import (
    CORNERS,
    HALF_DIAGONAL,
    MIDDLE,
    ORDER,
    RADIAL,
    SIDE,
    Array,
    Kind,
    apply,
    from_raw,
    make,
    to_raw,
    values,
)
from numpy.typing import NDArray

from dlir.core import affine, tables
from dlir.placement.place import place
from dlir.reporting.verdict import judge

LATTICE = 33  # points along a tile's side at which seams are measured
SPECIMENS = ("tissue", "cells", "dapi.tif")
BEST_TOOL = 0.008 * SIDE / np.sqrt(2)  # px at the corners: k1 = 0.008, with which the best other tool errs by 5.7 px
SETS = [
    *product(RADIAL, (1, 3, 8), ("5x6",)),
    *product(("keystone",), (1, 2, 3), ("2x3", "3x3", "5x6")),
    *product(RADIAL[:2], (round(BEST_TOOL, 2),), ("3x3",)),
    *product(("mix",), (3,), ("3x3", "5x6")),
    *product(("none",), (0,), ("2x3", "3x3", "5x6")),
    ("affine", 0, "5x6"),
]
# median and 95 %, px; of the coefficients, px or as a part of the amount
SEAMS, PLACES, COEFFICIENTS = (0.05, 0.2), (0.1, 0.3), (0.05, 0.02)
COLUMNS = (
    "set", "seams", "places", "by the translation model", "lens at the corners, off by", "found", "middles, off by deviations",
    "verdict", "CPU s", "met",
)  # fmt: skip
app = cyclopts.App(help=__doc__, default_parameter=cyclopts.Parameter(consume_multiple=True))


class Scores(NamedTuple):
    """How a grid came out."""

    seams: Array  # (2,) px: median, 95 %
    places: Array  # (2,) px: median, 95 %
    translation: Array  # (2,) px: the same of the places by the translation model, from the same pairs
    lens: float  # px
    found: bool
    deviations: float  # the error of the tiles' middles in their stated deviations, both as root mean squares
    grade: str
    cpu: float  # seconds


@app.default
def distortion(
    *,
    bench: Path,
    cuts: Path,
    scratch: Path,
    seeds: tuple[int, ...] = (1, 2, 3),
    sets: tuple[str, ...] = ("*",),
    given: bool = False,
) -> None:
    """Print a row for each set, with the grids of all seeds in each cell.

    Args:
        bench: folder with make_tiles.py and score.py.
        cuts: folder with the real images.
        scratch: folder that keeps the grids from run to run.
        seeds: of the grids.
        sets: which sets to run; * stands for anything.
        given: give dlir the true distortion in the settings.
    """
    sys.path.insert(0, str(bench.resolve()))
    print(f"seeds {', '.join(map(str, seeds))}, in this order in each cell; median / 95 %, px\n")
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|", flush=True)
    for (kind, amount, grid), overlap, specimen in product(SETS, (10, 30), SPECIMENS):
        name = f"{kind}/{amount}/{grid}/{overlap}/{specimen.partition('.')[0]}"
        if any(fnmatch(name, pattern) for pattern in sets):
            rows, cols = map(int, grid.split("x"))
            made = Kind(kind, amount, rows, cols, overlap / 100, specimen)
            scores = [scored(make(scratch, name, made, seed, cuts), given=given) for seed in seeds]
            print(f"| {name} |", " | ".join(cells(made, scores)), "|", flush=True)


def cells(made: Kind, scores: list[Scores]) -> list[str]:
    """The cells of a row, without the first."""
    distorted = made.kind not in ("none", "affine")
    met = all(
        (each.seams <= SEAMS).all()
        and (each.places <= PLACES).all()
        and each.lens <= max(COEFFICIENTS[0], COEFFICIENTS[1] * made.amount)
        and each.found == distorted
        and (each.places[0] <= 2 * max(each.translation[0], 0.01) or made.kind != "keystone")
        for each in scores
    )
    words = [
        (f"{score.seams[0]:.3f}/{score.seams[1]:.3f}", f"{score.places[0]:.3f}/{score.places[1]:.3f}",
         f"{score.translation[0]:.3f}/{score.translation[1]:.3f}", f"{score.lens:.3f}", "yes" if score.found else "no",
         f"{score.deviations:.1f}", score.grade, f"{score.cpu:.0f}")
        for score in scores
    ]  # fmt: skip
    return [*(" · ".join(seeds) for seeds in zip(*words, strict=True)), "yes" if met else "**no**"]


def scored(grid: Path, *, given: bool) -> Scores:
    """Run the steps from tiles to judge on a grid, and compare with its truth."""
    settings, dataset = grids.settings_of_grid(grid)
    if given:
        dataset = dataset.model_copy(update={"distortion": grid / "truth_lens.csv"})
    out = grid / "out"
    before = time.process_time()
    listed, *_, found, placement, stage = grids.run_to_placement(settings, dataset, out)
    cpu = time.process_time() - before
    judge(listed, placement, out / "verdict.json", affines=found, lens=out / "lens.csv", survey=out / "survey.csv")
    shifted = out / "placement_translation.csv"
    of_shifts = settings.place.model_copy(update={"model": "translation"})
    place(listed, found, shifted, stage=stage.with_name("stage_translation.csv"), survey=out / "survey.csv", settings=of_shifts)
    lens, true_lens = read_lens(out / "lens.csv"), read_lens(grid / "truth_lens.csv")
    truth = pd.read_csv(grid / "truth.csv")
    true, tiles = truth[list(affine.COLUMNS)].to_numpy().reshape(-1, 2, 3), joined(truth)
    placed, by_shifts = (read_places(each, truth) for each in (placement, shifted))
    return Scores(
        middle_and_most(seams(truth, true, placed, true_lens, lens)),
        middle_and_most(place_errors(true[tiles], placed[tiles])),
        middle_and_most(place_errors(true[tiles], by_shifts[tiles])),
        float(np.linalg.norm(values(lens - true_lens, CORNERS), axis=1).max()),
        bool(lens.any()),
        in_deviations(true[tiles], placed[tiles], read_placement(placement, truth)["deviation"].to_numpy(float)[tiles]),
        json.loads((out / "verdict.json").read_text())["grade"],
        cpu,
    )


def read_lens(path: Path) -> Array:
    """The coefficients (2, ORDER + 1, ORDER + 1) of a lens.csv; zero where there is none."""
    lens = np.zeros((2, ORDER + 1, ORDER + 1))
    if path.exists():
        table = pd.read_csv(path)
        lens[:, *table[["power_y", "power_x"]].to_numpy(int).T] = table[["y", "x"]].to_numpy(float).T
    return lens


def read_places(placement: Path, truth: pd.DataFrame) -> Array:
    """The affines (n, 2, 3) of the tiles of the truth, in its order."""
    return affine.from_table(read_placement(placement, truth))


def read_placement(placement: Path, truth: pd.DataFrame) -> pd.DataFrame:
    """The placement of the tiles of the truth, in its order."""
    placed = tables.read(placement, tables.PLACEMENT)
    placed = placed.set_index(placed["path"].map(lambda path: Path(path).name))
    return placed.loc[[Path(path).name for path in truth["path"]]]


def joined(truth: pd.DataFrame) -> NDArray[np.bool_]:
    """Which tiles visible overlaps join."""
    rows: list[dict[str, Any]] = truth.astype({"right": str, "down": str}).to_dict("records")
    return np.asarray(import_module("score").largest_group(rows, int(truth["col"].max()) + 1))


def middle_and_most(errors: Array) -> Array:
    """Median and 95 %."""
    return np.percentile(errors, [50, 95])


def place_errors(true: Array, placed: Array) -> Array:
    """The errors of the corners of all tiles, px, after a global affine; tiles of undistorted pixels (n, 2, 3)."""
    corners = MIDDLE + HALF_DIAGONAL * CORNERS
    found, right = (np.concatenate([apply(each, corners) for each in affines]) for affines in (placed, true))
    gauge = import_module("score").gauge(found, right, True)
    return np.asarray(np.linalg.norm(apply(gauge, found) - right, axis=1))


def in_deviations(true: Array, placed: Array, deviation: Array) -> float:
    """How far the middles of tiles (n, 2, 3) lie off, less what all have in common, in their deviations (n,)."""
    off = np.array([apply(found, MIDDLE) - apply(right, MIDDLE) for found, right in zip(placed, true, strict=True)])
    return float(np.sqrt(((off - off.mean(axis=0)) ** 2).sum() / (deviation**2).sum()))


def seams(truth: pd.DataFrame, true: Array, placed: Array, true_lens: Array, lens: Array) -> Array:
    """How far apart in the specimen the points are that neighbours show at the same point of the mosaic, px."""
    side = np.linspace(0, SIDE - 1, LATTICE)
    lattice = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
    apart, cols = [], int(truth["col"].max()) + 1
    for flag, step in (("right", 1), ("down", cols)):
        for i in np.flatnonzero(truth[flag]):
            at = apply(placed[i], lattice)
            back = np.linalg.solve(placed[i + step][:, :2], (at - placed[i + step][:, 2]).T).T
            raw = [to_raw(lens, each) for each in (lattice, back)]
            inside = np.all([(each >= 0) & (each <= SIDE - 1) for each in raw], axis=(0, 2))
            shown = [apply(true[t], from_raw(true_lens, each[inside])) for t, each in zip((i, i + step), raw, strict=True)]
            apart.append(np.linalg.norm(shown[0] - shown[1], axis=1))
    return np.concatenate(apart)


if __name__ == "__main__":
    app()
