"""What a folder of results tells of its run: settings, table of overrides, and the command that repeats it."""

import json
import shlex
from pathlib import Path

import pytest
import yaml
from support import finished_runs

from dlir.placement.settings import Place
from dlir.reporting import finished_run
from dlir.reporting.finished_run import FinishedRun, FinishedRunError


def test_a_folder_tells_its_run(tmp_path: Path) -> None:
    found = finished_run.read(finished_runs.make(tmp_path))
    assert found.folder == tmp_path
    assert (found.name, found.place, found.adopted, found.named_table) == ("two", Place(), None, None)
    assert found.table == tmp_path / "results" / "two" / "overrides.csv"


def test_the_table_of_the_settings_counts(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("fixed,moving,y,x\n")
    found = finished_run.read(finished_runs.make(tmp_path, overrides="mine.csv"))
    assert found.table == tmp_path / "mine.csv"
    assert found.name_table() == ""


def test_the_lines_for_the_settings_of_the_user_name_the_table(tmp_path: Path) -> None:
    found = finished_run.read(finished_runs.make(tmp_path))
    before = (tmp_path / "mine.yaml").read_bytes()
    assert yaml.safe_load(found.name_table()) == {"datasets": {"two": {"overrides": "results/two/overrides.csv"}}}
    assert (tmp_path / "mine.yaml").read_bytes() == before


def test_the_settings_of_dlir_stitch_get_the_table(tmp_path: Path) -> None:
    own = "results/two/config.yaml"
    found = finished_run.read(finished_runs.make(tmp_path, config=own))
    before = yaml.safe_load((tmp_path / own).read_text())
    assert found.name_table() == ""
    before["datasets"]["two"]["overrides"] = "results/two/overrides.csv"
    assert yaml.safe_load((tmp_path / own).read_text()) == before
    assert shlex.split(found.command())[-2:] == ["stitch", own]


def test_a_well_has_a_table_beside_its_results(tmp_path: Path) -> None:
    found = finished_run.read(finished_runs.make(tmp_path))
    well = found._replace(name="plate/B02", results=tmp_path / "results" / "plate" / "B02")
    assert yaml.safe_load(well.name_table()) == {"datasets": {"plate": {"overrides": "results/plate/{well}/overrides.csv"}}}


def test_a_round_has_a_table_beside_its_results(tmp_path: Path) -> None:
    found = finished_run.read(finished_runs.make(tmp_path))
    of_round = found._replace(name="slide/R2", results=tmp_path / "results" / "slide" / "R2")
    of_round.results.parent.mkdir()
    (of_round.results.parent / "rounds.csv").touch()
    named = yaml.safe_load(of_round.name_table())
    assert named == {"datasets": {"slide": {"overrides": "results/slide/{round}/overrides.csv"}}}


@pytest.mark.parametrize(
    ("configs", "words"),
    [
        (["my settings.yaml"], ["stitch", "my settings.yaml"]),
        (["a.yaml", "/b.yaml"], ["--cores", "all", "--configfile", "a.yaml", "/b.yaml"]),
        ([], ["--cores", "all"]),
    ],
)
def test_the_command_has_the_settings_of_the_run(configs: list[str], words: list[str]) -> None:
    found = FinishedRun(Path("/w d/results/a"), Path("/w d"), "a", Place(), None, None, [Path(file) for file in configs])
    command = shlex.split(found.command())
    assert command[:3] == ["cd", "/w d", "&&"]
    assert command[-len(words) :] == words


def test_a_folder_that_was_moved_is_named(tmp_path: Path) -> None:
    results = finished_runs.make(tmp_path / "run")
    moved = results.rename(tmp_path / "elsewhere")
    with pytest.raises(FinishedRunError, match=r"elsewhere: its run left it elsewhere, or .*: run the workflow again"):
        finished_run.read(moved)


def test_results_of_an_earlier_version_are_named(tmp_path: Path) -> None:
    results = finished_runs.make(tmp_path)
    facts = json.loads((results / "provenance.json").read_text())
    del facts["configs"]
    (results / "provenance.json").write_text(json.dumps(facts))
    with pytest.raises(FinishedRunError, match="one of an earlier version"):
        finished_run.read(results)
    (results / "provenance.json").write_text("{")
    with pytest.raises(FinishedRunError, match=r"provenance.json: is missing or damaged: run the workflow"):
        finished_run.read(results)
