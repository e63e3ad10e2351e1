"""How large the errors of registration are on the user's tiles, by synthetic pairs: those of the network and of other methods.

Windows in the shape of the overlaps are cut from the tiles under random affines like those between neighbours
(`pairs/synthetic.py`), so the truth is known. Places with more structure are preferred, since no method can register an empty
window. The noise of the tiles is split between both windows; each then has twice the variance of a tile, so the errors are not
too optimistic. A pattern of the camera, which lies at the same place of every tile, is not part of these errors. Nor is the
fine registration, which follows on real pairs and makes them more exact.

Only as much is cut from a tile as a window and its search need, and long windows are cut short: a few crops tell enough.
"""

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
from dlir.registration.pairs.neighbours import MULTIPLE
from dlir.registration.pairs.planes import TilePlanes
from dlir.registration.pairs.synthetic import Augment, Shape, TileStack, overlap_shape, piece, stack_tiles, synthetic_pairs
from dlir.registration.pairs.windows import pooled, pooling
from dlir.registration.settings import Selfcheck

MOST_TILES = 12  # from which windows are cut: enough to represent a dataset
LONGEST = 256  # px, of a window
BATCH = 8  # synthetic pairs that are registered at a time
AUGMENT = Augment(noise=(0.01, 0.01), zoom=(1.0, 1.0), dirt=0.0)  # hardly any noise is added to that of the tiles


def known_errors(
    tiles: Path,
    illumination: Path,
    pairs: Path,
    *,
    model: Path | None,
    method: str,
    settings: Selfcheck,
    device: str,
) -> pd.DataFrame:
    """Returns the error of each synthetic pair by each method (tables.KNOWN_PAIRS); `selfcheck.py` describes the arguments.

    The windows are cut from tiles of the usual size. They are made on the CPU, so they are the same on every device.
    """
    chosen_device = choose_device(device)
    methods: dict[str, Method] = {"phase": phase, "none": none}
    if model or method not in ("network", "phase"):
        methods = {method: load_method(method, model, chosen_device), **methods}
    tile_table, pair_table = read_table(tiles), tables.read(pairs, tables.PAIRS)
    usual = tables.of_usual_size(tile_table)
    size = tables.sizes(usual)[0].tolist()
    shapes = {side: shape for side, group in pair_table.groupby("side") if (shape := overlap_shape(group, size, LONGEST))}
    found = []
    if shapes:
        random = np.random.default_rng(settings.seed)
        sample = random.permutation(usual["tile"].to_numpy())[:MOST_TILES]
        planes = TilePlanes(tile_table, fields.read(illumination, tile_table))
        side = max(shape.width + 2 * math.ceil(shape.search) for shape in shapes.values()) // MULTIPLE * MULTIPLE
        source = stack_tiles([piece(planes.plane(int(tile)), side, random) for tile in sample], torch.device("cpu"))
        generator = torch.Generator().manual_seed(settings.seed)
        for name, shape in shapes.items():
            found += _registered(source, str(name), shape, methods, settings.count, generator, chosen_device)
    if not found:
        return pd.DataFrame(columns=list(tables.KNOWN_PAIRS.columns))
    return pd.concat(found, ignore_index=True).sort_values(["side", "pair"], kind="stable", ignore_index=True)


def none(
    fixed: Tensor, moving: Tensor, search: float, centre: tuple[float, float] = (0.0, 0.0), linear: float = math.inf
) -> Estimate:
    """A method (`estimate.Method`) that registers nothing: every pair of windows (b, 1, h, w) lies where the stage says."""
    affine = torch.tensor([[1.0, 0.0, centre[0]], [0.0, 1.0, centre[1]]]).repeat(len(fixed), 1, 1)
    return Estimate(affine.to(fixed), torch.zeros(len(fixed), 6, 6).to(fixed), torch.zeros(len(fixed)).to(fixed))


@torch.no_grad()
@full_precision()
def _registered(
    source: TileStack,
    side: str,
    shape: Shape,
    methods: dict[str, Method],
    count: int,
    generator: torch.Generator,
    device: torch.device,
) -> list[pd.DataFrame]:
    """Returns rows of tables.KNOWN_PAIRS: what each method makes of the same synthetic pairs of a side."""
    found = []
    pooled_by = int(pooling(pd.DataFrame([(side, *shape[:2])], columns=["side", "height", "width"]))[0])
    for start in range(0, count, BATCH):
        synthetic = synthetic_pairs(source, shape, min(BATCH, count - start), generator, AUGMENT)
        fixed, moving = synthetic.fixed.to(device), synthetic.moving.to(device)
        for name, method in methods.items():
            affine, confidence = _estimate(method, fixed, moving, shape, pooled_by if name == "network" else 1)
            error = corner_error(affine, synthetic.affine, shape.height, shape.width)
            pair = range(start, start + len(error))
            columns = {"error": error.numpy().astype(float).round(4), "confidence": confidence.numpy().astype(float).round(4)}
            found.append(pd.DataFrame({"side": side, "pair": pair, "method": name, **columns}))
    return found


def _estimate(method: Method, fixed: Tensor, moving: Tensor, shape: Shape, step: int) -> tuple[Tensor, Tensor]:
    """The affines (b, 2, 3) and the confidences (b,) of windows (b, 1, h, w), pooled by `step` as those of real pairs are."""
    centre = (shape.centre[0] / step, shape.centre[1] / step)
    estimate = method(pooled(fixed, step), pooled(moving, step), shape.search / step, centre)
    return estimate.affine.float().cpu() * torch.tensor([1.0, 1.0, step]), estimate.confidence.float().cpu()
