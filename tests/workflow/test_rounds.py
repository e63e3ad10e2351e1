"""Rounds of a specimen in the workflow: what runs, what runs again for one more, and what the mosaic of all shows."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from support.cycles import SIDE, STAINS, write_round
from support.workflow import Workflow

from dlir.core import affine, tables

pytestmark = pytest.mark.slow
SLIDE = {"images": "in/{round}/{row}_{col}_{channel}.tif", "overlap": 0.22}
MOSAIC = {"tolerance": 0.1, "chunk": 32, "shard": 64}
SETTINGS = {"datasets": {"slide": SLIDE}, "train": {"when": "never"}, "selfcheck": {"count": 2}, "mosaic": MOSAIC}
EACH = ["tiles", "survey", "illumination", "pairs", "register", "selfcheck", "round_place", "mosaic", "report"]
WHOLE = ["rounds", "place_rounds", "join_rounds", "report_rounds"]


@pytest.fixture(scope="module")
def finished(quick: Path, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """The finished run of two rounds; not to be changed."""
    folder = tmp_path_factory.mktemp("rounds")
    for number in (1, 2):
        write_round(folder / "in" / f"R{number}", number)
    workflow = Workflow(quick, folder, SETTINGS)
    workflow.finish()
    return workflow


def level(workflow: Workflow, name: str) -> np.ndarray:
    """The mosaic of a round or a specimen at full resolution."""
    return np.asarray(zarr.open_array(workflow.folder / "results" / name / "mosaic.ome.zarr" / "0", mode="r")[...])


def labels(workflow: Workflow, name: str) -> list[str]:
    store = zarr.open_group(workflow.folder / "results" / name / "mosaic.ome.zarr", mode="r")
    ome: Any = store.attrs["ome"]
    return [channel["label"] for channel in ome["omero"]["channels"]]


def refused(workflow: Workflow, **changes: Any) -> str:
    """What a run says that ends before any job starts."""
    result = workflow("--dry-run", **changes)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    return result.stderr


def test_all_rounds_are_one_mosaic_in_which_the_nuclei_lie_upon_each_other(finished: Workflow) -> None:
    whole = level(finished, "slide")
    assert labels(finished, "slide") == ["R1/AF1", "R1/DAPI", "R2/AF2", "R2/DAPI"]
    assert np.array_equal(whole, np.concatenate([level(finished, "slide/R1"), level(finished, "slide/R2")]))
    covered = whole[[1, 3]].all(0)
    assert covered.sum() > 40_000
    assert np.corrcoef(whole[1][covered], whole[3][covered])[0, 1] > 0.99
    assert abs(np.corrcoef(whole[0][covered], whole[2][covered])[0, 1]) < 0.3
    assert finished.planned() == {}


def test_rounds_have_one_network_and_their_results_are_those_of_datasets(finished: Workflow) -> None:
    results = finished.folder / "results" / "slide"
    assert (results / "model.pt").is_file() and not list(results.glob("R*/model.pt"))
    assert (results / "round_model.pt").is_file() and tables.read(results / "round_model.csv", tables.HISTORY).empty
    made = json.loads((results / "provenance.json").read_text())
    assert [*made["rounds"]] == ["R1", "R2"] and len(made["tiles"]) == 12
    assert {"between.csv", "round_model.pt"} <= {*made["results"]}
    assert {"rounds", "place_rounds", "join_rounds"} == {*made["stages"]}
    for name in ("R1", "R2"):
        steps = json.loads((results / name / "provenance.json").read_text())["stages"]
        assert {*EACH} - {"report"} <= {*steps} and "place" not in steps
        placed = tables.read(results / name / "placement.csv", tables.PLACEMENT)
        assert (results / name / "report.html").is_file() and len(placed) == 6
    assert not (finished.folder / "results" / "index.html").exists()
    turned = affine.from_table(placed)[:, 0, 1]
    assert np.degrees(turned) == pytest.approx(0.6, abs=0.1)


def test_stretched_tissue_is_looked_for_where_that_is_asked_for(finished: Workflow, tmp_path: Path) -> None:
    work = finished.copy(tmp_path / "work")
    assert (work.folder / "results/slide/R2/local.csv").read_text() == "y,x,shift_y,shift_x\n"
    work.config = {**work.config, "rounds": {"local": 4.0}}
    work.finish()
    results = work.folder / "results" / "slide"
    mended = tables.read(results / "local_rounds.csv", tables.LOCAL_ROUNDS).set_index("round")
    assert mended.loc["R2", "patches"] > 10 and not mended.loc["R2", "used"]
    assert tables.read(results / "R2/local.csv", tables.LOCAL).empty
    assert "R2 is not bent" in (results / "report.html").read_text()
    assert np.array_equal(level(work, "slide/R2"), level(finished, "slide/R2"))
    assert work.planned() == {}
    work.config = {**work.config, "rounds": {"local": 0.0}}
    assert {"round_place": 2, "report_rounds": 1}.items() <= work.planned().items()


def test_the_last_words_name_the_specimen(finished: Workflow, tmp_path: Path) -> None:
    said = finished.copy(tmp_path / "work").finish("--forcerun", "report_rounds")
    assert "slide: mosaic results/slide/mosaic.ome.zarr, report results/slide/report.html" in said
    assert "slide/R1: mosaic" not in said


def test_one_more_round_registers_and_fuses_only_what_is_new(finished: Workflow, tmp_path: Path) -> None:
    work = finished.copy(tmp_path / "work")
    write_round(work.folder / "in" / "R3", 3)
    again = {"round_place": 3, "mosaic": 3, "report": 3}  # two of the mosaics keep their pixels
    assert work.planned() == {**dict.fromkeys([*EACH, *WHOLE], 1), **again}
    shard = work.folder / "results/slide/R1/mosaic.ome.zarr/0/c/0/1/1"
    before = shard.stat().st_mtime_ns
    work.finish()
    log = (work.folder / "results/slide/logs/rounds.log").read_text()
    assert "R2 to R1" in log and "R3 to R1" in log and "registering 0 of" in log
    for name in ("R1", "R2"):
        said = (work.folder / f"results/slide/{name}/logs/mosaic.log").read_text()
        found = re.search(r"fusing (\d+) of (\d+) shards", said)
        assert found and int(found[1]) < 0.5 * int(found[2]), said  # those at the border of the canvas, which has grown
    assert shard.stat().st_mtime_ns == before
    assert labels(work, "slide") == [f"R{n}/{stain}" for n in (1, 2, 3) for stain in (STAINS[n - 1], "DAPI")]
    assert work.planned() == {}


def test_a_blank_round_takes_the_overlap_of_the_others_and_keeps_it_when_one_is_added(quick: Path, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        write_round(tmp_path / "in" / f"R{number}", number)
    for number, file in enumerate((tmp_path / "in" / "R1").glob("*_DAPI.tif")):
        noise = np.random.default_rng(number).normal(200, 15, (SIDE, SIDE))
        tifffile.imwrite(file, noise.astype(np.uint16))
    slide: dict[str, Any] = {**SLIDE, "rounds": {"R1": {"overlap": "auto"}, "R2": {}}}
    work = Workflow(quick, tmp_path, {**SETTINGS, "datasets": {"slide": slide}})
    work.finish("results/slide/R1/tiles.csv")
    assert "the overlap along y and x is taken from R2: the tiles of R1 do not show it" in work.log
    found = tables.read(tmp_path / "results/slide/R1/survey.csv", tables.SURVEY)
    assert found[["step_y", "step_x"]].to_numpy() == pytest.approx(0.78 * SIDE * np.eye(2), abs=0.01)
    slide["rounds"]["R3"] = {}
    assert work.planned("results/slide/R1/tiles.csv") == {}


def test_a_damaged_mosaic_of_all_is_joined_again(finished: Workflow, tmp_path: Path) -> None:
    work = finished.copy(tmp_path / "work")
    (work.folder / "results/slide/mosaic.ome.zarr/0/c/2/0/0").unlink()
    assert work.planned() == {"join_rounds": 1, "report_rounds": 1}
    work.finish()
    assert np.array_equal(level(work, "slide"), level(finished, "slide"))


def test_names_and_the_shared_stain_change_the_whole_alone(finished: Workflow, tmp_path: Path) -> None:
    work = finished.copy(tmp_path / "work")
    (work.folder / "names.csv").write_text("round,channel,name\nR2,AF2,collagen\n")
    work.config = {**SETTINGS, "rounds": {"shared": "once", "names": "names.csv"}}
    assert work.planned() == {"join_rounds": 1, "report_rounds": 1, "report": 2}  # the pages tell all settings
    work.finish()
    assert labels(work, "slide") == ["R1/AF1", "R1/DAPI", "collagen"]
    (work.folder / "names.csv").write_text("round,channel,name\nR2,AF2,elastin\n")
    assert work.planned()["join_rounds"] == 1
    (work.folder / "names.csv").write_text("round,channel,name\nR9,AF2,elastin\n")
    assert "names.csv, line 2: there is no round R9, but R1, R2: correct it" in refused(work)
    (work.folder / "names.csv").write_text("round,channel,name\nR2,AF7,elastin\n")
    assert "names.csv, line 2: R2 has no channel AF7, but 2, called AF2, DAPI" in refused(work)


def test_rounds_by_keys_of_their_own_may_be_a_specimen_of_one(quick: Path, tmp_path: Path) -> None:
    write_round(tmp_path / "in" / "first", 1)
    rounds = {"A": {"images": "in/first/{row}_{col}_{channel}.tif", "reference_channel": "AF1"}}
    work = Workflow(quick, tmp_path, {**SETTINGS, "datasets": {"slide": {"overlap": 0.22, "rounds": rounds}}})
    work.finish()
    assert labels(work, "slide") == ["A/AF1", "A/DAPI"]
    assert np.array_equal(level(work, "slide"), level(work, "slide/A"))
    assert tables.read(tmp_path / "results/slide/A/tiles.csv", tables.TILES)["reference_channel"].eq(0).all()


def test_rounds_of_wells_are_a_specimen_each_and_a_plate(quick: Path, tmp_path: Path) -> None:
    for cycle in ("R1", "R2"):
        for well in ("A1", "B2"):
            (tmp_path / "in" / cycle / well).mkdir(parents=True)
            for number in (1, 2):
                (tmp_path / "in" / cycle / well / f"{number}.tif").touch()
    plate = {"images": "in/{round}/{well}/{index}.tif", "columns": 2, "overlap": 0.1}
    planned = Workflow(quick, tmp_path, {"datasets": {"plate": plate}}).planned()
    assert planned == {
        **dict.fromkeys(EACH, 4), **dict.fromkeys(WHOLE, 2), "train": 2, "index": 1, "plate": 1, "index_of_all": 1,
    }  # fmt: skip


def test_rounds_that_cannot_be_one_image_are_refused_before_any_job(finished: Workflow, tmp_path: Path) -> None:
    work = finished.copy(tmp_path / "work")
    shutil.rmtree(work.folder / "in" / "R2")
    write_round(work.folder / "in" / "R2", 2, np.uint8)
    words = "error: slide: the pixels of round R2 are uint8, and those of R1 are uint16: export all rounds with one type"
    assert words in refused(work)
    assert (work.folder / "results/slide/mosaic.ome.zarr").is_dir()


def test_a_table_of_overrides_counts_for_its_round(finished: Workflow, tmp_path: Path) -> None:
    work = finished.copy(tmp_path / "work")
    table = pd.DataFrame({"fixed": ["0_0_DAPI.tif"], "moving": ["0_1_DAPI.tif"], "y": [""], "x": [""]})
    table.to_csv(work.folder / "mine.csv", index=False)
    rounds = {"R1": {}, "R2": {"overrides": "mine.csv"}}
    work.config = {**SETTINGS, "datasets": {"slide": {**SLIDE, "rounds": rounds}}}
    planned = work.planned()
    assert planned["place_rounds"] == 1 and "register" not in planned and "rounds" not in planned
