"""File names give the tile, the channel, the z plane and the time point of a file; missing files are named."""

import os
from pathlib import Path

import pytest

from dlir.reading import filenames, patterns


def group(images: str, *names: str) -> tuple[dict[str, list[str]], dict[str, list[str]], list[str]]:
    """Returns the files of each tile by its path, the values of the placeholders, and the problems."""
    tiles, values, problems = filenames.group([Path(name) for name in names], images)
    return {str(tile.path): [str(file) for file in tile.files] for tile in tiles}, values, problems


@pytest.mark.parametrize(
    ("placeholder", "texts"),
    [("channel", ["DAPI", "GFP-2", "w3"]), ("z", ["8", "9", "10"]), ("time", ["008", "009", "010"])],
)
@pytest.mark.parametrize("images", ["in/s{index}_%s.tif", "in/%s/s{index}.tif", "in/%s_*_{index}_%s.tif"])
def test_files_that_differ_in_a_placeholder_are_one_tile(placeholder: str, texts: list[str], images: str) -> None:
    images = images.replace("%s", "{" + placeholder + "}")
    paths = [images.replace("{index}", index).replace("*", "some") for index in ("1", "2")]
    files = [[path.replace("{" + placeholder + "}", text) for text in texts] for path in paths]
    tiles, values, problems = group(images, *sorted(files[0] + files[1]))
    assert tiles == dict(zip(paths, files, strict=True)) and not problems
    assert values[placeholder] == texts and sum(map(bool, values.values())) == 1


def test_the_files_of_a_tile_are_in_the_order_of_time_then_z_then_channel() -> None:
    names = [f"{c}-{index}_z{z}t{t}.tif" for index in (3, 4) for c in "ab" for z in (0, 1) for t in (9, 10)]
    tiles, values, problems = group("{channel}-{index}_z{z}t{time}.tif", *sorted(names))
    expected = [f"{c}-3_z{z}t{t}.tif" for t in (9, 10) for z in (0, 1) for c in "ab"]
    assert tiles["{channel}-3_z{z}t{time}.tif"] == expected and len(tiles) == 2 and not problems
    assert filenames.files("{channel}-3_z{z}t{time}.tif", values) == expected


@pytest.mark.parametrize(
    ("images", "name", "found"),
    [
        ("C{channel}-Brain{index}.tif", "C3-Brain0012.tif", ("3", {"index": 12})),
        ("{channel}-{index}.tif", "A-b-12.tif", ("A-b", {"index": 12})),
        ("*{channel}_{index}.tif", "x_y_DAPI_7.tif", ("DAPI", {"index": 7})),
        ("{channel}*.tif", "DAPI_long_7.tif", ("DAPI", {})),
        ("r{row}c{col}-ch{channel}sk1.tif", "r01c02-ch12sk1.tif", ("12", {"row": 1, "col": 2})),
    ],
)
def test_a_channel_takes_what_the_rest_of_the_pattern_leaves(images: str, name: str, found: tuple[str, dict[str, int]]) -> None:
    (tile,), values, _ = filenames.group([Path(name)], images)
    assert (values["channel"], tile.numbers) == ([found[0]], found[1])


@pytest.mark.parametrize("channel", ["FITC 488", "Cy5+bg", "a.b", "GFP_long", "é", "e\u0301", "#1 'x' (2)"])
def test_a_channel_may_have_any_characters_where_nothing_else_matches(channel: str) -> None:
    tiles, values, problems = group(
        "in/t{index}_{channel}.tif", *(f"in/t{i}_{c}.tif" for i in (1, 2) for c in ("DAPI", channel))
    )
    assert list(tiles) == ["in/t1_{channel}.tif", "in/t2_{channel}.tif"] and not problems
    assert sorted(values["channel"]) == sorted(["DAPI", channel])


def test_a_channel_lies_within_one_name_and_has_no_separator() -> None:
    assert not patterns.match(Path("a/b/1.tif"), "{channel}/{index}.tif")
    assert not patterns.match(Path("a|b/1.tif"), "{channel}/{index}.tif")


@pytest.mark.parametrize(
    ("images", "name", "row"),
    [
        ("r{row}.tif", "r-2.tif", -2),
        ("{row}.tif", "-2.tif", -2),
        ("r-{row}.tif", "r-2.tif", 2),
        ("r-{row}.tif", "r--2.tif", -2),
        ("r*{row}.tif", "r-2.tif", 2),
        ("*_{row}.tif", "r_-2.tif", -2),
        ("{col}-{row}.tif", "1-2.tif", 2),
        ("{channel}-{row}.tif", "A-2.tif", 2),
    ],
)
def test_a_minus_belongs_to_a_number_where_nothing_else_takes_it(images: str, name: str, row: int) -> None:
    (tile,), _, problems = filenames.group([Path(name)], images)
    assert tile.numbers["row"] == row and not problems


def test_an_index_is_not_negative() -> None:
    assert not patterns.match(Path("t-1.tif"), "t{index}.tif")


@pytest.mark.parametrize(("images", "name"), [("é/ü{index}.tif", "e\u0301/u\u0308{}.tif"), ("e\u0301{index}.tif", "é{}.tif")])
def test_accents_match_in_both_ways_of_writing_them(images: str, name: str) -> None:
    tiles, _, problems = group(images, *(names := [name.format(i) for i in (1, 2)]))
    assert list(tiles) == names and not problems


def test_a_placeholder_with_one_value_is_replaced_in_the_path() -> None:
    tiles, values, problems = group("s{index}_{channel}_z{z}.tif", *(f"s{i}_GFP_z{z}.tif" for i in (1, 2) for z in (0, 1)))
    assert list(tiles) == ["s1_GFP_z{z}.tif", "s2_GFP_z{z}.tif"] and values["channel"] == ["GFP"] and not problems


def test_a_placeholder_that_occurs_twice_has_the_same_value() -> None:
    images = "{channel}/s{index}_{channel}.tif"
    assert patterns.match(Path("GFP/s1_GFP.tif"), images) and not patterns.match(Path("GFP/s1_DAPI.tif"), images)
    tiles, *_ = group("{channel}/s{index}_{channel}.tif", "DAPI/s1_DAPI.tif", "GFP/s1_GFP.tif")
    assert tiles == {"{channel}/s1_{channel}.tif": ["DAPI/s1_DAPI.tif", "GFP/s1_GFP.tif"]}


FOUR = [f"s{i}_{c}_z{z}.tif" for i in range(4) for c in ("a", "b") for z in (0, 1)]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([name for name in FOUR if name != "s2_b_z1.tif"], ["s2_b_z1.tif: missing; each tile needs a file"]),
        ([n for n in FOUR if n[1:] not in ("2_b_z1.tif", "1_b_z1.tif")], ["s1_b_z1.tif, s2_b_z1.tif: missing"]),
        ([*FOUR, "s1_a_z2.tif", "s1_b_z2.tif"], ["s1_a_z2.tif: most tiles have no file with z 2, channel a: move it away",
                                                 "s1_b_z2.tif: most tiles have no file with z 2, channel b"]),
        ([name for name in FOUR if "b_z1" not in name], ["s0_b_z1.tif, s1_b_z1.tif, s2_b_z1.tif and 1 more: missing"]),
        ([*FOUR, "s3_a_z01.tif"], ["{z} is written as 01 and as 1: rename the files"]),
    ],
)  # fmt: skip
def test_the_message_names_files_that_are_missing_or_too_many(names: list[str], words: list[str]) -> None:
    *_, problems = group("s{index}_{channel}_z{z}.tif", *sorted(names))
    assert len(problems) == len(words)
    assert all(problem.startswith(word) for problem, word in zip(problems, words, strict=True))


def test_a_tile_is_named_by_each_of_its_files_and_by_its_path() -> None:
    row = {"path": "in/{channel}/s1_z{z}.tif", "time_names": float("nan"), "z_names": "00|01", "channel_names": "a|b"}
    names = ["in/a/s1_z00.tif", "in/b/s1_z00.tif", "in/a/s1_z01.tif", "in/b/s1_z01.tif"]
    assert filenames.paths_of(row) == ["in/{channel}/s1_z{z}.tif", *names]
    assert filenames.files(row["path"], filenames.values_of(row))[1] == "in/b/s1_z00.tif"


def test_braces_without_values_stay_in_the_path() -> None:
    row = {"path": "in/s{z}.tif", "time_names": "", "z_names": float("nan"), "channel_names": "a|b"}
    assert filenames.files(row["path"], filenames.values_of(row)) == ["in/s{z}.tif"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("in/a{x}1.tif", "in/a{x}1.tif: the name or its folder has brackets of the kind {} or <>: rename it"),
        ("in/a\r1.tif", r"'in/a\r1.tif': the name or its folder has a line break: rename it"),
        ("in/a\n1.tif", r"'in/a\n1.tif': the name or its folder has a line break: rename it"),
        ("<old>/1.tif", "<old>/1.tif: the name or its folder has brackets of the kind {} or <>: rename it"),
        (
            "in/\udce91.tif",
            "in/\ufffd1.tif: the name or its folder has letters in an old encoding, shown here as \ufffd: rename it",
        ),
    ],
)
def test_a_path_that_the_workflow_cannot_take_is_named(name: str, words: str) -> None:
    assert filenames.unusable([Path(name)]) == [words]


@pytest.mark.parametrize(
    "name", ["a b", "a#b&c", "ä", "e\u0301", "a'b\"", "$a;b`c", "a[b]?*", "a\\b", "a,b|c", "a>b", "(a)", "a{b"]
)
def test_other_characters_can_be_used(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}_1.tif").touch()
    assert not filenames.unusable([tmp_path / f"{name}_1.tif"])


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.tif" for name in ("file", "folder", "link", "good link", "pipe")]
    file, folder, link, good_link, pipe = paths
    file.touch()
    folder.mkdir()
    link.symlink_to("gone.tif")
    good_link.symlink_to(file)
    os.mkfifo(pipe)
    assert filenames.unusable(paths) == [
        f"{folder}: is a folder and not a file: move it away, or make images match fewer files",
        f"{link}: is a link to gone.tif, which does not exist: copy the file itself",
        f"{pipe}: is a pipe or a device and not a file: move it away, or make images match fewer files",
    ]
