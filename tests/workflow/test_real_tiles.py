"""The real tiles of ../shared, from images to report, and what is known of their places."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import ome_zarr_models
import pytest
from support import ROOT

from dlir.core import affine, tables

pytestmark = pytest.mark.slow
STEPS = 60  # of training: enough for the checks here


def stitched(name: str, folder: Path) -> Path:
    """Run the whole workflow on one of the data sets; the folder of its results."""
    command = [sys.executable, "-m", "snakemake", "-s", ROOT / "Snakefile", "-d", folder, "--cores", str(os.cpu_count())]
    config = ["--configfile", ROOT / "tests" / "datasets" / f"{name}.yaml", "--config", f"train={{steps: {STEPS}}}"]
    done = subprocess.run([*command, *config], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "results" / name


def lattice_residuals(results: Path) -> np.ndarray:
    """How far (n,), px, each tile lies from a linear function of row and column, robustly fitted."""
    tiles, placed = tables.read(results / "tiles.csv", tables.TILES), tables.read(results / "placement.csv", tables.PLACEMENT)
    places = placed[["y0", "x0"]].to_numpy()
    design = np.c_[tiles[["row", "col"]].to_numpy(), np.ones(len(tiles))]
    weight = np.ones(len(tiles))
    for _ in range(50):
        root = np.sqrt(weight)[:, None]
        fitted = design @ np.linalg.lstsq(design * root, places * root)[0]
        weight = 1 / np.maximum(np.linalg.norm(places - fitted, axis=1), 0.05)
    return np.linalg.norm(places - fitted, axis=1)


@pytest.mark.parametrize(
    ("name", "count", "channels", "accepted"),
    [
        ("brain", 63, 1, 0.6),
        ("lscm", 12, 3, 0.9),
        ("micrographs", 12, 1, 0.9),
        ("grid_filename", 6, 1, 0.9),
        ("phase", 25, 1, 0.3),
    ],
)
def test_a_real_data_set_is_stitched(
    name: str, count: int, channels: int, accepted: float, tmp_path: Path, shared_data: Path
) -> None:
    (tmp_path / "shared").symlink_to(shared_data.parent)
    (tmp_path / "run").mkdir()
    results = stitched(name, tmp_path / "run")
    pairs = tables.read(results / "affines.csv", tables.AFFINES)
    placed = tables.read(results / "placement.csv", tables.PLACEMENT)
    assert len(placed) == count
    assert pairs["accepted"].mean() >= accepted
    assert placed["residual"].median() < 1.5
    image = ome_zarr_models.open_ome_zarr(results / "mosaic.ome.zarr")
    assert len(image.ome_attributes.multiscales[0].axes) == (3 if channels > 1 else 2)
    assert (results / "report.html").stat().st_size > 50_000
    if name == "brain":  # the stage is known to be far better than the registration of any single pair
        apart = lattice_residuals(results)
        assert np.median(apart) < 1.0 and apart.max() < 2.5
    assert affine.from_table(placed)[:, :, 2].min() == pytest.approx(0, abs=1e-6)
