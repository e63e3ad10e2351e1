"""The pattern of file names: what each placeholder stands for, and which names match."""

from pathlib import Path

import pytest

from dlir.reading import patterns


def named(images: str, name: str) -> dict[str, str]:
    """Returns the texts of the placeholders in a name; empty where it does not match."""
    found = patterns.match(Path(name), images)
    return found.groupdict() if found else {}


@pytest.mark.parametrize(
    ("images", "name", "texts"),
    [
        ("t{row:3}{col:3}.tif", "t001012.tif", {"row": "001", "col": "012"}),
        ("t{row:3}{col}.tif", "t0011.tif", {"row": "001", "col": "1"}),
        ("{row}{col}.tif", "B02.tif", {"row": "B", "col": "02"}),
        ("{row}{col}.tif", "2b.tif", {"row": "2", "col": "b"}),
        ("{row}{col}.tif", "0102.tif", {}),
        ("{row}_{col}.tif", "AA_-3.tif", {"row": "AA", "col": "-3"}),
        ("x{x}_y{y}.tif", "x-12.5_y+3.tif", {"x": "-12.5", "y": "+3"}),
        ("x{x}_y{y}.tif", "x-12.5_y3.tif", {"x": "-12.5", "y": "3"}),
        ("{x}-{y}.tif", "100-200,5.tif", {"x": "100", "y": "200,5"}),
        ("{well}/t{index}.tif", "B02/t1.tif", {"well": "B02", "index": "1"}),
        ("{well}/t{index}.tif", "notes/t1.tif", {}),
        ("{well}{index:2}.tif", "B0211.tif", {"well": "B02", "index": "11"}),
        ("{dataset}/{index}.tif", "liver 2 (b)/1.tif", {"dataset": "liver 2 (b)", "index": "1"}),
        ("{camera}_r{row}c{col}.tif", "left_r1c2.tif", {"camera": "left", "row": "1", "col": "2"}),
        ("in/**/t{index}.tif", "in/t1.tif", {"index": "1"}),
        ("in/**/t{index}.tif", "in/a/b c/t1.tif", {"index": "1"}),
        ("in/**/t{index}.tif", "in/a/xt1.tif", {}),
        ("**/t{index}.tif", "t1.tif", {"index": "1"}),
        ("t{index}.tif", "t1.TIF", {"index": "1"}),
        ("t{index}.ome.tif", "t1.OME.tif", {}),
        ("t{index}.tif", "T1.tif", {}),
        ("t{row}z{col}.tif", "t1z2.tif", {"row": "1", "col": "2"}),
    ],
)
def test_what_placeholders_stand_for(images: str, name: str, texts: dict[str, str]) -> None:
    assert named(images, name) == texts


@pytest.mark.parametrize(
    ("name", "text", "number"),
    [
        ("row", "A", 1),
        ("row", "Z", 26),
        ("col", "aa", 27),
        ("row", "007", 7),
        ("col", "-2", -2),
        ("x", "-1,5", -1.5),
        ("y", "3", 3),
    ],
)
def test_letters_and_decimals_are_numbers(name: str, text: str, number: float) -> None:
    assert patterns.number(name, text) == number


def test_rows_are_letters_only_where_no_file_has_numbers() -> None:
    paths = [Path("t_0_1.tif"), Path("t_A_1.tif"), Path("t_1_b.tif")]
    assert list(patterns.matches(paths, "t_{row}_{col}.tif")) == paths[:1]
    assert list(patterns.matches(paths[1:2], "t_{row}_{col}.tif")) == paths[1:2]


@pytest.mark.parametrize(
    ("images", "together"),
    [
        ("{row}{col}.tif", ""), ("{row:2}{col}.tif", ""), ("{well}{index}.tif", ""), ("{row}_{col}.tif", ""),
        ("{channel}{index}.tif", "{channel}{index}"), ("{index}{z}.tif", "{index}{z}"), ("{row}{col:2}.tif", "{row}{col:2}"),
    ],
)  # fmt: skip
def test_placeholders_that_run_together_are_found(images: str, together: str) -> None:
    assert patterns.run_together(images) == together


@pytest.mark.parametrize("images", ["a[1]/{well}/**/t{index:3}_é*.tif", "{x}_{y}.tiff"])
def test_the_glob_finds_all_that_matches(tmp_path: Path, images: str) -> None:
    texts = {"*": "r", "{well}": "A1", "{index:3}": "012", "{x}": "1.5", "{y}": "-2"}
    names = [images.replace("**/", folders) for folders in ("", "b/", "b/c/")]
    for placeholder, text in texts.items():
        names = [name.replace(placeholder, text) for name in names]
    for name in [*names, names[0].replace(".tif", ".TIF")]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path) for path in tmp_path.glob("/".join(map(patterns.as_glob, Path(images).parts)))]
    assert {*names} <= {str(path) for path in patterns.matches(found, images)} and len(found) >= len({*names}) + 1


@pytest.mark.parametrize(
    ("images", "wrong"),
    [("r{row}_c{co}.tif", "{co}"), ("{idx}.tif", "{idx}"), ("r{row_c{col}.tif", "{row"), ("t{x:3}_{y}", "{x:3}"),
     ("r{row:2}_{col}*{channel}{well}/{dataset}.tif", ""), ("a{b/{index}.tif", "")],
)  # fmt: skip
def test_what_is_no_placeholder_is_named(images: str, wrong: str) -> None:
    assert patterns.unknown(images) == wrong
