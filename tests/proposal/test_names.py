"""The pattern that names of files have in common: what their numbers and words stand for."""

import uuid
from itertools import product

import pytest

from dlir.proposal.names import name_patterns

R3C4 = list(product(range(3), range(4)))


@pytest.mark.parametrize(
    ("names", "images"),
    [
        ([f"C3-Brain{k:04d}.tif" for k in range(1, 9)], "C3-Brain{index}.tif"),
        ([f"r{r}-c{c}.png" for r, c in R3C4], "r{row}-c{col}.png"),
        ([f"img_{r:03d}_{c:03d}.tif" for r, c in R3C4], "img_{row}_{col}.tif"),
        ([f"t_x{c - 1}_y{r - 1}.tif" for r, c in R3C4], "t_x{col}_y{row}.tif"),
        ([f"x{c * 205:05d}_y{r * 205:05d}.tif" for r, c in R3C4], "x{col}_y{row}.tif"),
        ([f"t{k}_x{x}_y{y}.tif" for k, (x, y) in enumerate(product((0.0, 1023, 2047), (0, 1000, 2001)))], "t*_x{x}_y{y}.tif"),
        ([f"x{c - 1:+03d}_y{r - 1:+03d}.tif" for r, c in R3C4], "x{col}_y{row}.tif"),
        ([f"t{r}_{c}.tif" for r, c in R3C4], "t{row}_{col}.tif"),
        ([f"t{t}_s{k}.tif" for t, k in R3C4], "t{time}_s{index}.tif"),
        ([f"{'ABC'[r]}_{c + 1}.tif" for r, c in R3C4], "{row}_{col}.tif"),
        ([f"{'ABC'[r]}{c + 1:02d}.tif" for r, c in R3C4], "{row}{col}.tif"),
        ([f"{r:03d}{c:03d}.tif" for r, c in R3C4], "{row:3}{col}.tif"),
        ([f"t{r:02d}{c:02d}.tif" for r, c in R3C4], "t{row:2}{col}.tif"),
        ([f"t{r:02d}{c:02d}.tif" for r, c in R3C4 if r + c], "t{row:2}{col}.tif"),
        ([f"slide{s}_r{r}_c{c}.tif" for s in "AB" for r, c in R3C4], "{dataset}_r{row}_c{col}.tif"),
        ([f"e_mouse {s}_{k:02d}.tif" for s in "12" for k in range(12)], "e_mouse {dataset}_{index}.tif"),
        ([f"t{r + 1:02d}_p{c + 1:02d}.tif" for r, c in R3C4], "t{time}_p{index}.tif"),
        ([f"ex[Grid@{c} {r}].jpg" for r, c in R3C4], "ex[Grid@{row} {col}].jpg"),
        ([f"t{k:02d}_{c}.tif" for k in range(12) for c in ("DAPI", "FITC 488")], "t{index}_{channel}.tif"),
        ([f"{c}/t{k:02d}.tif" for k in range(12) for c in ("DAPI", "GFP")], "{channel}/t{index}.tif"),
        ([f"{w}/t{k:02d}.tif" for k in range(12) for w in ("A01", "B01")], "{well}/t{index}.tif"),
        ([f"{w}_s{s}_w{c}.tif" for w in ("A01", "H12") for s in range(6) for c in (1, 2)], "{well}_s{index}_w{channel}.tif"),
        ([f"r{r:02d}c02f{f:02d}p01-ch{c}sk1.tif" for r in (2, 3) for f in range(9) for c in (1, 2)],
         "{well}f{index}p01-ch{channel}sk1.tif"),
        ([f"day {d}/r{r}c{c}.tif" for d in (1, 2) for r, c in R3C4], "day {dataset}/r{row}c{col}.tif"),
        ([f"i_t{t}_z{z}_p{k}.tif" for t in range(2) for z in range(3) for k in range(12)], "i_t{time}_z{z}_p{index}.tif"),
        ([f"1-Pos_{c:03d}_{r:03d}/img_000.tif" for r, c in R3C4], "1-Pos_{col}_{row}/img_000.tif"),
        ([f"scan_MMStack_Pos{k}.ome.tif" for k in range(9)], "scan_MMStack_Pos{index}.ome.tif"),
        ([f"e_{w}_s{k}_w1{uuid.UUID(int=7**(30 + k) * ord(w[0]))}.TIF" for w in ("A01", "B02") for k in range(1, 13)],
         "e_{well}_s{index}_w1*.TIF"),
        ([f"s_{k}_{7**(20 + k):x}.tif" for k in range(9)], "s_{index}_*.tif"),
        ([f"s_{k}_2024010112{3 * k:02d}.tif" for k in range(12)], "s_{index}_*.tif"),
    ],
)  # fmt: skip
def test_the_pattern_of_usual_names(names: list[str], images: str) -> None:
    found, *others = name_patterns(names)
    assert (found.images, len(found.files), others) == (images, len(names), [])


def test_names_without_a_place_are_no_layout() -> None:
    found = name_patterns(["dapi.tif", "he.tif", "a b.png"])
    assert not any(each.is_layout for each in found) and sum(len(each.files) for each in found) == 3


def test_files_of_another_form_are_a_pattern_of_their_own() -> None:
    found = name_patterns([*(f"t{k:02d}.tif" for k in range(12)), "overview.tif", "t03_copy.tif"])
    assert [(each.images, len(each.files)) for each in found] == [
        ("t{index}.tif", 12),
        ("overview.tif", 1),
        ("t03_copy.tif", 1),
    ]


def test_a_pattern_that_another_one_equals_is_open() -> None:
    found, *_ = name_patterns([f"a{a}_b{b}_{k}.tif" for a in (1, 2) for b in (1, 2) for k in range(6)])
    assert found.others


def test_codes_that_differ_between_the_channels_of_a_tile_make_no_layout() -> None:
    found = name_patterns([f"e_s{k}_w{c}{uuid.UUID(int=7 ** (30 + k) * c)}.TIF" for c in (1, 2) for k in range(9)])
    assert not found[0].is_layout and found[0].has_codes


@pytest.mark.parametrize("form", ["s_{}_{}.tif", "z{}_{}.tif", "DAPI/s_{}_{}.tif"])
def test_two_numbers_side_by_side_may_always_be_row_and_column(form: str) -> None:
    found, *_ = name_patterns([form.format(r, c) for r, c in R3C4])
    assert form.format("{row}", "{col}") in [each.images for each in (found, *found.others)]


def test_a_first_word_that_is_no_dye_may_be_a_channel_or_a_dataset() -> None:
    found, *_ = name_patterns([f"{word}_{k:02d}.tif" for word in ("liver", "spleen") for k in range(12)])
    assert [each.images for each in (found, *found.others)] == ["{channel}_{index}.tif", "{dataset}_{index}.tif"]
