"""Training of the registration network on the user's own tiles, without any label.

What is learnt from are pairs with known warps cut from the tiles (`warps.py`), in the shape of the real overlaps. Some tiles
are held out: on them the error before and after training is measured, and the weights that do better are kept, so that
training never harms. The held-out errors also set the scale of the network's covariance.
"""

import logging
import math
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dlir import network, tables
from dlir.correlation import ROTATIONS, SCALES
from dlir.crops import Planes, displacement
from dlir.network import COARSE, CorrelationNetwork, Estimate
from dlir.progress import progress
from dlir.settings import Train
from dlir.similarity import corner_error
from dlir.warps import Known, Shape, Specimen, known_pairs, specimen

log = logging.getLogger(__name__)
TILES = 64  # at most, of each dataset: more cost memory and teach little
LONGEST, WIDEST = 256, 128  # sides of the crops in training, px; the network takes any size afterwards
HELD_OUT = 0.15  # of the tiles
CHECKS = 8  # batches of known warps that judge the weights


def train(
    tiles: list[Path],
    illumination: list[Path],
    pairs: list[Path],
    output: Path,
    *,
    settings: Train,
    device: str = "auto",
) -> None:
    """Train on one or more datasets and write the model to `output`.

    Args:
        tiles, illumination, pairs: one file each for every dataset, in the same order.
        device: cpu, cuda, mps, or auto.
    """
    place = network.choose_device(device)
    torch.manual_seed(settings.seed)
    generator = torch.Generator(device=place).manual_seed(settings.seed)
    sources = [_source(*files, place, settings.seed) for files in zip(tiles, illumination, pairs, strict=True)]
    sources = [source for source in sources if source.shapes]
    model = CorrelationNetwork().to(place)
    if not sources:
        log.warning("no dataset has a pair to learn from: the untrained network is written")
    elif settings.steps:
        model = _better(model, sources, settings, generator)
    output.parent.mkdir(parents=True, exist_ok=True)
    network.save(model, settings.model_dump(), output)


class Source:
    """One dataset to learn from: tiles to train on, tiles held out, and the shapes of its overlaps."""

    def __init__(self, learn: Specimen, held: Specimen, shapes: list[Shape]) -> None:
        self.learn, self.held, self.shapes = learn, held, shapes


def _source(tiles: Path, illumination: Path, pairs: Path, device: torch.device, seed: int) -> Source:
    table, rows = tables.read(tiles, tables.TILES), tables.read(pairs, tables.PAIRS)
    planes = Planes(table, illumination)
    chosen = np.random.default_rng(seed).permutation(table["tile"].to_numpy())[:TILES]
    images = [planes.plane(int(tile)) for tile in chosen]
    held = max(1, round(HELD_OUT * len(images)))
    learn = images[held:] or images
    shapes = [shape for _, group in rows.groupby("side") if (shape := _shape(group, images[0].shape))]
    return Source(specimen(learn, device), specimen(images[:held], device), shapes)


def _shape(rows: pd.DataFrame, tile: tuple[int, ...]) -> Shape | None:
    """The geometry of training crops for pairs of one side, turned so that the long side is x; None where no crop fits."""
    height, width = int(rows["height"].median()), int(rows["width"].median())
    centre, search = np.median(displacement(rows), axis=0), float(rows["search"].median())
    if height > width:
        height, width, centre = width, height, centre[::-1]
    width = min(width, LONGEST, int(min(tile) - search) // network.MULTIPLE * network.MULTIPLE)
    height = min(height, WIDEST, width)
    narrower = min(rows[["height", "width"]].median()) - height
    centre = np.array([min(0.0, centre[0] + narrower), 0.0])
    return Shape(height, width, search, (float(centre[0]), float(centre[1]))) if height >= network.MULTIPLE else None


def _better(
    model: CorrelationNetwork, sources: list[Source], settings: Train, generator: torch.Generator
) -> CorrelationNetwork:
    """Train, and return the weights with the smaller error on the held-out tiles."""
    checks = _checks(sources, settings, generator)
    before, start = _judge(model, checks), {name: value.clone() for name, value in model.state_dict().items()}
    log.info("untrained: median error %.3f px on %d held-out known warps", before, sum(len(c[1].fixed) for c in checks))
    _fit(model, sources, settings, generator)
    after = _judge(model, checks)
    log.info("trained: median error %.3f px", after)
    if not after < before:
        log.warning("training did not lower the held-out error: the weights from before are kept")
        model.load_state_dict(start)
        _judge(model, checks)
    return model


def _checks(sources: list[Source], settings: Train, generator: torch.Generator) -> list[tuple[Shape, Known]]:
    kinds = [(source, shape) for source in sources for shape in source.shapes]
    chosen = [kinds[i % len(kinds)] for i in range(max(CHECKS, len(kinds)))]
    return [(shape, known_pairs(source.held, shape, settings.batch, generator)) for source, shape in chosen]


@torch.no_grad()
def _judge(model: CorrelationNetwork, checks: list[tuple[Shape, Known]]) -> float:
    """The median corner error, px, on known warps; sets the scale of the covariance by those that were found."""
    model.eval()
    model.covariance_scale.fill_(1.0)
    errors, ratios = [], []
    for shape, known in checks:
        found = model(known.fixed, known.moving, shape.search, shape.centre)
        errors.append(corner_error(found.affine, known.affine, shape.height, shape.width))
        shift = (found.affine - known.affine)[:, :, 2]
        ratios.append((shift**2).sum(1) / (found.covariance[:, 2, 2] + found.covariance[:, 5, 5]))
    error, ratio = torch.cat(errors), torch.cat(ratios)
    # the median of chi squared over two with two degrees of freedom is log 2
    scale = ratio[error < 2].median() / math.log(2) if (error < 2).any() else ratio.new_ones(())
    model.covariance_scale.fill_(float(scale.clamp(min=1e-3)))
    return float(error.median())


def _fit(model: CorrelationNetwork, sources: list[Source], settings: Train, generator: torch.Generator) -> None:
    kinds = [(source, shape) for source in sources for shape in source.shapes]
    optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=1e-4)
    warm = min(50, settings.steps // 4 + 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda i: min(1.0, (i + 1) / warm) * (0.51 + 0.49 * math.cos(math.pi * min(1.0, i / settings.steps)))
    )
    model.train()
    for step in progress(range(settings.steps), "training"):
        source, shape = kinds[step % len(kinds)]
        known = known_pairs(source.learn, shape, settings.batch, generator)
        loss = known_loss(model(known.fixed, known.moving, shape.search, shape.centre), known, shape)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if torch.isfinite(norm):  # a flat crop may have no gradient
            optimizer.step()
        schedule.step()


def known_loss(found: Estimate, known: Known, shape: Shape) -> Tensor:
    """Cross-entropy of the coarse search and the corner errors, px, of all stages; large errors count by their logarithm."""
    assert found.logits is not None
    target = _target(known.affine, found.logits.shape[-1], shape.centre)
    loss = -0.3 * (target * found.logits.flatten(1).log_softmax(1).view_as(target)).sum((1, 2, 3, 4)).mean()
    for affine, weight in zip(found.steps, (0.2, 0.2, 1.0), strict=True):
        error = (corner_error(affine, known.affine, shape.height, shape.width) ** 2 + 0.01).sqrt()
        loss = loss + weight * torch.where(error < 3, error, 3 + torch.log1p(error.clamp(min=3) - 3)).mean()
    return loss


def _target(affine: Tensor, size: int, centre: tuple[float, float]) -> Tensor:
    """The probability (b, rotations, scales, size, size) that the coarse search should give."""

    def near(values: Tensor, true: Tensor, deviation: float) -> Tensor:
        return (-((values - true[:, None]) ** 2) / (2 * deviation**2)).softmax(1)

    shift = (torch.arange(size) - (size - 1) / 2).to(affine) * COARSE
    y, x = (shift + round(c / COARSE) * COARSE for c in centre)
    parts = (
        near(torch.tensor(ROTATIONS).to(affine), affine[:, 0, 1], 0.004),
        near(torch.tensor(SCALES).to(affine), affine[:, 1, 1] - 1, 0.006),
        near(y, affine[:, 0, 2], 2.0),
        near(x, affine[:, 1, 2], 2.0),
    )
    return torch.einsum("na,nb,nd,ne->nabde", *parts)
