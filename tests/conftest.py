"""What several tests need: datasets of small synthetic tiles, and the real ones of ../shared where they are."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import tifffile
from support import SHARED
from support.grids import Grid, make_grid

from dlir.reading.settings import Dataset

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads of tests that run side by side do not spin for each other
hypothesis.settings.register_profile("dlir", derandomize=True, deadline=None)  # the same examples in every run
hypothesis.settings.load_profile("dlir")


def pytest_configure(config: pytest.Config) -> None:
    """Tests that run side by side compute with one thread each, so that they do not take the cores from each other."""
    if config.getoption("numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes of the tests, which start later, have it too


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
