from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.surveys import SIDE, Step, cut_grid, surveyed, write

from dlir.core import tables
from dlir.reading.inventory import tiles
from dlir.reading.settings import Dataset
from dlir.survey.advice import SurveyError
from dlir.survey.survey import survey

NAMES = "r{row}_c{col}.tif"
DOWN, RIGHT = (104.0, 0.0), (0.0, 100.0)


def by_cell(folder: Path, grid: dict[Any, Any]) -> str:
    write(folder, {f"r{row}_c{col}.tif": pixels for (row, col), pixels in grid.items()})
    return str(folder / NAMES)


def numbered(folder: Path, grid: dict[Any, Any], columns: int, *, snake: bool = False, missing: int = 0) -> str:
    names = {(row, col): row * columns + (columns - 1 - col if snake and row % 2 else col) for row, col in grid}
    write(folder, {f"t{names[cell]:03d}.tif": pixels for cell, pixels in grid.items() if names[cell] >= missing})
    return str(folder / "t{index}.tif")


def steps(found: pd.DataFrame, what: str = "step") -> np.ndarray:
    return found.set_index("side").loc[["down", "right"], [f"{what}_y", f"{what}_x"]].to_numpy(float)


@pytest.mark.parametrize(
    ("down", "right"),
    [(DOWN, RIGHT), ((64.0, 0.0), (0.0, 118.0)), ((113.0, -18.0), (18.0, 113.0)), ((96.0, 0.0), (40.0, 102.0))],
    ids=["unequal", "half and 8 %", "turned by 9 degrees", "skewed"],
)
def test_the_steps_are_found_without_an_overlap(down: Step, right: Step, tmp_path: Path) -> None:
    listed, found = surveyed(by_cell(tmp_path, cut_grid(4, 4, down, right)))
    # 12 pairs, whose errors are those of two tiles: the mean of a column or row telescopes
    np.testing.assert_allclose(steps(found), [down, right], atol=2)
    assert (found["layout"] == "fits").all() and found["told_y"].isna().all()
    corner = listed.set_index(["row", "col"]).loc[(3, 3), ["y", "x"]].to_numpy(float)
    np.testing.assert_allclose(corner, 3 * steps(found).sum(axis=0))


def test_a_told_overlap_is_kept_while_the_tiles_agree_with_it(tmp_path: Path) -> None:
    listed, found = surveyed(by_cell(tmp_path, cut_grid(3, 4, DOWN, RIGHT)), overlap=[0.2, 0.22])
    np.testing.assert_allclose(steps(found), [[0.8 * SIDE, 0], [0, 0.78 * SIDE]])
    assert listed["y"].max() == pytest.approx(2 * 0.8 * SIDE)


def test_a_single_pair_of_several_does_not_outweigh_a_told_overlap(tmp_path: Path) -> None:
    grid, other = cut_grid(2, 3, DOWN, RIGHT, blank=1), cut_grid(2, 1, (80.0, 0.0), RIGHT)
    grid[0, 2], grid[1, 2] = other[0, 0], other[1, 0]
    _, found = surveyed(by_cell(tmp_path, grid), overlap=0.2)
    assert found.set_index("side").loc["down", ["pairs", "sure"]].tolist() == [3, 1]
    np.testing.assert_allclose(steps(found), [[0.8 * SIDE, 0], [0, 0.8 * SIDE]])


def test_numbered_tiles_may_have_a_file_for_each_channel(tmp_path: Path) -> None:
    grid = cut_grid(3, 3, DOWN, RIGHT)
    write(tmp_path, {f"t{3 * row + col}_{name}.tif": pixels for (row, col), pixels in grid.items() for name in ("a", "b")})
    _, found = surveyed(str(tmp_path / "t{index}_{channel}.tif"), columns=3)
    np.testing.assert_allclose(steps(found), [DOWN, RIGHT], atol=2)
    assert (found["layout"] == "fits").all()


def test_a_wrong_overlap_is_replaced_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, found = surveyed(by_cell(tmp_path, cut_grid(4, 4, DOWN, RIGHT)), overlap=0.05)
    np.testing.assert_allclose(steps(found), [DOWN, RIGHT], atol=2)
    assert "the tiles share 19.0 %" in caplog.text and "not 5.0 % as the settings say" in caplog.text


def test_only_the_direction_without_an_overlap_has_to_be_found(tmp_path: Path) -> None:
    _, found = surveyed(by_cell(tmp_path, cut_grid(3, 3, DOWN, RIGHT)), overlap=["auto", 0.22])
    np.testing.assert_allclose(steps(found), [DOWN, [0, 0.78 * SIDE]], atol=2)


def test_tiles_that_do_not_match_need_an_overlap(tmp_path: Path) -> None:
    images = by_cell(tmp_path, cut_grid(3, 3, DOWN, RIGHT, blank=1.0))
    with pytest.raises(SurveyError, match=r"overlap along y and x is not known.*Set overlap"):
        surveyed(images)
    listed, found = surveyed(images, overlap=0.2)
    assert (found["layout"] == "unknown").all() and found["found_y"].isna().all()
    assert listed["x"].max() == pytest.approx(2 * 0.8 * SIDE)


def test_a_repeated_specimen_has_no_known_step(tmp_path: Path) -> None:
    y, x = np.mgrid[:420, :420]
    rng, lattice = np.random.default_rng(7), 500 + 300 * (((y % 16) < 8) & ((x % 16) < 8))
    grid = {
        (row, col): lattice[row * 104 : row * 104 + SIDE, col * 100 : col * 100 + SIDE] for row in range(3) for col in range(3)
    }
    grid = {cell: (pixels + rng.normal(0, 20, pixels.shape)).astype(np.uint16) for cell, pixels in grid.items()}
    with pytest.raises(SurveyError, match="overlap"):
        surveyed(by_cell(tmp_path, grid))


@pytest.mark.parametrize(
    ("snake", "columns", "missing", "stated", "advice"),
    [
        (True, 5, 0, {"columns": 5}, "snake: true"),
        (False, 5, 0, {"columns": 5, "snake": True}, "snake: false"),
        (False, 6, 0, {"columns": 5}, "columns: 6"),
        (True, 5, 1, {"columns": 5, "snake": True}, "first_index: 0"),
        (False, 5, 0, {"columns": 5, "start": "bottom-right"}, "start: top-left"),
        (False, 5, 0, {"rows": 5, "order": "columns"}, "order: rows"),
        (True, 5, 2, {"columns": 5, "snake": True, "first_index": 1}, "first_index: 0"),
    ],
)
def test_a_wrong_scan_is_named(
    snake: bool, columns: int, missing: int, stated: dict[str, Any], advice: str, tmp_path: Path
) -> None:
    images = numbered(tmp_path, cut_grid(4, columns, DOWN, RIGHT, seed=3), columns, snake=snake, missing=missing)
    with pytest.raises(SurveyError, match=f"They fit if .*{advice}"):
        surveyed(images, **stated)


@pytest.mark.parametrize(
    "stated",
    [
        {"columns": 9}, {"columns": 12}, {"columns": 99}, {"columns": 1}, {"rows": 1, "order": "columns"},
        {"rows": 9, "order": "columns"}, {"rows": 99, "order": "columns"},
    ],
    ids=str,
)  # fmt: skip
def test_a_grid_stated_as_a_single_line_is_named(stated: dict[str, Any], tmp_path: Path) -> None:
    images = numbered(tmp_path, cut_grid(3, 3, DOWN, RIGHT, seed=3), 3)
    with pytest.raises(SurveyError) as error:
        surveyed(images, **stated, overlap=0.2)
    assert error.value.settings["rows" if error.value.settings.get("order") == "columns" else "columns"] == 3


def test_a_line_twice_as_long_is_named(tmp_path: Path) -> None:
    images = numbered(tmp_path, cut_grid(4, 4, DOWN, RIGHT, seed=3), 4)
    with pytest.raises(SurveyError, match="They fit if columns: 4"):
        surveyed(images, columns=8, overlap=0.2)


@pytest.mark.parametrize("blank", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("right", [RIGHT, (0.0, 45.0)], ids=["22 %", "65 %"])
def test_a_single_row_or_column_is_accepted(right: Step, blank: float, tmp_path: Path) -> None:
    images = numbered(tmp_path, cut_grid(1, 9, DOWN, right, seed=3, blank=blank), 9)
    for columns in (9, 99):
        _, found = surveyed(images, columns=columns, overlap=1 - right[1] / SIDE)
        assert found["layout"].isin(["fits", "unknown"]).all()
    down = numbered(tmp_path / "column", cut_grid(9, 1, DOWN, right, seed=3, blank=blank), 1)
    _, found = surveyed(down, columns=1, overlap=1 - DOWN[0] / SIDE)
    assert found["layout"].isin(["fits", "unknown"]).all()


def test_a_first_index_that_is_too_low_is_named(tmp_path: Path) -> None:
    grid = cut_grid(4, 5, DOWN, RIGHT, seed=3)
    write(tmp_path, {f"t{1 + row * 5 + (4 - col if row % 2 else col):03d}.tif": pixels for (row, col), pixels in grid.items()})
    with pytest.raises(SurveyError, match="They fit if first_index: 1:"):
        surveyed(str(tmp_path / "t{index}.tif"), columns=5, snake=True, first_index=0)


def test_the_named_settings_fit(tmp_path: Path) -> None:
    images = numbered(tmp_path, cut_grid(4, 5, DOWN, RIGHT, seed=3), 5, snake=True, missing=2)
    _, found = surveyed(images, columns=5, snake=True, first_index=0)
    assert (found["layout"] == "fits").all()


def test_a_wrong_layout_is_kept_with_a_warning_where_the_settings_say_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = numbered(tmp_path, cut_grid(4, 5, DOWN, RIGHT, seed=3), 5, snake=True)
    _, found = surveyed(images, "warn", columns=5, overlap=0.2)
    assert (found["layout"] == "other").all() and found["advice"].tolist() == ["snake: true"] * 2
    assert "They fit if snake: true" in caplog.text


def test_exchanged_rows_and_columns_are_named(tmp_path: Path) -> None:
    grid = cut_grid(3, 4, DOWN, RIGHT, seed=4)
    write(tmp_path, {f"r{col}_c{row}.tif": pixels for (row, col), pixels in grid.items()})
    with pytest.raises(SurveyError, match=r"\{row\} and \{col\} are exchanged"):
        surveyed(str(tmp_path / NAMES))


def table_of(folder: Path, grid: dict[Any, Any], matrix: np.ndarray) -> dict[str, Any]:
    """A dataset whose table of positions has the true steps under the map `matrix`."""
    images = by_cell(folder, grid)
    lines = ["path,y,x"]
    for row, col in grid:
        y, x = matrix @ (np.array([row, col]) @ np.array([DOWN, RIGHT]))
        lines.append(f"r{row}_c{col}.tif,{y},{x}")
    (folder / "positions.csv").write_text("\n".join(lines))
    return {"images": images, "positions": folder / "positions.csv"}


@pytest.mark.parametrize(
    ("matrix", "stated", "advice"),
    [
        (np.diag([-1, 1]), {}, "flip_y: true, or, if the camera sees the specimen in a mirror, mirrored: true"),
        (np.eye(2)[::-1], {}, "swap_yx: true"),
        (np.diag([-1, -1]), {"flip_y": True}, "flip_x: true"),
        (0.65 * np.eye(2), {"pixel_size": 0.65}, "unit: um"),
        (0.325 * np.diag([-1, 1]), {}, "flip_y: true, unit: um, pixel_size: 0.32"),
    ],
)
def test_a_wrong_table_is_named(matrix: np.ndarray, stated: dict[str, Any], advice: str, tmp_path: Path) -> None:
    given = table_of(tmp_path, cut_grid(3, 4, DOWN, RIGHT, seed=5), matrix)
    with pytest.raises(SurveyError, match=advice):
        surveyed(**given, **stated)


def test_the_settings_mend_a_table(tmp_path: Path) -> None:
    given = table_of(tmp_path, cut_grid(3, 4, DOWN, RIGHT, seed=5), 0.5 * np.array([[0, -1], [1, 0]]))
    keys = {"unit": "um", "pixel_size": 0.5, "swap_yx": True, "flip_x": True}
    listed, found = surveyed(**given, **keys)
    assert (found["layout"] == "fits").all()
    place = listed.set_index(["row", "col"])[["y", "x"]]
    np.testing.assert_allclose(place.loc[(2, 3)] - place.loc[(0, 0)], [208, 300])


def test_the_unit_and_the_cells_of_a_table_are_known(tmp_path: Path) -> None:
    grid = cut_grid(3, 4, DOWN, RIGHT, seed=5)
    given = table_of(tmp_path, grid, 0.5 * np.eye(2))
    table = given["positions"]
    table.write_text(table.read_text().replace("path,y,x", "path,y_um,x_um"))
    _, found = surveyed(**given, pixel_size=0.5)
    assert (found["layout"] == "fits").all()
    with pytest.raises(SurveyError, match=r"They fit if pixel_size: 0\.50\d*: set"):
        surveyed(**given, pixel_size=0.25)
    table.write_text("path,row,col\n" + "\n".join(f"r{row}_c{col}.tif,{row},{col}" for row, col in grid))
    listed, found = surveyed(**given)
    assert (found["layout"] == "fits").all()
    step = listed.set_index(["row", "col"])[["y", "x"]].loc[(1, 0)]
    np.testing.assert_allclose(step, DOWN, atol=1)


def test_a_table_of_another_pixel_size_is_scaled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    listed, found = surveyed(**table_of(tmp_path, cut_grid(4, 4, DOWN, RIGHT, seed=6), 0.85 * np.eye(2)))
    assert listed["y"].max() == pytest.approx(312, abs=4) and listed["x"].max() == pytest.approx(300, abs=4)
    assert "check pixel_size" in caplog.text and (found["layout"] == "fits").all()


def test_mirrored_tiles_fit_with_the_setting(tmp_path: Path) -> None:
    images = by_cell(tmp_path, {cell: pixels[:, ::-1] for cell, pixels in cut_grid(3, 4, DOWN, RIGHT, seed=8).items()})
    with pytest.raises(SurveyError, match=r"start: top-right, or, if .* mirrored: true "):
        surveyed(images)
    listed, found = surveyed(images, mirrored=True)
    assert (found["layout"] == "fits").all() and listed["mirrored"].all()
    with pytest.raises(SurveyError, match=r"start: top-left, or, if .* as it is, mirrored: false "):
        surveyed(images, mirrored=True, start="top-right")


def test_a_layout_that_is_not_turned_over_needs_no_mirror(tmp_path: Path) -> None:
    """The camera is turned by 180 degrees."""
    images = by_cell(tmp_path, {cell: pixels[::-1, ::-1] for cell, pixels in cut_grid(3, 4, DOWN, RIGHT, seed=8).items()})
    with pytest.raises(SurveyError, match="They fit if start: bottom-right: set"):
        surveyed(images)


def test_a_stated_layout_without_an_overlap_cannot_go_on(tmp_path: Path) -> None:
    images = numbered(tmp_path, cut_grid(4, 5, DOWN, RIGHT, seed=3), 5, snake=True)
    with pytest.raises(SurveyError, match=r"Set overlap .* Or the layout is not as stated"):
        surveyed(images, "warn", columns=5)


def test_one_tile_has_no_neighbours(tmp_path: Path) -> None:
    listed, found = surveyed(by_cell(tmp_path, cut_grid(1, 1, DOWN, RIGHT)))
    assert listed[["y", "x"]].to_numpy().tolist() == [[0, 0]] and found.empty


def test_the_step_writes_tables_that_fit_their_schemas(tmp_path: Path) -> None:
    dataset = Dataset.checked({"images": by_cell(tmp_path / "in", cut_grid(1, 4, DOWN, RIGHT, seed=9))})
    tiles(tmp_path / "files.csv", settings=dataset)
    survey(tmp_path / "files.csv", tmp_path / "tiles.csv", survey=tmp_path / "survey.csv", layout=dataset)
    assert len(tables.read(tmp_path / "tiles.csv", tables.TILES)) == 4
    assert tables.read(tmp_path / "survey.csv", tables.SURVEY)["side"].tolist() == ["right"]
