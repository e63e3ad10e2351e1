"""The front door: its examples run, and what it gives is true."""

import doctest
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support.grids import Grid
from support.specimens import Specimen

import dlir
from dlir import api
from dlir.core import tables
from dlir.registration.model.estimate import Estimate


def test_the_examples_run() -> None:
    result = doctest.testmod(api)
    assert result.attempted > 10 and result.failed == 0


def test_importing_dlir_loads_nothing() -> None:
    code = "import sys, dlir; print([name for name in ('torch', 'numpy', 'pandas', 'pydantic') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_every_name_of_the_front_door_exists_and_is_documented() -> None:
    assert sorted(dlir.__all__) == sorted(api.__all__)
    assert [name for name in dlir.__all__ if not getattr(dlir, name).__doc__] == []
    assert set(dlir.__all__) <= set(dir(dlir))
    with pytest.raises(AttributeError, match="nothing"):
        dlir.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("nominal", "true"),
    [((0, 164), (3.25, 160.5)), ((0, -164), (-2.5, -158.25)), ((170, 0), (166.5, 4.75)), ((-170, 4), (-173.25, 1.5))],
)
def test_a_pair_of_arrays_is_registered_on_each_side(nominal: tuple[float, float], true: tuple[float, float]) -> None:
    specimen = Specimen(3, waves=200, shortest=5.0)
    fixed = specimen.tile(np.c_[np.eye(2), [0.0, 0.0]], 200, 200)
    moving = specimen.tile(np.c_[np.eye(2), true], 200, 200)
    pair = dlir.register_pair(fixed, moving, nominal)
    assert pair.affine[:, 2] == pytest.approx(true, abs=0.3)  # px, at a corner far from the overlap
    assert pair.affine[:, :2] == pytest.approx(np.eye(2), abs=2e-3)
    where = pair.affine[:, :2] @ pair.point + pair.affine[:, 2]
    assert where == pytest.approx(pair.point + true, abs=0.05)
    assert pair.score > 0.95 and pair.confidence > 0.5


@pytest.mark.parametrize(
    ("shapes", "nominal", "message"),
    [(((64, 64), (64, 64, 3)), (0, 40), "two images"), (((64, 64), (64, 64)), (0, 60), "overlap by 4 px")],
)
def test_arrays_that_cannot_be_registered_are_refused(
    shapes: tuple[tuple[int, int], ...], nominal: tuple[float, float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        dlir.register_pair(*(np.zeros(shape) for shape in shapes), nominal)


def test_a_grid_is_registered_placed_and_fused_in_memory(grid: Grid, tmp_path: Path) -> None:
    tiles, pairs = tables.read(grid.tiles, tables.TILES), dlir.find_pairs(tables.read(grid.tiles, tables.TILES))
    affines = dlir.register_pairs(tiles, pairs, device="cpu")
    assert affines["accepted"].all() and grid.errors(affines).max() < 0.1
    placement, stage = dlir.place(tiles, affines, model="rigid")
    assert stage["model"].tolist() == ["rigid"]
    store = dlir.fuse(tiles, placement, tmp_path / "mosaic.ome.zarr", blend="none")
    assert (store / "zarr.json").is_file()


def test_a_method_of_ones_own_registers_all_pairs(grid: Grid) -> None:
    """The method always finds the nominal shift; its confidence is calibrated on pairs that cannot match, as for any other."""
    tiles = tables.read(grid.tiles, tables.TILES)
    pairs = dlir.find_pairs(tiles)

    def always(fixed: torch.Tensor, moving: torch.Tensor, search: float, centre=(0.0, 0.0), linear=float("inf")) -> Estimate:
        affine = torch.eye(2, 3).repeat(len(fixed), 1, 1)
        affine[:, :, 2] = torch.tensor(centre)
        return Estimate(affine, torch.eye(6).repeat(len(fixed), 1, 1) * 1e-4, torch.full((len(fixed),), 0.5))

    affines = dlir.register_pairs(tiles, pairs, method=always)
    offset = affines[["y0", "x0"]].to_numpy()
    assert np.abs(offset - pairs[["nominal_y", "nominal_x"]].to_numpy()).max() <= 4  # px: the windows' centres are rounded


def test_a_folder_that_is_no_store_is_never_replaced(one_tile: Grid, tmp_path: Path) -> None:
    tiles = tables.read(one_tile.tiles, tables.TILES)
    placement, _ = dlir.place(tiles, dlir.register_pairs(tiles, dlir.find_pairs(tiles)))  # one tile has no pair
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious.txt").write_text("keep")
    with pytest.raises(ValueError, match="is no Zarr store, so it is not replaced"):
        dlir.fuse(tiles, placement, tmp_path / "mine")
    assert (tmp_path / "mine" / "precious.txt").read_text() == "keep"
    for _ in range(2):  # a store is replaced
        assert (dlir.fuse(tiles, placement, tmp_path / "mosaic.ome.zarr") / "zarr.json").is_file()
