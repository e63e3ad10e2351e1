"""A tile more or another one in its place: only what depends on it is done again, and the result is that from scratch."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml
import zarr
from support.specimens import Specimen
from support.workflow import Workflow, contents

from dlir.config import Settings
from dlir.core import sealed, tables
from dlir.fusion.mosaic import mosaic
from dlir.placement.place import place
from dlir.registration.inference.register import register

pytestmark = pytest.mark.slow
ROWS, COLUMNS, SIDE, STEP = 4, 5, 128, 96
MISSING = (1, 4)  # at the right edge; the tiles after it count one more once it is there
GRID = {"images": "in/{row}_{col}.tif", "overlap": 0.25}
CONFIG = {"datasets": {"grid": GRID}, "train": {"steps": 0}, "selfcheck": {"count": 1}, "mosaic": {"chunk": 32, "shard": 64}}
PAIRS = 31 - 3
LATER = ["register", "selfcheck", "place", "mosaic", "report"]
TILE = ["tiles", "survey", "illumination", "pairs", *LATER]  # what a tile changes


def write_tile(folder: Path, row: int, col: int, noise: int = 0) -> None:
    """A tile of the specimen, up to 3 px from where the stage says; another `noise` is another picture of the same place."""
    place = np.array([row, col]) * STEP + np.random.default_rng([row, col]).uniform(-3, 3, 2)
    shown = 1000 + 30 * Specimen(1, waves=100, shortest=5.0).tile(np.c_[np.eye(2), place], SIDE, SIDE)
    shown += 10 * np.random.default_rng([row, col, noise]).standard_normal(shown.shape)
    tifffile.imwrite(folder / "in" / f"{row}_{col}.tif", np.rint(shown).astype(np.uint16))


@pytest.fixture(scope="module")
def finished(quick: Path, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """The finished run of a grid without one tile; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "in").mkdir()
    for row, col in np.ndindex(ROWS, COLUMNS):
        if (row, col) != MISSING:
            write_tile(folder, row, col)
    workflow = Workflow(quick, folder, CONFIG)
    workflow.finish()
    assert (folder / "results" / "grid" / "cache").is_dir()
    return workflow


@pytest.fixture
def again(finished: Workflow, tmp_path: Path) -> Workflow:
    """A copy of it, free to change."""
    return finished.copy(tmp_path / "again")


def steps(*names: str) -> dict[str, int]:
    return dict.fromkeys(names, 1)


def run(workflow: Workflow, *options: str, **changes: Any) -> None:
    result = workflow(*options, **changes)
    assert result.returncode == 0, result.stdout + result.stderr


def said(workflow: Workflow, step: str, what: str) -> tuple[int, ...]:
    """The numbers in the first line of a log that is as the pattern says."""
    words = (workflow.folder / "results" / "grid" / "logs" / f"{step}.log").read_text()
    found = re.search(what, words)
    assert found, words
    return tuple(map(int, found.groups()))


def same_as_from_scratch(workflow: Workflow, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Affines, placement and mosaic, byte for byte, against those of the same tiles by the same light and model."""
    tree = yaml.safe_load((workflow.repository / "config.yaml").read_text())
    chosen = Settings.checked({name: {**part, **workflow.config.get(name, {})} for name, part in tree.items()})
    results = workflow.folder / "results" / "grid"
    tiles, light, pairs, survey, exposure = (
        results / name for name in ("tiles.csv", "illumination.tif", "pairs.csv", "survey.csv", "exposure.csv")
    )
    affines, placement = folder / "affines.csv", folder / "placement.csv"
    folder.mkdir()
    monkeypatch.chdir(workflow.folder)
    register(tiles, light, pairs, affines, model=results / "model.pt", settings=chosen.register_, device="cpu")
    place(tiles, affines, placement, survey=survey, stage=folder / "stage.csv", settings=chosen.place)
    mosaic(tiles, light, exposure, placement, folder / "mosaic.ome.zarr", settings=chosen.mosaic)
    expected = contents(folder)
    found = {name: content for name, content in contents(results).items() if not name.endswith(".snakemake_timestamp")}
    assert [name for name in expected if found[name] != expected[name]] == []
    shards = {name for name in found if name.startswith("mosaic.ome.zarr")}
    assert shards == {name for name in expected if name.startswith("mosaic.ome.zarr")} and len(shards) > 60


def test_another_tile_in_the_place_of_one(again: Workflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tile(again.folder, 2, 1, noise=1)
    assert again.planned() == steps(*TILE)
    run(again, "--until", "mosaic")
    assert said(again, "register", r"registering (\d+) of (\d+) pairs; (\d+) are in the cache") == (4, PAIRS, PAIRS - 4)
    strange, every = said(again, "register", r"registering (\d+) of (\d+) unrelated pairs")
    assert 0 < strange < every / 3
    same_as_from_scratch(again, tmp_path / "scratch", monkeypatch)


def test_a_tile_more_at_the_edge(again: Workflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tile(again.folder, *MISSING)
    assert again.planned() == steps(*TILE)
    run(again, "--until", "mosaic")
    assert said(again, "register", r"registering (\d+) of (\d+) pairs; (\d+) are in the cache") == (3, PAIRS + 3, PAIRS)
    strange, every = said(again, "register", r"registering (\d+) of (\d+) unrelated pairs")
    assert 0 < strange < every / 3
    same_as_from_scratch(again, tmp_path / "scratch", monkeypatch)


def test_what_is_kept_may_be_deleted(again: Workflow) -> None:
    before = tables.read(again.folder / "results/grid/placement.csv", tables.PLACEMENT)
    shutil.rmtree(again.folder / "results" / "grid" / "cache")
    assert again.planned() == {}
    write_tile(again.folder, 2, 1)  # the same once more
    run(again, "--forcerun", "register")
    assert said(again, "register", r"registering (\d+) of (\d+) pairs; (\d+)") == (PAIRS, PAIRS, 0)
    pd.testing.assert_frame_equal(tables.read(again.folder / "results/grid/placement.csv", tables.PLACEMENT), before)


@pytest.mark.parametrize(
    ("changes", "options", "learnt"),
    [
        ({"train": {"steps": 1}}, [], ["train"]),
        ({"illumination": {"correct": False}}, [], ["illumination"]),
        ({}, ["--forcerun", "train", "illumination"], ["train", "illumination"]),
    ],
)
def test_settings_and_the_user_make_it_learn_again(
    again: Workflow, changes: dict[str, Any], options: list[str], learnt: list[str]
) -> None:
    assert again.planned(*options, **changes) == steps(*learnt, *LATER)
    write_tile(again.folder, 2, 1, noise=1)
    assert again.planned(*options, **changes) == steps(*learnt, *TILE)


def test_code_makes_it_learn_again(again: Workflow) -> None:
    write_tile(again.folder, 2, 1, noise=1)
    for name, learnt in (("registration/training/loop", "train"), ("illumination/smooth", "illumination")):
        path = again.repository / "dlir" / f"{name}.py"
        text = path.read_text()
        path.write_text(text + "EDITED = True\n")
        try:
            assert again.planned() == steps(learnt, *TILE)
        finally:
            path.write_text(text)


def test_a_model_of_ones_own(again: Workflow) -> None:
    model = again.folder / "my model.pt"
    shutil.copy(again.folder / "results" / "grid" / "model.pt", model)
    pinned = {"train": {"model": "my model.pt"}}
    assert again.planned(**pinned) == steps(*LATER)
    run(again, "--until", "selfcheck", "mosaic", **pinned)
    assert again.planned(**pinned) == steps("report")
    write_tile(again.folder, 2, 1, noise=1)
    assert again.planned("--forcerun", "tiles", **pinned) == steps(*TILE)
    write_tile(again.folder, 2, 1)
    model.write_bytes(model.read_bytes() + b"another")
    assert again.planned(**pinned) == steps(*LATER)
    model.unlink()
    result = again("--dry-run", **pinned)
    assert result.returncode == 1 and "Job stats" not in result.stdout
    assert "error: train.model is my model.pt, and there is no such file" in result.stderr


def test_a_tolerance_keeps_the_shards_whose_tiles_hardly_move(again: Workflow) -> None:
    write_tile(again.folder, 2, 1, noise=1)
    run(again, "--until", "mosaic", mosaic={"chunk": 32, "shard": 64, "tolerance": 0.05})
    new, shards, kept = said(again, "mosaic", r"fusing (\d+) of (\d+) shards; (\d+) are as before")
    assert new + kept == shards == 7 * 9
    assert 4 <= new <= 12  # the tile touches 9


def test_tiles_of_another_kind_have_their_illumination_learnt_again(again: Workflow) -> None:
    for path in (again.folder / "in").glob("*.tif"):
        tifffile.imwrite(path, (tifffile.imread(path)[:-8] >> 4).astype(np.uint8))
    run(again, "--until", "mosaic")
    assert (
        "learnt from 19 tiles, of which 19 are among the 19"
        in (again.folder / "results/grid/logs/illumination.log").read_text()
    )
    pixels = zarr.open_group(again.folder / "results/grid/mosaic.ome.zarr", mode="r")["0"][...]
    assert pixels.dtype == np.uint8 and np.median(pixels) == pytest.approx(1000 / 16, abs=5)


def test_the_illumination_is_kept_when_a_tile_changes(again: Workflow) -> None:
    light = again.folder / "results" / "grid" / "illumination.tif"
    before = light.read_bytes()
    write_tile(again.folder, *MISSING)
    run(again, "--until", "illumination")
    assert light.read_bytes() == before
    assert (
        "learnt from 19 tiles, of which 19 are among the 20"
        in (again.folder / "results/grid/logs/illumination.log").read_text()
    )
    run(again, "--until", "illumination", "--forcerun", "illumination")
    assert light.read_bytes() != before


def test_what_was_read_while_a_file_was_changed_is_read_again(again: Workflow) -> None:
    """The step tiles read a file that changed after the run began, and that changed back after it."""
    sealed.write(b"what it read", again.folder / "results" / "grid" / "cache" / "read")
    assert again.planned() == steps(*TILE)


def test_results_of_which_nobody_knows_the_making_are_made_again(again: Workflow) -> None:
    shutil.rmtree(again.folder / ".snakemake" / "metadata")
    planned = again.planned(mosaic={"blend": "none"})
    assert planned == {**steps(*TILE), **planned} and planned["mosaic"] == 1


def test_results_from_the_future_hide_no_change(again: Workflow) -> None:
    for path in (again.folder / "results").rglob("*.csv"):
        os.utime(path, (2e9, 2e9))
    write_tile(again.folder, 2, 1, noise=1)
    run(again, "--until", "tiles")
    assert again.planned()["survey"] == 1


@pytest.mark.parametrize("name", ["cache", "logs"])
def test_a_file_where_a_folder_of_results_goes_is_named(again: Workflow, name: str) -> None:
    folder = again.folder / "results" / "grid" / name
    shutil.rmtree(folder)
    folder.write_text("in the way")
    result = again()
    assert result.returncode == 1 and "Traceback" not in result.stdout + result.stderr
    assert f"error: results/grid/{name} is a file, and a folder of results has to go there: move it away" in result.stderr


def test_an_ome_tiff_that_was_asked_for_once_follows_the_mosaic(again: Workflow) -> None:
    run(again, "results/grid/mosaic.ome.tif")
    assert again.planned() == {}
    assert again.planned(mosaic={"blend": "none"})["ome_tiff"] == 1
