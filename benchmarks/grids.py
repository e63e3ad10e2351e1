"""What the benchmarks share: grids of tiles with known truth, the steps of the workflow run on them, and other stitchers."""

import json
import resource
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from dlir.config import Settings
from dlir.core import tables
from dlir.illumination.estimate import illumination
from dlir.placement.place import place
from dlir.reading.inventory import tiles
from dlir.reading.settings import Dataset
from dlir.registration.inference.register import register
from dlir.registration.model.checkpoint import GENERIC
from dlir.registration.pairs.neighbours import pairs
from dlir.registration.training.train import train
from dlir.survey.survey import survey

ROOT = Path(__file__).parents[1]
PEERS = {
    "ashlar": ["ashlar==1.20.0"],
    "multiview-stitcher": ["multiview-stitcher==0.1.62"],
    "m2stitch": ["m2stitch==0.7.2", "tifffile==2026.3.3"],
}
# how the other stitchers are measured: one of PEERS, and the keyword arguments of its main function that are not the defaults;
# first the defaults, then options of its documentation that helped on grids of seed 1
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "ashlar": ("ashlar", {}),
    "ashlar, filter_sigma 2": ("ashlar", {"filter_sigma": 2.0}),
    "ashlar, filter_sigma 3, alpha 0.05": ("ashlar", {"filter_sigma": 3.0, "alpha": 0.05}),
    "multiview-stitcher": ("multiview-stitcher", {}),
    "multiview-stitcher, upsample_factor 100": ("multiview-stitcher", {"pairwise_reg_func_kwargs": {"upsample_factor": 100}}),
    "m2stitch": ("m2stitch", {}),
}
ASHLAR_SHIFT = 15.0  # px, the default of ashlar for the most that it moves a tile against its neighbour
FILES = ("files.csv", "tiles.csv", "survey.csv", "illumination.tif", "pairs.csv", "affines.csv", "placement.csv", "stage.csv")


def make(
    bench: Path, scratch: Path, scenario: str, source: str, seed: int, *, rows: int = 5, cols: int = 6, cuts: Path | None = None
) -> Path:
    """The folder of a grid of tiles with known truth; `make_tiles.py` in `bench` makes it when it does not exist yet.

    A source with a suffix is an image in `cuts`, any other a procedural specimen.
    """
    grid = scratch / f"{scenario}_{source.partition('.')[0]}_{seed}_{rows}x{cols}"
    if not (grid / "truth.csv").exists():
        image = str(cuts / source) if cuts and "." in source else source
        size = ["--seed", str(seed), "--rows", str(rows), "--cols", str(cols)]
        run([sys.executable, str(bench / "make_tiles.py"), scenario, image, str(grid), *size])
    return grid


def settings_for(name: str = "grid", **dataset: Any) -> tuple[Settings, Dataset]:
    """The settings of config.yaml with one dataset, which has these keys."""
    tree = yaml.safe_load((ROOT / "config.yaml").read_text())
    settings = Settings.checked({**tree, "datasets": {name: dataset}})
    return settings, settings.datasets[name]


def settings_of_grid(grid: Path, *, told: bool = True) -> tuple[Settings, Dataset]:
    """The settings for a grid of `make`: the names of its tiles and, where it is told, its overlap, all else by default."""
    overlap = json.loads((grid / "meta.json").read_text())["overlap"] if told else "auto"
    return settings_for(images=str(grid / "tiles" / "img_Y{row}_X{col}_040.tif"), overlap=overlap)


def run_to_pairs(settings: Settings, dataset: Dataset, out: Path) -> list[Path]:
    """Run the steps up to pairs; the paths of the tables and images in FILES from tiles.csv on, without survey.csv."""
    out.mkdir(parents=True, exist_ok=True)
    read, listed, surveyed, fields, near, *later = (out / name for name in FILES)
    tiles(read, settings=dataset)
    survey(read, listed, survey=surveyed, layout=dataset, settings=settings.layout)
    illumination(listed, fields, settings=settings.illumination)
    pairs(listed, near, settings=settings.pairs)
    return [listed, fields, near, *later]


def run_to_placement(settings: Settings, dataset: Dataset, out: Path, *, trained: bool = False) -> list[Path]:
    """Run the steps from tiles to place, with the generic weights or with weights trained on the tiles.

    Returns the paths that `run_to_pairs` does.
    """
    files = run_to_pairs(settings, dataset, out)
    listed, fields, near, found, placement, stage = files
    model = out / "model.pt" if trained else GENERIC
    if trained:
        train([listed], [fields], [near], model, settings=settings.train)
    lens, distortion = out / "lens.csv", str(dataset.distortion)
    register(listed, fields, near, found, lens=lens, distortion=distortion, model=model, settings=settings.register_)
    place(listed, found, placement, stage=stage, survey=out / "survey.csv", lens=lens, settings=settings.place)
    return files


def cpu_seconds_to_placement(settings: Settings, dataset: Dataset, out: Path) -> float:
    """CPU seconds of the steps from tiles to place with the generic weights, one command for each step, imports included."""
    out.mkdir(parents=True, exist_ok=True)
    read, listed, surveyed, fields, near, found, placement, stage = (str(out / name) for name in FILES)
    before = cpu_seconds()
    run(step_command("tiles", dataset, read))
    layout = ["--layout", dataset.model_dump_json()]
    run(step_command("survey", settings.layout, listed, "--files", read, "--survey", surveyed, *layout))
    run(step_command("illumination", settings.illumination, fields, "--tiles", listed))
    run(step_command("pairs", settings.pairs, near, "--tiles", listed))
    inputs = ["--tiles", listed, "--illumination", fields, "--pairs", near, "--model", str(GENERIC)]
    run(step_command("register", settings.register_, found, *inputs))
    inputs = ["--tiles", listed, "--survey", surveyed, "--affines", found, "--stage", stage]
    run(step_command("place", settings.place, placement, *inputs))
    return cpu_seconds() - before


def step_command(name: str, settings: Any, output: str, *inputs: str) -> list[str]:
    """The command line of one step."""
    return [sys.executable, "-m", "dlir", name, *inputs, "--output", output, "--settings", settings.model_dump_json()]


def peer_python(peers: Path, peer: str) -> Path:
    """The Python of the environment of another stitcher in `peers`; the environment is made when it does not exist yet."""
    python = peers.resolve() / peer / "bin" / "python"
    if not python.exists():
        venv.create(python.parents[1], with_pip=True)
        run([str(python), "-m", "pip", "install", "--quiet", *PEERS[peer]])
    return python


def place_with_peer(method: str, peers: Path, grid: Path, stage_error: float) -> Path:
    """The placement that another stitcher finds for the tiles of a grid, which it reads from `nominal.csv` in the folder.

    Args:
        method: one of METHODS.
        peers: folder with the environments of the other stitchers.
        grid: folder with nominal.csv (path, row, col, y, x: where the stage says that each tile lies, px).
        stage_error: px, the largest error of the stage along y or x.

    Raises:
        SystemExit: when the other stitcher fails.
    """
    peer, options = METHODS[method]
    if peer == "ashlar" and 2 * stage_error > ASHLAR_SHIFT:
        options = options | {"max_shift": 2 * stage_error}
    script = Path(__file__).with_name("peers") / f"place_{peer.replace('-', '_')}.py"
    output = grid / "out" / f"{method.replace(', ', '_').replace(' ', '_')}.csv"
    output.parent.mkdir(exist_ok=True)
    output.unlink(missing_ok=True)
    run([str(peer_python(peers, peer)), str(script), str(grid), str(output), json.dumps(options)])
    return output


def stage_places(grid: Path, listed: Path) -> Path:
    """The placement that the stage alone gives: no registration, every tile where nominal.csv says.

    Raises:
        SystemExit: when dlir's own table of tiles (`listed`) has other tiles, or nominal places more than 1e-6 px away: then
            dlir and the peers would not start alike.
    """
    nominal, seen = pd.read_csv(grid / "nominal.csv"), tables.read(listed, tables.TILES)
    files, own = (table["path"].map(lambda path: (grid / path).resolve()) for table in (nominal, seen))
    together = nominal.assign(file=files).merge(seen.assign(file=own), on="file", suffixes=("", "_own"))
    apart = (together[["y", "x"]].to_numpy() - together[["y_own", "x_own"]].to_numpy()).ravel()
    if not len(nominal) == len(seen) == len(together) or np.abs(apart).max() > 1e-6:
        raise SystemExit(f"{grid}: nominal.csv and {listed} do not name the same tiles at the same places")
    output = grid / "out" / "nominal_placement.csv"
    placement = nominal[["path"]].assign(yy=1.0, yx=0.0, y0=nominal["y"], xy=0.0, xx=1.0, x0=nominal["x"])
    placement.to_csv(output, index=False)
    return output


def run(command: list[str]) -> str:
    """What a command prints.

    Raises:
        SystemExit: when the command fails, with the end of its messages.
    """
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:6])} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def cpu_seconds() -> float:
    """CPU seconds of all commands that have ended so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
