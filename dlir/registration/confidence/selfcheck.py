"""The step `selfcheck`: how large the errors of registration are on the user's own tiles, measured on synthetic pairs.

Windows in the shape of the overlaps are cut from the tiles under random affines like those between neighbours
(`pairs/synthetic.py`), so the truth is known. They are registered by the network, by phase correlation, and not at all. Places
with more structure are preferred, since no method can register an empty window. The noise of the tiles is split between both
windows; each then has twice the variance of a tile, so the errors are not too optimistic. A pattern of the camera, which lies
at the same place of every tile, is not part of these errors.
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
from dlir.reading.tile_reader import read_table
from dlir.registration.model.checkpoint import choose_device, full_precision
from dlir.registration.model.estimate import Estimate, Method
from dlir.registration.model.methods import load_method
from dlir.registration.model.phase_correlation import phase
from dlir.registration.model.warping import corner_error
from dlir.registration.pairs.synthetic import Augment, Shape, TileStack, overlap_shape, stack_tiles, synthetic_pairs
from dlir.registration.pairs.windows import TilePlanes
from dlir.registration.settings import Selfcheck

log = logging.getLogger(__name__)
MOST_TILES = 24  # from which windows are cut: enough to represent a dataset
BATCH = 8  # synthetic pairs that are registered at a time
LARGE_ERROR = 2.0  # px, of the column over_2px
AUGMENT = Augment(noise=(0.01, 0.01), zoom=(1.0, 1.0), dirt=0.0)  # hardly any noise is added to that of the tiles


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
    """Measures registration on synthetic pairs and writes the errors for each side (tables.SELFCHECK) to `output`.

    The windows are cut from tiles of the usual size. They are made on the CPU, so they are the same on every device. Without a
    model the network is left out. Without pairs, or where no window fits into a tile, the table is empty.

    Args:
        tiles, illumination, pairs: files of earlier steps: tiles.csv, illumination.tif and pairs.csv.
        model: the file of the network.
        method: what is measured beside phase correlation: the network, or a function of your own (`model/methods.py`).
        device: cpu, cuda, mps, or auto for the fastest of the machine.

    Raises:
        ModelError: when the model cannot be read.
        MethodError: when `method` names a function that cannot be imported.
    """
    chosen_device = choose_device(device)
    methods: dict[str, Method] = {"phase": phase, "none": none}
    if model or method not in ("network", "phase"):
        methods = {method: load_method(method, model, chosen_device), **methods}
    tile_table, pair_table = read_table(tiles), tables.read(pairs, tables.PAIRS)
    usual = tables.of_usual_size(tile_table)
    size = tables.sizes(usual)[0].tolist()
    shapes = {side: shape for side, group in pair_table.groupby("side") if (shape := overlap_shape(group, size))}
    found = []
    if shapes:
        sample = np.random.default_rng(settings.seed).permutation(usual["tile"].to_numpy())[:MOST_TILES]
        planes = TilePlanes(tile_table, fields.read(illumination, tile_table))
        source = stack_tiles([planes.plane(int(tile)) for tile in sample], torch.device("cpu"))
        generator = torch.Generator().manual_seed(settings.seed)
        for side, shape in shapes.items():
            errors = _errors(source, shape, methods, settings.count, generator, chosen_device)
            found += [_row(str(side), method, values.numpy()) for method, values in errors.items()]
    tables.write(pd.DataFrame(found, columns=list(tables.SELFCHECK.columns)), tables.SELFCHECK, output)
    for row in found:
        log.info("%(side)s, %(method)s: median error %(median).2f px, 95 %% below %(p95).2f px", row)


def none(
    fixed: Tensor, moving: Tensor, search: float, centre: tuple[float, float] = (0.0, 0.0), linear: float = math.inf
) -> Estimate:
    """A method (`estimate.Method`) that registers nothing: every pair of windows (b, 1, h, w) lies where the stage says."""
    affine = torch.tensor([[1.0, 0.0, centre[0]], [0.0, 1.0, centre[1]]]).repeat(len(fixed), 1, 1)
    return Estimate(affine.to(fixed), torch.zeros(len(fixed), 6, 6).to(fixed), torch.zeros(len(fixed)).to(fixed))


@torch.no_grad()
@full_precision()
def _errors(
    source: TileStack, shape: Shape, methods: dict[str, Method], count: int, generator: torch.Generator, device: torch.device
) -> dict[str, Tensor]:
    """Returns the corner errors (count,), px, of each method, all on the same synthetic pairs."""
    errors: dict[str, list[Tensor]] = {name: [] for name in methods}
    for start in range(0, count, BATCH):
        synthetic = synthetic_pairs(source, shape, min(BATCH, count - start), generator, AUGMENT)
        fixed, moving = synthetic.fixed.to(device), synthetic.moving.to(device)
        for name, method in methods.items():
            affine = method(fixed, moving, shape.search, shape.centre).affine.float().cpu()
            errors[name].append(corner_error(affine, synthetic.affine, shape.height, shape.width))
    return {name: torch.cat(parts) for name, parts in errors.items()}


def _row(side: str, method: str, errors: np.ndarray) -> dict[str, object]:
    """Returns a row of tables.SELFCHECK from corner errors (n,), px."""
    median, p95 = np.quantile(errors, [0.5, 0.95])
    over = float(np.mean(errors > LARGE_ERROR))
    return {"side": side, "method": method, "pairs": len(errors), "median": median, "p95": p95, "over_2px": over}
