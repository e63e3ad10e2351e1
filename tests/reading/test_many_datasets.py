"""A pattern with {well} or {dataset} means many datasets, each with its own files and results."""

from pathlib import Path

import pytest

from dlir.reading import many_datasets
from dlir.reading.grid_layout import TileError
from dlir.reading.many_datasets import Member
from dlir.reading.settings import Dataset


def entry(folder: Path, images: str, *names: str, **settings: object) -> dict[str, Dataset]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return {"a": Dataset.checked({"images": str(folder / images), **settings})}


def test_each_well_is_a_dataset_with_its_own_files_in_the_order_of_numbers(tmp_path: Path) -> None:
    names = [f"p/{well}/t{i}.tif" for well in ("B10", "B2", "A1") for i in (1, 2)]
    settings = {"columns": 2, "positions": tmp_path / "p/{well}/places.csv"}
    found, members = many_datasets.expanded(entry(tmp_path, "p/{well}/t{index}.tif", *names, "p/notes/t1.tif", **settings))
    assert list(found) == ["a/A1", "a/B2", "a/B10"]
    assert found["a/B2"].images == str(tmp_path / "p/B2/t{index}.tif")
    assert found["a/B2"].positions == tmp_path / "p/B2/places.csv" and found["a/B2"].columns == 2
    assert members["a/B10"] == Member("a", "B10")


def test_folders_of_any_name_get_results_in_a_folder_of_plain_letters(tmp_path: Path) -> None:
    names = ["liver (2)/0_0.tif", "-x/0_0.tif"]
    found, members = many_datasets.expanded(entry(tmp_path, "{dataset}/{row}_{col}.tif", *names))
    assert list(found) == ["a/_-x", "a/liver_2_"] and members["a/_-x"] == Member("a", "")
    assert found["a/liver_2_"].images == str(tmp_path / "liver (2)/{row}_{col}.tif")


def test_wells_of_several_plates_are_grouped_by_plate(tmp_path: Path) -> None:
    names = [f"{plate}/{well}_0_0.tif" for plate in ("p1", "p2") for well in ("A1", "A2")]
    _, members = many_datasets.expanded(entry(tmp_path, "{dataset}/{well}_{row}_{col}.tif", *names))
    assert members == {f"a/{p}/{w}": Member(f"a/{p}", w) for p in ("p1", "p2") for w in ("A1", "A2")}


def test_other_entries_stay_as_they_are(tmp_path: Path) -> None:
    datasets = entry(tmp_path, "{row}_{col}.tif", "0_0.tif")
    assert many_datasets.expanded(datasets) == (datasets, {})


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "a: no dataset found: images is .*: correct images"),
        (["x y/0_0.tif", "x+y/0_0.tif"], r"a: two datasets would have their results in results/a/x_y: rename one"),
        (["x{row}/0_0.tif"], r"a: x\{row\} in the path of a tile has the form of a placeholder: rename it"),
    ],
)
def test_what_makes_no_datasets_is_an_error(tmp_path: Path, names: list[str], words: str) -> None:
    with pytest.raises(TileError, match=words):
        many_datasets.expanded(entry(tmp_path, "{dataset}/{row}_{col}.tif", *names))
