"""Proposed settings: with them the tiles of a folder fit together, or a question says what is open."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from support.stores import write_image
from support.surveys import cut_grid, surveyed, write

from dlir.proposal.propose import ProposalError, propose
from dlir.reading.grid_layout import TileError

DOWN, RIGHT = (104.0, 0.0), (0.0, 100.0)


def numbered(folder: Path, grid: dict[Any, Any], number: Any) -> None:
    write(folder, {f"t{number(*cell):02d}.tif": pixels for cell, pixels in grid.items()})


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (lambda row, col: 5 * row + col, {"columns": 5}),
        (lambda row, col: 5 * row + (4 - col if row % 2 else col), {"columns": 5, "snake": True}),
        (lambda row, col: 5 * row + (col if row % 2 else 4 - col), {"columns": 5, "snake": True, "start": "top-right"}),
        (lambda row, col: 4 * col + row, {"order": "rows"}),
    ],
    ids=["rows", "snake", "snake from the right", "columns"],
)
def test_the_scan_of_numbered_tiles_is_found_in_their_pixels(number: Any, expected: dict[str, Any], tmp_path: Path) -> None:
    grid = cut_grid(4, 5, DOWN, RIGHT)
    numbered(tmp_path / "in", grid, number)
    found = propose(tmp_path / "in")
    if "order" in expected:
        expected = {"order": "columns", "rows": 4}
    assert {**found.keys, "images": ""} == {"images": "", **expected} and not found.questions
    listed, _ = surveyed(**found.keys)
    cells = {Path(path).name: (row, col) for path, row, col in listed[["path", "row", "col"]].to_numpy()}
    assert cells == {f"t{number(*cell):02d}.tif": cell for cell in grid}


def test_a_scan_whose_first_tile_is_missing_is_found(tmp_path: Path) -> None:
    grid = cut_grid(4, 5, DOWN, RIGHT)
    numbered(tmp_path, {cell: pixels for cell, pixels in grid.items() if cell != (0, 0)}, lambda row, col: 5 * row + col)
    assert {**propose(tmp_path).keys, "images": ""} == {"images": "", "columns": 5, "first_index": 0}


def test_zarr_stores_are_images(tmp_path: Path) -> None:
    for (row, col), pixels in cut_grid(2, 3, DOWN, RIGHT).items():
        write_image(tmp_path / f"r{row}_c{col}.ome.zarr", pixels, "yx", 3)
    found = propose(tmp_path)
    assert found.keys == {"images": f"{tmp_path}/r{{row}}_c{{col}}.ome.zarr"} and not found.questions


def test_rows_and_columns_may_be_exchanged_in_the_names(tmp_path: Path) -> None:
    write(tmp_path, {f"g_{col}_{row}.tif": pixels for (row, col), pixels in cut_grid(3, 4, DOWN, RIGHT).items()})
    assert propose(tmp_path).keys == {"images": f"{tmp_path}/g_{{col}}_{{row}}.tif"}


def test_too_few_matches_lead_to_a_question_and_its_answer_to_settings(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(1000, 50, (6, 64, 64)).astype(np.uint16)
    write(tmp_path, {f"t{k}.tif": pixels for k, pixels in enumerate(noise)})
    (question,) = propose(tmp_path).questions
    assert question.key == "columns" and question.words.startswith("How many tiles has a row of the grid?")
    (question,) = propose(tmp_path, {"columns": 3}).questions
    assert question.key == "overlap"
    found = propose(tmp_path, {"columns": 3, "overlap": 0.1})
    assert not found.questions and found.keys["overlap"] == 0.1


@pytest.mark.parametrize("flip", [1, -1])
def test_a_table_of_all_tiles_is_taken_and_its_axes_are_those_of_the_pixels(flip: int, tmp_path: Path) -> None:
    grid = cut_grid(3, 4, DOWN, RIGHT)
    numbered(tmp_path, grid, lambda row, col: 4 * row + col)
    rows = [f"t{4 * row + col:02d}.tif,{100 * col},{flip * 104 * row}" for row, col in grid]
    (tmp_path / "places.csv").write_text("\n".join(["filename,x,y", *rows]))
    (tmp_path / "notes.txt").write_text("not a table\n")
    found = propose(tmp_path)
    expected = {"images": f"{tmp_path}/t*.tif", "positions": str(tmp_path / "places.csv")}
    assert found.keys == (expected if flip == 1 else {**expected, "flip_y": True})
    assert any(line.startswith("notes.txt: ") for line in found.left_out)


def test_the_table_of_the_stage_is_taken_before_a_registered_one_and_both_are_told(tmp_path: Path) -> None:
    grid = cut_grid(3, 4, DOWN, RIGHT)
    numbered(tmp_path, grid, lambda row, col: 4 * row + col)
    lines = [f"t{4 * row + col:02d}.tif; ; ({100 * col}, {104 * row})" for row, col in grid]
    for name in ("TileConfiguration.txt", "TileConfiguration.registered.txt"):
        (tmp_path / name).write_text("\n".join(["dim = 2", *lines]))
    found = propose(tmp_path)
    assert found.keys["positions"] == str(tmp_path / "TileConfiguration.txt")
    assert any(
        line.startswith("TileConfiguration.registered.txt: holds places that another program") for line in found.left_out
    )


def test_an_incomplete_table_gives_way_to_numbers_that_the_pixels_explain(tmp_path: Path) -> None:
    grid = cut_grid(3, 4, DOWN, RIGHT)
    numbered(tmp_path, grid, lambda row, col: 4 * row + col)
    lines = [f"t{4 * row + col:02d}.tif; ; ({100 * col}, {104 * row})" for row, col in grid if row < 2]
    (tmp_path / "TileConfiguration.txt").write_text("\n".join(["dim = 2", *lines]))
    found = propose(tmp_path)
    assert found.keys == {"images": f"{tmp_path}/t{{index}}.tif", "columns": 4}
    assert any("lists 8 tiles; not used, since the names tell the places of 12" in line for line in found.left_out)


def test_wells_are_datasets_of_one_pattern(tmp_path: Path) -> None:
    for well in ("A01", "B02"):
        numbered(tmp_path / well, cut_grid(3, 4, DOWN, RIGHT), lambda row, col: 4 * row + col)
    assert propose(tmp_path).keys == {"images": f"{tmp_path}/{{well}}/t{{index}}.tif", "columns": 4}


@pytest.mark.parametrize("form", ["cycle{}", "Round_{}"])
def test_cycles_are_rounds_of_one_specimen(form: str, tmp_path: Path) -> None:
    for number in (1, 2):
        numbered(tmp_path / form.format(number), cut_grid(3, 4, DOWN, RIGHT), lambda row, col: 4 * row + col)
    found = propose(tmp_path)
    assert found.keys == {"images": f"{tmp_path}/{form.format('{round}')}/t{{index}}.tif", "columns": 4}
    assert any("write {dataset} in place of {round}" in note for note in found.notes)


def test_datasets_that_may_be_rounds_of_one_specimen_say_so(tmp_path: Path) -> None:
    tiles = cut_grid(3, 4, DOWN, RIGHT).items()
    for number in (1, 2):
        (tmp_path / f"R{number}").mkdir()
        write(tmp_path / f"R{number}", {f"r{row}_c{col}.tif": pixels for (row, col), pixels in tiles})
    found = propose(tmp_path)
    assert found.keys["images"] == f"{tmp_path}/R{{dataset}}/r{{row}}_c{{col}}.tif"
    assert any("write {round} in place of {dataset}" in note for note in found.notes)


@pytest.mark.parametrize("form", ["s_{}_{}.tif", "z{}_{}.tif", "t{}_{}.tif", "t{:02d}{:02d}.tif"])
def test_numbers_side_by_side_are_rows_and_columns_where_the_tiles_then_fit_together(form: str, tmp_path: Path) -> None:
    write(tmp_path, {form.format(*cell): pixels for cell, pixels in cut_grid(3, 4, DOWN, RIGHT).items()})
    found = propose(tmp_path)
    listed, _ = surveyed(**found.keys)
    assert not found.questions and list(found.keys) == ["images"]
    assert all(Path(path).name == form.format(row, col) for path, row, col in listed[["path", "row", "col"]].to_numpy())


def test_one_question_lists_all_readings_where_the_tiles_show_nothing(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(1000, 50, (6, 64, 64)).astype(np.uint16)
    write(tmp_path, {f"z{k // 3}_{k % 3}.tif": pixels for k, pixels in enumerate(noise)})
    (question,) = propose(tmp_path).questions
    assert question.key == "images" and "z{row}_{col}.tif" in question.words and "z{z}_{index}.tif" in question.words


def test_numbers_that_leave_most_places_empty_are_asked_for(tmp_path: Path) -> None:
    write(
        tmp_path,
        {f"t{k}.tif": pixels for k, pixels in zip((1, 30, 31, 52, 77), cut_grid(1, 5, DOWN, RIGHT).values(), strict=True)},
    )
    (question,) = propose(tmp_path).questions
    assert "72 of 77 places of the grid would be empty" in question.words
    assert "would be empty" not in "".join(each.words for each in propose(tmp_path, {"images": question.example}).questions)


def test_a_scan_with_a_missing_tile_is_found(tmp_path: Path) -> None:
    grid = cut_grid(4, 5, DOWN, RIGHT)
    numbered(tmp_path, {cell: pixels for cell, pixels in grid.items() if cell != (1, 2)}, lambda row, col: 5 * row + col)
    assert {**propose(tmp_path).keys, "images": ""} == {"images": "", "columns": 5}


def test_first_words_are_channels_where_these_show_the_same_structures(tmp_path: Path) -> None:
    for word, dim in (("upper", 1), ("lower", 2)):
        write(tmp_path, {f"{word}_r{r}_c{c}.tif": pixels // dim for (r, c), pixels in cut_grid(3, 4, DOWN, RIGHT).items()})
    found = propose(tmp_path)
    assert found.keys == {"images": f"{tmp_path}/{{channel}}_r{{row}}_c{{col}}.tif"} and not found.questions


def test_first_words_of_unlike_images_are_asked_for(tmp_path: Path) -> None:
    for word, seed in (("liver", 0), ("spleen", 1)):
        write(tmp_path, {f"{word}_r{r}_c{c}.tif": p for (r, c), p in cut_grid(3, 4, DOWN, RIGHT, seed=seed).items()})
    (question,) = propose(tmp_path).questions
    assert question.words.startswith("Are the words in the names channels of one specimen, as in {channel}_r{row}_c{col}.tif")
    answer = f"{tmp_path}/{{dataset}}_r{{row}}_c{{col}}.tif"
    found = propose(tmp_path, {"images": answer})
    assert found.keys == {"images": answer} and not found.questions


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "holds no images: give the folder of the tiles"),
        (["dapi.tif"], "holds one image, dapi.tif, and a mosaic needs several tiles"),
        (["dapi.tif", "liver.tif"], "is no grid of tiles: the names dapi.tif, liver.tif have no numbers that count"),
    ],
)
def test_a_folder_that_is_no_grid_is_refused(names: list[str], words: str, tmp_path: Path) -> None:
    write(tmp_path, {name: np.zeros((32, 32), np.uint16) for name in names})
    with pytest.raises(ProposalError, match=words):
        propose(tmp_path)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([f"{os.fsdecode(bytes([252]))}_{k}.tif" for k in range(4)], "letters in an old encoding"),
        ([f"a{{b}}_{k}.tif" for k in range(4)], "has brackets of the kind {} or <>: rename it"),
        (
            [*(f"t{k}.tif" for k in range(4)), "t0.TIF"],
            "t0.TIF are one place of the grid twice|t0.tif are one place of the grid",
        ),
    ],
)
def test_names_that_cannot_be_used_are_named(names: list[str], words: str, tmp_path: Path) -> None:
    write(tmp_path, {name: np.zeros((32, 32), np.uint16) for name in names})
    with pytest.raises((ProposalError, TileError), match=words):
        propose(tmp_path)


def test_files_of_another_form_may_have_any_names(tmp_path: Path) -> None:
    for name in (os.fsdecode(b"\xfcber"), "a{b}"):
        write(tmp_path, {f"{name}.tif": np.zeros((32, 32), np.uint16)})
    write(tmp_path, {f"r{r}_c{c}.tif": pixels for (r, c), pixels in cut_grid(3, 4, DOWN, RIGHT).items()})
    assert [line.encode() for line in propose(tmp_path).left_out]


def test_a_problem_of_many_files_is_told_once(tmp_path: Path) -> None:
    write(tmp_path, {f"r{k // 8}_c{k % 8}.tif": np.zeros((32, 32), np.uint8) for k in range(16)})
    for k in range(12, 16):
        tifffile.imwrite(tmp_path / f"r1_c{k - 8}.tif", np.zeros((32, 32, 3), np.uint8))
    (question,) = propose(tmp_path).questions
    assert "r1_c4.tif: is 32 x 32 px, 3 channels" in question.words and question.words.endswith(" (and 3 more such messages)")


def test_places_in_the_metadata_come_before_a_table_and_numbers(tmp_path: Path) -> None:
    grid = cut_grid(3, 4, DOWN, RIGHT)
    for (row, col), pixels in grid.items():
        told = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
        plane = {"PositionX": 50.0 * col, "PositionY": 52.0 * row, "PositionXUnit": "µm", "PositionYUnit": "µm"}
        tifffile.imwrite(tmp_path / f"t{4 * row + col}.ome.tif", pixels, ome=True, metadata={**told, "Plane": plane})
    (tmp_path / "p.csv").write_text("path,y,x\n" + "".join(f"t{4 * r + c}.ome.tif,{104 * r},{100 * c}\n" for r, c in grid))
    found = propose(tmp_path)
    assert found.keys == {"images": f"{tmp_path}/t*.ome.tif", "positions": "metadata"}
    assert any(line.startswith("p.csv: lists 12 tiles; not used") for line in found.left_out)


def test_places_in_the_list_of_micro_manager_count_as_those_in_the_images(tmp_path: Path) -> None:
    told = {}
    for (row, col), pixels in cut_grid(3, 4, DOWN, RIGHT).items():
        name = f"img_{4 * row + col:09d}_Default_000.tif"
        tifffile.imwrite(tmp_path / name, pixels)
        frame = {"FileName": name, "XPositionUm": 50.0 * col, "YPositionUm": 52.0 * row, "PixelSizeUm": 0.5}
        told[f"FrameKey-{4 * row + col}-0-0"] = frame
    (tmp_path / "metadata.txt").write_text(json.dumps(told))
    found = propose(tmp_path)
    assert found.keys == {"images": f"{tmp_path}/img_*_Default_000.tif", "positions": "metadata"}
    assert not found.left_out
