"""Trains a network on what it misses, and keeps the trained weights only where they are better.

The network is trained only where it misses pairs that it could find (`judge.py`), unless the setting `when` says otherwise. It
learns from synthetic pairs, which are cut from the tiles in the shape of the real overlaps (`lessons.py`), and from the NCC of
the real pairs after registration (`losses.py`). Every CHECK_EVERY steps the network is checked on synthetic pairs of tiles that
are held out. The best weights are kept, and training stops when they no longer improve. When they are not clearly better there
than the weights at the start, or are worse on the real pairs, those at the start are kept, so that training never does harm.

The architecture dlir learns from all real pairs alone, and is checked by their NCC.
"""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dlir.core.atomic import atomically
from dlir.core.progress import progress
from dlir.registration.model.checkpoint import Network
from dlir.registration.model.ncc import frequency_bands, masked_ncc, multiscale_score
from dlir.registration.model.warping import corner_error
from dlir.registration.pairs.synthetic import Shape, SyntheticPairs, stack_tiles
from dlir.registration.pairs.windows import COARSEST, WindowBatch, batches
from dlir.registration.settings import Train
from dlir.registration.training import distributed, judge
from dlir.registration.training.lessons import MOST, Source, check_pairs, training_data
from dlir.registration.training.loop import Loop, TrainingData

log = logging.getLogger(__name__)
LOOKED_AT, LOOK_BATCHES, LOOK_BATCH = 16, 4, 8  # tiles, and batches of so many synthetic pairs, that decide on training
JUDGED = 8  # real pairs at a time, on which two networks are compared
CHECK_BATCHES = 12  # batches of synthetic pairs in a check
CHECK_EVERY = 50  # steps between checks
PATIENCE = 4  # checks without improvement, after which training stops
SEED_STRIDE = 1_000_003  # between the seeds of two processes
LOST = 3.0  # px: larger errors count as this one, since a pair that is lost cannot be lost more
STATE_FORMAT = b"3"  # of the file .state; a training that was interrupted with another format starts anew

Weights = dict[str, Tensor]


class Checks(NamedTuple):
    """The pairs that a network is checked on: synthetic ones, or real ones where there are no synthetic ones."""

    synthetic: list[tuple[Shape, SyntheticPairs]]
    real: list[WindowBatch]


def improve(model: Network, sources: list[Source], settings: Train, place: torch.device, state: Path) -> list[dict[str, Any]]:
    """Trains a model in place where that can win anything, and keeps the weights only where they are better.

    Args:
        sources: what it may learn from.
        place: the device of the model.
        state: the file from which an interrupted training resumes.

    Returns:
        the history (tables.HISTORY); empty where the weights are used without a look at the tiles.
    """
    if settings.when == "never" or not settings.steps:
        log.info("train.%s: the weights are used as they are", "when is never" if settings.steps else "steps is 0")
        return []
    generator = torch.Generator(device=place).manual_seed(settings.seed)
    if settings.when == "auto" and settings.architecture == "correlation":
        found = distributed.decided_by_rank_zero(lambda: _first_look(model, sources, settings, place))
        if found is not None:
            share = float(found.missed.float().mean())
            words = f"the network misses {found.missed.sum()} of {len(found.missed)} synthetic pairs that it could find"
            decision = f"{'not ' if share < judge.WORTHWHILE else ''}trained: {words}"
            log.info("%s (it is trained from %.0f %% on)", decision, 100 * judge.WORTHWHILE)
            if share < judge.WORTHWHILE:
                return [_history_row(0, float("nan"), found.error.clamp(max=LOST), True, decision)]
    learnt, checks = [], Checks([], [])
    for source in sources:
        learn, check = training_data(source, place, settings)
        learnt.append(learn)
        checks.synthetic.extend(check_pairs(check, CHECK_BATCHES, settings.batch, generator))
        checks.real.extend(check.real)
    if not checks.synthetic and not checks.real:
        log.warning("no dataset has a pair to learn from: the network is not trained")
        return []
    if rank := distributed.rank():  # rank 0 draws what a process alone would draw
        generator.manual_seed(settings.seed + SEED_STRIDE * rank)
    chosen = settings.model_dump(include={"steps", "batch", "learning_rate", "similarity"})
    start = _copy(model)
    history, better = _train(Loop(model, learnt, generator, **chosen), checks, settings, state)
    fault = "" if better else "on synthetic pairs it is not clearly better"
    if better and checks.synthetic:
        fault = distributed.decided_by_rank_zero(lambda: _fault(model, start, sources, checks, place))
    if fault:
        log.warning("the trained network is not used: %s; the weights from before training are kept", fault)
        model.load_state_dict(start)
    words = "it is better on synthetic pairs, and no worse on real ones" if checks.synthetic else "real pairs match better"
    history[-1]["decision"] = f"not kept: {fault}" if fault else f"kept: {words}"
    return history


def _first_look(model: Network, sources: list[Source], settings: Train, place: torch.device) -> judge.OnSynthetic | None:
    """What the network at the start finds in a few synthetic pairs of all datasets; None where there are none."""
    generator = torch.Generator(device=place).manual_seed(settings.seed)
    checks = []
    for source in sources:
        if source.shapes:
            stack = stack_tiles([source.image(tile) for tile in source.tiles[:LOOKED_AT]], place)
            source.planes.forget()  # those of many datasets would fill the memory
            few = max(1, LOOK_BATCHES // len(sources))
            checks += check_pairs(TrainingData(stack, source.shapes, []), few, LOOK_BATCH, generator)
    return judge.on_synthetic(model, checks) if checks else None


def _fault(model: Network, start: Weights, sources: list[Source], checks: Checks, place: torch.device) -> str:
    """In what the trained model is worse than it was with the weights at the start; empty where it is in nothing."""
    found, trained = [], _copy(model)
    try:
        for weights in (trained, start):
            model.load_state_dict(weights)
            real = [
                judge.on_real(model, batches(source.pairs.head(MOST), source.planes, JUDGED, place, coarsest=COARSEST), seed)
                for seed, source in enumerate(sources)
                if len(source.pairs)
            ]
            found.append((judge.on_synthetic(model, checks.synthetic), real))
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        return "some of its covariances make no sense"
    finally:
        model.load_state_dict(trained)
    (now, now_real), (before, before_real) = found
    faults = [judge.worse(now, before, *each) for each in zip(now_real, before_real, strict=True)]
    return next(filter(None, faults), "")


def _train(loop: Loop, checks: Checks, settings: Train, state: Path) -> tuple[list[dict[str, Any]], bool]:
    """Trains the model of the loop and leaves the best weights in it.

    Returns:
        the history (tables.HISTORY), and whether the model is clearly better than before.

    Args:
        state: the file from which an interrupted training resumes.
    """
    model, key = loop.model, _key(checks, settings)
    start = distributed.decided_by_rank_zero(lambda: _errors(model, checks))
    synthetic = bool(checks.synthetic)
    best, history = start, [_history_row(0, float("nan"), start, synthetic)]
    weights = _copy(model)
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
        history.append(_history_row(loop.done, float(np.mean(losses)), errors, synthetic))
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
    model.load_state_dict(weights)
    return history, _clearly_better(best, start)


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


def _history_row(step: int, loss: float, errors: Tensor, synthetic: bool, decision: str = "") -> dict[str, Any]:
    measured = {"median": float(errors.median()), "mean": float(errors.mean())}
    measure = "corner error, px" if synthetic else "1 - NCC"
    return {"step": step, "loss": loss, "measure": measure, **measured, "decision": decision or None}


def _copy(model: Network) -> Weights:
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
