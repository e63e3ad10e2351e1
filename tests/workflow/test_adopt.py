"""Datasets that take over the placement of another one: what runs, what runs again, and what the mosaic shows."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from support.workflow import GRID, PHASE, Workflow, write_tiles

pytestmark = pytest.mark.slow
STEPS = ["tiles", "adopt", "illumination", "exposure", "mosaic", "report"]
AS_LABELS = {"illumination": {"correct": False}, "mosaic": {"interpolation": 0, "blend": "none"}}


@pytest.fixture(scope="module")
def finished(quick: Path, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """The finished run of a grid, and of other images that take its placement from this very run; not to be changed."""
    folder = tmp_path_factory.mktemp("adopted")
    write_tiles(folder)
    shutil.copytree(folder / "in" / "grid", folder / "in" / "other")
    other = {"images": "in/other/{row}_{col}.tif", "placement": "results/grid/placement.csv"}
    workflow = Workflow(quick, folder, {"datasets": {"grid": GRID, "other": other}, **PHASE})
    workflow.finish()
    return workflow


def level(workflow: Workflow, name: str) -> np.ndarray:
    """The mosaic of a dataset at full resolution."""
    return np.asarray(zarr.open_array(workflow.folder / "results" / name / "mosaic.ome.zarr" / "0", mode="r")[...])


def test_nothing_is_registered_and_the_mosaics_overlay(finished: Workflow) -> None:
    results = finished.folder / "results" / "other"
    assert {log.stem for log in (results / "logs").glob("*.log")} == set(STEPS)
    placed = [pd.read_csv(finished.folder / "results" / name / "placement.csv") for name in ("grid", "other")]
    pd.testing.assert_frame_equal(*(table.drop(columns=["path", "placed_by"]) for table in placed))
    np.testing.assert_array_equal(level(finished, "other"), level(finished, "grid"))
    page = (results / "report.html").read_text()
    assert "The placement was taken from results/grid/placement.csv" in page
    content = json.loads((results / "provenance.json").read_text())
    assert list(content["results"]) == ["illumination.tif", "lens.csv", "placement.csv", "exposure.csv"]
    assert set(content["stages"]) == set(STEPS) - {"report"}
    assert (results / "TileConfiguration.registered.txt").is_file()
    assert finished.planned() == {}


def test_a_change_before_the_placement_runs_it_again(finished: Workflow, tmp_path: Path) -> None:
    work = finished.copy(tmp_path / "work")
    planned = work.planned(place={"model": "translation"})
    assert planned == {
        "place": 1,
        "adopt": 1,
        "exposure": 1,
        "mosaic": 2,
        "report": 2,
        "illumination": 1,
        "index_of_all": 1,
    }


def test_labels_of_a_finished_run_keep_their_values(finished: Workflow, tmp_path: Path) -> None:
    work = finished.copy(tmp_path / "work")
    (work.folder / "masks").mkdir()
    values = np.arange(1, 2**16, 14)[: 64 * 64].reshape(64, 64).astype(np.uint16)
    for row, col in np.ndindex(2, 2):
        tifffile.imwrite(work.folder / "masks" / f"m{row}_{col}.tif", values + row + 2 * col)
    labels = {"images": "masks/m{row}_{col}.tif", "placement": "results/grid/placement.csv"}
    run = Workflow(work.repository, work.folder, {"datasets": {"labels": labels}, **AS_LABELS})
    run.finish()
    found, grid = level(run, "labels"), level(run, "grid")
    assert found.shape == grid.shape and found.dtype == np.uint16
    places = pd.read_csv(work.folder / "results" / "grid" / "placement.csv")[["y0", "x0"]].round().astype(int).to_numpy()
    assert np.isin(found, np.append(np.concatenate([np.unique(values) + k for k in range(4)]), 0)).all()
    for (row, col), (y, x) in zip(np.ndindex(2, 2), places, strict=True):
        middle = found[y + 24 : y + 40, x + 24 : x + 40]
        assert np.isin(middle, values + row + 2 * col).mean() == 1
    # what the placement holds counts, and not its date
    assert run.planned() == {}
    placement = work.folder / "results" / "grid" / "placement.csv"
    placement.touch()
    assert run.planned() == {}
    table = pd.read_csv(placement)
    table.assign(y0=table["y0"] + 1).to_csv(placement, index=False)
    assert run.planned() == dict.fromkeys([step for step in STEPS if step not in ("tiles",)], 1)


def test_a_placement_of_other_tiles_stops_before_any_job(finished: Workflow, tmp_path: Path) -> None:
    work = finished.copy(tmp_path / "work")
    shutil.copy(work.folder / "results" / "grid" / "placement.csv", work.folder / "p.csv")
    (work.folder / "masks").mkdir()
    tifffile.imwrite(work.folder / "masks" / "a.tif", np.zeros((64, 64), np.uint16))
    labels = {"images": "masks/*.tif", "placement": "p.csv"}
    found = Workflow(work.repository, work.folder, {"datasets": {"labels": labels}})("--dry-run")
    assert found.returncode == 1
    assert re.search(
        r"error: placement cannot be used:\n  p\.csv: tells no place for masks/a\.tif: name the tiles as", found.stderr
    )
