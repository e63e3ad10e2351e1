"""The fine registration: it makes nearly right pairs exact, and pixels without structure have little weight."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from support.grids import Grid, make_grid, record
from support.specimens import crops

from dlir.core import affine, tables
from dlir.illumination import fields
from dlir.registration.inference.cache import EstimateCache
from dlir.registration.inference.fine import excess_variance, pixel_weight, refine_overlaps
from dlir.registration.model.lucas_kanade import refine
from dlir.registration.pairs import windows
from dlir.registration.pairs.planes import TilePlanes

SHIFT_COVARIANCE = ["var_y", "cov_yx", "var_x"]


def true_pairs(grid: Grid, error: float) -> pd.DataFrame:
    """The pairs, all accepted (tables.AFFINES), with their true affines but for an `error` of the shift, px on each axis."""
    pairs = tables.read(grid.pairs, tables.PAIRS)
    fixed, moving = (grid.truth[pairs[end]] for end in ("fixed", "moving"))
    affines = affine.compose(affine.translation([error, -error]), affine.compose(affine.invert(fixed), moving))
    centre = pairs[["moving_y", "moving_x"]].to_numpy() + pairs[["height", "width"]].to_numpy() / 2
    covariances = dict.fromkeys([*SHIFT_COVARIANCE, *tables.LINEAR_COVARIANCE], 1.0) | dict.fromkeys(tables.BOW, np.nan)
    return pairs[["pair", "fixed", "moving", "side"]].assign(
        **affine.to_columns(affines), centre_y=centre[:, 0], centre_x=centre[:, 1], **covariances, accepted=True
    )


def refined(
    grid: Grid, found: pd.DataFrame, cache_file: Path | None = None, predicted: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The pairs after the fine registration, which starts at `predicted`, or else at the pairs themselves."""
    tiles, found = tables.read(grid.tiles, tables.TILES), found.copy()
    start = affine.from_table(found if predicted is None else predicted)
    cache, planes = EstimateCache(cache_file, tiles), TilePlanes(tiles, fields.read(grid.illumination, tiles))
    refine_overlaps(found, start, tiles, cache=cache, linear=0.01, planes=planes, device=torch.device("cpu"))
    cache.write()
    return found


def test_pairs_become_exact(grid: Grid) -> None:
    found = true_pairs(grid, 0.4)
    assert grid.errors(found).min() > 0.5
    assert grid.errors(refined(grid, found)).max() < 0.05


def test_very_large_overlaps_are_pooled_and_stay_exact(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "MOST_PIXELS", 4000)  # so that all overlaps of this grid are pooled
    monkeypatch.setattr(windows, "NARROWEST", 8)
    errors = grid.errors(refined(grid, true_pairs(grid, 0.4)))
    assert np.median(errors) < 0.05 and errors.max() < 0.1  # they are 0.57 px before


@pytest.mark.parametrize("noise", [3.0, 200.0, 400.0])
def test_the_variance_is_that_of_the_errors(tmp_path: Path, noise: float) -> None:
    grid = make_grid(tmp_path, 4, 4, noise)
    found = refined(grid, true_pairs(grid, 0.1))
    ratio = grid.errors(found) ** 2 / (found["var_y"] + found["var_x"])
    assert 0.3 < np.median(ratio) / np.log(2) < 2  # log 2 is the median of an exponential distribution


def test_pairs_that_were_rejected_or_are_found_elsewhere_stay(grid: Grid) -> None:
    found = true_pairs(grid, 1.0).assign(accepted=lambda table: table["pair"] > 0)
    pd.testing.assert_frame_equal(refined(grid, found), found)


def test_a_pair_is_registered_where_the_others_predict_it(grid: Grid) -> None:
    found = refined(grid, true_pairs(grid, 3.0), predicted=true_pairs(grid, 0.4))
    assert grid.errors(found).max() < 0.05


def test_an_exact_pair_is_not_moved_to_where_a_wrong_placement_expects_it(grid: Grid) -> None:
    found = true_pairs(grid, 0.2).assign(var_y=0.01, cov_yx=0.0, var_x=0.01)
    assert grid.errors(refined(grid, found, predicted=true_pairs(grid, 11.0))).max() < 0.05


def test_the_cache_tells_pairs_with_different_starts_apart(grid: Grid, tmp_path: Path) -> None:
    first = refined(grid, true_pairs(grid, 0.4), tmp_path / "cache.npz")
    again = refined(grid, true_pairs(grid, 0.4), tmp_path / "cache.npz")
    pd.testing.assert_frame_equal(first, again)
    assert (grid.errors(refined(grid, true_pairs(grid, 3.0), tmp_path / "cache.npz")) > 3).all()  # too far off to be found


@pytest.mark.parametrize("width", [1, 3])
def test_a_frame_does_not_shift_the_pairs(tmp_path: Path, width: int) -> None:
    grid = make_grid(tmp_path, 3, 3, 50.0)
    blind = np.ones(grid.size, bool)
    blind[width:-width, width:-width] = False
    for path in tables.read(grid.tiles, tables.TILES)["path"]:
        pixels = tifffile.imread(path)
        pixels[blind] = 0
        tifffile.imwrite(path, pixels)
    record(grid.tiles)
    fields.write([fields.identity((1, *grid.size))._replace(blind=blind)], grid.illumination)
    assert grid.errors(refined(grid, true_pairs(grid, 0.4))).max() < 0.1


def test_pixels_that_show_only_noise_have_little_weight() -> None:
    fixed, moving = crops(np.eye(2, 3), 64, 256)
    structure = torch.zeros_like(fixed)
    structure[..., :64] = 3.0
    torch.manual_seed(0)
    noisy = [window * structure + torch.randn_like(window) for window in (fixed, moving)]
    weight = pixel_weight(*noisy, torch.ones_like(fixed))
    assert weight[..., 16:48].mean() > 0.8
    assert weight[..., 112:].mean() < 0.2


def test_a_bright_blob_that_moves_between_the_exposures_does_not_shift_the_pair() -> None:
    fixed, moving = crops(np.eye(2, 3), 64, 256)
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(256.0), indexing="ij")
    clean = fixed.clone()
    fixed = fixed + 100 * torch.exp(-((y - 30) ** 2 + (x - 100) ** 2) / 50)
    moving = moving + 100 * torch.exp(-((y - 34) ** 2 + (x - 150) ** 2) / 50)
    start = torch.eye(2, 3).expand(len(fixed), 2, 3)
    weight = pixel_weight(fixed, moving, torch.ones_like(fixed))
    assert weight[..., 28:33, 96:105].max() < 0.1
    assert weight[..., 180:].mean() > 0.7 * pixel_weight(clean, clean, torch.ones_like(fixed))[..., 180:].mean()
    with_weight, without = (refine(fixed, moving, start, 1, 6, torch.zeros(2), 1e-3, w).affine for w in (weight, None))
    assert with_weight[:, :, 2].norm(dim=1).max() < 0.02
    assert without[:, :, 2].norm(dim=1).min() > 0.1


def test_debris_of_one_tile_alone_does_not_make_a_pair_look_inexact() -> None:
    fixed, clean = crops(np.eye(2, 3), 64, 256)
    torch.manual_seed(0)
    fixed, clean = (window + 0.2 * torch.randn_like(window) for window in (fixed, clean))
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(256.0), indexing="ij")
    debris = clean + 20 * ((y - 30) ** 2 + (x - 100) ** 2 < 15**2)
    excess = []
    for moving in (clean, debris):
        mask = torch.ones_like(fixed)
        excess.append(excess_variance(fixed, moving, mask, pixel_weight(fixed, moving, mask)))
    assert (excess[1] < 8 * excess[0]).all()  # over 80 times with all that is left counted alike
