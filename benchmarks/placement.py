"""Placement against its bars, on tiles with exact truth, with the default settings and the generic weights.

    python benchmarks/placement.py --bench ../shared/bench --cuts ../shared/data/cuts --scratch /tmp/grids

makes grids of 5 x 6 tiles of 512 px with `make_tiles.py` (kept in the scratch folder), runs the stages from `tiles` to `place`
on each, one command a stage as the workflow does, and prints for every scenario and specimen the errors of the worst seed:
median / 95 % px / % of the tiles more than 2 px off, as `score.py` counts them, and beside them the bar. On `affine` it is
the disagreement at the seams, median / 95 % px, and the median error of the places.
"""

import json
import os
import resource
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import cyclopts
import numpy as np
import yaml

from dlir.settings import load

# median, 95 %, part over 2 px; for affine: median and 95 % at the seams, median of the places
BARS = {
    "clean": ((0.03, 0.08, 0), (0.09, 0.25, 0), (0.07, 0.16, 0), (0.11, 0.25, 0), (0.06, 0.20, 0)),
    "noisy": ((0.25, 0.45, 0), (0.60, 1.4, 3), (0.16, 0.33, 0), (0.33, 1.2, 3), (0.16, 0.60, 0)),
    "blank": ((0.05, 0.12, 0), (0.10, 0.25, 0), (0.10, 0.25, 0), (0.13, 0.30, 0), (0.08, 0.22, 0)),
    "dirt": ((0.05, 0.12, 0), (0.15, 0.45, 0), (0.12, 0.35, 0), (0.12, 0.35, 0), (0.08, 0.25, 0)),
    "camera": ((0.02, 0.05, 0), (0.07, 0.15, 0), (0.08, 0.18, 0), (0.12, 0.26, 0), (0.06, 0.20, 0)),
    "affine": ((0.05, 0.12, 0.6), (0.10, 0.30, 0.8), (0.10, 0.30, 0.8), (0.12, 0.35, 0.8), (0.06, 0.20, 0.6)),
    "shading": ((0.03, 0.08, 0), (0.13, 0.30, 0), (0.10, 0.28, 0), (0.12, 0.25, 0), (0.07, 0.22, 0)),
    "stage20": ((0.03, 0.06, 0), (0.06, 0.13, 0), (0.07, 0.15, 0), (0.10, 0.22, 0), (0.05, 0.15, 0)),
    "stage10": ((0.08, 0.20, 0), (0.15, 0.40, 0), (0.15, 0.40, 0), (0.18, 0.38, 0), (0.08, 0.25, 0)),
    "thin": ((0.07, 0.17, 0), (0.35, 0.90, 0), (0.17, 0.38, 0), (0.40, 0.95, 0), (0.15, 0.40, 0)),
}
SPECIMENS = ("tissue", "cells", "lowc", "dapi.tif", "he.svs")
LOOSE = 8.0  # px: a tile that nothing joins lies at most that far from its place, where the stage errs by 5
ROOT = Path(__file__).parents[1]


def main(
    *,
    bench: Path,
    cuts: Path,
    scratch: Path,
    seeds: tuple[int, ...] = (1, 2, 3),
    scenarios: tuple[str, ...] = tuple(BARS),
    specimens: tuple[str, ...] = SPECIMENS,
    config: Path = ROOT / "config.yaml",
) -> None:
    """Print the table.

    Args:
        bench: folder with make_tiles.py and score.py.
        cuts: folder with the real images.
        scratch: folder that keeps the grids from run to run.
        seeds: of the grids.
        config: settings; training is left out.
    """
    sys.path.insert(0, str(bench.resolve()))
    score = import_module("score").score
    print("| scenario | specimen | worst of the seeds | bar | met | loose, px | CPU s |\n" + "|---" * 7 + "|")
    for scenario in scenarios:
        for specimen in specimens:
            bar = BARS[scenario][SPECIMENS.index(specimen)]
            found, loose, took = [], 0.0, []
            for seed in seeds:
                grid = make(bench, cuts, scratch, scenario, specimen, seed)
                took.append(stages(grid, config))
                result = score(grid, grid / "out" / "placement.csv")
                found.append(numbers(scenario, result))
                loose = max(loose, result.get("loose", 0.0)) if scenario in ("blank", "dirt") else loose
            worst = np.max(found, axis=0)
            # a bar is given to two digits
            met = all(value <= limit + 0.005 for value, limit in zip(worst, bar, strict=True)) and loose <= LOOSE
            cells = ("/".join(f"{v:.3g}" for v in worst), "/".join(f"{v:g}" for v in bar), "yes" if met else "**no**")
            print("|", " | ".join((scenario, specimen, *cells, f"{loose:.1f}", f"{np.median(took):.1f}")), "|", flush=True)


def numbers(scenario: str, result: dict[str, Any]) -> tuple[float, float, float]:
    """The three numbers that the bar is set on."""
    if scenario == "affine":
        return result["seam_median"], result["seam_p95"], result["median"]
    return result["median"], result["p95"], 100 * result["bad"]


def make(bench: Path, cuts: Path, scratch: Path, scenario: str, specimen: str, seed: int) -> Path:
    """The grid of that name, made where it is not there yet."""
    grid = scratch / f"{scenario}_{specimen.partition('.')[0]}_{seed}"
    if not (grid / "truth.csv").exists():
        source = str(cuts / specimen) if "." in specimen else specimen
        rows = "5" if scenario == "camera" else "6"  # of the image, which holds no larger grid
        shape = ["--rows", rows, "--cols", "4"] if specimen == "he.svs" else []
        run([sys.executable, str(bench / "make_tiles.py"), scenario, source, str(grid), "--seed", str(seed), *shape])
    return grid


def stages(grid: Path, config: Path) -> float:
    """Run the stages; the CPU seconds that they took, imports included."""
    tree = yaml.safe_load(config.read_text())
    overlap = json.loads((grid / "meta.json").read_text())["overlap"]
    tree["datasets"] = {"grid": {"images": str(grid / "tiles" / "img_Y{row}_X{col}_040.tif"), "overlap": overlap}}
    settings = load(tree)
    out = grid / "out"
    out.mkdir(exist_ok=True)
    tiles, flat, pairs, affines = (str(out / n) for n in ("tiles.csv", "illumination.tif", "pairs.csv", "affines.csv"))
    model = str(ROOT / "dlir" / "weights.pt")
    before = spent()
    given = ["--tiles", tiles, "--illumination", flat, "--pairs", pairs]
    run(dlir("tiles", settings.datasets["grid"], tiles))
    run(dlir("illumination", settings.illumination, flat, "--tiles", tiles))
    run(dlir("pairs", settings.pairs, pairs, "--tiles", tiles))
    run(dlir("register", settings.register_, affines, *given, "--model", model))
    run(dlir("place", settings.place, str(out / "placement.csv"), "--tiles", tiles, "--affines", affines))
    return spent() - before


def dlir(stage: str, settings: Any, output: str, *given: str) -> list[str]:
    return [sys.executable, "-m", "dlir", stage, *given, "--output", output, "--settings", settings.model_dump_json()]


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:6])} failed:\n{done.stderr[-2000:]}")


def spent() -> float:
    """CPU seconds of all commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    cyclopts.run(main)
