"""A tile more or another one in its place: only what depends on it is done again, and the result is that from scratch."""

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
from support.workflow import Workflow

from dlir.config import Settings
from dlir.core import affine, tables
from dlir.fusion.mosaic import mosaic
from dlir.placement.place import place
from dlir.registration.inference.register import register

pytestmark = pytest.mark.slow
ROWS, COLUMNS, SIDE, STEP = 4, 5, 128, 96
MISSING = (1, 4)  # at the right edge; the tiles after it count one more once it is there
GRID = {"images": "in/{row}_{col}.tif", "overlap": 0.25}
CONFIG = {"datasets": {"grid": GRID}, "train": {"steps": 0}, "selfcheck": {"count": 1}, "mosaic": {"chunk": 32, "shard": 64}}
PAIRS = 31 - 3
LATER = ["register", "selfcheck", "place", "export", "exposure", "mosaic", "report", "provenance"]
TILE = ["tiles", "survey", "pairs", *LATER]  # what a tile changes


def write_tile(folder: Path, row: int, col: int, noise: int = 0) -> None:
    """A tile of the specimen, up to 3 px from where the stage says; another `noise` is another picture of the same place."""
    place = np.array([row, col]) * STEP + np.random.default_rng([row, col]).uniform(-3, 3, 2)
    shown = 1000 + 30 * Specimen(1, waves=100, shortest=5.0).tile(np.c_[np.eye(2), place], SIDE, SIDE)
    shown += 10 * np.random.default_rng([row, col, noise]).standard_normal(shown.shape)
    tifffile.imwrite(folder / "in" / f"{row}_{col}.tif", np.rint(shown).astype(np.uint16))


@pytest.fixture(scope="module")
def finished(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """The finished run of a grid without one tile; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "in").mkdir()
    for row, col in np.ndindex(ROWS, COLUMNS):
        if (row, col) != MISSING:
            write_tile(folder, row, col)
    workflow = Workflow(repository, folder, CONFIG)
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


def from_scratch(workflow: Workflow, folder: Path) -> Path:
    """The affines and the placement of the same tiles by the same light and model, without anything kept; and the mosaic of
    the placement that the workflow found."""
    tree = yaml.safe_load((workflow.repository / "config.yaml").read_text())
    chosen = Settings.checked({name: {**part, **workflow.config.get(name, {})} for name, part in tree.items()})
    results = workflow.folder / "results" / "grid"
    listed = tables.read(results / "tiles.csv", tables.TILES)
    listed["path"] = [str(workflow.folder / path) for path in listed["path"]]
    folder.mkdir()
    tables.write(listed, tables.TILES, folder / "tiles.csv")
    light, pairs, model = (results / name for name in ("illumination.tif", "pairs.csv", "model.pt"))
    register(folder / "tiles.csv", light, pairs, folder / "affines.csv", model=model, settings=chosen.register_, device="cpu")
    placed = folder / "placement.csv"
    place(folder / "tiles.csv", folder / "affines.csv", placed, stage=folder / "stage.csv", settings=chosen.place)
    placed = tables.read(results / "placement.csv", tables.PLACEMENT).assign(path=listed["path"])
    tables.write(placed, tables.PLACEMENT, folder / "found.csv")
    files = folder / "tiles.csv", light, results / "exposure.csv", folder / "found.csv"
    mosaic(*files, folder / "mosaic.ome.zarr", settings=chosen.mosaic)
    return folder


def same_as_from_scratch(workflow: Workflow, folder: Path) -> None:
    """Affines, placement and mosaic against those from scratch."""
    results, scratch = workflow.folder / "results" / "grid", from_scratch(workflow, folder)
    found, expected = (tables.read(path / "affines.csv", tables.AFFINES) for path in (results, scratch))
    numbers = [*affine.COLUMNS, "confidence"]
    np.testing.assert_allclose(found[numbers], expected[numbers], atol=1e-3)
    found, expected = (tables.read(path / "placement.csv", tables.PLACEMENT) for path in (results, scratch))
    corners = [affine.apply(affine.from_table(table), affine.corners(SIDE, SIDE)) for table in (found, expected)]
    assert np.abs(corners[0] - corners[1]).max() < 0.01
    names = [Path(path).name for path in found["path"]]
    assert names == [Path(path).name for path in expected["path"]]
    stores = [zarr.open_group(path / "mosaic.ome.zarr", mode="r") for path in (results, scratch)]
    for level in stores[1].array_keys():
        pixels = [np.asarray(store[level][...]).astype(float) for store in stores]
        assert np.abs(pixels[0] - pixels[1]).max() <= 6  # grey values of the steepest px, moved by up to 0.05 px
        assert (pixels[0] == pixels[1]).mean() > 0.3


def test_another_tile_in_the_place_of_one(again: Workflow, tmp_path: Path) -> None:
    write_tile(again.folder, 2, 1, noise=1)
    assert again.planned() == steps(*TILE)
    run(again, "--until", "mosaic")
    assert said(again, "register", r"registering (\d+) of (\d+) pairs; (\d+) are in the cache") == (4, PAIRS, PAIRS - 4)
    strange, every = said(again, "register", r"registering (\d+) of (\d+) unrelated pairs")
    assert 0 < strange < every / 3
    new, shards, kept = said(again, "mosaic", r"fusing (\d+) of (\d+) shards; (\d+) are as before")
    assert new + kept == shards == 7 * 9
    assert 4 <= new <= 12  # the tile touches 9
    same_as_from_scratch(again, tmp_path / "scratch")


def test_a_tile_more_at_the_edge(again: Workflow, tmp_path: Path) -> None:
    write_tile(again.folder, *MISSING)
    assert again.planned() == steps(*TILE)
    run(again, "--until", "mosaic")
    assert said(again, "register", r"registering (\d+) of (\d+) pairs; (\d+) are in the cache") == (3, PAIRS + 3, PAIRS)
    strange, every = said(again, "register", r"registering (\d+) of (\d+) unrelated pairs")
    assert 0 < strange < every / 3
    new, shards = said(again, "mosaic", r"fusing (\d+) of (\d+) shards")
    assert 4 <= new <= shards / 2
    same_as_from_scratch(again, tmp_path / "scratch")


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
    assert again.planned(**pinned) == steps("report", "provenance")
    write_tile(again.folder, 2, 1, noise=1)
    assert again.planned("--forcerun", "tiles", **pinned) == steps(*TILE)
    write_tile(again.folder, 2, 1)
    model.write_bytes(model.read_bytes() + b"another")
    assert again.planned(**pinned) == steps(*LATER)
    model.unlink()
    result = again("--dry-run", **pinned)
    assert result.returncode == 1 and "Job stats" not in result.stdout
    assert "error: train.model is my model.pt, and there is no such file" in result.stderr


def test_light_that_does_not_fit_any_more(again: Workflow) -> None:
    for path in (again.folder / "in").glob("*.tif"):
        tifffile.imwrite(path, tifffile.imread(path)[:-8])
    result = again()
    assert result.returncode == 1
    assert "results/grid/illumination.tif: was learnt from tiles of the shape (1, 128, 128)" in result.stderr
    assert "snakemake --forcerun illumination train" in result.stderr
    assert "Traceback" not in result.stdout + result.stderr
