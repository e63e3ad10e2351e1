"""Training of the registration network on the user's own tiles, without any label.

It starts from the generic weights of the package. What is learnt from are pairs with known warps cut from the tiles
(`warps.py`), in the shape of the real overlaps, and the likeness of the real pairs after registration (`losses.py`). Some
tiles are held out: on known warps of them the network is judged in between, its best weights are kept, and training stops
when they no longer improve. Where they are not clearly better than at the start, the start is kept: training never harms.
The architecture dlir learns from the real pairs alone, all of them, and is judged by their likeness after registration.
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
MOST = 64  # tiles, and pairs, of each dataset: more cost memory and teach little
WIDEST = 128  # px across, of the crops in training; the network takes any size afterwards
HELD_OUT = 0.15  # of the tiles
CHECKS = 12  # batches of known warps that judge the weights
CHECK_EVERY = 50  # steps
PATIENCE = 4  # checks without a better error, after which training stops
SEEDS = 1_000_003  # between those of two ranks
LOST = 3.0  # px: an error larger than this is not worse than this


class Checks(NamedTuple):
    """What a network is judged on: known warps, or else the likeness of real pairs."""

    known: list[tuple[Shape, SyntheticPairs]]
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
    """Train on one or more datasets; write the model to `output` and its history beside it, as a CSV.

    A run that was cut off goes on from `output` with the ending .state, where data and settings are still the same. Several
    processes train together where `torchrun` started them (`distributed.py`); rank 0 alone writes.

    Args:
        tiles, illumination, pairs: one file each for every dataset, in the same order.
        device: cpu, cuda, mps, or auto.
        key: a text that says with what this was trained, written beside `output` with the ending .key.
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
    """The model and its history (tables.HISTORY); `datasets` are the tiles, illumination and pairs of each."""
    torch.manual_seed(settings.seed)
    model = _start(settings, place)
    if not settings.steps:
        return model, []
    generator = torch.Generator(device=place).manual_seed(settings.seed)
    sources, checks = [], Checks([], [])
    for files in datasets:
        learn, judge = _sources(*files, place, settings)
        sources.append(learn)
        checks.known.extend(_known(judge, settings.batch, generator))
        checks.real.extend(judge.real)
    if not checks.known and not checks.real:
        log.warning("no dataset has a pair to learn from: the network stays as it is")
        return model, []
    if rank := distributed.rank():  # rank 0 goes on as one that is alone
        generator.manual_seed(settings.seed + SEEDS * rank)
    chosen = settings.model_dump(include={"steps", "batch", "learning_rate", "similarity"})
    return model, _improve(Loop(model, sources, generator, **chosen), checks, settings, output.with_suffix(".state"))


def _start(settings: Train, device: torch.device) -> Network:
    if settings.start == "generic" and settings.architecture == "correlation":
        return checkpoint.load(checkpoint.GENERIC, device)
    return checkpoint.ARCHITECTURES[settings.architecture]().to(device)


def _sources(
    tiles: Path, illumination: Path, pairs: Path, device: torch.device, settings: Train
) -> tuple[TrainingData, TrainingData]:
    """What is learnt from in one dataset, and what the network is judged on.

    The architecture dlir can learn nothing but its own pairs: it learns from all of them, and is judged on them.
    """
    table, rows = tables.read(tiles, tables.TILES), tables.read(pairs, tables.PAIRS)
    planes = TilePlanes(table, fields.read(illumination, table))
    chosen = np.random.default_rng(settings.seed).permutation(table["tile"].to_numpy())[:MOST]
    images = [planes.plane(int(tile)) for tile in chosen]
    held = max(1, round(HELD_OUT * len(images)))
    learn, judge = (stack_tiles(part, device) for part in (images[held:] or images, images[:held]))
    if settings.architecture == "dlir":
        real = list(batches(rows, planes, len(rows), device)) if len(rows) else []
        return TrainingData(learn, [], real), TrainingData(judge, [], real)
    free = rows[~rows[["fixed", "moving"]].isin(chosen[:held]).any(axis=1)]
    shapes = [shape for _, group in rows.groupby("side") if (shape := overlap_shape(group, images[0].shape, LONGEST, WIDEST))]
    return TrainingData(learn, shapes, list(batches(free.head(MOST), planes, MOST, device))), TrainingData(judge, shapes, [])


def _known(held: TrainingData, batch: int, generator: torch.Generator) -> list[tuple[Shape, SyntheticPairs]]:
    """SyntheticPairs warps of the tiles that are held out."""
    shapes = [held.shapes[i % len(held.shapes)] for i in range(CHECKS if held.shapes else 0)]
    return [(shape, synthetic_pairs(held.tiles, shape, batch, generator)) for shape in shapes]


def _improve(loop: Loop, checks: Checks, settings: Train, state: Path) -> list[dict[str, Any]]:
    """Train the loop's model and leave the best weights in it; the history (tables.HISTORY)."""
    model, key = loop.model, _key(checks, settings)
    start = distributed.decided_by_rank_zero(lambda: _errors(model, checks))
    best, history = start, [_row(0, float("nan"), start, checks)]
    weights = start_weights = _copy(model)
    log.info("before training: %s", _words(start, checks))
    if (saved := distributed.decided_by_rank_zero(lambda: _resumable(state, key))) is not None:
        loop.restore(saved["loop"])
        best, weights, history = saved["best"], saved["weights"], saved["history"]
        log.info("going on from step %d, where training was cut off", loop.done)
    losses, since = [], 0
    for _ in progress(range(loop.done, settings.steps), "training"):
        losses.append(loop.step())
        if loop.done % CHECK_EVERY and loop.done < settings.steps:
            continue
        errors = distributed.decided_by_rank_zero(lambda: _errors(model, checks))
        history.append(_row(loop.done, float(np.mean(losses)), errors, checks))
        losses, since = [], since + 1
        if errors.mean() < best.mean():
            best, weights, since = errors, _copy(model), 0
        if since == PATIENCE:
            log.info("no better for %d steps: training stops", PATIENCE * CHECK_EVERY)
            break
        saved = {"key": key, "loop": loop.state(), "best": best, "weights": weights, "history": history}
        if distributed.rank() == 0:
            with atomically(state) as partial:
                torch.save(saved, partial)
    log.info("best: %s", _words(best, checks))
    if not _clearly_better(best, start):
        log.warning("that is not clearly better than at the start: those weights are kept")
        weights = start_weights
    model.load_state_dict(weights)
    return history


@torch.no_grad()
def _errors(model: Network, checks: Checks) -> Tensor:
    """The corner errors (n,), px, on known warps, none larger than LOST; without any, 1 - NCC of the real pairs."""
    model.eval()
    if not checks.known:
        return torch.cat([_unlikeness(model, batch) for batch in checks.real]).cpu()
    found = [model(known.fixed, known.moving, shape.search, shape.centre).affine for shape, known in checks.known]
    both = zip(found, checks.known, strict=True)
    errors = [corner_error(affine, known.affine, shape.height, shape.width) for affine, (shape, known) in both]
    return torch.cat(errors).nan_to_num(LOST).clamp(max=LOST).cpu()


def _unlikeness(model: Network, pairs: WindowBatch) -> Tensor:
    affine = model(pairs.fixed, pairs.moving, pairs.search, pairs.centre).affine
    return 1 - multiscale_score(masked_ncc, frequency_bands(pairs.fixed), frequency_bands(pairs.moving), affine)


def _clearly_better(errors: Tensor, before: Tensor) -> bool:
    """Whether the mean error fell by more than its standard error."""
    gain = before - errors
    return bool(gain.mean() > gain.std() / len(gain) ** 0.5)


def _words(errors: Tensor, checks: Checks) -> str:
    if not checks.known:
        return f"median NCC {1 - float(errors.median()):.3f} of {len(errors)} pairs"
    lost = 100 * float((errors >= LOST).float().mean())
    return f"median error {float(errors.median()):.3f} px on {len(errors)} known warps of held-out tiles, {lost:.0f} % lost"


def _row(step: int, loss: float, errors: Tensor, checks: Checks) -> dict[str, Any]:
    judged = {"median": float(errors.median()), "mean": float(errors.mean())}
    return {"step": step, "loss": loss, "measure": "corner error, px" if checks.known else "1 - NCC", **judged}


def _copy(model: Network) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def _key(checks: Checks, settings: Train) -> str:
    """What a run that goes on must have in common with the one that was cut off."""
    digest = hashlib.sha256(json.dumps(settings.model_dump(), sort_keys=True).encode())
    for fixed in (*(known.fixed for _, known in checks.known), *(pairs.fixed for pairs in checks.real)):
        digest.update(fixed.cpu().numpy().tobytes())
    return digest.hexdigest()


def _resumable(path: Path, key: str) -> dict[str, Any] | None:
    """The saved state of a run with the same key; None without one."""
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except Exception as error:  # torch raises many classes on a damaged file
        log.warning("%s is damaged (%s): training starts anew", path, error)
        return None
    return content if content.get("key") == key else None
