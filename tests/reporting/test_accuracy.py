"""The accuracy of placements whose errors are known."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.specimens import ONE_PLANE

from dlir.core import affine, tables
from dlir.reporting import truth_table
from dlir.reporting.accuracy import accuracy, corner_errors
from dlir.reporting.truth_table import TruthError

PLACES = np.array([[90.0 * row, 90.0 * column] for row in range(5) for column in range(6)])
SIDE = 100
PATHS = [f"here/tile{i}.tif" for i in range(len(PLACES))]
SPREAD = [f"here/tile{i}_{{channel}}.tif" for i in range(len(PLACES))]


def measure(
    folder: Path, placed: np.ndarray, true: np.ndarray, names: list[str] | None = None, values: str | None = None
) -> pd.Series:
    """The errors that the step writes for the affines `placed`, by tile."""
    same = {"tile": range(len(PATHS)), "path": PATHS if values is None else SPREAD}
    listed = pd.DataFrame({**same, "y": PLACES[:, 0], "x": PLACES[:, 1], "row": 0, "col": range(len(PATHS))})
    listed = listed.assign(height=SIDE, width=SIDE, channels=1, dtype="uint8", pixel_size=np.nan, sha256="-", **ONE_PLANE)
    listed = listed.assign(channel_names=values or "")
    tables.write(listed, tables.TILES, folder / "tiles.csv")
    placement = pd.DataFrame({**same, **affine.to_columns(placed), "pairs": 1, "residual": 0.1, "deviation": 0.1,
                              "group": 0, "slip_y": 0.0, "slip_x": 0.0, "loop": np.nan, "placed_by": "pairs"})  # fmt: skip
    tables.write(placement, tables.PLACEMENT, folder / "placement.csv")
    truth = pd.DataFrame({"path": names or [f"there/tile{i}.tif" for i in range(len(true))], **affine.to_columns(true)})
    tables.write(truth.iloc[::-1], tables.TRUTH, folder / "truth.csv")
    accuracy(folder / "tiles.csv", folder / "placement.csv", folder / "truth.csv", folder / "accuracy.csv")
    return tables.read(folder / "accuracy.csv", tables.ACCURACY).set_index("tile")["error"]


def test_displaced_tiles_have_their_displacement(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    true = affine.translation(PLACES)
    placed = true.copy()
    placed[8, :, 2] += [3.0, 4.0]
    placed[20, :, 2] += [-60.0, 0.0]
    with caplog.at_level(logging.INFO):
        errors = measure(tmp_path, placed, true)
    assert errors[8] == pytest.approx(5, abs=0.02)
    assert errors[20] == pytest.approx(60, abs=0.02)
    assert errors.drop([8, 20]).max() < 0.02
    assert "error of the placement: median 0.00 px, 95th percentile" in caplog.text
    assert "2 of 30 tiles over 2 px" in caplog.text
    assert "error of the stage: median 0.00 px" in caplog.text


def test_a_turn_of_the_camera_does_not_count_as_an_error(tmp_path: Path) -> None:
    turn = np.array([[np.cos(0.02), -np.sin(0.02), 40.0], [np.sin(0.02), np.cos(0.02), -7.0]])
    true = affine.compose(turn, affine.translation(PLACES))
    assert measure(tmp_path, affine.translation(PLACES), true).max() < 1e-6


def test_error_of_a_turned_tile_is_the_distance_of_its_corners() -> None:
    true = affine.translation(PLACES)
    placed = true.copy()
    middle = affine.translation([49.5, 49.5])
    turn = np.array([[np.cos(0.1), -np.sin(0.1), 0], [np.sin(0.1), np.cos(0.1), 0]])
    placed[3] = affine.compose(true[3], affine.compose(middle, affine.compose(turn, affine.translation([-49.5, -49.5]))))
    errors = corner_errors(placed, true, affine.corners(SIDE, SIDE))
    assert errors[3] == pytest.approx(2 * np.sin(0.05) * np.hypot(49.5, 49.5), abs=0.02)


def test_error_names_a_tile_without_truth(tmp_path: Path) -> None:
    true = affine.translation(PLACES)
    with pytest.raises(TruthError, match=r"truth\.csv: there is no row for here/tile29\.tif"):
        measure(tmp_path, true, true[:-1])


def test_two_rows_with_one_file_name_are_an_error_where_no_path_tells_them_apart(tmp_path: Path) -> None:
    true = affine.translation(PLACES)
    names = [f"there/tile{i}.tif" for i in range(29)] + ["elsewhere/tile0.tif"]
    with pytest.raises(TruthError, match=r"here/tile0\.tif has several places"):
        measure(tmp_path, true, true, names)
    own = [*PATHS, "elsewhere/tile0.tif"]
    assert measure(tmp_path, true, np.concatenate([true, true[:1] + 5]), own).max() < 1e-6


@pytest.mark.parametrize("cell", ["", "left", "nan", "1e999"])
def test_a_row_without_six_numbers_is_named(tmp_path: Path, cell: str) -> None:
    (tmp_path / "truth.csv").write_text(f"path,yy,yx,y0,xy,xx,x0\na.tif,1,0,0,0,1,0\nb.tif,1,0,{cell},0,1,0\n")
    with pytest.raises(TruthError, match=r"truth\.csv, line 3: needs six numbers"):
        truth_table.read(tmp_path / "truth.csv", [["a.tif"], ["b.tif"]])


def test_columns_are_those_of_an_affine() -> None:
    assert tuple(affine.COLUMNS) == truth_table.AFFINE


def test_any_file_of_a_tile_names_it(tmp_path: Path) -> None:
    true = affine.translation(PLACES)
    names = [f"tile{i}_b.tif" for i in range(len(PLACES))]
    assert measure(tmp_path, true, true, names, values="a|b").max() < 1e-6
    both = np.concatenate([true, true[:1]])
    assert measure(tmp_path, true, both, [*names, "tile0_a.tif"], values="a|b").max() < 1e-6
    both[-1, 0, 2] += 1
    with pytest.raises(TruthError, match=r"tile0_\{channel\}\.tif has several places"):
        measure(tmp_path, true, both, [*names, "tile0_a.tif"], values="a|b")
