"""The pattern finds the files, and each layout gives the places of its tiles."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dlir.reading import filenames, grid_layout
from dlir.reading.grid_layout import TileError
from dlir.reading.settings import Dataset

Make = Callable[..., Dataset]


def touch(folder: Path, *names: str) -> Path:
    """Makes empty files with these names."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def grid(settings: Dataset) -> tuple[dict[Path, tuple[int, int]], list[str]]:
    """Returns the places of the tiles, and the problems."""
    tiles, _, missing = filenames.group(grid_layout.find(settings), settings.images)
    assert not missing
    return grid_layout.grid(tiles, settings)


def numbers_in_grid(settings: Dataset) -> list[list[int | None]]:
    """Returns the numbers in the names of the tiles, row by row as the tiles lie; None where a tile is missing."""
    places, problems = grid(settings)
    assert not problems
    rows, columns = (1 + max(place[axis] for place in places.values()) for axis in (0, 1))
    picture: list[list[int | None]] = [[None] * columns for _ in range(rows)]
    for path, (row, col) in places.items():
        picture[row][col] = int("".join(filter(str.isdigit, path.name)))
    return picture


LAYOUTS = [
    ("top-left", "rows", False, [[1, 2, 3], [4, 5, 6]]),
    ("top-left", "rows", True, [[1, 2, 3], [6, 5, 4]]),
    ("top-right", "rows", False, [[3, 2, 1], [6, 5, 4]]),
    ("top-right", "rows", True, [[3, 2, 1], [4, 5, 6]]),
    ("bottom-left", "rows", False, [[4, 5, 6], [1, 2, 3]]),
    ("bottom-left", "rows", True, [[6, 5, 4], [1, 2, 3]]),
    ("bottom-right", "rows", False, [[6, 5, 4], [3, 2, 1]]),
    ("bottom-right", "rows", True, [[4, 5, 6], [3, 2, 1]]),
    ("top-left", "columns", False, [[1, 3, 5], [2, 4, 6]]),
    ("top-left", "columns", True, [[1, 4, 5], [2, 3, 6]]),
    ("top-right", "columns", False, [[5, 3, 1], [6, 4, 2]]),
    ("top-right", "columns", True, [[5, 4, 1], [6, 3, 2]]),
    ("bottom-left", "columns", False, [[2, 4, 6], [1, 3, 5]]),
    ("bottom-left", "columns", True, [[2, 3, 6], [1, 4, 5]]),
    ("bottom-right", "columns", False, [[6, 4, 2], [5, 3, 1]]),
    ("bottom-right", "columns", True, [[6, 3, 2], [5, 4, 1]]),
]


@pytest.mark.parametrize(("start", "along", "snake", "picture"), LAYOUTS)
def test_each_layout_of_an_index(
    tmp_path: Path, dataset: Make, start: str, along: str, snake: bool, picture: list[list[int | None]]
) -> None:
    touch(tmp_path, *(f"t{i}.tif" for i in range(1, 7)))
    line = {"columns": 3} if along == "rows" else {"rows": 2}
    assert numbers_in_grid(dataset(tmp_path / "t{index}.tif", start=start, order=along, snake=snake, **line)) == picture


@pytest.mark.parametrize(
    ("start", "picture"),
    [
        ("top-left", [[1, 2], [3, 4]]),
        ("top-right", [[2, 1], [4, 3]]),
        ("bottom-left", [[3, 4], [1, 2]]),
        ("bottom-right", [[4, 3], [2, 1]]),
    ],
)
def test_start_is_the_corner_of_row_0(tmp_path: Path, dataset: Make, start: str, picture: list[list[int | None]]) -> None:
    touch(tmp_path, "r0-c0/1.tif", "r0-c1/2.tif", "r1-c0/3.tif", "r1-c1/4.tif")
    assert numbers_in_grid(dataset(tmp_path / "r{row}-c{col}" / "*.tif", start=start)) == picture


def test_numbers_may_start_anywhere_and_gaps_are_missing_tiles(tmp_path: Path, dataset: Make) -> None:
    touch(tmp_path, "s_017.tif", "s_018.tif", "s_020.tif", "s_022.tif")
    assert numbers_in_grid(dataset(tmp_path / "s_{index}.tif", columns=3)) == [[17, 18, None], [20, None, 22]]
    touch(tmp_path / "g", "y5_x10.tif", "y5_x12.tif", "y7_x11.tif")
    settings = dataset(tmp_path / "g" / "y{row}_x{col}.tif")
    places, problems = grid(settings)
    assert sorted(places.values()) == [(0, 0), (0, 2), (2, 1)] and not problems


def test_a_missing_last_row_keeps_its_place_when_the_grid_is_given(tmp_path: Path, dataset: Make) -> None:
    touch(tmp_path, "1.tif", "2.tif")
    settings = dataset(tmp_path / "{index}.tif", columns=2, rows=3, start="bottom-left")
    assert set(grid(settings)[0].values()) == {(2, 0), (2, 1)}


def test_brackets_in_the_pattern_are_literal(tmp_path: Path, dataset: Make) -> None:
    touch(tmp_path, "a b[Grid@0 0].jpg", "a b[Grid@1 0].jpg", "a bG0 0.jpg", "a b[Grid@1 0].jpg.bak", "a b[Grid@x 0].jpg")
    found = grid_layout.find(dataset(tmp_path / "a b[Grid@{col} {row}].jpg"))
    assert [path.name for path in found] == ["a b[Grid@0 0].jpg", "a b[Grid@1 0].jpg"]


def test_a_wildcard_leaves_the_number_its_digits(tmp_path: Path, dataset: Make) -> None:
    touch(tmp_path, *(f"run/C3-Brain{i:04d}_x.tif" for i in (9, 10, 11)), "run/._C3-Brain0012_x.tif")
    assert numbers_in_grid(dataset(tmp_path / "*" / "*{index}_*.tif", columns=3)) == [[30009, 30010, 30011]]


def test_a_number_that_occurs_twice_has_the_same_value(tmp_path: Path, dataset: Make) -> None:
    touch(tmp_path, "row1/r1_c0.tif", "row1/r2_c0.tif", "row2/r2_c0.tif")
    found = grid_layout.find(dataset(tmp_path / "row{row}" / "r{row}_c{col}.tif"))
    assert [path.name for path in found] == ["r1_c0.tif", "r2_c0.tif"]


def test_relative_paths_stay_relative(tmp_path: Path, dataset: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "data/1.tif", "work/x")
    monkeypatch.chdir(tmp_path / "work")
    assert grid_layout.find(dataset("../data/{index}.tif", columns=1)) == [Path("../data/1.tif")]
    monkeypatch.chdir(tmp_path / "data")
    assert grid_layout.find(dataset("./{index}.tif", columns=1)) == [Path("1.tif")]


def test_without_a_match_the_error_names_what_is_there(tmp_path: Path, dataset: Make) -> None:
    touch(tmp_path / "in", *(f"tile_{i}.png" for i in range(5)))
    with pytest.raises(TileError) as caught:
        grid_layout.find(dataset(tmp_path / "in" / "tile_{index}.tif", columns=3))
    words = str(caught.value)
    assert words.startswith("no tile found") and str(tmp_path / "in" / "tile_{index}.tif") in words
    assert f"nothing in {tmp_path / 'in'} matches" in words
    assert "tile_0.png, tile_1.png, tile_2.png and 2 more" in words
    assert words.endswith("and {index} stands for numbers: correct images")


def test_words_in_the_place_of_numbers_are_an_error(tmp_path: Path, dataset: Make) -> None:
    touch(tmp_path, "top_1.tif", "low_1.tif", ".hidden")
    words = r"holds low_1\.tif, top_1\.tif, and \{row\} and \{col\} stand for numbers: correct images"
    with pytest.raises(TileError, match=words):
        grid_layout.find(dataset(tmp_path / "{row}_{col}.tif"))


def test_numbers_side_by_side_are_a_reason_that_nothing_matches(tmp_path: Path, dataset: Make) -> None:
    touch(tmp_path, "t00.tif", "t01.tif")
    with pytest.raises(TileError, match=r"correct images, or say how many digits the first has, as in \{row:2\}\{col\}$"):
        grid_layout.find(dataset(tmp_path / "t{row}{col}.tif"))


def test_folders_of_images_that_are_no_round_are_found(tmp_path: Path) -> None:
    touch(tmp_path, "R1/0_0.tif", "R2/0-0.tif", "R3/deep/0.TIF", "notes/x.txt", ".R4/0-0.tif", "R5.tif")
    images, tiles = str(tmp_path / "{round}/{row}_{col}.tif"), [tmp_path / "R1/0_0.tif", Path("late/0_0.tif")]
    assert grid_layout.folders_without_round(images, tiles) == [tmp_path / "R2", tmp_path / "R3"]
    assert grid_layout.folders_without_round(str(tmp_path / "R{round}/{row}_{col}.tif"), tiles) == [
        tmp_path / "R2",
        tmp_path / "R3",
    ]
    assert grid_layout.folders_without_round(str(tmp_path / "*/{round}/{row}_{col}.tif"), []) == []
    assert grid_layout.folders_without_round(str(tmp_path / "{round}_{row}_{col}.tif"), []) == []


def test_other_images_beside_the_tiles_are_listed(tmp_path: Path, dataset: Make) -> None:
    touch(tmp_path, "in/t1.tif", "in/t2.tif", "in/t 3.TIF", "in/t-4.jpeg", "in/notes.txt", "in/.t5.tif", "else/x.tif")
    settings = dataset(tmp_path / "in" / "t{index}.tif", columns=2)
    others = grid_layout.other_images(settings, grid_layout.find(settings))
    assert [path.name for path in others] == ["t 3.TIF", "t-4.jpeg"]


def test_images_in_other_folders_that_nearly_match_are_listed(tmp_path: Path, dataset: Make) -> None:
    touch(tmp_path, "w1/t1.tif", "w1/t2.tif", "w2b/t1.tif", "x/t1.tif")
    settings = dataset(tmp_path / "w{row}" / "t{col}.tif")
    others = grid_layout.other_images(settings, grid_layout.find(settings))
    assert [str(path.relative_to(tmp_path)) for path in others] == ["w2b/t1.tif"]


@pytest.mark.parametrize(
    ("names", "settings", "cells", "remarks"),
    [
        (["0_0", "0_100", "200_0", "400_100"], {}, [(0, 0), (0, 1), (1, 0), (2, 1)],
         ["{row} counts in steps of 200", "{col} counts in steps of 100"]),
        (["1_1", "3_1"], {}, [(0, 0), (2, 0)], []),
        (["1_1", "3_1", "5_1"], {}, [(0, 0), (1, 0), (2, 0)], ["{row} counts in steps of 2"]),
        (["1_1", "3_1", "5_1"], {"rows": 5}, [(0, 0), (2, 0), (4, 0)], []),
        (["A_01", "B_02", "AA_02"], {}, [(0, 0), (1, 1), (26, 1)], []),
        (["-1_-1", "0_0"], {}, [(0, 0), (1, 1)], []),
    ],
)  # fmt: skip
def test_rows_and_columns_may_be_letters_and_count_in_steps(
    names: list[str], settings: dict[str, object], cells: list[tuple[int, int]], remarks: list[str], dataset: Make
) -> None:
    layout = dataset(Path("{row}_{col}.tif"), **settings)
    tiles, _, problems = filenames.group([Path(f"{name}.tif") for name in names], layout.images)
    places, more = grid_layout.grid(tiles, layout)
    assert list(places.values()) == cells and not problems + more
    said = grid_layout.remarks(places.values(), tiles, layout)
    assert [line for line in said if "steps" in line] == remarks


def test_places_without_a_tile_are_counted_and_named(dataset: Make) -> None:
    layout = dataset(Path("t{index}.tif"), rows=3, columns=4, snake=True, first_index=0)
    tiles, *_ = filenames.group([Path(f"t{index}.tif") for index in range(1, 12) if index != 5], layout.images)
    places, _ = grid_layout.grid(tiles, layout)
    (said,) = grid_layout.remarks(places.values(), tiles, layout)
    assert said == (
        "10 tiles in 3 rows and 4 columns: 2 places of the grid have no tile (row 0 column 0, row 1 column 2, counted from 0)"
    )


def test_accents_of_files_and_folders_match_in_both_ways_of_writing_them(tmp_path: Path, dataset: Make) -> None:
    touch(tmp_path, "e\u0301/u\u0308_0-0.tif", "é2/ü_0-0.tif")
    for images, found in (
        ("é/ü_{row}-{col}.tif", "e\u0301/u\u0308_0-0.tif"),
        ("e\u03012/u\u0308_{row}-{col}.tif", "é2/ü_0-0.tif"),
    ):
        assert grid_layout.find(dataset(tmp_path / images)) == [tmp_path / found]


def test_negative_numbers_are_rows_and_columns(tmp_path: Path, dataset: Make) -> None:
    touch(tmp_path, *(f"x{x}_y{y}.tif" for x in (-1, 0) for y in (-1, 0, 1)))
    places, problems = grid(dataset(tmp_path / "x{col}_y{row}.tif"))
    assert {path.name: place for path, place in places.items()} == {
        f"x{x}_y{y}.tif": (y + 1, x + 1) for x in (-1, 0) for y in (-1, 0, 1)
    }
    assert not problems


def test_a_hyphen_before_every_number_is_an_error(tmp_path: Path, dataset: Make) -> None:
    """It may be no minus; then the rows would be upside down."""
    touch(tmp_path, "r-1_c1.tif", "r-2_c1.tif")
    _, problems = grid(dataset(tmp_path / "r{row}_c{col}.tif"))
    assert len(problems) == 1 and "every number of {row} has a minus before it, as in" in problems[0]
    assert "write -{row} in images if it is a hyphen, else give the places in a table" in problems[0]
    assert not grid(dataset(tmp_path / "r-{row}_c{col}.tif"))[1]


def test_a_number_that_is_too_large_is_an_error(tmp_path: Path, dataset: Make) -> None:
    touch(tmp_path, f"t{2**53}.tif", f"t{2**53 + 1}.tif")
    _, problems = grid(dataset(tmp_path / "t{index}.tif", columns=2))
    assert problems == [f"{tmp_path}/t{2**53 + 1}.tif: its number {2**53 + 1} is too large: rename the file"]


def test_the_error_says_that_the_folder_is_missing_or_empty(tmp_path: Path, dataset: Make) -> None:
    with pytest.raises(TileError, match=f"there is no folder {tmp_path}/in: correct images"):
        grid_layout.find(dataset(tmp_path / "in" / "{index}.tif", columns=3))
    (tmp_path / "in").mkdir()
    with pytest.raises(TileError, match="the folder is empty: correct images"):
        grid_layout.find(dataset(tmp_path / "in" / "{index}.tif", columns=3))


def test_a_tile_outside_the_grid_is_named(tmp_path: Path, dataset: Make) -> None:
    touch(tmp_path, *(f"t{i}.tif" for i in range(1, 8)))
    settings = dataset(tmp_path / "t{index}.tif", rows=2, columns=3)
    _, problems = grid(settings)
    assert len(problems) == 1
    assert "t7.tif: lies outside the grid of 2 rows x 3 columns: correct rows and columns, or images" in problems[0]


@pytest.mark.parametrize(
    ("images", "names"),
    [("r{row}c{col}_*.tif", ["r0c0_a.tif", "r0c0_b.tif", "r0c1_a.tif"]), ("t{index}.tif", ["t1.tif", "t01.tif", "t2.tif"])],
)
def test_two_files_for_one_place_are_named(tmp_path: Path, dataset: Make, images: str, names: list[str]) -> None:
    settings = dataset(touch(tmp_path, *names) / images, columns=5)
    _, problems = grid(settings)
    assert len(problems) == 1
    assert names[0] in problems[0] and names[1] in problems[0] and names[2] not in problems[0]
    assert "one place in the grid, row 0, column 0" in problems[0] and "make images match fewer files" in problems[0]


def test_finding_files_imports_nothing_heavy() -> None:
    modules = "dlir.steps, dlir.config, dlir.reading.grid_layout, dlir.reading.positions_table, dlir.core.hashing"
    heavy = "('torch', 'pandas', 'numpy', 'tifffile')"
    code = f"import {modules}, sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
