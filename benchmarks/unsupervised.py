"""Training without labels: whether it finds the affines, and whether it ever collapses.

    python benchmarks/unsupervised.py correlation --prototype ../shared/prototype --minutes 10 --seeds 10
    python benchmarks/unsupervised.py dlir --grid FOLDER --seeds 10

The first command trains the architecture `correlation` from random weights as the step `train` does: on noisy images of the
kinds that the generic weights were trained on, and on pairs of them whose truth is not used. It measures the network on the
test pairs of the prototype. The second trains the architecture `dlir` on the pairs of one grid of `make_tiles.py`, as a
user would, and measures it on the same pairs. A run has collapsed when its affines are no better than no registration. Each
seed is a run of its own; times are CPU times.
"""

import contextlib
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import cyclopts
import grids
import numpy as np
import pandas as pd
import torch
from registration import load_prototype, make_truth, measure, ours
from torch import Tensor

from dlir.core import tables
from dlir.illumination import fields
from dlir.registration.model import checkpoint
from dlir.registration.model.network import CorrelationNetwork
from dlir.registration.model.warping import corner_error
from dlir.registration.pairs.planes import TilePlanes
from dlir.registration.pairs.synthetic import TileStack, stack_tiles, synthetic_pairs
from dlir.registration.pairs.windows import WindowBatch, batches, expected_shift
from dlir.registration.settings import Train
from dlir.registration.training.loop import Loop, TrainingData
from dlir.registration.training.pretrain import AUGMENT, SHAPES, SPECIMENS
from dlir.registration.training.pretraining_images import pretraining_images
from dlir.registration.training.train import train

POOL = 240  # unlabelled pairs of each shape
BATCH = 8  # pairs
RATE = 0.002  # learning rate
app = cyclopts.App(help=__doc__)


def unlabelled(seed: int) -> TrainingData:
    """The training data of `train`: images with noise, and pairs of them whose truth is dropped."""
    random = np.random.default_rng(seed)
    planes = [plane / plane.std() for plane in pretraining_images(SPECIMENS, seed)]
    tiles = [plane + random.normal(0, 1 / 2 ** random.uniform(-2, 3), plane.shape).astype(np.float32) for plane in planes]
    images = torch.stack([torch.from_numpy(plane - plane.mean()) for plane in planes])[:, None]
    clean, generator = TileStack(images, torch.zeros_like(images)), torch.Generator().manual_seed(seed)
    made = []
    for shape in SHAPES:
        parts = [synthetic_pairs(clean, shape, BATCH, generator, AUGMENT)[:2] for _ in range(POOL // BATCH)]
        fixed, moving = (torch.cat(part) for part in zip(*parts, strict=True))
        made.append(WindowBatch(pd.DataFrame(), fixed, moving, shape.search, shape.centre))
    return TrainingData(stack_tiles(tiles, torch.device("cpu")), SHAPES, made)


@app.command
def correlation(*, prototype: Path, minutes: float = 10, seeds: int = 10, every: int = 1) -> None:
    """Print a row for each seed: errors on the test pairs after training from random weights without labels.

    Args:
        prototype: folder of the prototype; nothing is written there.
        minutes: CPU minutes of training.
        seeds: how many.
        every: take every so-many-th batch of the test pairs; an odd number.
    """
    print_heading("seed", "steps", "CPU min", "median, px", "> 2 px, %", "untrained: median, px", "> 2 px, %", "collapsed")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        common, _, _ = load_prototype(prototype.resolve())
        truth = make_truth(common, Path(folder), 777, every)
        for seed in range(seeds):
            torch.manual_seed(seed)
            model = CorrelationNetwork()
            before = test_errors(model, common, truth)
            steps = round(minutes * 60 / seconds_per_step(seed))
            loop = start_loop(model, seed, steps)
            start = time.process_time()
            while loop.done < steps and time.process_time() - start < 60 * minutes:
                loop.step()
            after = test_errors(model, common, truth)
            row = (seed, loop.done, f"{(time.process_time() - start) / 60:.1f}", *numbers(after), *numbers(before))
            print("|", " | ".join(map(str, (*row, collapsed(after, 13.3)))), "|", flush=True)


def start_loop(model: CorrelationNetwork, seed: int, steps: int) -> Loop:
    """A training loop at its first step."""
    generator = torch.Generator().manual_seed(seed)
    return Loop(model, [unlabelled(seed)], generator, steps=steps, batch=BATCH, learning_rate=RATE)


def seconds_per_step(seed: int) -> float:
    """CPU seconds of one step of training."""
    loop = start_loop(CorrelationNetwork(), seed, 20)
    start = time.process_time()
    for _ in range(12):
        loop.step()
    return (time.process_time() - start) / 12


@torch.no_grad()
def test_errors(model: CorrelationNetwork, common: object, truth: object) -> np.ndarray:
    """The corner errors (n,), px, on the test pairs."""
    return measure("test pairs", partial(ours, model.eval()), common, truth, (0, 0)).error


def print_heading(*columns: str) -> None:
    """Print the head of a table."""
    print("|", " | ".join(columns), "|\n" + "|---" * len(columns) + "|", flush=True)


def numbers(errors: np.ndarray) -> tuple[str, str]:
    """Median and % over 2 px, as text."""
    return f"{np.median(errors):.3f}", f"{100 * np.mean(errors > 2):.1f}"


def collapsed(errors: np.ndarray, nominal: float) -> str:
    """Whether the median error is less than 20 % below that without registration, px."""
    return "yes" if not np.median(errors) < 0.8 * nominal else "no"


@app.command
def dlir(*, grid: Path, steps: int = 500, seeds: int = 10) -> None:
    """Print a row for each seed: errors of the architecture of the paper on the pairs that it was trained on.

    Args:
        grid: folder of `make_tiles.py`.
        steps: of training.
        seeds: how many.
    """
    print_heading("seed", "CPU min", "nominal: median, px", "trained: median, px", "95 %, px", "collapsed")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = grids.run_to_pairs(*grids.settings_of_grid(grid), folder)[:3]
        found = list(pairs_with_truth(grid, *files))
        nominal = np.concatenate([errors(batch, nominal_affine(batch), true) for batch, true in found])
        for seed in range(seeds):
            settings = Train(model=None, share=False, architecture="dlir", start="random", similarity="global", steps=steps,
                             batch=BATCH, learning_rate=RATE, processes=1, seed=seed)  # fmt: skip
            start = time.process_time()
            train([files[0]], [files[1]], [files[2]], folder / "model.pt", settings=settings, device="cpu")
            minutes = (time.process_time() - start) / 60
            model = checkpoint.load(folder / "model.pt", torch.device("cpu"))
            with torch.no_grad():
                trained = np.concatenate([errors(b, model(b.fixed, b.moving, b.search, b.centre).affine, t) for b, t in found])
            middle, high = np.quantile(trained, (0.5, 0.95))
            row = (seed, f"{minutes:.1f}", f"{np.median(nominal):.2f}", f"{middle:.2f}", f"{high:.2f}")
            print("|", " | ".join(map(str, (*row, collapsed(trained, float(np.median(nominal)))))), "|", flush=True)


def pairs_with_truth(grid: Path, listed: Path, flat: Path, found: Path) -> Iterable[tuple[WindowBatch, Tensor]]:
    """All pairs in batches, with the true affines (b, 2, 3), fixed px to moving px about the centres of the windows.

    The tiles of the grid must not be turned, so that every true affine is a shift.
    """
    table = tables.read(listed, tables.TILES)
    truth = pd.read_csv(grid / "truth.csv").assign(name=lambda t: t["path"].map(lambda p: Path(p).name)).set_index("name")
    place = truth.loc[[Path(path).name for path in table["path"]], ["y0", "x0"]].set_axis(table["tile"])
    for batch in batches(
        tables.read(found, tables.PAIRS), TilePlanes(table, fields.read(flat, table)), POOL, torch.device("cpu")
    ):
        rows = batch.rows
        fixed, moving = (
            place.loc[rows[end]].to_numpy() + rows[[f"{end}_y", f"{end}_x"]].to_numpy() for end in ("fixed", "moving")
        )
        yield batch, shifts(fixed - moving)


def nominal_affine(batch: WindowBatch) -> Tensor:
    """The affines (b, 2, 3) that the stage gives."""
    return shifts(expected_shift(batch.rows))


def shifts(offsets: np.ndarray) -> Tensor:
    """Affines (n, 2, 3) of offsets (n, 2)."""
    return torch.cat([torch.eye(2).expand(len(offsets), 2, 2), torch.from_numpy(offsets).float()[:, :, None]], -1)


def errors(batch: WindowBatch, affine: Tensor, true: Tensor) -> np.ndarray:
    """The corner errors (b,), px."""
    return corner_error(affine, true, *batch.fixed.shape[-2:]).numpy()


if __name__ == "__main__":
    app()
