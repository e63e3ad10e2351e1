"""How far registration is off on the user's own tiles, measured where the truth is known.

Crops in the shape of the overlaps are cut from the tiles under random affines like those between neighbours (`warps.py`), and
registered by the network, by phase correlation, and not at all. The places with more to see are preferred, since nobody can
register an empty crop; the noise of the tiles is split between both crops, which leaves each with twice its variance, so that
the errors are not flattered. What the camera adds to every tile at the same place is not measured here.
"""

import logging
import math
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dlir.core import tables
from dlir.illumination import fields
from dlir.registration.model.checkpoint import choose_device
from dlir.registration.model.estimate import Estimate, Method
from dlir.registration.model.methods import load_method
from dlir.registration.model.phase_correlation import phase
from dlir.registration.model.warping import corner_error
from dlir.registration.pairs.synthetic import Augment, Shape, TileStack, overlap_shape, stack_tiles, synthetic_pairs
from dlir.registration.pairs.windows import TilePlanes
from dlir.registration.settings import Selfcheck

log = logging.getLogger(__name__)
MOST = 24  # tiles: enough to represent a dataset
BATCH = 8
WRONG = 2.0  # px: the column over_2px
AS_TAKEN = Augment(noise=(0.01, 0.01), zoom=(1.0, 1.0), dirt=0.0)  # hardly any noise besides the tiles' own


def selfcheck(
    tiles: Path,
    illumination: Path,
    pairs: Path,
    output: Path,
    *,
    model: Path | None = None,
    method: str = "network",
    settings: Selfcheck = Selfcheck(),
    device: str = "auto",
) -> None:
    """Measure registration on known pairs and write the errors by side (tables.SELFCHECK) to `output`.

    The crops are made on the CPU, and so are the same on every device. Without a model the network is left out; without
    pairs, or where no crop fits into a tile, the table is empty.

    Args:
        method: what is measured beside phase correlation: the network, or a function of your own (`model/methods.py`).

    Raises:
        ModelError: when the model cannot be read.
        MethodError: when `method` names a function that cannot be imported.
    """
    place = choose_device(device)
    methods: dict[str, Method] = {"phase": phase, "none": none}
    if model or method not in ("network", "phase"):
        methods = {method: load_method(method, model, place), **methods}
    table, rows = tables.read(tiles, tables.TILES), tables.read(pairs, tables.PAIRS)
    size = (int(table["height"].iloc[0]), int(table["width"].iloc[0]))
    shapes = {side: shape for side, group in rows.groupby("side") if (shape := overlap_shape(group, size))}
    found = []
    if shapes:
        chosen = np.random.default_rng(settings.seed).permutation(table["tile"].to_numpy())[:MOST]
        planes = TilePlanes(table, fields.read(illumination, table))
        source = stack_tiles([planes.plane(int(tile)) for tile in chosen], torch.device("cpu"))
        generator = torch.Generator().manual_seed(settings.seed)
        for side, shape in shapes.items():
            errors = _errors(source, shape, methods, settings.count, generator, place)
            found += [_row(str(side), method, values.numpy()) for method, values in errors.items()]
    tables.write(pd.DataFrame(found, columns=list(tables.SELFCHECK.columns)), tables.SELFCHECK, output)
    for row in found:
        log.info("%(side)s, %(method)s: median error %(median).2f px, 95 %% below %(p95).2f px", row)


def none(
    fixed: Tensor, moving: Tensor, search: float, centre: tuple[float, float] = (0.0, 0.0), linear: float = math.inf
) -> Estimate:
    """No registration: every pair of crops (b, 1, h, w) lies where the stage says."""
    affine = torch.tensor([[1.0, 0.0, centre[0]], [0.0, 1.0, centre[1]]]).repeat(len(fixed), 1, 1)
    return Estimate(affine.to(fixed), torch.zeros(len(fixed), 6, 6).to(fixed), torch.zeros(len(fixed)).to(fixed))


@torch.no_grad()
def _errors(
    source: TileStack, shape: Shape, methods: dict[str, Method], count: int, generator: torch.Generator, device: torch.device
) -> dict[str, Tensor]:
    """The corner errors (count,), px, of each method on the same known pairs."""
    errors: dict[str, list[Tensor]] = {name: [] for name in methods}
    for start in range(0, count, BATCH):
        known = synthetic_pairs(source, shape, min(BATCH, count - start), generator, AS_TAKEN)
        fixed, moving = known.fixed.to(device), known.moving.to(device)
        for name, method in methods.items():
            affine = method(fixed, moving, shape.search, shape.centre).affine.float().cpu()
            errors[name].append(corner_error(affine, known.affine, shape.height, shape.width))
    return {name: torch.cat(parts) for name, parts in errors.items()}


def _row(side: str, method: str, errors: np.ndarray) -> dict[str, object]:
    median, p95 = np.quantile(errors, [0.5, 0.95])
    over = float(np.mean(errors > WRONG))
    return {"side": side, "method": method, "pairs": len(errors), "median": median, "p95": p95, "over_2px": over}
