r"""What the survey finds in tiles without being told: the steps from tile to tile, and a wrong layout.

    python benchmarks/survey.py steps --bench ../shared/bench --cuts ../shared/data/cuts --scratch /tmp/grids --seeds 41 42
    python benchmarks/survey.py layouts --bench ../shared/bench --cuts ../shared/data/cuts --scratch /tmp/grids --seeds 41

Grids of 4 x 5 tiles of 512 px with known truth, which make_tiles.py in the folder --bench makes in --scratch; --cuts holds the
real images. `steps` finds the steps in scenarios and at several overlaps and numbers of photons, and takes tiles that cannot
match for a grid, too. `layouts` numbers the tiles in one way and states another.
"""

import json
import shutil
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import cyclopts
import grids
import numpy as np
import pandas as pd

from dlir.core import affine
from dlir.reading.inventory import find_tiles
from dlir.reading.settings import Dataset
from dlir.survey.advice import SurveyError
from dlir.survey.grid import SIDES, survey_grid
from dlir.survey.survey import survey_tiles

ROWS, COLUMNS = 4, 5
SCENARIOS = ("clean", "noisy", "blank", "dirt", "thin", "stage10", "camera")
SOURCES = ("tissue", "cells", "islands", "lowc", "dapi.tif", "he.svs")
OVERLAPS, PHOTONS = (0.03, 0.05, 0.1, 0.2, 0.35, 0.5), (2000.0, 20.0)
NEAR = 0.02  # of a tile's side, by which a step may err
RENUMBERED = ("clean", "noisy", "blank", "dirt")
NAME = "img_Y{row}_X{col}_040.tif"
app = cyclopts.App(help=__doc__, default_parameter=cyclopts.Parameter(consume_multiple=True))


@app.command
def steps(*, bench: Path, cuts: Path, scratch: Path, seeds: tuple[int, ...]) -> None:
    """Print for each kind of grid how many directions are known, how far off their steps are, and CPU seconds for 100 tiles."""
    print("| grid | directions | known | error, px: median | largest | over 2 % of the tile | CPU s / 100 tiles |")
    print("|---|---|---|---|---|---|---|")
    for scenario in SCENARIOS:
        made = [made_grid(bench, cuts, scratch, scenario, source, seed) for source, seed in product(SOURCES, seeds)]
        print_steps(scenario, made)
    for photons, overlap in product(PHOTONS, OVERLAPS):
        name = f"overlap {overlap}, {photons:g} photons"
        keys = {"overlap": overlap, "jitter": 3.0, "peak": photons}
        chosen = [source for source in SOURCES if source != "he.svs" or overlap > 0.05]
        print_steps(name, [made_grid(bench, cuts, scratch, name, source, seeds[0], keys) for source in chosen])
    print_steps(
        "tiles that cannot match", [unrelated(bench, cuts, scratch, source, seeds[0]) for source in SOURCES], match=False
    )


@app.command
def layouts(*, bench: Path, cuts: Path, scratch: Path, seeds: tuple[int, ...]) -> None:
    """Print for each wrong layout how often it is named rightly, wrongly, or not, and how often a right one is doubted."""
    count = ROWS * COLUMNS
    kinds: dict[str, tuple[dict[str, Any], dict[str, Any], int, str]] = {
        "right, lines": ({"snake": False}, {}, 0, ""),
        "right, snake": ({"snake": True}, {}, 0, ""),
        "snake forgotten": ({"snake": True}, {"snake": False}, 0, "snake: true"),
        "snake too much": ({"snake": False}, {"snake": True}, 0, "snake: false"),
        "a column too many": ({"snake": False}, {"columns": COLUMNS + 1}, 0, f"columns: {COLUMNS}"),
        "a column too few": ({"snake": False}, {"columns": COLUMNS - 1}, 0, f"columns: {COLUMNS}"),
        "columns for rows": ({"snake": False}, {"order": "columns", "rows": ROWS}, 0, "order: rows"),
        "another corner": ({"snake": True}, {"start": "bottom-right"}, 0, "start: top-left"),
        "first tile missing, snake": ({"snake": True}, {}, 1, "first_index: 0"),
        "first tile missing, lines": ({"snake": False}, {}, 1, "first_index: 0"),
    }
    print("| layout | sets | named rightly | wrongly | silent |")
    print("|---|---|---|---|---|")
    made = [made_grid(bench, cuts, scratch, *each) for each in product(RENUMBERED, SOURCES, seeds)]
    for kind, (true, wrong, missing, expected) in kinds.items():
        said = [stated(grid, scratch / "renumbered", true, wrong, missing) for grid in made]
        right = sum(bool(expected) and expected in words for words in said)
        silent = sum(not words for words in said)
        print(f"| {kind} | {len(said)} of {count} tiles | {right} | {len(said) - right - silent} | {silent} |", flush=True)


def made_grid(
    bench: Path, cuts: Path, scratch: Path, scenario: str, source: str, seed: int, keys: dict[str, Any] | None = None
) -> Path:
    """The folder of a grid; with `keys`, its scenario is the clean one with these changed."""
    rows, cols = (4, 4) if source == "he.svs" else (ROWS, COLUMNS)
    if keys is None:
        return grids.make(bench, scratch, scenario, source, seed, rows=rows, cols=cols, cuts=cuts)
    sys.path.insert(0, str(bench))
    maker: Any = import_module("make_tiles")
    maker.SCENARIOS[scenario] = maker.CLEAN | keys
    folder = scratch / f"{scenario}_{source}_{seed}".replace(" ", "_").replace(",", "")
    if not (folder / "truth.csv").exists():
        image = str(cuts / source) if "." in source else source
        sys.argv = [
            "make_tiles.py",
            scenario,
            image,
            str(folder),
            "--seed",
            str(seed),
            "--rows",
            str(rows),
            "--cols",
            str(cols),
        ]
        maker.main()
    return folder


def unrelated(bench: Path, cuts: Path, scratch: Path, source: str, seed: int) -> Path:
    """The folder of a grid whose tiles come from places that do not touch: every second one of a grid, in both directions."""
    rows, cols = (4, 4) if source == "he.svs" else (6, 8)
    whole = grids.make(bench, scratch, "clean", source, seed + 1000, rows=rows, cols=cols, cuts=cuts)
    folder = scratch / f"unrelated_{source}_{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "tiles").mkdir(parents=True)
    for row, col in product(range(0, rows, 2), range(0, cols, 2)):
        name = f"img_Y{row:03d}_X{col:03d}_040.tif"
        (folder / "tiles" / f"img_Y{row // 2:03d}_X{col // 2:03d}_040.tif").symlink_to(whole / "tiles" / name)
    return folder


def print_steps(name: str, made: list[Path], *, match: bool = True) -> None:
    """Print a row of the table of `steps`."""
    known, errors, seconds, tiles, directions = 0, [], 0.0, 0, 0
    for grid in made:
        dataset = Dataset.checked({"images": str(grid / "tiles" / NAME)})
        listed = find_tiles(dataset)
        before = time.process_time()
        found = survey_grid(listed, dataset)
        seconds, tiles = seconds + time.process_time() - before, tiles + len(listed)
        directions += 2
        known += 2 * bool(found.advice) + sum(direction.known for direction in found.directions.values())
        if match:
            true = true_steps(grid)
            errors += [float(np.abs(each.found - true[side]).max()) for side, each in found.directions.items() if each.known]
    shown = f"{np.median(errors):.1f} | {max(errors):.1f}" if errors else "- | -"
    wide = sum(error > NEAR * 512 for error in errors)
    print(f"| {name} | {directions} | {known} | {shown} | {wide} | {100 * seconds / tiles:.2f} |", flush=True)


def true_steps(grid: Path) -> dict[str, np.ndarray]:
    """The median true step (2,), px, down and right, between the middles of tiles, as the first tile of each pair sees it."""
    truth = pd.read_csv(grid / "truth.csv")
    affines, cells = affine.from_table(truth), truth[["row", "col"]].to_numpy()
    size = json.loads((grid / "meta.json").read_text())["tile"]
    middles = affine.apply(affines, np.full((len(affines), 1, 2), (size - 1) / 2))[:, 0]
    where = {tuple(cell): k for k, cell in enumerate(cells.tolist())}
    found = {}
    for side, (down, right) in zip(SIDES, ((1, 0), (0, 1)), strict=True):
        pairs = [(k, where[r + down, c + right]) for (r, c), k in where.items() if (r + down, c + right) in where]
        each = [np.linalg.solve(affines[i, :, :2], middles[j] - middles[i]) for i, j in pairs]
        found[side] = np.median(each, axis=0)
    return found


def stated(grid: Path, scratch: Path, true: dict[str, Any], wrong: dict[str, Any], missing: int) -> str:
    """What the survey says of the tiles of a grid, numbered as `true` says and stated with the changes in `wrong`."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    for number, path in numbered(grid, snake=true["snake"]):
        if number >= missing:
            (scratch / f"t{number:03d}.tif").symlink_to(path.resolve())
    columns = max(int(path.name[10:13]) for _, path in numbered(grid, snake=False)) + 1
    layout = {"columns": columns, "overlap": 0.1, **true, **wrong}
    if layout.get("columns") not in (None, columns):
        layout["columns"] += columns - COLUMNS
    if layout.get("order") == "columns":
        del layout["columns"]
    dataset = Dataset.checked({"images": str(scratch / "t{index}.tif"), **layout})
    try:
        survey_tiles(find_tiles(dataset), dataset)
    except SurveyError as error:
        return str(error).replace(f"columns: {columns}", f"columns: {COLUMNS}")
    return ""


def numbered(grid: Path, *, snake: bool) -> Iterator[tuple[int, Path]]:
    """The tiles of a grid with their numbers in a scan by rows."""
    paths = sorted((grid / "tiles").iterdir())
    cells = [(int(path.name[5:8]), int(path.name[10:13])) for path in paths]
    columns = max(col for _, col in cells) + 1
    for path, (row, col) in zip(paths, cells, strict=True):
        yield row * columns + (columns - 1 - col if snake and row % 2 else col), path


if __name__ == "__main__":
    app()
