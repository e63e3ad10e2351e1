"""Other images of the same grid take over the placement of a run, to the pixel."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from support.distorted import barrel

from dlir.core import affine, lens, tables
from dlir.core.lens import LensError
from dlir.fusion import plan
from dlir.fusion.exposure import exposure
from dlir.fusion.mosaic import mosaic
from dlir.fusion.settings import Exposure, Mosaic
from dlir.illumination import fields
from dlir.placement.adopt import adopt
from dlir.placement.placement_table import PlacementError
from dlir.reading.inventory import tiles
from dlir.reading.settings import Dataset

SIDE = 40
STEP = 30
PLACES = np.array([[0.0, 2.0], [1.0, 32.0], [30.0, 0.0], [31.0, 31.0]])  # of the 2 x 2 tiles


@pytest.fixture
def before(tmp_path: Path, dataset: Callable[..., Dataset]) -> Path:
    """The folder of a finished run: tiles.csv and placement.csv of 2 x 2 tiles; returns its placement."""
    (tmp_path / "in").mkdir()
    for k, (row, col) in enumerate(np.ndindex(2, 2)):
        image = np.random.default_rng(k).integers(0, 999, (SIDE, SIDE)).astype(np.uint16)
        tifffile.imwrite(tmp_path / "in" / f"r{row}_c{col}.tif", image)
    settings = dataset(tmp_path / "in" / "r{row}_c{col}.tif", overlap=0.25, pixel_size=0.65)
    (tmp_path / "results").mkdir()
    tiles(tmp_path / "results" / "tiles.csv", settings=settings)
    listed = tables.read(tmp_path / "results" / "tiles.csv", tables.TILES)
    placed = listed[["tile", "path"]].assign(**affine.to_columns(affine.translation(PLACES)), pairs=2, residual=0.1)
    placed = placed.assign(deviation=0.2, group=0, slip_y=0.0, slip_x=0.0, loop=np.nan, placed_by="pairs")
    tables.write(placed, tables.PLACEMENT, tmp_path / "results" / "placement.csv")
    return tmp_path / "results" / "placement.csv"


def labels(folder: Path, *names: str, side: int = SIDE, seed: int = 9) -> list[np.ndarray]:
    """Writes label images with values up to the largest, and returns them."""
    folder.mkdir()
    images = [np.random.default_rng(seed + k).integers(0, 2**16, (side, side)).astype(np.uint16) for k in range(len(names))]
    for name, image in zip(names, images, strict=True):
        tifffile.imwrite(folder / name, image)
    return images


def adopted(folder: Path, settings: Dataset) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs the steps `tiles` and `adopt`, and returns tables.TILES and tables.PLACEMENT."""
    tiles(folder / "files.csv", settings=settings)
    adopt(folder / "files.csv", folder / "tiles.csv", placement=folder / "placement.csv", layout=settings)
    return tables.read(folder / "tiles.csv", tables.TILES), tables.read(folder / "placement.csv", tables.PLACEMENT)


def fused(folder: Path) -> np.ndarray:
    """Runs the steps after `adopt` as for labels, and returns the mosaic."""
    listed = tables.read(folder / "tiles.csv", tables.TILES)
    fields.write(fields.without_light(listed), folder / "light.tif")
    files = [folder / name for name in ("tiles.csv", "light.tif", "exposure.csv", "placement.csv")]
    exposure(files[0], files[1], files[3], files[2], settings=Exposure())
    options = Mosaic(interpolation=0, blend="none", chunk=32, shard=64)
    mosaic(*files, folder / "mosaic.ome.zarr", sums=folder / "sums", settings=options)
    assert plan.plan_mosaic(listed, tables.read(files[3], tables.PLACEMENT), fields.read(files[1], listed),
                            tables.read(files[2], tables.EXPOSURE)).pixel_size == pytest.approx(0.65)  # fmt: skip
    return np.asarray(zarr.open_group(folder / "mosaic.ome.zarr", mode="r")["0"][...])


def test_labels_keep_their_values_and_lie_as_the_tiles(tmp_path: Path, dataset: Callable[..., Dataset], before: Path) -> None:
    images = labels(tmp_path / "masks", *(f"r{row}_c{col}.tif" for row, col in np.ndindex(2, 2)))
    listed, placed = adopted(tmp_path, dataset(tmp_path / "masks" / "*.tif", placement=before))
    there = tables.read(before, tables.PLACEMENT)
    np.testing.assert_array_equal(affine.from_table(placed), affine.from_table(there))
    assert (placed["placed_by"] == "placement").all()
    np.testing.assert_array_equal(placed[["pairs", "deviation"]], there[["pairs", "deviation"]])
    np.testing.assert_array_equal(listed[["y", "x"]], PLACES)
    mosaic_of_labels = fused(tmp_path)
    assert mosaic_of_labels.shape == (31 + SIDE, 32 + SIDE) and mosaic_of_labels.dtype == np.uint16
    alone = [
        (slice(0, 30), slice(2, 32)),
        (slice(1, 30), slice(42, 72)),
        (slice(42, 70), slice(0, 30)),
        (slice(42, 71), slice(41, 71)),
    ]
    for image, (y, x), (rows, columns) in zip(images, PLACES.astype(int), alone, strict=True):
        np.testing.assert_array_equal(
            mosaic_of_labels[rows, columns], image[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
        )
    values = np.unique(np.concatenate([image.ravel() for image in images]))
    assert np.isin(mosaic_of_labels, np.append(values, 0)).all()


def test_the_distortion_comes_from_beside_the_placement(tmp_path: Path, dataset: Callable[..., Dataset], before: Path) -> None:
    labels(tmp_path / "masks", *(f"r{row}_c{col}.tif" for row, col in np.ndindex(2, 2)))
    settings = dataset(tmp_path / "masks" / "*.tif", placement=before)
    tiles(tmp_path / "files.csv", settings=settings)
    found = []
    for corner, distortion in ((None, "auto"), (1.0, "auto"), (1.0, "none"), (1.0, '{"k1": 0.01}')):
        if corner:
            lens.write({0: barrel((SIDE, SIDE), corner)}, before.with_name("lens.csv"))
        files = tmp_path / "files.csv", tmp_path / "tiles.csv"
        more = {"lens": tmp_path / "lens.csv", "distortion": distortion}
        adopt(*files, placement=tmp_path / "placement.csv", layout=settings, **more)
        found.append([np.linalg.norm(each.at_corners()[0]) for each in lens.read(tmp_path / "lens.csv").values()])
    half = np.hypot(SIDE - 1, SIDE - 1) / 2
    assert found == [[], [pytest.approx(1.0)], [], [pytest.approx(0.01 * half, abs=1e-3)]]
    lens.write({0: barrel((SIDE, 50), 1.0)}, before.with_name("lens.csv"))
    with pytest.raises(LensError, match=r"lens\.csv: holds the distortion of tiles of 40 x 50 px"):
        adopt(*files, placement=tmp_path / "placement.csv", layout=settings, lens=tmp_path / "lens.csv")


def test_a_part_of_the_tiles_keeps_the_frame(
    tmp_path: Path, dataset: Callable[..., Dataset], before: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (image,) = labels(tmp_path / "masks", "r1_c1.tif")
    caplog.set_level("INFO")
    adopted(tmp_path, dataset(tmp_path / "masks" / "*.tif", placement=before))
    assert f"the placement of 1 tiles is taken from {before}, which has 3 more" in caplog.text
    np.testing.assert_array_equal(fused(tmp_path)[31:, 31:], image)


def test_tiles_of_other_names_lie_by_row_and_column(tmp_path: Path, dataset: Callable[..., Dataset], before: Path) -> None:
    labels(tmp_path / "masks", *(f"mask_{number}.tif" for number in range(1, 5)))
    settings = dataset(tmp_path / "masks" / "mask_{index}.tif", columns=2, snake=True, placement=before)
    _, placed = adopted(tmp_path, settings)
    by_name = {Path(path).name: tuple(place) for path, *place in placed[["path", "y0", "x0"]].to_numpy()}
    assert by_name == {f"mask_{number}.tif": tuple(PLACES[k]) for number, k in ((1, 0), (2, 1), (4, 2), (3, 3))}


def test_tiles_of_another_size_are_refused(tmp_path: Path, dataset: Callable[..., Dataset], before: Path) -> None:
    labels(tmp_path / "masks", "r0_c0.tif", side=20)
    with pytest.raises(
        PlacementError, match=r"r0_c0\.tif is 20 x 20 px, and .*, whose place it takes, is 40 x 40 px: give images"
    ):
        adopted(tmp_path, dataset(tmp_path / "masks" / "*.tif", placement=before))


def test_any_table_of_affines_will_do(
    tmp_path: Path, dataset: Callable[..., Dataset], caplog: pytest.LogCaptureFixture
) -> None:
    labels(tmp_path / "masks", "a.tif", "b.tif")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "p.csv").write_text("x0,y0,path,yy,yx,xy,xx\n-2.5,0,a.tif,1,0,0,1\n20,-7,b.tif,1,0,0,1\n")
    _, placed = adopted(tmp_path, dataset(tmp_path / "masks" / "*.tif", placement=tmp_path / "mine" / "p.csv"))
    assert placed[["y0", "x0"]].to_numpy().tolist() == [[7, 0.5], [0, 23]]
    assert "no tiles.csv beside it tells the size" in caplog.text
    assert "the mosaic is moved by 7 px down and 3 px right" in caplog.text
    assert placed["deviation"].isna().all() and (placed["pairs"] == 0).all()
