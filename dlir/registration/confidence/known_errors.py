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
from dlir.registration.pairs.synthetic import Augment, Shape, TileStack, overlap_shape, piece, stack_tiles, synthetic_pairs
from dlir.registration.pairs.windows import TilePlanes, pooled, pooling
from dlir.registration.settings import Selfcheck

MOST_TILES = 12  # from which windows are cut: enough to represent a dataset
LONGEST = 256  # px, of a window
BATCH = 8  # synthetic pairs that are registered at a time
LARGE_ERROR = 2.0  # px, of the column over_2px
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
    """Returns the errors for each side and method (tables.SELFCHECK); `selfcheck.py` describes the arguments.

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
            errors = _errors(source, shape, methods, settings.count, generator, chosen_device)
            found += [_row(str(name), method, values.numpy()) for method, values in errors.items()]
    return pd.DataFrame(found, columns=list(tables.SELFCHECK.columns))


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
    step = int(pooling(pd.DataFrame([shape[:2]], columns=["height", "width"]))[0])
    for start in range(0, count, BATCH):
        synthetic = synthetic_pairs(source, shape, min(BATCH, count - start), generator, AUGMENT)
        fixed, moving = synthetic.fixed.to(device), synthetic.moving.to(device)
        for name, method in methods.items():
            affine = _registered(method, fixed, moving, shape, step if name == "network" else 1)
            errors[name].append(corner_error(affine, synthetic.affine, shape.height, shape.width))
    return {name: torch.cat(parts) for name, parts in errors.items()}


def _registered(method: Method, fixed: Tensor, moving: Tensor, shape: Shape, step: int) -> Tensor:
    """The affines (b, 2, 3) of windows (b, 1, h, w), which are pooled by `step` as those of real pairs are."""
    centre = (shape.centre[0] / step, shape.centre[1] / step)
    affine = method(pooled(fixed, step), pooled(moving, step), shape.search / step, centre).affine.float().cpu()
    return affine * torch.tensor([1.0, 1.0, step])


def _row(side: str, method: str, errors: np.ndarray) -> dict[str, object]:
    """Returns a row of tables.SELFCHECK from corner errors (n,), px."""
    median, p95 = np.quantile(errors, [0.5, 0.95])
    over = float(np.mean(errors > LARGE_ERROR))
    return {"side": side, "method": method, "pairs": len(errors), "median": median, "p95": p95, "over_2px": over}
