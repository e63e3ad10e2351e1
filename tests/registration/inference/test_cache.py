"""What is kept of pairs: it answers for the same pair alone, and a file that is damaged answers for none."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.grids import Grid

from dlir import steps
from dlir.core import tables
from dlir.registration.inference.cache import EstimateCache


class Asked:
    """A method that says of a pair its number and a third of it, and remembers which pairs it was asked of."""

    def __init__(self) -> None:
        self.pairs: list[int] = []

    def __call__(self, pairs: pd.DataFrame, what: str) -> pd.DataFrame:
        self.pairs += pairs["pair"].tolist()
        return pairs[["pair", "fixed", "moving", "side"]].assign(third=pairs["pair"] / 3, inside=pairs["pair"] > 3)[::-1]


def ask(grid: Grid, file: Path | None, *basis: object, tiles: pd.DataFrame | None = None, **change: object) -> list[int]:
    """Complete all pairs, with some columns changed, and keep them; those that were asked of."""
    table = tables.read(grid.tiles, tables.TILES) if tiles is None else tiles
    pairs, asked = tables.read(grid.pairs, tables.PAIRS).assign(**change), Asked()
    recall = EstimateCache(file, table, *basis)
    found = recall.complete(pairs, "pairs", estimate=asked)
    recall.write()
    assert found["third"].tolist() == [number / 3 for number in range(12)]
    assert found["inside"].astype(bool).tolist() == [number > 3 for number in range(12)]
    assert found.index.equals(pairs.index)
    return sorted(asked.pairs)


def test_pairs_are_asked_of_once(grid: Grid, tmp_path: Path) -> None:
    assert ask(grid, tmp_path / "kept.npz", "model") == list(range(12))
    assert ask(grid, tmp_path / "kept.npz", "model") == []
    assert ask(grid, None, "model") == list(range(12))


@pytest.mark.parametrize("column", ["fixed_y", "moving_x", "height", "nominal_y", "search"])
def test_another_window_or_search_is_another_pair(grid: Grid, tmp_path: Path, column: str) -> None:
    ask(grid, tmp_path / "kept.npz")
    changed = tables.read(grid.pairs, tables.PAIRS)[column].to_numpy(float, copy=True)
    changed[7] += 1
    assert ask(grid, tmp_path / "kept.npz", **{column: changed}) == [7]
    changed[7] -= 1 - 1e-9
    assert ask(grid, tmp_path / "kept.npz", **{column: changed}) == [7]  # which alone was not kept by the last run


def test_another_model_code_or_plane_is_another_pair(grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, table = tmp_path / "kept.npz", tables.read(grid.tiles, tables.TILES)
    ask(grid, file, "model")
    assert len(ask(grid, file, "another")) == 12
    assert len(ask(grid, file, "another", tiles=table.assign(reference_z=1))) == 12
    monkeypatch.setattr(steps, "code", lambda step: f"{step}, edited")
    assert len(ask(grid, file, "another", tiles=table.assign(reference_z=1))) == 12


def test_a_tile_is_known_by_its_content_wherever_it_lies(grid: Grid, tmp_path: Path) -> None:
    file, table = tmp_path / "kept.npz", tables.read(grid.tiles, tables.TILES)
    ask(grid, file)
    assert ask(grid, file, tiles=table.assign(path="moved/" + table["path"])) == []
    table.loc[8, "sha256"] = "edited"
    assert ask(grid, file, tiles=table) == [9, 11]


@pytest.mark.parametrize("fault", ["cut short", "a byte changed", "no archive", "another archive"])
def test_a_damaged_file_is_not_believed(grid: Grid, tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str) -> None:
    file = tmp_path / "kept.npz"
    ask(grid, file)
    content = bytearray(file.read_bytes())
    if fault == "cut short":
        file.write_bytes(content[:-300])
    elif fault == "a byte changed":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    elif fault == "no archive":
        file.write_text("key,third\n")
    else:
        np.savez(file, keys=np.zeros(3))
    assert ask(grid, file) == list(range(12))
    assert "kept.npz is damaged" in caplog.text
    assert ask(grid, file) == []


def test_no_pair_is_no_question(grid: Grid, tmp_path: Path) -> None:
    recall = EstimateCache(tmp_path / "kept.npz", tables.read(grid.tiles, tables.TILES))
    found = recall.complete(tables.read(grid.pairs, tables.PAIRS).head(0), "pairs", estimate=Asked())
    assert found.empty
    recall.write()
    assert not (tmp_path / "kept.npz").exists()
