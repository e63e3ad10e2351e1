"""The self-check: its errors are true and repeatable, and its table is empty where there is nothing to measure."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from support.grids import Grid, record

from dlir.core import tables
from dlir.registration.confidence import known_errors
from dlir.registration.confidence.selfcheck import selfcheck
from dlir.registration.model import checkpoint
from dlir.registration.pairs import windows
from dlir.registration.settings import Selfcheck


def run(grid: Grid, folder: Path, method: str = "network", count: int = 12, seed: int = 1) -> pd.DataFrame:
    model = checkpoint.GENERIC if method == "network" else None
    settings, output = Selfcheck(count=count, seed=seed), folder / "selfcheck.csv"
    selfcheck(grid.tiles, grid.illumination, grid.pairs, output=output, model=model, settings=settings, device="cpu")
    return tables.read(output, tables.SELFCHECK)


@pytest.fixture
def near(grid: Grid, tmp_path: Path) -> Grid:
    """The grid with a search of 4 px, within which phase correlation finds most pairs."""
    rows = tables.read(grid.pairs, tables.PAIRS)
    tables.write(rows.assign(search=4.0), tables.PAIRS, tmp_path / "near.csv")
    return replace(grid, pairs=tmp_path / "near.csv")


def test_the_network_is_better_than_phase_correlation_and_that_is_better_than_none(near: Grid, tmp_path: Path) -> None:
    found = run(near, tmp_path)
    sides, methods = ["down", "right"], ["network", "phase", "none"]
    assert found[["side", "method"]].to_numpy().tolist() == [[side, method] for side in sides for method in methods]
    assert (found["pairs"] == 12).all()
    assert (found["median"] <= found["p95"]).all()
    for side in sides:
        row = found[found["side"] == side].set_index("method")
        assert row.loc["network", "median"] < 0.3
        assert row.loc["network", "median"] < 0.8 * row.loc["phase", "median"]
        assert row.loc["phase", "median"] < 0.8 * row.loc["none", "median"]
        assert row.loc["network", "over_2px"] < row.loc["none", "over_2px"]


def test_the_network_finds_pairs_at_the_ends_of_the_search(grid: Grid, tmp_path: Path) -> None:
    found = run(grid, tmp_path).set_index("method")
    assert (found.loc["network", "p95"] < 0.5).all()
    assert (found.loc["none", "median"] > 8).all()


def test_without_registration_the_error_is_that_of_the_stage(grid: Grid, tmp_path: Path) -> None:
    found = run(grid, tmp_path, "phase", count=64).set_index(["side", "method"])
    search = tables.read(grid.pairs, tables.PAIRS).groupby("side")["search"].median()
    # synthetic shifts are uniform in a square: half of them lie within 0.80, 95 % within 1.24, and 2 px cover pi / search^2
    for side, reach in search.items():
        none = found.loc[(side, "none")]
        assert none["median"] == pytest.approx(0.80 * reach, rel=0.2)
        assert none["p95"] == pytest.approx(1.24 * reach, rel=0.15)
        assert none["over_2px"] == pytest.approx(1 - np.pi / reach**2, abs=0.04)


def test_without_a_model_the_network_is_left_out(grid: Grid, tmp_path: Path) -> None:
    found = run(grid, tmp_path, "phase", count=2)
    assert found["method"].tolist() == ["phase", "none"] * 2


def test_the_same_seed_gives_the_same_table(grid: Grid, tmp_path: Path) -> None:
    first = run(grid, tmp_path, count=3)
    pd.testing.assert_frame_equal(run(grid, tmp_path, count=3), first)
    assert not run(grid, tmp_path, count=3, seed=2).equals(first)


def test_one_tile_gives_an_empty_table(one_tile: Grid, tmp_path: Path) -> None:
    found = run(one_tile, tmp_path)
    assert found.empty
    assert found.columns.tolist() == list(tables.SELFCHECK.columns)


def test_every_known_pair_is_kept_with_its_error_and_its_confidence(grid: Grid, tmp_path: Path) -> None:
    settings, files = Selfcheck(count=10, seed=1), (tmp_path / "selfcheck.csv", tmp_path / "known_pairs.csv")
    options = {"model": checkpoint.GENERIC, "settings": settings, "device": "cpu"}
    selfcheck(grid.tiles, grid.illumination, grid.pairs, output=files[0], known_pairs=files[1], **options)
    errors, known = tables.read(files[0], tables.SELFCHECK), tables.read(files[1], tables.KNOWN_PAIRS)
    assert len(known) == 2 * 10 * 3
    assert known.groupby(["side", "method"])["pair"].apply(list).tolist() == [list(range(10))] * 6
    for row in errors.to_dict("records"):
        of_method = known[(known["side"] == row["side"]) & (known["method"] == row["method"])]
        assert of_method["error"].median() == pytest.approx(row["median"], abs=1e-6)
    network = known[known["method"] == "network"]
    assert (network["error"] < 0.5).mean() > 0.9 and network["confidence"].median() > 0.8  # it is right, and says so
    assert (known.loc[known["method"] == "none", "confidence"] == 0).all()


@pytest.mark.parametrize("noise", [0, 30])
def test_tiles_without_structure_are_not_registered(noise: float, grid: Grid, tmp_path: Path) -> None:
    """No method may find the same noise in both windows, between which it is split."""
    rng, listed = np.random.default_rng(1), tables.read(grid.tiles, tables.TILES)
    listed["path"] = [str(tmp_path / f"{tile}.tif") for tile in listed["tile"]]
    for path in listed["path"]:
        tifffile.imwrite(path, np.rint(1000 + noise * rng.standard_normal(grid.size)).astype(np.uint16))
    tables.write(listed, tables.TILES, tmp_path / "tiles.csv")
    record(tmp_path / "tiles.csv")
    found = run(replace(grid, tiles=tmp_path / "tiles.csv"), tmp_path)
    assert (found["over_2px"] > 0.8).all()


def test_a_damaged_model_is_refused(grid: Grid, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"no model")
    settings = Selfcheck(count=1, seed=1)
    with pytest.raises(checkpoint.ModelError, match=r"model\.pt"):
        selfcheck(
            grid.tiles,
            grid.illumination,
            grid.pairs,
            output=tmp_path / "out.csv",
            model=tmp_path / "model.pt",
            settings=settings,
        )
    assert not (tmp_path / "out.csv").exists()


def test_a_kept_table_is_taken_as_long_as_nothing_changes(grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(count: int, output: Path | None) -> None:
        settings = Selfcheck(count=count, seed=1)
        selfcheck(grid.tiles, grid.illumination, grid.pairs, output=output, method="phase", settings=settings, cache=tmp_path)

    expected = run(grid, tmp_path / "plain", "phase", count=2)
    check(2, None)
    monkeypatch.setattr(known_errors, "known_errors", None)
    check(2, tmp_path / "kept.csv")
    pd.testing.assert_frame_equal(tables.read(tmp_path / "kept.csv", tables.SELFCHECK), expected)
    with pytest.raises(TypeError):
        check(3, tmp_path / "more.csv")


def test_large_windows_are_measured_as_they_are_registered(grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "ENOUGH_PIXELS", 1000)  # so that the windows are pooled
    monkeypatch.setattr(windows, "NARROWEST", 16)
    assert (run(grid, tmp_path).set_index("method").loc["network", "median"] < 0.8).all()
