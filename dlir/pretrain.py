"""The generic weights that come with the package: trained once, on images of every kind, and the start of every training.

The pairs are known warps with independent noise from hardly any to four times the signal, gain, shading, and dirt that lies
at the same place of both crops, as on a camera, and so says nothing of their offset.
"""

import hashlib
import logging
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dlir import network
from dlir.correlation_network import CorrelationNetwork
from dlir.images import Plane
from dlir.loop import Loop, Source
from dlir.progress import progress
from dlir.sources import sources
from dlir.warps import Augment, Shape, Specimen

log = logging.getLogger(__name__)
SPECIMENS = 48
SHAPES = [Shape(h, w, 16.0, c) for h, w, c in ((64, 256, (0.0, 0.0)), (64, 320, (-8.0, 0.0)), (96, 224, (0.0, 0.0)))]
AUGMENT = Augment(noise=(0.12, 4.0), zoom=(0.6, 1.15), dirt=0.5)


def pretrain(
    output: Path, *, steps: int = 12000, batch: int = 8, learning_rate: float = 0.002, seed: int = 1, device: str = "auto"
) -> None:
    """Train the generic weights and write them to `output`; the same arguments on the same machine give the same weights."""
    place = network.choose_device(device)
    torch.manual_seed(seed)
    generator = torch.Generator(device=place).manual_seed(seed)
    planes = list(sources(SPECIMENS, seed))
    tiles = torch.stack([torch.from_numpy((plane - plane.mean()) / plane.std()) for plane in planes])[:, None].to(place)
    source = Source(Specimen(tiles, torch.zeros_like(tiles)), SHAPES, [])
    model = CorrelationNetwork().to(place)
    loop = Loop(model, [source], generator, steps=steps, batch=batch, learning_rate=learning_rate, augment=AUGMENT)
    losses: deque[float] = deque(maxlen=100)
    for _ in progress(range(steps), "training"):
        losses.append(loop.step())
        if loop.done % 500 == 0:
            log.info("step %d: mean loss of the last 100 %.3f", loop.done, np.mean(losses))
    settings: dict[str, Any] = {"steps": steps, "batch": batch, "learning_rate": learning_rate, "seed": seed}
    settings["sources_sha256"] = fingerprint(planes)
    network.save(model, settings, output)


def fingerprint(planes: list[Plane]) -> str:
    """The SHA-256 of the sources in 8 bit, so that the last bits of a machine's arithmetic do not show."""
    return hashlib.sha256(b"".join(np.rint(150 * plane).astype(np.uint8).tobytes() for plane in planes)).hexdigest()
