"""The gains of tiles: estimated from their overlaps to within 1 %, and 1 where no overlap shows them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from support.grids import Grid, record

from dlir.core import affine, tables
from dlir.fusion.exposure import _log_ratio, _weighted_median, exposure, gains
from dlir.fusion.settings import Exposure
from dlir.illumination import fields

GAINS = np.random.default_rng(8).uniform(0.8, 1.2, (9, 2))


@pytest.fixture
def run(grid: Grid, tmp_path: Path) -> Callable[..., np.ndarray]:
    """Applies GAINS to the tiles of the grid, places them up to `off` px wrong, and returns the gains (9, 2)."""

    def expose(off: float = 0.0, correct: bool = True, black: int | None = None, with_pairs: bool = True) -> np.ndarray:
        listed = tables.read(grid.tiles, tables.TILES)
        for row, path in enumerate(listed["path"]):
            exposed = GAINS[row][:, None, None] * tifffile.imread(path) * (row != black)
            tifffile.imwrite(tmp_path / f"{row}.tif", exposed.astype(np.float32), photometric="minisblack")
        listed = listed.assign(path=[str(tmp_path / f"{row}.tif") for row in range(9)], channels=2, dtype="float32")
        tables.write(listed, tables.TILES, tmp_path / "tiles.csv")
        record(tmp_path / "tiles.csv")
        places = grid.truth.copy()
        places[..., 2] += np.random.default_rng(1).uniform(-off, off, (9, 2))
        placed = listed[["tile", "path"]].assign(**affine.to_columns(places), pairs=2, residual=0.1, deviation=0.1)
        placed = placed.assign(group=0, slip_y=0.0, slip_x=0.0, loop=np.nan, placed_by="pairs")
        tables.write(placed, tables.PLACEMENT, tmp_path / "placement.csv")
        fields.write([fields.identity((2, *grid.size))], tmp_path / "illumination.tif")
        files = [tmp_path / name for name in ("tiles.csv", "illumination.tif")]
        out = tmp_path / "exposure.csv"
        exposure(
            *files,
            tmp_path / "placement.csv",
            out,
            pairs=grid.pairs if with_pairs else None,
            settings=Exposure(correct=correct),
        )
        return tables.gains(tables.read(out, tables.EXPOSURE), listed["tile"])

    return expose


@pytest.mark.parametrize(("off", "bound"), [(0.0, 0.003), (0.5, 0.01)])
def test_gains_are_estimated_from_the_overlaps(run: Callable[..., np.ndarray], off: float, bound: float) -> None:
    assert run(off) == pytest.approx(GAINS / GAINS.mean(0), abs=bound)


def test_without_pairs_the_tiles_that_overlap_are_compared(run: Callable[..., np.ndarray]) -> None:
    assert run(with_pairs=False) == pytest.approx(GAINS / GAINS.mean(0), abs=0.003)


def test_a_black_tile_does_not_disturb_the_others(run: Callable[..., np.ndarray]) -> None:
    found, others = run(black=4), np.arange(9) != 4
    assert found[others] / found[others].mean(0) == pytest.approx(GAINS[others] / GAINS[others].mean(0), abs=0.01)
    assert np.isfinite(found).all()


def test_without_correction_all_gains_are_one(run: Callable[..., np.ndarray]) -> None:
    assert (run(correct=False) == 1).all()


def ring(count: int) -> tuple[np.ndarray, np.ndarray]:
    """The pairs (count, 2) of a ring of tiles, and their log ratios (count,), which follow from GAINS."""
    ends = np.stack([np.arange(count), np.roll(np.arange(count), -1)], axis=1)
    return ends, np.diff(np.log(GAINS[:count, 0])[ends], axis=1)[:, 0]


def test_a_pair_that_contradicts_the_others_counts_little() -> None:
    ends, ratios = ring(9)
    ends, ratios = np.concatenate([ends, ends, ends[:1]]), np.concatenate([ratios, ratios, [1.0]])
    found = gains(ends, ratios, np.full(len(ends), 0.003), 9)
    assert found == pytest.approx(GAINS[:, 0] / GAINS[:, 0].mean(), abs=0.01)


def test_tiles_without_a_known_pair_keep_their_brightness() -> None:
    ends, ratios = ring(5)
    ratios[[1, 2]] = np.nan  # tile 2 is in these pairs only
    found = gains(ends, ratios, np.full(5, 0.003), 5)
    rest = [0, 1, 3, 4]
    assert found[rest] / found[0] == pytest.approx(GAINS[rest, 0] / GAINS[0, 0], rel=0.01)
    assert found[2] == pytest.approx(np.exp(np.mean(np.log(found[rest]))), rel=0.01)


def test_a_single_tile_has_the_gain_one() -> None:
    nothing = np.zeros(0)
    assert gains(np.zeros((0, 2), int), nothing, nothing, 1).tolist() == [1]


def test_the_weighted_median_is_the_first_value_with_half_of_the_weight() -> None:
    values = np.array([5.0, 1.0, 3.0, 4.0])
    assert _weighted_median(values, np.array([1.0, 1.0, 4.0, 1.0])) == 3  # up to 1: weight 1 of 7, up to 3: 5 of 7
    assert _weighted_median(values, np.array([1.0, 1.0, 1.0, 6.0])) == 4
    assert _weighted_median(values, np.ones(4)) == 3  # exactly half of the weight


def test_the_log_ratio_of_an_overlap_and_its_deviation() -> None:
    fixed = np.array([100.0] * 8 + [1.0])  # the last block is too dark
    moving = np.array([200.0] * 5 + [250.0] * 3 + [50.0])
    ratio, deviation = _log_ratio(fixed, moving)
    assert ratio == pytest.approx(np.log(2))  # of eight equal weights, five
    assert deviation == pytest.approx(0.002)  # most blocks agree, so only the least deviation remains
    moving[:8] = 200 * np.exp(0.1 * np.array([-3, -2, -1, 0, 0, 1, 2, 3]))
    fixed[:8] = np.exp(0.3) * 100  # all weights equal again, since each fixed block is the darker one
    ratio, deviation = _log_ratio(fixed, moving)
    assert ratio == pytest.approx(np.log(2) - 0.3)
    assert deviation == pytest.approx(np.hypot(0.002, 1.4826 * 0.1 / np.sqrt(8)))  # distances 0, 0, 1, 1, ...: the fourth


def test_a_gain_of_zero_is_refused(tmp_path: Path) -> None:
    table = pd.DataFrame({"tile": [0], "channel": [0], "gain": [0.0], "scale": [1.0], "pedestal": [0.0], "clipped": [0]})
    with pytest.raises(tables.TableError, match="gain"):
        tables.write(table, tables.EXPOSURE, tmp_path / "exposure.csv")
