"""Tiles as small pictures: all of a dataset in one scale of grey, and reduced without a shift."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture
from scipy import ndimage
from support import finished_runs, two_groups
from support.distorted import barrel

from dlir.core import lens
from dlir.reporting import tile_jpeg
from dlir.reporting.tile_jpeg import TileJpegs


def shown(jpegs: TileJpegs, tile: int) -> np.ndarray:
    return np.asarray(Picture.open(io.BytesIO(jpegs.jpeg(tile))), float)


def test_all_tiles_have_the_same_black_and_white(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished_runs.make(tmp_path).parents[1])
    jpegs = TileJpegs(tmp_path / "results" / "two")
    for tile in (0, 6):
        grey = (two_groups.pixels()[tile] - jpegs.black) / (jpegs.white - jpegs.black) * 255
        assert np.abs(shown(jpegs, tile) - grey.clip(0, 255)).mean() < 3


def test_tiles_are_undistorted_as_those_of_the_mosaic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished_runs.make(tmp_path).parents[1])
    results = tmp_path / "results" / "two"
    raw = shown(TileJpegs(results), 0)
    size = (two_groups.SIDE, two_groups.SIDE)
    bent = barrel(size, -6.0)
    lens.write({0: bent}, results / "lens.csv")
    found = shown(TileJpegs(results), 0)
    seen = bent.to_raw(np.stack(np.indices(size), axis=-1))
    wanted = ndimage.map_coordinates(raw, np.moveaxis(seen, -1, 0), order=1)
    assert np.abs(found - wanted).mean() < 6
    assert np.abs(found - raw).mean() > 4 * np.abs(found - wanted).mean()


def test_a_large_tile_is_reduced_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished_runs.make(tmp_path).parents[1])
    jpegs = TileJpegs(tmp_path / "results" / "two")
    whole = shown(jpegs, 0)
    monkeypatch.setattr(tile_jpeg, "LONGEST", 40)
    small = shown(jpegs, 0)

    def off(by: int) -> float:
        """How much the small picture differs from the mean of 4 x 4 px, which lie `by` px to the right."""
        return float(np.abs(small - np.roll(whole, by, axis=1).reshape(40, 4, 40, 4).mean(axis=(1, 3)))[:, 1:-1].mean())

    assert off(0) < 5
    assert min(off(-1), off(1)) > 10
