"""A pixel of a demo tile shows the specimen where the true affine of the tile puts it."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from scipy import ndimage

from dlir.core import affine, tables
from dlir.demo import make as demo
from dlir.demo.settings import Demo
from dlir.reading import image_files

SMALL = Demo(rows=2, columns=3, tile=128)
CLEAN = demo.Microscope(photons=1e8, shading=0.0)


def pixels(side: int) -> affine.Array:
    """Returns the centres (side * side, 2) of the pixels of a tile, in reading order."""
    return np.indices((side, side)).reshape(2, -1).T.astype(float)


def test_a_sample_is_the_specimen_at_the_affine() -> None:
    def specimen(y: affine.Array, x: affine.Array) -> affine.Array:
        return 2 + np.sin(y / 5) * np.cos(x / 7) + 0.01 * x

    spline = ndimage.spline_filter(specimen(*np.indices((200, 220)).astype(float)), demo.ORDER, mode="mirror")
    truth = np.array([[0.99, 0.07, 40.3], [-0.08, 1.01, 55.7]])
    found = demo._sample(spline, truth, 64)
    points = affine.apply(truth, pixels(64))
    np.testing.assert_allclose(found.ravel(), specimen(points[:, 0], points[:, 1]), atol=1e-4)


@pytest.mark.parametrize("rotation", [0.0, 3.0, -5.0])
def test_tiles_show_the_retina_at_the_true_affines(tmp_path: Path, rotation: float) -> None:
    demo.take_tiles(tmp_path, SMALL, CLEAN._replace(rotation=rotation))
    specimen = skimage.data.retina()[..., 1].astype(float)
    table = tables.read(tmp_path / "truth.csv", tables.TRUTH)
    assert len(table) == len(list((tmp_path / "tiles").iterdir())) == 6
    for path, truth in zip(table["path"], affine.from_table(table), strict=True):
        points = affine.apply(truth, pixels(128)).T
        expected = ndimage.map_coordinates(specimen, points, order=3).reshape(128, 128)
        tile = (image_files.read(path)[0] - demo.DARK_LEVEL) * (specimen.max() / demo.BRIGHTEST)
        assert np.abs(tile - expected).mean() < 0.05
        shifted = ndimage.map_coordinates(specimen, points + 0.2, order=3).reshape(128, 128)
        assert np.abs(tile - expected).mean() < 0.5 * np.abs(tile - shifted).mean()


def test_the_camera_is_rotated_and_the_stage_errs_as_set(tmp_path: Path) -> None:
    demo.take_tiles(tmp_path, SMALL, CLEAN._replace(rotation=5.0))
    truth = affine.from_table(tables.read(tmp_path / "truth.csv", tables.TRUTH))
    assert np.ptp(truth[:, :, :2], axis=0).max() == 0  # all tiles have the linear part of the one camera
    np.testing.assert_allclose(truth[0, :, :2] @ truth[0, :, :2].T, np.eye(2), atol=1e-12)
    assert np.rad2deg(np.arccos(truth[0, 0, 0])) == pytest.approx(5.0)
    cells = np.array([(row, col) for row in range(2) for col in range(3)])
    stage = 705 + (cells - [0.5, 1]) * 128 * 0.8  # the grid lies in the middle of the specimen
    error = affine.apply(truth, [[63.5, 63.5]])[:, 0] - stage
    assert 2 < np.abs(error).max() <= SMALL.stage_error
    assert error.std() == pytest.approx(SMALL.stage_error / np.sqrt(3), rel=0.5)


def test_tiles_have_the_names_and_the_type_of_a_microscope(tmp_path: Path) -> None:
    demo.demo(tmp_path, settings=SMALL)
    names = sorted(path.name for path in (tmp_path / "tiles").iterdir())
    assert names[0] == "Tp26_Y000_X000_040.tif" and names[-1] == "Tp26_Y001_X002_040.tif"
    tile = image_files.read(tmp_path / "tiles" / names[0])
    assert tile.shape == (1, 128, 128) and tile.dtype == np.uint16
    assert tables.read(tmp_path / "truth.csv", tables.TRUTH)["path"][0] == str(tmp_path / "tiles" / names[0])


def test_the_seed_determines_the_tiles(tmp_path: Path) -> None:
    few = Demo(rows=1, columns=2, tile=64)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        demo.demo(tmp_path / name, settings=few.model_copy(update={"seed": seed}))
    first, again, other = (image_files.read(tmp_path / name / "tiles" / "Tp26_Y000_X001_040.tif") for name in "abc")
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.5


def test_illumination_falls_off_and_noise_is_that_of_photons() -> None:
    microscope = demo.Microscope(photons=400.0, shading=0.4)
    photons = np.full((101, 101), 200.0)
    many = np.stack([demo._expose(np.random.default_rng(seed), photons, microscope) for seed in range(200)])
    electrons = (many - demo.DARK_LEVEL) / (demo.BRIGHTEST / microscope.photons)
    mean, variance = electrons.mean(0), electrons.var(0)
    assert mean[49:52, 49:52].mean() == pytest.approx(200, rel=0.01)
    assert mean[[0, 0, -1, -1], [0, -1, 0, -1]].mean() == pytest.approx(120, rel=0.02)
    assert variance[49:52, 49:52].mean() == pytest.approx(200 + demo.READ_NOISE**2, rel=0.1)


def test_a_second_demo_replaces_the_first(tmp_path: Path) -> None:
    demo.demo(tmp_path, settings=SMALL)
    demo.demo(tmp_path, settings=SMALL.model_copy(update={"rows": 1}))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiles", "truth.csv"]
    assert len(list((tmp_path / "tiles").iterdir())) == 3


def test_the_default_grid_fits_into_the_specimen() -> None:
    affines = demo._affines(np.random.default_rng(1), (1411, 1411), Demo(), 0.5)
    corners = affine.apply(affines, affine.corners(Demo().tile, Demo().tile))
    assert len(affines) == 30
    assert corners.min() >= 0 and corners.max() <= 1410


def test_a_grid_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    words = r"demo: 5 x 9 tiles of 256 px need \d+ x \d+ px of an image that has 1411 x 1411: lower demo\.rows"
    with pytest.raises(demo.DemoError, match=words):
        demo.demo(tmp_path, settings=Demo(columns=9))
    assert not list(tmp_path.iterdir())
