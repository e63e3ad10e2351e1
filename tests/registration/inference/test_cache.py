"""The estimate cache: it knows an unchanged pair, and only that, and does not use a damaged file."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.grids import Grid

from dlir import steps
from dlir.core import tables
from dlir.registration.inference.cache import EstimateCache


class CountingMethod:
    """A method whose estimate of a pair is a third of its number, and which remembers the pairs that it was asked for."""

    def __init__(self) -> None:
        self.pairs: list[int] = []

    def __call__(self, pairs: pd.DataFrame, what: str) -> pd.DataFrame:
        self.pairs += pairs["pair"].tolist()
        return pairs[["pair", "fixed", "moving", "side"]].assign(third=pairs["pair"] / 3, inside=pairs["pair"] > 3)[::-1]


def registered(
    grid: Grid, file: Path | None, *inputs: object, tiles: pd.DataFrame | None = None, **change: object
) -> list[int]:
    """Completes all pairs, with some columns changed, and keeps them; returns the pairs that were not in the cache."""
    table = tables.read(grid.tiles, tables.TILES) if tiles is None else tiles
    pairs, method = tables.read(grid.pairs, tables.PAIRS).assign(**change), CountingMethod()
    cache = EstimateCache(file, table, *inputs)
    found = cache.complete(pairs, "pairs", estimate=method)
    cache.write()
    assert found["third"].tolist() == [number / 3 for number in range(12)]
    assert found["inside"].astype(bool).tolist() == [number > 3 for number in range(12)]
    assert found.index.equals(pairs.index)
    return sorted(method.pairs)


def test_a_pair_is_registered_once(grid: Grid, tmp_path: Path) -> None:
    assert registered(grid, tmp_path / "cache", "model") == list(range(12))
    assert registered(grid, tmp_path / "cache", "model") == []
    assert registered(grid, None, "model") == list(range(12))


@pytest.mark.parametrize("column", ["fixed_y", "moving_x", "height", "nominal_y", "search"])
def test_a_pair_with_another_window_or_search_is_registered_again(grid: Grid, tmp_path: Path, column: str) -> None:
    registered(grid, tmp_path / "cache")
    changed = tables.read(grid.pairs, tables.PAIRS)[column].to_numpy(float, copy=True)
    changed[7] += 1
    assert registered(grid, tmp_path / "cache", **{column: changed}) == [7]
    changed[7] -= 1 - 1e-9
    # the last run did not use the first estimate of this pair, so it is no longer in the file; a change of 1e-9 is none
    assert registered(grid, tmp_path / "cache", **{column: changed}) == [7]


def test_another_model_plane_or_code_registers_all_pairs_again(
    grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, table = tmp_path / "cache", tables.read(grid.tiles, tables.TILES)
    registered(grid, file, "model")
    assert len(registered(grid, file, "another")) == 12
    assert len(registered(grid, file, "another", tiles=table.assign(reference_z=1))) == 12
    monkeypatch.setattr(steps, "code_of", lambda *modules: f"{modules}, edited")
    assert len(registered(grid, file, "another", tiles=table.assign(reference_z=1))) == 12


def test_a_tile_is_known_by_its_content_and_not_by_its_path(grid: Grid, tmp_path: Path) -> None:
    file, table = tmp_path / "cache", tables.read(grid.tiles, tables.TILES)
    registered(grid, file)
    assert registered(grid, file, tiles=table.assign(path="moved/" + table["path"])) == []
    table.loc[8, "sha256"] = "edited"
    assert registered(grid, file, tiles=table) == [9, 11]


@pytest.mark.parametrize("fault", ["cut short", "a byte changed", "no archive"])
def test_a_damaged_file_is_not_used(grid: Grid, tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str) -> None:
    file = tmp_path / "cache"
    registered(grid, file)
    content = bytearray(file.read_bytes())
    if fault == "cut short":
        file.write_bytes(content[:-300])
    elif fault == "a byte changed":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    else:
        file.write_text("key,third\n")
    assert registered(grid, file) == list(range(12))
    assert "cache is damaged" in caplog.text
    assert registered(grid, file) == []


def test_without_pairs_no_file_is_written(grid: Grid, tmp_path: Path) -> None:
    cache, method = EstimateCache(tmp_path / "cache", tables.read(grid.tiles, tables.TILES)), CountingMethod()
    found = cache.complete(tables.read(grid.pairs, tables.PAIRS).head(0), "pairs", estimate=method)
    assert found.empty and not method.pairs
    cache.write()
    assert not (tmp_path / "cache").exists()


def test_a_change_of_a_rounding_error_is_none(grid: Grid, tmp_path: Path) -> None:
    file, nominal = tmp_path / "cache", tables.read(grid.pairs, tables.PAIRS)["nominal_y"]
    registered(grid, file)
    assert registered(grid, file, nominal_y=nominal + 1e-9) == []
    assert registered(grid, file, nominal_y=nominal + 1e-3) == list(range(12))


def test_a_pair_that_starts_from_another_affine_is_registered_again(grid: Grid, tmp_path: Path) -> None:
    file, start = tmp_path / "cache", {"yy": 1.0, "y0": 8.0, "xy": 0.0, "xx": 1.0, "x0": 130.0}
    registered(grid, file, yx=0.0, **start)
    assert registered(grid, file, yx=0.0, **start) == []
    assert registered(grid, file, yx=np.where(np.arange(12) == 7, 1e-3, 0.0), **start) == [7]


def test_estimates_with_another_prior_are_kept_apart(grid: Grid, tmp_path: Path) -> None:
    pairs, method = tables.read(grid.pairs, tables.PAIRS), CountingMethod()
    cache = EstimateCache(tmp_path / "cache", tables.read(grid.tiles, tables.TILES))
    counts = []
    for linear in (np.inf, 0.01, np.inf):
        cache.complete(pairs, "pairs", linear, estimate=method)
        counts.append(len(method.pairs))
    assert counts == [12, 24, 24]
