r"""Whether pairs and tiles are as exact as their covariances say, where overlaps show little, or not the same thing.

    python benchmarks/certainty.py --bench ../shared/bench --scratch /tmp/grids --seeds 101 102 103

It makes grids of 4 x 5 tiles of 512 px with `make_tiles.py`, keeps them in the scratch folder, runs the steps from `tiles` to
`place` with the default settings and the generic weights, and compares pairs and places with the truth. The specimens are

- lines: a few straight lines and edges at random angles on an empty slide; most overlaps show one of them, or none;
- islands: cells on islands between empty areas;
- debris: cells, and in each overlap one very bright blob that lies elsewhere in the other tile;

and any that `make_tiles.py` knows. The scenario of a grid follows from its seed: plenty of light, little light, or a stage that
errs by much.
"""

import json
import shutil
import sys
from functools import partial
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import cyclopts
import grids
import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray

from dlir.core import affine, tables

ROWS, COLS, SIZE = 4, 5, 512  # tiles, and px of their sides
SCENARIOS = ("clean", "noisy", "stage20")  # of make_tiles.py, in turn; in the last the stage errs by up to 41 px
LINES = (6, 14)  # least and most in a grid
BRIGHTER = 4.0  # times the brightest cells: debris
WRONG, SURE, SAID = 2.0, 0.9, 3.0  # px; confidence; times the stated deviation that an error over WRONG may be
STUDENT = (0.63, 0.88, 0.96)  # share of Student's t with four degrees of freedom within 1, 2 and 3 standard deviations
app = cyclopts.App(help=__doc__, default_parameter=cyclopts.Parameter(consume_multiple=True))


@app.default
def certainty(
    *,
    bench: Path,
    scratch: Path,
    seeds: tuple[int, ...] = (1, 2, 3),
    sets: tuple[str, ...] = ("lines", "islands", "debris"),
) -> None:
    """Print a row for each grid, and one for all grids of a set.

    Args:
        bench: folder with make_tiles.py.
        scratch: folder that keeps the grids from run to run.
        seeds: of the grids.
        sets: specimens, or scenario/specimen where the scenario shall not follow from the seed.
    """
    sys.path.insert(0, str(bench.resolve()))
    print(f"error / sigma: along the longest axis of the covariance, share of pairs below 1, 2 and 3; should be {STUDENT}\n")
    columns = ["set", "accepted", "wrong", f"sure (>= {SURE})", "sure and wrong", "error / sigma", "tiles", f"> {WRONG} px off",
               "of those unsaid", "tiles' median / max, px"]  # fmt: skip
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|", flush=True)
    for name in sets:
        scores = []
        for seed in seeds:
            scores.append(measured(bench, scratch, name, seed))
            print(row(f"{name} {seed}", *scores[-1]), flush=True)
        print(row(f"**{name}**", *(pd.concat(parts) for parts in zip(*scores, strict=True))), flush=True)


def measured(bench: Path, scratch: Path, name: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The errors of the accepted pairs and of the tiles of a grid.

    Returns:
        of each accepted pair its error, px, the same along the longest axis in standard deviations, and its confidence;
        and of each tile its error and its stated deviation, px.
    """
    scenario, _, specimen = name.rpartition("/")
    grid = grid_of(bench, scratch, scenario or SCENARIOS[seed % len(SCENARIOS)], specimen, seed)
    *_, affines, placement, _ = grids.run_to_placement(*grids.settings_of_grid(grid), grid / "out")
    truth = affine.from_table(pd.read_csv(grid / "truth.csv"))  # in the order of the tiles, as make_tiles.py names them
    pairs, placed = tables.read(affines, tables.AFFINES), tables.read(placement, tables.PLACEMENT)
    pairs = pairs[pairs["accepted"]]
    fixed, moving = (truth[pairs[end]] for end in ("fixed", "moving"))
    at = pairs[["centre_y", "centre_x"]].to_numpy()
    error = affine.offsets(affine.from_table(pairs), at) - affine.offsets(affine.compose(affine.invert(fixed), moving), at)
    variance, axes = np.linalg.eigh(tables.shift_covariance(pairs))
    along = np.einsum("na,na->n", error, axes[:, :, 1]) / np.sqrt(variance[:, 1])
    middle = np.full((len(truth), 2), (SIZE - 1) / 2)
    off = affine.offsets(affine.from_table(placed), middle) - affine.offsets(truth, middle)
    return (
        pd.DataFrame({"error": np.linalg.norm(error, axis=1), "along": np.abs(along), "confidence": pairs["confidence"]}),
        pd.DataFrame({"error": np.linalg.norm(off - np.median(off, axis=0), axis=1), "deviation": placed["deviation"]}),
    )


def row(name: str, pairs: pd.DataFrame, tiles: pd.DataFrame) -> str:
    """A row of the table."""
    wrong, sure = pairs["error"] > WRONG, pairs["confidence"] >= SURE
    off = tiles["error"] > WRONG
    unsaid = off & (SAID * tiles["deviation"] < tiles["error"])
    shares = " ".join(f"{(pairs['along'] < limit).mean():.2f}" for limit in (1, 2, 3))
    places = f"{tiles['error'].median():.2f} / {tiles['error'].max():.1f}"
    of_pairs = [len(pairs), wrong.sum(), sure.sum(), (wrong & sure).sum(), shares]
    return "| " + " | ".join(map(str, [name, *of_pairs, len(tiles), off.sum(), unsaid.sum(), places])) + " |"


def grid_of(bench: Path, scratch: Path, scenario: str, specimen: str, seed: int) -> Path:
    """The folder of a grid, which is made when it does not exist yet."""
    make = partial(grids.make, bench, scratch, scenario, seed=seed, rows=ROWS, cols=COLS, cuts=scratch)
    if specimen == "lines":
        image = f"lines{seed}.tif"
        if not (scratch / image).exists():
            scratch.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(scratch / image, lines(import_module("make_tiles"), seed))
        return make(image)
    if specimen == "debris":
        return with_debris(make("cells"), seed)
    return make(specimen)


def lines(make_tiles: Any, seed: int) -> NDArray[np.float32]:
    """A slide with a few straight lines and edges at random angles."""
    rng = np.random.default_rng(seed)
    shape = (ROWS * SIZE, COLS * SIZE)  # more than tiles that overlap need
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    image = np.zeros(shape, np.float32)
    for _ in range(rng.integers(*LINES)):
        angle, width = rng.uniform(0, np.pi), rng.uniform(1.5, 5)
        distance = (y - rng.uniform(0, shape[0])) * np.cos(angle) - (x - rng.uniform(0, shape[1])) * np.sin(angle)
        edge = 1 / (1 + np.exp(-np.clip(distance, -50, 50)))
        image += rng.uniform(0.2, 1) * (edge if rng.random() < 0.5 else np.exp(-0.5 * (distance / width) ** 2))
    return image


def with_debris(clear: Path, seed: int) -> Path:
    """A copy of a grid with debris that moves between the exposures: every other overlap has a bright blob, at one place in one
    tile and at another in the other."""
    grid = clear.with_name(f"{clear.name}_debris")
    if grid.exists():
        return grid
    shutil.copytree(clear, grid, ignore=shutil.ignore_patterns("out"))
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    truth = pd.read_csv(grid / "truth.csv")
    tiles = {path: tifffile.imread(grid / path) / BRIGHTER for path in truth["path"]}
    strip = SIZE * json.loads((grid / "meta.json").read_text())["overlap"]
    corner = truth.set_index(["row", "col"])
    for (row, col), side in product(corner.index, ((0, 1), (1, 0))):
        if (row + side[0], col + side[1]) not in corner.index or rng.random() < 0.5:
            continue
        for end, across in (((row, col), SIZE - strip / 2), ((row + side[0], col + side[1]), strip / 2)):
            place = np.where(side, across, rng.uniform(0.1, 0.9) * SIZE) + rng.uniform(-0.3, 0.3, 2) * strip
            square = ((y - place[0]) ** 2 + (x - place[1]) ** 2) / rng.uniform(3, 8) ** 2
            tiles[corner.loc[end, "path"]] += np.iinfo(np.uint16).max * np.exp(-square / 2)
    for path, pixels in tiles.items():
        tifffile.imwrite(grid / path, pixels.clip(max=np.iinfo(np.uint16).max).astype(np.uint16), photometric="minisblack")
    return grid


if __name__ == "__main__":
    app()
