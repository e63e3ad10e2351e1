"""Tiles with exact truth, and the stages run on them as the workflow does; what the benchmarks share."""

import json
import resource
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import yaml

from dlir.config import Settings
from dlir.illumination.estimate import illumination
from dlir.placement.place import place
from dlir.reading.inventory import tiles
from dlir.reading.settings import Dataset
from dlir.registration.inference.register import register
from dlir.registration.pairs.neighbours import pairs
from dlir.registration.training.train import train

ROOT = Path(__file__).parents[1]
GENERIC = ROOT / "dlir/registration/model/weights.pt"
PEERS = {
    "ashlar": ["ashlar==1.20.0"],
    "multiview-stitcher": ["multiview-stitcher==0.1.62"],
    "m2stitch": ["m2stitch==0.7.2", "tifffile==2026.3.3"],
}
NAMES = ("tiles.csv", "illumination.tif", "pairs.csv", "affines.csv", "placement.csv", "stage.csv")


def make(
    bench: Path, scratch: Path, scenario: str, source: str, seed: int, *, rows: int = 5, cols: int = 6, cuts: Path | None = None
) -> Path:
    """The grid of that scenario, specimen and seed from `make_tiles.py` in `bench`, made where it is not there yet.

    A source with an ending is an image in `cuts`.
    """
    grid = scratch / f"{scenario}_{source.partition('.')[0]}_{seed}_{rows}x{cols}"
    if not (grid / "truth.csv").exists():
        image = str(cuts / source) if cuts and "." in source else source
        size = ["--seed", str(seed), "--rows", str(rows), "--cols", str(cols)]
        run([sys.executable, str(bench / "make_tiles.py"), scenario, image, str(grid), *size])
    return grid


def configured(name: str = "grid", **dataset: Any) -> tuple[Settings, Dataset]:
    """The settings of config.yaml for one dataset with these keys."""
    tree = yaml.safe_load((ROOT / "config.yaml").read_text())
    settings = Settings.checked({**tree, "datasets": {name: dataset}})
    return settings, settings.datasets[name]


def of_grid(grid: Path) -> tuple[Settings, Dataset]:
    """The settings for a grid of `make`."""
    overlap = json.loads((grid / "meta.json").read_text())["overlap"]
    return configured(images=str(grid / "tiles" / "img_Y{row}_X{col}_040.tif"), overlap=overlap)


def to_pairs(settings: Settings, dataset: Dataset, out: Path) -> list[Path]:
    """Run the stages before training; all files (NAMES), of which three are made."""
    out.mkdir(parents=True, exist_ok=True)
    files = [out / name for name in NAMES]
    tiles(files[0], settings=dataset)
    illumination(files[0], files[1], settings=settings.illumination)
    pairs(files[0], files[2], settings=settings.pairs)
    return files


def to_placement(settings: Settings, dataset: Dataset, out: Path, *, trained: bool = False) -> list[Path]:
    """Run the stages from `tiles` to `place`, with the generic weights or with those trained on the tiles; all files."""
    files = to_pairs(settings, dataset, out)
    listed, flat, near, found, placement, stage = files
    model = out / "model.pt" if trained else GENERIC
    if trained:
        train([listed], [flat], [near], model, settings=settings.train)
    register(listed, flat, near, found, model=model, settings=settings.register_)
    place(listed, found, placement, stage=stage, settings=settings.place)
    return files


def cost(settings: Settings, dataset: Dataset, out: Path) -> float:
    """CPU seconds of the same stages with the generic weights, one command each, imports included."""
    out.mkdir(parents=True, exist_ok=True)
    listed, flat, near, found, placement, placed = (str(out / name) for name in NAMES)
    before = spent()
    run(stage("tiles", dataset, listed))
    run(stage("illumination", settings.illumination, flat, "--tiles", listed))
    run(stage("pairs", settings.pairs, near, "--tiles", listed))
    given = ["--tiles", listed, "--illumination", flat, "--pairs", near, "--model", str(GENERIC)]
    run(stage("register", settings.register_, found, *given))
    run(stage("place", settings.place, placement, "--tiles", listed, "--affines", found, "--stage", placed))
    return spent() - before


def stage(name: str, settings: Any, output: str, *given: str) -> list[str]:
    return [sys.executable, "-m", "dlir", name, *given, "--output", output, "--settings", settings.model_dump_json()]


def environment(folder: Path, packages: list[str]) -> Path:
    """The python of an environment in that folder that holds the packages, which are installed where it is not there yet."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        run([str(python), "-m", "pip", "install", "--quiet", *packages])
    return python


def placed_by(peer: str, peers: Path, grid: Path) -> Path:
    """Where another stitcher, in an environment of its own in `peers`, puts the tiles of a grid; SystemExit where it fails."""
    python, output = environment(peers.resolve() / peer, PEERS[peer]), grid / "out" / f"{peer}.csv"
    output.unlink(missing_ok=True)
    run([str(python), str(Path(__file__).with_name("peers") / f"place_{peer.replace('-', '_')}.py"), str(grid), str(output)])
    return output


def run(command: list[str]) -> str:
    """What a command prints; SystemExit with its last words where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:6])} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def spent() -> float:
    """CPU seconds of all commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
