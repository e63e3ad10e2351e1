"""Makes the generic weights that come with the package: trained on images of many kinds, they are the start of every training.

The network learns from synthetic pairs. Their noise is between a tenth of the signal and six times as strong. Gain and shading
differ between the two windows. Some windows show dirt at the same pixels, as dirt on a camera does, which says nothing of the
shift. At the end covariance and confidence are trained alone, on windows that may show as little as those of a user.

The weights in the package were trained in several runs, each of which started from the last. The file holds how each was made
(`model_settings.py`).
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
from dlir.registration.model.model_settings import settings_of
from dlir.registration.model.network import CorrelationNetwork
from dlir.registration.pairs.synthetic import Augment, Shape, TileStack, synthetic_pairs
from dlir.registration.training.loop import Loop, TrainingData
from dlir.registration.training.losses import uncertainty_loss
from dlir.registration.training.pretraining_images import pretraining_images

log = logging.getLogger(__name__)
SPECIMENS = 48  # procedural images beside the packaged ones
SHAPES = [Shape(h, w, 16.0, c) for h, w, c in ((64, 256, (0.0, 0.0)), (64, 320, (-8.0, 0.0)), (96, 224, (0.0, 0.0)))]
AUGMENT = Augment(noise=(0.12, 6.0), zoom=(0.3, 1.15), dirt=0.5, tries=2)
DECAY = 0.9997  # per step, of the running mean of the weights
LOG_EVERY = 500  # steps
LOSSES = 100  # last losses whose mean is logged
UNCERTAINTY_BATCH, UNCERTAINTY_RATE = 16, 0.02  # pairs per step, and learning rate, when covariance and confidence are trained


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
    """Trains the generic weights and writes them to `output`; the same arguments on the same machine give the same weights.

    The result is a running mean of the weights over the last steps, which errs less than the weights of the last step (Polyak
    and Juditsky 1992).

    Args:
        start: model files to start from, at the mean of their weights; without any, training starts from random weights.
        steps: of the whole network.
        judging: steps at the end, of covariance and confidence alone.
        batch: pairs per step.

    Raises:
        ModelError: when a file in `start` cannot be read.
    """
    place = checkpoint.choose_device(device)
    generator = torch.Generator(device=place).manual_seed(seed)
    planes = list(pretraining_images(SPECIMENS, seed))
    tiles = torch.stack([torch.from_numpy((plane - plane.mean()) / plane.std()) for plane in planes])[:, None].to(place)
    data = TrainingData(TileStack(tiles, torch.zeros_like(tiles)), SHAPES, [])
    loaded = [checkpoint.load(path, place) for path in start or []]
    model = _mean(loaded) if loaded else checkpoint.untrained("correlation", seed).to(place)
    loop = Loop(model, [data], generator, steps=steps, batch=batch, learning_rate=learning_rate, augment=AUGMENT)
    mean = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(DECAY))  # type: ignore[no-untyped-call]
    losses: deque[float] = deque(maxlen=LOSSES)
    for _ in progress(range(steps), "training the network"):
        losses.append(loop.step())
        mean.update_parameters(model)
        if loop.done % LOG_EVERY == 0:
            log.info("step %d: the mean loss of the last %d steps is %.3f", loop.done, len(losses), np.mean(losses))
    model.load_state_dict(mean.module.state_dict())
    if isinstance(model, CorrelationNetwork):
        _train_uncertainty(model, data, generator, judging)
    settings: dict[str, Any] = {
        "steps": steps,
        "judging": judging,
        "batch": batch,
        "learning_rate": learning_rate,
        "seed": seed,
    }
    settings["sources_sha256"] = fingerprint(planes)
    if start:
        settings["start"] = [settings_of(path) for path in start]
    checkpoint.save(model, settings, output)


def _mean(models: list[checkpoint.Network]) -> checkpoint.Network:
    """The first of the models, with the mean of the weights of all."""
    weights = [model.state_dict() for model in models]
    models[0].load_state_dict({name: torch.stack([each[name] for each in weights]).mean(0) for name in weights[0]})
    return models[0]


def _train_uncertainty(model: CorrelationNetwork, data: TrainingData, generator: torch.Generator, steps: int) -> None:
    """Trains the two heads of covariance and confidence; all other weights stay as they are."""
    model.eval().requires_grad_(False)
    heads = [*model.deviation_head.parameters(), *model.confidence_head.parameters()]
    for parameter in heads:
        parameter.requires_grad_()
    optimizer = torch.optim.Adam(heads, UNCERTAINTY_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for i in progress(range(steps), "training covariance and confidence"):
        shape = data.shapes[i % len(data.shapes)]
        pairs = synthetic_pairs(data.tiles, shape, UNCERTAINTY_BATCH, generator, AUGMENT._replace(tries=1))
        optimizer.zero_grad()
        found = model(pairs.fixed, pairs.moving, shape.search, shape.centre)
        torch.autograd.backward(uncertainty_loss(found, pairs, shape))
        optimizer.step()
        schedule.step()
    model.requires_grad_(True)


def fingerprint(planes: list[Plane]) -> str:
    """Returns the SHA-256 of images, rounded to 8 bit, so that the last bits of a machine's arithmetic do not change it."""
    return hashlib.sha256(b"".join(np.rint(150 * plane).astype(np.uint8).tobytes() for plane in planes)).hexdigest()
