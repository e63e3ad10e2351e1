"""Tiles that are Zarr stores: placed as files are, known by what they hold, and done again when a chunk changes."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support import unequal
from support.stores import write_image
from support.workflow import Workflow, jobs_from

from dlir.core import affine
from dlir.reading import image_files
from dlir.reporting.accuracy import corner_errors

pytestmark = pytest.mark.slow
CELLS = np.array(list(np.ndindex(2, 3)))


@pytest.mark.parametrize("version", [2, 3], ids=["OME-Zarr 0.4", "OME-Zarr 0.5"])
def test_a_grid_of_stores(quick: Path, tmp_path: Path, version: int) -> None:
    made = unequal.make(tmp_path, CELLS, [(unequal.SIDE, unequal.SIDE)] * len(CELLS))
    stores = [(tmp_path / name).with_suffix(".ome.zarr") for name in made.names]
    for store, name in zip(stores, made.names, strict=True):
        write_image(store, image_files.read(tmp_path / name)[0], "yx", version)
    workflow = Workflow(
        quick,
        tmp_path,
        {"datasets": {"grid": {"images": "r{row}_c{col}.ome.zarr"}}, "train": {"steps": 0}, "selfcheck": {"count": 2}},
    )
    workflow.finish()
    placed = pd.read_csv(tmp_path / "results" / "grid" / "placement.csv").sort_values("path")
    found = affine.from_table(placed)
    assert corner_errors(found, made.truth, affine.corners(*made.sizes.T)).max() < 0.1
    assert workflow.planned() == {}
    first, second = (stores[4] / "0" / ("0" if version == 2 else "c/0") / name for name in "01")
    state = first.stat()
    first.write_bytes(second.read_bytes())
    os.utime(first, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert workflow.planned() == {step: 1 for step in jobs_from("tiles") if step not in ("train", "accuracy")}
