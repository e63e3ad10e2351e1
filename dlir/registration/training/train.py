"""The step `train`: trains the registration network on the user's own tiles, without labels.

Training starts from the generic weights of the package. The network learns from synthetic pairs, which are cut from the tiles
in the shape of the real overlaps, and from the NCC of the real pairs after registration (`losses.py`). Some tiles are held out:
every CHECK_EVERY steps the network is checked on synthetic pairs of them. The best weights are kept, and training stops when
they no longer improve. When they are not clearly better than the weights at the start, those are kept, so that training never
does harm.

The architecture dlir learns from all real pairs alone, and is checked by their NCC.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dlir.core import tables
from dlir.core.atomic import atomically, write_key
from dlir.core.progress import progress
from dlir.illumination import fields
from dlir.reading.tile_reader import read_table
from dlir.registration.model import checkpoint
from dlir.registration.model.checkpoint import Network
from dlir.registration.model.ncc import frequency_bands, masked_ncc, multiscale_score
from dlir.registration.model.warping import corner_error
from dlir.registration.pairs.synthetic import Shape, SyntheticPairs, overlap_shape, stack_tiles, synthetic_pairs
from dlir.registration.pairs.windows import TilePlanes, WindowBatch, batches
from dlir.registration.settings import Train
from dlir.registration.training import distributed
from dlir.registration.training.loop import LONGEST, Loop, TrainingData

log = logging.getLogger(__name__)
MOST = 64  # tiles of each dataset, and as many pairs: more need more memory and teach little
WIDEST = 128  # px, short side of the windows in training; the trained network registers windows of any size
HELD_OUT = 0.15  # fraction of the tiles that the network is checked on
CHECK_BATCHES = 12  # batches of synthetic pairs in a check
CHECK_EVERY = 50  # steps between checks
PATIENCE = 4  # checks without improvement, after which training stops
SEED_STRIDE = 1_000_003  # between the seeds of two processes
LOST = 3.0  # px: larger errors count as this one, since a pair that is lost cannot be lost more


STATE_FORMAT = b"2"  # of the file .state; a training that was interrupted with another format starts anew


class Checks(NamedTuple):
    """The pairs that a network is checked on: synthetic ones, or real ones where there are no synthetic ones."""

    synthetic: list[tuple[Shape, SyntheticPairs]]
    real: list[WindowBatch]


def train(
    tiles: list[Path],
    illumination: list[Path],
    pairs: list[Path],
    output: Path,
    *,
    settings: Train = Train(),
    device: str = "auto",
    key: str | None = None,
) -> None:
    """Trains on one or more datasets; writes the model to `output`, and its history (tables.HISTORY) beside it as a CSV.

    An interrupted run resumes from the file `output` with the ending .state, as long as data and settings are the same. Several
    processes train together when `torchrun` started them (`distributed.py`); then only rank 0 writes.

    Args:
        tiles, illumination, pairs: one file of each for every dataset, in the same order.
        device: cpu, cuda, mps, or auto.
        key: text that identifies what the model was trained with; it is written beside `output` with the ending .key.

    Raises:
        RankError: when the number of processes or of GPUs is not that of the settings.
    """
    with checkpoint.full_precision(), distributed.process_group(device, settings.processes) as place:
        output.parent.mkdir(parents=True, exist_ok=True)
        model, history = _trained([*zip(tiles, illumination, pairs, strict=True)], output, settings, place)
        if distributed.rank() == 0:
            found = pd.DataFrame(history, columns=list(tables.HISTORY.columns))
            tables.write(found, tables.HISTORY, output.with_suffix(".csv"))
            read = tiles if settings.steps else []
            learnt = [sha256 for file in read for sha256 in tables.read(file, tables.TILES)["sha256"]]
            checkpoint.save(model, settings.model_dump() | {"tiles": learnt}, output)
            write_key(output, key)
            output.with_suffix(".state").unlink(missing_ok=True)


def _trained(
    datasets: list[tuple[Path, Path, Path]], output: Path, settings: Train, place: torch.device
) -> tuple[Network, list[dict[str, Any]]]:
    """The model and its history (tables.HISTORY); `datasets` are the tiles, illumination and pairs of each dataset."""
    model = _initial_network(settings, place)
    if not settings.steps:
        log.info("train.steps is 0: the weights are used as they are")
        return model, []
    generator = torch.Generator(device=place).manual_seed(settings.seed)
    learnt, checks = [], Checks([], [])
    for files in datasets:
        learn, check = _training_data(*files, place, settings)
        learnt.append(learn)
        checks.synthetic.extend(_check_pairs(check, settings.batch, generator))
        checks.real.extend(check.real)
    if not checks.synthetic and not checks.real:
        log.warning("no dataset has a pair to learn from: the network is not trained")
        return model, []
    if rank := distributed.rank():  # rank 0 draws what a process alone would draw
        generator.manual_seed(settings.seed + SEED_STRIDE * rank)
    chosen = settings.model_dump(include={"steps", "batch", "learning_rate", "similarity"})
    return model, _improve(Loop(model, learnt, generator, **chosen), checks, settings, output.with_suffix(".state"))


def _initial_network(settings: Train, device: torch.device) -> Network:
    if settings.start == "generic" and settings.architecture == "correlation":
        return checkpoint.load(checkpoint.GENERIC, device)
    return checkpoint.untrained(settings.architecture, settings.seed).to(device)


def _training_data(
    tiles: Path, illumination: Path, pairs: Path, device: torch.device, settings: Train
) -> tuple[TrainingData, TrainingData]:
    """What the network learns from in one dataset, and what it is checked on.

    The architecture dlir can only learn its own pairs, so it learns from all of them, and is checked on them.
    """
    table, rows = read_table(tiles), tables.read(pairs, tables.PAIRS)
    planes = TilePlanes(table, fields.read(illumination, table))
    chosen = np.random.default_rng(settings.seed).permutation(tables.of_usual_size(table)["tile"].to_numpy())[:MOST]
    images = [planes.plane(int(tile)) for tile in chosen]
    count = max(1, round(HELD_OUT * len(images)))
    learn, held_out = (stack_tiles(part, device) for part in (images[count:] or images, images[:count]))
    if settings.architecture == "dlir":
        real = list(batches(rows, planes, len(rows), device)) if len(rows) else []
        return TrainingData(learn, [], real), TrainingData(held_out, [], real)
    free = rows[~rows[["fixed", "moving"]].isin(chosen[:count]).any(axis=1)]
    shapes = [shape for _, group in rows.groupby("side") if (shape := overlap_shape(group, images[0].shape, LONGEST, WIDEST))]
    real = list(batches(free.head(MOST), planes, MOST, device))
    return TrainingData(learn, shapes, real), TrainingData(held_out, shapes, [])


def _check_pairs(held_out: TrainingData, batch: int, generator: torch.Generator) -> list[tuple[Shape, SyntheticPairs]]:
    """Batches of synthetic pairs of the tiles that are held out, with the shape of each."""
    shapes = [held_out.shapes[i % len(held_out.shapes)] for i in range(CHECK_BATCHES if held_out.shapes else 0)]
    return [(shape, synthetic_pairs(held_out.tiles, shape, batch, generator)) for shape in shapes]


def _improve(loop: Loop, checks: Checks, settings: Train, state: Path) -> list[dict[str, Any]]:
    """Trains the model of the loop and leaves the best weights in it; returns the history (tables.HISTORY).

    Args:
        state: the file from which an interrupted training resumes.
    """
    model, key = loop.model, _key(checks, settings)
    start = distributed.decided_by_rank_zero(lambda: _errors(model, checks))
    best, history = start, [_history_row(0, float("nan"), start, checks)]
    weights = start_weights = _copy(model)
    log.info("before training: %s", _summary(start, checks))
    if (saved := distributed.decided_by_rank_zero(lambda: _resumable(state, key))) is not None:
        loop.restore(saved["loop"])
        best, weights, history = saved["best"], saved["weights"], saved["history"]
        log.info("training was interrupted: it resumes after step %d", loop.done)
    losses, without_gain = [], 0
    for _ in progress(range(loop.done, settings.steps), "training the network"):
        losses.append(loop.step())
        if loop.done % CHECK_EVERY and loop.done < settings.steps:
            continue
        errors = distributed.decided_by_rank_zero(lambda: _errors(model, checks))
        history.append(_history_row(loop.done, float(np.mean(losses)), errors, checks))
        losses, without_gain = [], without_gain + 1
        if errors.mean() < best.mean():
            best, weights, without_gain = errors, _copy(model), 0
        if without_gain == PATIENCE:
            log.info("training stops: it has not improved for %d steps", PATIENCE * CHECK_EVERY)
            break
        saved = {"key": key, "loop": loop.state(), "best": best, "weights": weights, "history": history}
        if distributed.rank() == 0:
            with atomically(state) as partial:
                torch.save(saved, partial)
    log.info("after training: %s", _summary(best, checks))
    if not _clearly_better(best, start):
        log.warning("training did not clearly improve the network: the weights from before training are kept")
        weights = start_weights
    model.load_state_dict(weights)
    return history


@torch.no_grad()
def _errors(model: Network, checks: Checks) -> Tensor:
    """The corner errors (n,), px, on synthetic pairs, at most LOST; without any, 1 - NCC of the real pairs."""
    model.eval()
    if not checks.synthetic:
        return torch.cat([_dissimilarity(model, batch) for batch in checks.real]).cpu()
    found = [model(pairs.fixed, pairs.moving, shape.search, shape.centre).affine for shape, pairs in checks.synthetic]
    both = zip(found, checks.synthetic, strict=True)
    errors = [corner_error(affine, pairs.affine, shape.height, shape.width) for affine, (shape, pairs) in both]
    return torch.cat(errors).nan_to_num(LOST).clamp(max=LOST).cpu()


def _dissimilarity(model: Network, pairs: WindowBatch) -> Tensor:
    """1 - NCC (b,) of real pairs after registration."""
    affine = model(pairs.fixed, pairs.moving, pairs.search, pairs.centre).affine
    return 1 - multiscale_score(masked_ncc, frequency_bands(pairs.fixed), frequency_bands(pairs.moving), affine)


def _clearly_better(errors: Tensor, before: Tensor) -> bool:
    """Whether the mean error (n,) fell by more than the standard error of that difference."""
    gain = before - errors
    return bool(gain.mean() > gain.std() / len(gain) ** 0.5)


def _summary(errors: Tensor, checks: Checks) -> str:
    if not checks.synthetic:
        return f"the median NCC of {len(errors)} pairs is {1 - float(errors.median()):.3f}"
    lost = 100 * float((errors >= LOST).float().mean())
    held_out = f"on {len(errors)} synthetic pairs of held-out tiles"
    return f"the median error is {float(errors.median()):.3f} px {held_out}, and {lost:.0f} % err by {LOST:.0f} px or more"


def _history_row(step: int, loss: float, errors: Tensor, checks: Checks) -> dict[str, Any]:
    measured = {"median": float(errors.median()), "mean": float(errors.mean())}
    return {"step": step, "loss": loss, "measure": "corner error, px" if checks.synthetic else "1 - NCC", **measured}


def _copy(model: Network) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _key(checks: Checks, settings: Train) -> str:
    """A hash of the settings and of the pairs in the checks; only a run with the same hash may resume from a state."""
    digest = hashlib.sha256(STATE_FORMAT + json.dumps(settings.model_dump(), sort_keys=True).encode())
    for fixed in (*(pairs.fixed for _, pairs in checks.synthetic), *(pairs.fixed for pairs in checks.real)):
        digest.update(fixed.cpu().numpy().tobytes())
    return digest.hexdigest()


def _resumable(path: Path, key: str) -> dict[str, Any] | None:
    """The saved state of an interrupted run with the same key; None without one."""
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except Exception as error:  # torch raises many classes on a damaged file
        log.warning("%s is damaged (%s): training starts again from the beginning", path, error)
        return None
    return content if content.get("key") == key else None
