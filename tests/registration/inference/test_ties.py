"""Pairs of a specimen that repeats itself: on grids of tiles with exact truth, with the network and with a method that errs."""

from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from support.lattices import repeating, vectors
from support.specimens import ONE_PLANE

from dlir.core import affine, tables
from dlir.core.tables import LINEAR_COVARIANCE
from dlir.registration.confidence.calibration import AMBIGUOUS
from dlir.registration.inference.consensus import consensus
from dlir.registration.inference.estimate_batch import estimate_batch
from dlir.registration.inference.ties import Ties, lattice_of
from dlir.registration.model.checkpoint import GENERIC
from dlir.registration.model.methods import load_method
from dlir.registration.pairs.neighbours import neighbours
from dlir.registration.pairs.planes import TilePlanes
from dlir.registration.pairs.windows import in_batches
from dlir.registration.settings import Pairs, Register

ROWS, COLS, SIDE, STEP = 3, 4, 160, 128  # tiles, and px


class Grid(NamedTuple):
    """The tables of a grid, its tiles, and their true places (n, 2), px."""

    tiles: pd.DataFrame
    pairs: pd.DataFrame
    planes: TilePlanes
    truth: np.ndarray

    def errors(self, found: pd.DataFrame) -> np.ndarray:
        """How far (n, 2), px, the offsets of pairs are from the truth."""
        at = found[["centre_y", "centre_x"]].to_numpy()
        return affine.offsets(affine.from_table(found), at) - self.truth[found["moving"]] + self.truth[found["fixed"]]


def make_grid(lattice: np.ndarray, stage: float, missing: float = 0.0, seed: int = 1) -> Grid:
    """A grid of tiles that lie up to `stage` px off their nominal places."""
    rng = np.random.default_rng(seed)
    row, col = np.divmod(np.arange(ROWS * COLS), COLS)
    nominal = STEP * np.stack([row, col], 1)
    truth = np.rint(nominal + 20 + rng.uniform(-stage, stage, nominal.shape)).astype(int)
    specimen = repeating(lattice, ROWS * STEP + 80, COLS * STEP + 80, missing, seed)
    parts = [specimen[y : y + SIDE, x : x + SIDE] + rng.normal(0, 0.05, (SIDE, SIDE)) for y, x in truth]
    tiles = pd.DataFrame({"tile": row * COLS + col, "path": [f"{k}.tif" for k in range(ROWS * COLS)], "row": row, "col": col,
                          "y": nominal[:, 0], "x": nominal[:, 1], "height": SIDE, "width": SIDE, "sha256": "0",
                          **ONE_PLANE})  # fmt: skip
    planes = TilePlanes.of_arrays([part.astype(np.float32) for part in parts])
    return Grid(tiles, neighbours(tiles, Pairs()), planes, truth.astype(float))


def estimates(grid: Grid, off: np.ndarray) -> pd.DataFrame:
    """What a method finds that lies off the truth by `off` (n, 2), px."""
    pairs = grid.pairs
    offset = grid.truth[pairs["moving"]] - grid.truth[pairs["fixed"]] + off
    found = pairs[["pair", "fixed", "moving", "side"]].assign(**affine.to_columns(affine.translation(offset)))
    linear = dict(zip(LINEAR_COVARIANCE, (1e-6 * np.eye(4)).ravel(), strict=True))
    shift = {"centre_y": 80.0, "centre_x": 80.0, "var_y": 0.01, "cov_yx": 0.0, "var_x": 0.01}
    return found.assign(**shift, **linear, score_before=0.1, score_after=0.9, confidence=0.3)


def anywhere(lattice: np.ndarray, count: int) -> np.ndarray:
    """Vectors (count, 2) of a lattice, up to one period in either direction."""
    return np.random.default_rng(2).integers(-1, 2, (count, len(lattice))) @ lattice


def settled(grid: Grid, lattice: np.ndarray, **given: np.ndarray) -> pd.DataFrame:
    """The pairs, as a method finds them that takes any of the alike offsets, after their ties are settled."""
    found = estimates(grid, anywhere(lattice, len(grid.pairs)))
    return Ties(lattice, grid.planes).settle(found, grid.pairs, **given)


@pytest.mark.parametrize("kind", ["squares", "hexagons"])
def test_an_exact_stage_decides(kind: str) -> None:
    lattice = vectors(kind, 20.0, 0.3)
    grid = make_grid(lattice, 2.0)
    found = settled(grid, lattice)
    assert (found["tie"] >= 0.95).all()
    assert np.abs(grid.errors(found)).max() < 0.1


def test_an_inexact_stage_decides_nothing_and_others_that_are_exact_do() -> None:
    lattice = vectors("squares", 12.0, 0.3)
    grid = make_grid(lattice, 8.0)
    assert (settled(grid, lattice)["tie"] < 0.5).all()
    exact = grid.truth[grid.pairs["moving"]] - grid.truth[grid.pairs["fixed"]]
    pairs = grid.pairs.assign(nominal_y=exact[:, 0] + 1, nominal_x=exact[:, 1])
    found = settled(grid._replace(pairs=pairs), lattice, deviation=np.full(len(pairs), 1.5))
    assert (found["tie"] >= 0.95).all()
    assert np.abs(grid.errors(found)).max() < 0.1


def test_defects_decide_whatever_the_stage_says() -> None:
    lattice = vectors("squares", 12.0, 0.3)
    grid = make_grid(lattice, 8.0, missing=0.15)
    found = settled(grid, lattice)
    decided = found["tie"] >= 0.95
    assert decided.mean() > 0.7
    assert np.abs(grid.errors(found[decided])).max() < 0.5


def test_a_grating_shows_nothing_along_its_lines_also_after_the_fine_registration() -> None:
    lattice = vectors("grating", 20.0, 0.3)
    grid, across = make_grid(lattice, 2.0), lattice[0] / 20
    found = settled(grid, lattice)
    assert (found["tie"] >= 0.95).all()
    assert np.abs(grid.errors(found) @ across).max() < 0.1

    def refine(found: pd.DataFrame, predicted: np.ndarray, tiles: pd.DataFrame, *, linear: float) -> None:
        found[["var_y", "cov_yx", "var_x"]] = 1e-4, 0.0, 1e-4

    Ties(lattice, grid.planes).refine(found, np.empty(0), grid.tiles, linear=1.0, refine=refine)
    deviation = np.sqrt(np.linalg.eigvalsh(tables.shift_covariance(found)))
    assert deviation[:, 0].max() < 0.02
    assert deviation[:, 1].min() > 8


def test_a_specimen_without_a_period_is_not_looked_at() -> None:
    grid = make_grid(vectors("squares", 20.0), 2.0, missing=0.9)
    assert lattice_of(grid.pairs, grid.planes, grid.tiles) is None


@pytest.mark.parametrize(("period", "stage", "known"), [(20.0, 2.0, True), (10.0, 8.0, False)])
def test_the_network_never_places_all_pairs_one_period_off(period: float, stage: float, known: bool) -> None:
    """Squares with a period within the searched distance; the stage errs by less than half of it, or by more."""
    grid, device = make_grid(vectors("squares", period, 0.2), stage), torch.device("cpu")
    lattice, method = lattice_of(grid.pairs, grid.planes, grid.tiles), load_method("network", GENERIC, device)
    assert lattice is not None

    def estimate(pairs: pd.DataFrame, what: str, linear: float, coarsest: int) -> pd.DataFrame:
        work = partial(estimate_batch, method=method, linear=linear)
        return in_batches(pairs, what, grid.planes, device, work).loc[pairs.index]

    found = consensus(grid.pairs, grid.tiles, estimate, Register(), ties=Ties(lattice, grid.planes))
    if known:
        assert found["accepted"].all()
        assert np.abs(grid.errors(found)).max() < 0.5
        assert (found["confidence"] > 0.9).mean() > 0.9
    else:
        assert not found["accepted"].any()
        assert (found["reason"] == AMBIGUOUS).all()
        assert (found["confidence"] < 0.5).all()
