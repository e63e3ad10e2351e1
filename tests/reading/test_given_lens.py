"""A distortion that the user gives becomes a lens, or is refused with a sentence."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from support.distorted import barrel, lens_of

from dlir.core import affine, lens
from dlir.core.lens import LensError
from dlir.core.settings import SettingsError
from dlir.core.tables import TableError
from dlir.reading.given_lens import given_lenses
from dlir.reading.settings import Dataset

SIZE = (120, 160)
TILES = pd.DataFrame({"camera": [0, 0], "height": [120, 120], "width": [160, 160]})
POINTS = lens.grid(SIZE, 9)
HALF = np.hypot(59.5, 79.5)


def test_auto_and_none() -> None:
    assert given_lenses("auto", TILES) is None
    assert given_lenses("none", TILES) == {}


@pytest.mark.parametrize("focal", [None, 50.0])
def test_k1_and_k2_of_a_calibration(focal: float | None) -> None:
    unit = focal or HALF
    text = f'{{"k1": {0.02 * (unit / HALF) ** 2}, "k2": {-0.01 * (unit / HALF) ** 4}, "focal": {focal or "null"}}}'
    found = given_lenses(text, TILES)
    assert found
    assert found[0].source == "given"
    r = (affine.corners(*SIZE) - (59.5, 79.5)) / HALF
    np.testing.assert_allclose(found[0].at_corners(), HALF * r * (0.02 - 0.01), atol=1e-6)


def test_a_centre_off_the_middle_leaves_the_middle_where_it_is() -> None:
    found = given_lenses('{"k1": 0.02, "centre": [65, 70]}', TILES)
    assert found
    square = (((POINTS - (65, 70)) / HALF) ** 2).sum(axis=1, keepdims=True)
    raw = (65, 70) + (POINTS - (65, 70)) * (1 + 0.02 * square)
    undistorted = found[0].from_raw(raw)
    terms = np.linalg.lstsq(np.c_[POINTS, np.ones(len(POINTS))], undistorted, rcond=None)[0]
    np.testing.assert_allclose(undistorted, affine.apply(terms.T, POINTS), atol=1e-3)
    np.testing.assert_allclose(found[0].to_raw(np.array([59.5, 79.5])), (59.5, 79.5), atol=1e-9)


def test_a_table_of_another_run(tmp_path: Path) -> None:
    true = lens_of(SIZE)._replace(source="found", interval=np.full((18, 2), 0.1))
    lens.write({0: true}, tmp_path / "lens.csv")
    found = given_lenses(str(tmp_path / "lens.csv"), TILES)
    assert found
    assert found[0].source == "given"
    np.testing.assert_array_equal(found[0].coefficients, true.coefficients)


def test_a_displacement_image(tmp_path: Path) -> None:
    true, pixels = lens_of(SIZE), np.stack(np.meshgrid(np.arange(120), np.arange(160), indexing="ij"), -1)
    field = np.moveaxis(true.displacement(pixels), -1, 0)
    tifffile.imwrite(tmp_path / "field.tif", field.astype(np.float32), photometric="minisblack")
    found = given_lenses(str(tmp_path / "field.tif"), TILES)
    assert found
    np.testing.assert_allclose(found[0].coefficients, true.coefficients, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda f: tifffile.imwrite(f, np.zeros((2, 50, 50), np.float32), photometric="minisblack"), r"\(2, 120, 160\)"),
        (lambda f: tifffile.imwrite(f, np.full((2, 120, 160), np.nan, np.float32), photometric="minisblack"), "no numbers"),
        (
            lambda f: tifffile.imwrite(
                f, np.random.default_rng(0).normal(0, 1, (2, 120, 160)).astype("f4"), photometric="minisblack"
            ),
            "misses it",
        ),
        (lambda f: f.write_text("no image"), "cannot be read"),
    ],
)
def test_an_image_that_does_not_fit_is_refused(tmp_path: Path, make: object, words: str) -> None:
    make(tmp_path / "field.tif")  # type: ignore[operator]
    with pytest.raises(LensError, match=words):
        given_lenses(str(tmp_path / "field.tif"), TILES)


def test_a_lens_of_other_tiles_is_refused(tmp_path: Path) -> None:
    lens.write({0: barrel((100, 100), 2.0)}, tmp_path / "lens.csv")
    with pytest.raises(LensError, match=r"lens\.csv: .*100 x 100.*120 x 160"):
        given_lenses(str(tmp_path / "lens.csv"), TILES)
    (tmp_path / "lens.csv").write_text("a,b\n1,2\n")
    with pytest.raises(TableError, match=r"lens\.csv"):
        given_lenses(str(tmp_path / "lens.csv"), TILES)
    with pytest.raises(LensError, match="have 2"):
        given_lenses('{"k1": 0.01}', TILES.assign(camera=[0, 1]))


@pytest.mark.parametrize("value", ["auto", "none", "a/lens.csv", "field.TIFF", {"k1": 0.01, "focal": 1000.0}])
def test_the_setting(value: object) -> None:
    dataset = Dataset.checked({"images": "{row}_{col}.tif", "distortion": value})
    assert (dataset.known_lens is not None) == (isinstance(value, str) and "." in value)


@pytest.mark.parametrize("value", ["sometimes", 3, {"k3": 1}, {"k1": "much"}, None])
def test_a_wrong_setting_names_the_ways(value: object) -> None:
    with pytest.raises(SettingsError, match=r"distortion: is .*k1"):
        Dataset.checked({"images": "{row}_{col}.tif", "distortion": value})
