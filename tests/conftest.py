"""What several tests need: datasets of small synthetic tiles, and the real ones of ../shared where they are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from dlir.settings import Dataset

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"


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
        return Dataset(images=str(images), **{**layout, "pixel_size": None, **keys})

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
