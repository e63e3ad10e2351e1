"""What several tests need: datasets of small synthetic tiles, and the real ones of ../shared where they are."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pandas as pd
import pytest
import tifffile
from numpy.typing import NDArray
from specimens import PLAIN, Specimen

from dlir import affine, light, tables
from dlir.pairs import pairs
from dlir.settings import Dataset, Pairs

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads of tests that run side by side do not spin for each other
hypothesis.settings.register_profile("dlir", derandomize=True, deadline=None)  # the same examples in every run
hypothesis.settings.load_profile("dlir")
ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The table of the faults that were tried (test_faults.py), also where other processes ran the tests."""
    passed = [test.user_properties for test in terminalreporter.stats.get("passed", [])]
    rows = [row for properties in passed for name, row in properties if name == "fault"]
    if rows:
        terminalreporter.section("faults survived")
        terminalreporter.line(f"{'fault':<55} {'next run ends the same':<25} results lost")
        for row in rows:
            terminalreporter.line(row)


@pytest.fixture
def shared_data() -> Path:
    """The folder of real tiles; the test is skipped where there is none."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"needs the real tiles in {SHARED / 'data'}")
    return SHARED / "data"


@pytest.fixture
def dataset() -> Callable[..., Dataset]:
    """Makes the settings of a dataset from its `images` and the keys of its layout that matter."""

    def make(images: Path | str, **keys: Any) -> Dataset:
        layout = {"overlap": 0.1, "rows": None, "columns": None, "start": "top-left", "order": "rows", "snake": False}
        reference = {"reference_channel": None, "reference_z": "max", "reference_time": 0}
        return Dataset(images=str(images), **{**layout, **reference, "pixel_size": None, **keys})

    return make


@pytest.fixture
def write_tiles(tmp_path: Path) -> Callable[..., Path]:
    """Writes one tile of random pixels (y, x) under each name into a folder of the test, and returns the folder."""

    def write(*names: str, shape: tuple[int, ...] = (20, 30), dtype: str = "uint16") -> Path:
        rng = np.random.default_rng(len(names))
        for name in names:
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            tifffile.imwrite(path, rng.integers(0, 200, shape).astype(dtype))
        return tmp_path / "in"

    return write


@dataclass(frozen=True)
class Grid:
    """The tables of a small grid of tiles, and the truth about it."""

    tiles: Path
    illumination: Path
    pairs: Path
    truth: NDArray[np.float64]  # (n, 2, 3) tile px to specimen px
    size: tuple[int, int]
    blank: tuple[int, ...] = ()

    def errors(self, found: pd.DataFrame) -> NDArray[np.float64]:
        """The distance (n,), px, of the true from the found place of each overlap's centre in the fixed tile."""
        return np.asarray(np.linalg.norm(self.offsets(found), axis=1))

    def offsets(self, found: pd.DataFrame) -> NDArray[np.float64]:
        """How far (n, 2), px, the found place lies from the true one."""
        centre = found[["centre_y", "centre_x"]].to_numpy()[:, None]
        fixed, moving = (self.truth[found[column]] for column in ("fixed", "moving"))
        true = affine.apply(affine.compose(affine.invert(fixed), moving), centre)
        return np.asarray((affine.apply(affine.from_table(found), centre) - true)[:, 0])


def make_grid(folder: Path, rows: int, cols: int, noise: float, blank: tuple[int, ...] = (), side: int = 160) -> Grid:
    """Tiles of 160 px with 20 % overlap, a stage error of 4 px and a camera turned by half a degree."""
    specimen, rng = Specimen(1, waves=200, shortest=5.0), np.random.default_rng(2)
    angle = np.deg2rad(0.5)
    camera = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    listed, truth = [], []
    for tile in range(rows * cols):
        stage = np.array(divmod(tile, cols)) * 0.8 * side
        truth.append(np.c_[camera, stage + rng.uniform(-4, 4, 2)])
        shown = 4000 + (0 if tile in blank else 30) * specimen.tile(truth[-1], side, side)
        pixels = np.rint(shown + noise * rng.standard_normal(shown.shape)).astype(np.uint16)
        tifffile.imwrite(folder / f"{tile}.tif", pixels)
        listed.append({"tile": tile, "path": str(folder / f"{tile}.tif"), "row": tile // cols, "col": tile % cols,
                       "y": stage[0], "x": stage[1], "height": side, "width": side, "channels": 1, "dtype": "uint16",
                       "pixel_size": None, "sha256": hashlib.sha256(pixels).hexdigest(), **PLAIN})  # fmt: skip
    tables.write(pd.DataFrame(listed), tables.TILES, folder / "tiles.csv")
    pairs(folder / "tiles.csv", folder / "pairs.csv", settings=Pairs(search=0.5, min_overlap=8))
    light.write(light.none((1, side, side)), folder / "light.tif")
    return Grid(folder / "tiles.csv", folder / "light.tif", folder / "pairs.csv", np.array(truth), (side, side), blank)


@pytest.fixture(scope="session")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    """3 x 3 tiles with little noise."""
    return make_grid(tmp_path_factory.mktemp("grid"), 3, 3, noise=3.0)


@pytest.fixture(scope="session")
def noisy_grid(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    """3 x 3 tiles with twice as much noise as signal."""
    return make_grid(tmp_path_factory.mktemp("noisy"), 3, 3, noise=400.0)


@pytest.fixture(scope="session")
def blank_grid(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    """3 x 3 tiles of which two show nothing."""
    return make_grid(tmp_path_factory.mktemp("blank"), 3, 3, noise=3.0, blank=(0, 5))


@pytest.fixture(scope="session")
def one_tile(tmp_path_factory: pytest.TempPathFactory) -> Grid:
    """A single tile."""
    return make_grid(tmp_path_factory.mktemp("one"), 1, 1, noise=3.0)
