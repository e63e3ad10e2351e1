"""The gains of tiles: found from their overlaps to within 1 %, and 1 where nothing says otherwise."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from support.grids import Grid

from dlir.core import affine, tables
from dlir.fusion.exposure import exposure, gains
from dlir.fusion.settings import Exposure
from dlir.illumination import fields

GAINS = np.random.default_rng(8).uniform(0.8, 1.2, (9, 2))


@pytest.fixture
def run(grid: Grid, tmp_path: Path) -> Callable[..., np.ndarray]:
    """Exposes the tiles of the grid in two channels, places them up to `off` px wrong, and returns the gains (9, 2)."""

    def expose(off: float = 0.0, correct: bool = True, black: int | None = None) -> np.ndarray:
        listed = tables.read(grid.tiles, tables.TILES)
        for row, path in enumerate(listed["path"]):
            shown = GAINS[row][:, None, None] * tifffile.imread(path) * (row != black)
            tifffile.imwrite(tmp_path / f"{row}.tif", shown.astype(np.float32), photometric="minisblack")
        listed = listed.assign(path=[str(tmp_path / f"{row}.tif") for row in range(9)], channels=2, dtype="float32")
        tables.write(listed, tables.TILES, tmp_path / "tiles.csv")
        places = grid.truth.copy()
        places[..., 2] += np.random.default_rng(1).uniform(-off, off, (9, 2))
        placed = listed[["tile", "path"]].assign(**affine.to_columns(places), pairs=2, residual=0.1, deviation=0.1)
        tables.write(placed.assign(loop=np.nan, placed_by="pairs"), tables.PLACEMENT, tmp_path / "placement.csv")
        fields.write(fields.identity((2, *grid.size)), tmp_path / "light.tif")
        files = [tmp_path / name for name in ("tiles.csv", "light.tif")]
        out = tmp_path / "exposure.csv"
        exposure(*files, grid.pairs, tmp_path / "placement.csv", out, settings=Exposure(correct=correct))
        return tables.gains(tables.read(out, tables.EXPOSURE), listed["tile"])

    return expose


@pytest.mark.parametrize(("off", "bound"), [(0.0, 0.003), (0.5, 0.01)])
def test_gains_are_found_from_the_overlaps(run: Callable[..., np.ndarray], off: float, bound: float) -> None:
    assert run(off) == pytest.approx(GAINS / GAINS.mean(0), abs=bound)


def test_a_black_tile_is_left_alone(run: Callable[..., np.ndarray]) -> None:
    found, others = run(black=4), np.arange(9) != 4
    assert found[others] / found[others].mean(0) == pytest.approx(GAINS[others] / GAINS[others].mean(0), abs=0.01)
    assert np.isfinite(found).all()


def test_without_correction_all_gains_are_one(run: Callable[..., np.ndarray]) -> None:
    assert (run(correct=False) == 1).all()


def chain(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of a ring of tiles and their log ratios, which GAINS makes."""
    ends = np.stack([np.arange(count), np.roll(np.arange(count), -1)], axis=1)
    return ends, np.diff(np.log(GAINS[:count, 0])[ends], axis=1)[:, 0]


def test_a_pair_that_the_others_contradict_is_outvoted() -> None:
    ends, ratios = chain(9)
    ends, ratios = np.concatenate([ends, ends, ends[:1]]), np.concatenate([ratios, ratios, [1.0]])
    found = gains(ends, ratios, np.full(len(ends), 0.003), 9)
    assert found == pytest.approx(GAINS[:, 0] / GAINS[:, 0].mean(), abs=0.01)


def test_tiles_without_a_known_pair_keep_their_brightness() -> None:
    ends, ratios = chain(5)
    ratios[[1, 2]] = np.nan  # tile 2 hangs on nothing
    found = gains(ends, ratios, np.full(5, 0.003), 5)
    rest = [0, 1, 3, 4]
    assert found[rest] / found[0] == pytest.approx(GAINS[rest, 0] / GAINS[0, 0], rel=0.01)
    assert found[2] == pytest.approx(np.exp(np.mean(np.log(found[rest]))), rel=0.01)


def test_a_single_tile_has_gain_one() -> None:
    nothing = np.zeros(0)
    assert gains(np.zeros((0, 2), int), nothing, nothing, 1).tolist() == [1]


def test_no_gain_is_zero(tmp_path: Path) -> None:
    table = pd.DataFrame({"tile": [0], "channel": [0], "gain": [0.0]})
    with pytest.raises(tables.TableError, match="gain"):
        tables.write(table, tables.EXPOSURE, tmp_path / "exposure.csv")
