"""`dlir stitch`: what it writes, and what it refuses; tests/workflow runs it to the end."""

from pathlib import Path

import pytest
import yaml

from dlir import run_workflow
from dlir.core.settings import SettingsError


def test_assignments_become_sections() -> None:
    found = run_workflow.parsed(["train.steps=0", "tiles.snake=true", "place.camera={rotation: 1, scale: 1}"])
    assert found == {"train": {"steps": 0}, "tiles": {"snake": True}, "place": {"camera": {"rotation": 1, "scale": 1}}}


@pytest.mark.parametrize("text", ["steps=0", "train.steps", "train.steps.more=1"])
def test_a_text_that_is_no_assignment_is_refused(text: str) -> None:
    with pytest.raises(run_workflow.StitchError, match=r"section\.key=value"):
        run_workflow.parsed([text])


def test_the_overlap_is_one_number_or_two() -> None:
    assert run_workflow.parsed_overlap("0.1") == 0.1
    assert run_workflow.parsed_overlap("0.1,0.25") == (0.1, 0.25)
    with pytest.raises(run_workflow.StitchError, match="--overlap ten: give auto, or a part of a tile"):
        run_workflow.parsed_overlap("ten")


def test_wrong_settings_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"train\.step: unknown key"):
        run_workflow.stitch("in/{row}_{col}.tif", folder=tmp_path, settings={"train": {"step": 1}})
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_fails_says_so_and_keeps_the_settings(tmp_path: Path) -> None:
    with pytest.raises(run_workflow.StitchError, match="the workflow stopped with status 1"):
        run_workflow.stitch("in/{row}_{col}.tif", (0.1, 0.2), name="none", folder=tmp_path, cores=1)
    written = yaml.safe_load((tmp_path / "results" / "none" / "config.yaml").read_text())
    assert written == {"datasets": {"none": {"images": "in/{row}_{col}.tif", "overlap": [0.1, 0.2]}}}


def test_a_table_that_dlir_view_saved_counts_in_the_next_run(tmp_path: Path) -> None:
    (tmp_path / "results" / "none").mkdir(parents=True)
    (tmp_path / "results" / "none" / "overrides.csv").write_text("fixed,moving,y,x\n")
    with pytest.raises(run_workflow.StitchError):  # there are no tiles
        run_workflow.stitch("in/{row}_{col}.tif", name="none", folder=tmp_path, cores=1)
    written = yaml.safe_load((tmp_path / "results" / "none" / "config.yaml").read_text())
    assert written["datasets"]["none"]["overrides"] == "results/none/overrides.csv"


def test_a_broken_value_and_further_datasets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(run_workflow.StitchError, match="the value cannot be read"):
        run_workflow.parsed(["place.camera={rotation: 1"])
    with pytest.raises(run_workflow.StitchError, match="datasets is made from the path"):
        run_workflow.stitch("in/{row}_{col}.tif", folder=tmp_path, settings={"datasets": {"other": {}}})


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(run_workflow.StitchError, match="nowhere: there is no such folder: correct it"):
        run_workflow.stitch("nowhere", folder=tmp_path)
