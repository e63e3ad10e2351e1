"""The generic weights that come with the package: trained once, on images of every kind, and the start of every training.

The pairs are known warps with independent noise from hardly any to six times the signal, gain, shading, and dirt that lies
at the same place of both crops, as on a camera, and so says nothing of their offset. At the end the network learns what its
own answers are worth, on pairs that may show as little as those of a user. The weights in the package went on from earlier ones
several times: their file says from which, and how each was made (`checkpoint.settings_of`).
"""

import hashlib
import logging
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dlir.core.progress import progress
from dlir.reading.image_files import Plane
from dlir.registration.model import checkpoint
from dlir.registration.model.network import CorrelationNetwork
from dlir.registration.pairs.synthetic import Augment, Shape, TileStack, synthetic_pairs
from dlir.registration.training.loop import Loop, TrainingData
from dlir.registration.training.losses import uncertainty_loss
from dlir.registration.training.pretraining_images import pretraining_images

log = logging.getLogger(__name__)
SPECIMENS = 48
SHAPES = [Shape(h, w, 16.0, c) for h, w, c in ((64, 256, (0.0, 0.0)), (64, 320, (-8.0, 0.0)), (96, 224, (0.0, 0.0)))]
JUDGED, JUDGING_RATE = 16, 0.02  # pairs a step and learning rate of what covariance and confidence learn
DECAY = 0.9997  # a step, of the running mean of the weights
AUGMENT = Augment(noise=(0.12, 6.0), zoom=(0.3, 1.15), dirt=0.5, tries=2)


@checkpoint.full_precision()
def pretrain(
    output: Path,
    *,
    start: list[Path] | None = None,
    steps: int = 11000,
    judging: int = 500,
    batch: int = 8,
    learning_rate: float = 0.002,
    seed: int = 1,
    device: str = "auto",
) -> None:
    """Train the generic weights and write them to `output`; the same arguments on the same machine give the same weights.

    What is written is a running mean of the weights over the last steps (Polyak and Juditsky 1992), which errs less than the
    last of them.

    Args:
        start: weights to go on from, the mean of them where there are several; random ones without.
        judging: steps at the end, for covariance and confidence.

    Raises:
        ModelError: when `start` cannot be read.
    """
    place = checkpoint.choose_device(device)
    torch.manual_seed(seed)
    generator = torch.Generator(device=place).manual_seed(seed)
    planes = list(pretraining_images(SPECIMENS, seed))
    tiles = torch.stack([torch.from_numpy((plane - plane.mean()) / plane.std()) for plane in planes])[:, None].to(place)
    source = TrainingData(TileStack(tiles, torch.zeros_like(tiles)), SHAPES, [])
    model = _mean([checkpoint.load(path, place) for path in start]) if start else CorrelationNetwork().to(place)
    loop = Loop(model, [source], generator, steps=steps, batch=batch, learning_rate=learning_rate, augment=AUGMENT)
    mean = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(DECAY))  # type: ignore[no-untyped-call]
    losses: deque[float] = deque(maxlen=100)
    for _ in progress(range(steps), "training"):
        losses.append(loop.step())
        mean.update_parameters(model)
        if loop.done % 500 == 0:
            log.info("step %d: mean loss of the last 100 %.3f", loop.done, np.mean(losses))
    model.load_state_dict(mean.module.state_dict())
    if isinstance(model, CorrelationNetwork):
        _judge(model, source, generator, judging)
    settings: dict[str, Any] = {
        "steps": steps,
        "judging": judging,
        "batch": batch,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    settings["sources_sha256"] = fingerprint(planes)
    if start:
        settings["start"] = [checkpoint.settings_of(path) for path in start]
    checkpoint.save(model, settings, output)


def _mean(models: list[checkpoint.Network]) -> checkpoint.Network:
    """The first of the models with the mean of the weights of all."""
    weights = [model.state_dict() for model in models]
    models[0].load_state_dict({name: torch.stack([each[name] for each in weights]).mean(0) for name in weights[0]})
    return models[0]


def _judge(model: CorrelationNetwork, source: TrainingData, generator: torch.Generator, steps: int) -> None:
    """Train covariance and confidence alone."""
    model.eval().requires_grad_(False)
    heads = [
        parameter.requires_grad_() for head in (model.deviation_head, model.confidence_head) for parameter in head.parameters()
    ]
    optimizer = torch.optim.Adam(heads, JUDGING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for i in progress(range(steps), "judging"):
        shape = source.shapes[i % len(source.shapes)]
        known = synthetic_pairs(source.tiles, shape, JUDGED, generator, AUGMENT._replace(tries=1))
        optimizer.zero_grad()
        found = model(known.fixed, known.moving, shape.search, shape.centre)
        torch.autograd.backward(uncertainty_loss(found, known, shape))
        optimizer.step()
        schedule.step()
    model.requires_grad_(True)


def fingerprint(planes: list[Plane]) -> str:
    """The SHA-256 of the sources in 8 bit, so that the last bits of a machine's arithmetic do not show."""
    return hashlib.sha256(b"".join(np.rint(150 * plane).astype(np.uint8).tobytes() for plane in planes)).hexdigest()
