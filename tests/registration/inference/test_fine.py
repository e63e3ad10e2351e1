"""The exact look at pairs: from nearly right to exact, and pixels that show nothing count for little."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from support.grids import Grid, make_grid
from support.specimens import crops

from dlir.core import affine, tables
from dlir.illumination import fields
from dlir.registration.inference.cache import EstimateCache
from dlir.registration.inference.fine import _weight, refine_overlaps
from dlir.registration.pairs.windows import TilePlanes

SHIFT = ["var_y", "cov_yx", "var_x"]


def nearly(grid: Grid, off: float) -> pd.DataFrame:
    """The pairs with their true affines, but for shifts of `off` px, as accepted."""
    pairs = tables.read(grid.pairs, tables.PAIRS)
    fixed, moving = (grid.truth[pairs[end]] for end in ("fixed", "moving"))
    true = affine.compose(affine.translation([off, -off]), affine.compose(affine.invert(fixed), moving))
    centre = pairs[["moving_y", "moving_x"]].to_numpy() + pairs[["height", "width"]].to_numpy() / 2
    told = {"centre_y": centre[:, 0], "centre_x": centre[:, 1], **dict.fromkeys([*SHIFT, *tables.LINEAR_COVARIANCE], 1.0)}
    return pairs[["pair", "fixed", "moving", "side"]].assign(**affine.to_columns(true), **told, accepted=True)


def look(grid: Grid, found: pd.DataFrame, kept: Path | None = None, told: pd.DataFrame | None = None) -> pd.DataFrame:
    """The exact look at what was found, where that itself or `told` says."""
    table, found = tables.read(grid.tiles, tables.TILES), found.copy()
    there = affine.from_table(found if told is None else told)
    recall, planes = EstimateCache(kept, table), TilePlanes(table, fields.read(grid.illumination, table))
    refine_overlaps(found, there, table, cache=recall, linear=0.01, planes=planes, device=torch.device("cpu"))
    recall.write()
    return found


def test_pairs_become_exact(grid: Grid) -> None:
    found = nearly(grid, 0.4)
    assert grid.errors(found).min() > 0.5
    assert grid.errors(look(grid, found)).max() < 0.05


@pytest.mark.parametrize("noise", [3.0, 200.0, 400.0])
def test_the_variance_is_that_of_the_errors(tmp_path: Path, noise: float) -> None:
    grid = make_grid(tmp_path, 4, 4, noise)
    found = look(grid, nearly(grid, 0.1))
    ratio = grid.errors(found) ** 2 / (found["var_y"] + found["var_x"])
    assert 0.3 < np.median(ratio) / np.log(2) < 2  # which is the median of an exponential distribution


def test_pairs_that_are_rejected_or_found_elsewhere_stay(grid: Grid) -> None:
    found = nearly(grid, 1.0).assign(accepted=lambda table: table["pair"] > 0)
    pd.testing.assert_frame_equal(look(grid, found), found)


def test_a_pair_is_looked_for_where_the_others_put_it(grid: Grid) -> None:
    found = look(grid, nearly(grid, 3.0), told=nearly(grid, 0.4))
    assert grid.errors(found).max() < 0.05


def test_what_was_known_before_tells_pairs_apart(grid: Grid, tmp_path: Path) -> None:
    first = look(grid, nearly(grid, 0.4), tmp_path / "kept.npz")
    again = look(grid, nearly(grid, 0.4), tmp_path / "kept.npz")
    pd.testing.assert_frame_equal(first, again)
    assert (grid.errors(look(grid, nearly(grid, 3.0), tmp_path / "kept.npz")) > 3).all()  # too far to be found


def test_pixels_of_noise_count_for_little() -> None:
    fixed, moving = crops(np.eye(2, 3), 64, 256)
    there = torch.zeros_like(fixed)
    there[..., :64] = 3.0
    torch.manual_seed(0)
    weight = _weight(*(image * there + torch.randn_like(image) for image in (fixed, moving)), torch.ones_like(fixed))
    assert weight[..., 16:48].mean() > 0.8
    assert weight[..., 112:].mean() < 0.2
