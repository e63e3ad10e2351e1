"""A dataset whose time points are each registered and placed by itself."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import zarr
from support.workflow import PHASE, Workflow, write_tiles

pytestmark = pytest.mark.slow


def test_each_time_point_has_its_placement(quick: Path, tmp_path: Path) -> None:
    write_tiles(tmp_path)
    for tile in (tmp_path / "in" / "grid").iterdir():
        for time in range(2):
            (tmp_path / "movie").mkdir(exist_ok=True)
            shutil.copy(tile, tmp_path / "movie" / f"{tile.stem}_t{time}.tif")
    movie = {"images": "movie/{row}_{col}_t{time}.tif", "overlap": 0.25, "reference_time": "each"}
    workflow = Workflow(quick, tmp_path, {"datasets": {"movie": movie}, **PHASE})
    workflow.finish()
    results = tmp_path / "results" / "movie"
    for name, rows in {"affines.csv": 8, "placement.csv": 8, "stage.csv": 2, "positions.csv": 8}.items():
        assert pd.read_csv(results / name)["time"].value_counts().to_dict() == {0: rows // 2, 1: rows // 2}
    level = zarr.open_array(results / "mosaic.ome.zarr" / "0", mode="r")
    assert level.shape[0] == 2 and (level[0] == level[1]).all()  # the tiles are the same, and so are their places
    assert "Each time point was registered and placed by itself" in (results / "report.html").read_text()
    assert workflow.planned() == {}
    planned = workflow.planned(datasets={"movie": {**movie, "reference_time": 1}})
    assert {"tiles", "register", "place", "mosaic"} <= set(planned)
