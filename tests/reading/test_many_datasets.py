"""A pattern with {well} or {dataset} means many datasets, each with its own files and results."""

from pathlib import Path

import pytest

from dlir.core.settings import SettingsError
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
        ([], "a: no dataset found: images is .*, and nothing in .* matches; the folder is empty: correct images"),
        (
            ["x/a.tif"],
            "a: no dataset found: images is .*; the folder holds x, and {row} and {col} stand for numbers: correct images",
        ),
        (["x y/0_0.tif", "x+y/0_0.tif"], r"a: two datasets would have their results in results/a/x_y: rename one"),
        (["x{row}/0_0.tif"], r"a: x\{row\} in the path of a tile has the form of a placeholder: rename it"),
    ],
)
def test_what_makes_no_datasets_is_an_error(tmp_path: Path, names: list[str], words: str) -> None:
    with pytest.raises(TileError, match=words):
        many_datasets.expanded(entry(tmp_path, "{dataset}/{row}_{col}.tif", *names))


def test_each_round_of_a_specimen_is_a_dataset_registered_by_its_nuclei(tmp_path: Path) -> None:
    names = [f"{cycle}/t{i}.tif" for cycle in ("c10", "c2", "c1") for i in (1, 2)]
    settings = {"columns": 2, "flat": tmp_path / "{round}.tif"}
    found, members = many_datasets.expanded(entry(tmp_path, "{round}/t{index}.tif", *names, **settings))
    assert list(found) == ["a/c1", "a/c2", "a/c10"]
    assert found["a/c10"].images == str(tmp_path / "c10/t{index}.tif") and found["a/c10"].flat == tmp_path / "c10.tif"
    assert found["a/c2"].reference_channel == "nuclei" and not found["a/c2"].has_rounds
    assert members == {f"a/{cycle}": Member("a", "", cycle) for cycle in ("c1", "c2", "c10")}


def test_rounds_with_keys_of_their_own_keep_their_order(tmp_path: Path) -> None:
    rounds = {"late": {"images": "l/{row}_{col}.tif", "overlap": 0.3}, "early": {"reference_channel": "H33342"}}
    given = {"images": "{round}/{row}_{col}.tif", "overlap": 0.1, "pixel_size": 0.5, "rounds": rounds}
    found, members = many_datasets.expanded({"a": Dataset.checked(given)})
    assert list(found) == ["a/late", "a/early"] and members["a/late"] == Member("a", "", "late")
    late, early = found.values()
    assert (late.images, late.overlap, late.pixel_size) == ("l/{row}_{col}.tif", 0.3, 0.5)
    assert (early.images, early.overlap, early.reference_channel) == ("early/{row}_{col}.tif", 0.1, "H33342")


def test_a_list_of_names_leaves_the_other_rounds_out() -> None:
    given = {"images": "{round}/{row}_{col}.tif"}
    listed, keys = (Dataset.checked({**given, "rounds": rounds}) for rounds in (["R2", "R1"], {"R2": None, "R1": None}))
    assert list(listed.rounds) == ["R2", "R1"] and listed == keys


@pytest.mark.parametrize("rounds", [{}, {"R1": {}, "R2": {}}])
def test_only_one_of_many_may_have_a_table_of_overrides(tmp_path: Path, rounds: dict[str, object]) -> None:
    settings = {"overrides": tmp_path / "{round}.csv", "rounds": rounds}
    datasets = entry(tmp_path, "{round}/{row}_{col}.tif", "R1/0_0.tif", "R2/0_0.tif", **settings)
    assert [own.overrides for own in many_datasets.expanded(datasets)[0].values()] == [tmp_path / "R1.csv", tmp_path / "R2.csv"]
    (tmp_path / "R2.csv").touch()
    assert [own.overrides for own in many_datasets.expanded(datasets)[0].values()] == [None, tmp_path / "R2.csv"]


@pytest.mark.parametrize("listed", [False, True])
def test_the_rounds_of_each_well_are_a_specimen(tmp_path: Path, listed: bool) -> None:
    names = [f"{cycle}/{well}/0_0.tif" for cycle in ("R1", "R2") for well in ("A1", "B2")]
    settings = {"rounds": {"R1": None, "R2": {"overlap": 0.2}}} if listed else {}
    found, members = many_datasets.expanded(entry(tmp_path, "{round}/{well}/{row}_{col}.tif", *names, **settings))
    assert list(found) == ["a/A1/R1", "a/A1/R2", "a/B2/R1", "a/B2/R2"]
    assert members["a/B2"] == Member("a", "B2") and members["a/B2/R1"] == Member("a/B2", "B2", "R1")
    assert found["a/B2/R1"].images == str(tmp_path / "R1/B2/{row}_{col}.tif")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("logs", "a: logs: is no name for a round"),
        ("x 1.5", r"a: x 1\.5: is no name for a round: leave out points"),
        ("x.1", r"a: x\.1: .*rename the folder or the files, or name the rounds"),
    ],
)
def test_a_round_without_a_name_for_its_results_is_an_error(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(TileError, match=words):
        many_datasets.expanded(entry(tmp_path, "{round}/{row}_{col}.tif", f"{name}/0_0.tif"))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"placement": "p.csv"}, "placement has no effect on rounds"),
        ({"reference_time": "each"}, "rounds have no time points: delete"),
        ({"images": "{row}_{col}_{time}.tif"}, "rounds have no time points: delete"),
        ({"rounds": {"R1": {}, "R2": {"placement": "p.csv"}}}, "placement has no effect on rounds"),
        ({"rounds": {"R1": {}, "R2": {"reference_time": "each"}}}, "rounds have no time points: delete"),
        ({"rounds": {"R1": {}, "R2": {"images": "{row}_{col}_{time}.tif"}}}, "rounds have no time points: delete"),
        ({"rounds": {"cache": {}}}, "rounds.cache: is no name for a round"),
        ({"rounds": {"R1": {"rounds": {"R2": {}}}}}, "rounds.R1: has rounds, and a round has none of its own"),
        ({"rounds": {"R1": {"overlapp": 1}}}, "rounds.R1.overlapp: unknown key; did you mean overlap"),
        ({"rounds": {"R1": {"images": "x.tif"}}}, r"rounds.R1: images needs \{row\} and \{col\}"),
        ({"rounds": ["R1", 5]}, "rounds: is .*: give keys with values below it"),
        ({"rounds": ["R1", "R1"]}, "rounds: R1 is there twice: delete one of the two"),
        ({"rounds": {"R1": 5}}, "rounds.R1: is 5: give keys with values below it"),
    ],
)
def test_rounds_that_cannot_be_placed_together_are_refused(keys: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Dataset.checked({"images": "{row}_{col}.tif", "rounds": {"R1": {}}, **keys})


@pytest.mark.parametrize("wrong", [{"overlapp": 1}, {"overlap": 5}])
def test_a_mistake_in_the_first_round_is_named_once(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError) as caught:
        Dataset.checked({"rounds": {"R1": {"images": "{row}_{col}.tif", **wrong}}})
    assert str(caught.value).count("\n  ") == 1
