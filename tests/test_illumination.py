"""The camera's pattern: found where there is one, not invented where there is none."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy import ndimage
from specimens import PLAIN

from dlir import images, tables
from dlir.illumination import illumination, pattern
from dlir.settings import Illumination

SIZE = 128


def tissue(count: int, seed: int = 0) -> np.ndarray:
    """Dense structure that differs from tile to tile, (n, y, x), positive."""
    noise = np.random.default_rng(seed).standard_normal((count, SIZE, SIZE))
    smooth = [ndimage.gaussian_filter(noise, (0, s, s)) for s in (1.0, 4.0)]
    return np.clip(1 + sum(0.2 * part / part.std() for part in smooth), 0.05, None)


def camera(dirt: float) -> np.ndarray:
    """Shading off the centre, and specks."""
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    specks = np.zeros((SIZE, SIZE))
    specks[tuple(np.random.default_rng(5).integers(0, SIZE, (2, 40)))] = 1
    specks = ndimage.gaussian_filter(specks, 2.0)
    flat = (1 - 0.4 * ((y - 0.1) ** 2 + (x + 0.2) ** 2) / 2) * (1 - dirt * specks / specks.max())
    return flat / flat.mean()


def uint16(stack: np.ndarray) -> list[np.ndarray]:
    return [np.rint(1000 * plane).astype(np.uint16)[None] for plane in stack]


def test_shading_is_found() -> None:
    flat = camera(dirt=0)
    found = pattern(uint16(tissue(40) * flat))[0]
    assert np.std(found / flat) < 0.03
    assert np.std(1 / flat) > 0.1


def test_dirt_is_found_where_most_tiles_are_empty() -> None:
    flat = camera(dirt=0.3)
    empty = 1 + 0.02 * np.random.default_rng(1).standard_normal((40, SIZE, SIZE))
    found = pattern(uint16(empty * flat))[0]
    assert np.std(found / flat) < 0.012


@pytest.mark.parametrize("count", [6, 30])
def test_structure_of_the_specimen_is_no_pattern(count: int) -> None:
    found = pattern(uint16(tissue(count)))[0]
    assert found.std() < 0.02


def test_channels_have_patterns_of_their_own() -> None:
    flat = camera(dirt=0)
    tiles = np.stack([tissue(30) * flat, tissue(30, seed=9)], 1)
    found = pattern([np.rint(1000 * tile).astype(np.uint16) for tile in tiles])
    assert np.std(found[0] / flat) < 0.04 and found[1].std() < 0.02
    assert found.mean((1, 2)) == pytest.approx([1, 1], abs=1e-3)


def test_black_tiles_give_finite_values() -> None:
    assert np.isfinite(pattern([np.zeros((1, 32, 32), np.uint16)] * 5)).all()


@pytest.mark.parametrize(("correct", "count"), [(False, 12), (True, 2)])
def test_without_correction_or_tiles_enough_the_pattern_is_one(tmp_path: Path, correct: bool, count: int) -> None:
    rows = []
    for index, tile in enumerate(uint16(tissue(count) * camera(0))):
        tifffile.imwrite(tmp_path / f"{index}.tif", tile[0])
        rows.append({"tile": index, "path": str(tmp_path / f"{index}.tif"), "row": 0, "col": index, "y": 0.0, "x": 0.0,
                     "height": SIZE, "width": SIZE, "channels": 1, "dtype": "uint16", "pixel_size": None,
                     "sha256": "0", **PLAIN})  # fmt: skip
    tables.write(pd.DataFrame(rows), tables.TILES, tmp_path / "tiles.csv")
    illumination(tmp_path / "tiles.csv", tmp_path / "flat.tif", settings=Illumination(correct=correct))
    assert (images.read(tmp_path / "flat.tif") == 1).all()
