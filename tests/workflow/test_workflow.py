"""The workflow: what runs, what runs again after a change, and what stops it before it starts.

A copy of the repository is run once to its end on the demo and once on two datasets of one's own; each test changes one
thing, in a copy of the results or in the settings, and asks a dry run which steps it would run again.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml
import zarr
from ome_zarr_models.v05.hcs import HCS
from support import ROOT
from support.workflow import FLOW, GRID, PHASE, SMALL, TWO, Workflow, contents, jobs_from, write_tiles

pytestmark = pytest.mark.slow


@pytest.fixture
def edit(repository: Path) -> Iterator[Callable[[str, str], None]]:
    """Write a text to a file of the copy; it is put back after the test."""
    before: dict[Path, str] = {}

    def write(name: str, text: str) -> None:
        path = repository / name
        before.setdefault(path, path.read_text())
        path.write_text(text)

    yield write
    for path, text in before.items():
        path.write_text(text)


@pytest.fixture(scope="module")
def demo(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workflow, str]:
    """The finished run of a small demo, and what it printed; not to be changed."""
    workflow = Workflow(repository, tmp_path_factory.mktemp("demo"), SMALL)
    return workflow, workflow.finish()


@pytest.fixture(scope="module")
def two(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """The finished run of two datasets of one's own, a grid and a single tile; not to be changed."""
    folder = tmp_path_factory.mktemp("two")
    write_tiles(folder)
    workflow = Workflow(repository, folder, TWO)
    workflow.finish("--verbose")
    return workflow


# What runs


def test_demo_ends_with_mosaic_report_and_its_error(demo: tuple[Workflow, str]) -> None:
    workflow, printed = demo
    results = workflow.folder / "results" / "demo"
    assert "demo: mosaic results/demo/mosaic.ome.zarr, report results/demo/report.html" in printed
    errors = pd.read_csv(results / "accuracy.csv")["error"]
    assert len(errors) == 6
    assert f"median placement error {errors.median():.3f} px, worst tile {errors.max():.3f} px" in printed
    assert pd.read_csv(results / "selfcheck.csv")["method"].tolist() == ["network", "phase", "none"] * 2
    assert (results / "mosaic.ome.zarr" / "zarr.json").is_file()
    assert (results / "report.html").is_file()


def test_the_last_line_for_each_dataset_is_the_verdict(demo: tuple[Workflow, str]) -> None:
    workflow, printed = demo
    content = json.loads((workflow.folder / "results" / "demo" / "verdict.json").read_text())
    assert content["tiles"]["total"] == 6
    assert printed.splitlines()[-1] == f"demo: {content['sentence']}"


def test_each_step_has_its_log(demo: tuple[Workflow, str]) -> None:
    folder = demo[0].folder / "results" / "demo" / "logs"
    assert {log.stem for log in folder.glob("*.log")} == set(FLOW)


def test_the_terminal_is_short_and_each_step_names_its_dataset(demo: tuple[Workflow, str]) -> None:
    workflow, printed = demo
    jobs = re.findall(r"^Job \d+: (.*)$", workflow.log, re.MULTILINE)
    assert [job for job in jobs if not job.startswith("demo: ")] == ["all results are there"]
    assert len(jobs) == len(FLOW) + 1
    assert len(workflow.log) + len(printed) < 12_000


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_the_command_for_an_ome_tiff_works_as_printed(two: Workflow, page: str) -> None:
    command = re.search(r"\.venv/bin/snakemake results/NAME/mosaic\.ome\.tif [^`\n]*", (ROOT / page).read_text())[0]
    words = command.replace("NAME", "grid").replace("workflow/", f"{two.repository}/workflow/").split()[1:]
    words += ["-s", str(two.repository / "Snakefile"), "--dry-run"]
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *words], cwd=two.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and ": grid: writes the mosaic as an OME-TIFF" in done.stdout, done.stdout + done.stderr


def test_a_file_of_an_unknown_dataset_gets_a_sentence(two: Workflow) -> None:
    result = two("--dry-run", "results/gird/mosaic.ome.tif")
    assert result.returncode == 1
    assert "results/gird/mosaic.ome.tif: the settings have no dataset gird, but grid, single: correct" in result.stdout


def test_two_datasets_replace_the_demo(two: Workflow) -> None:
    assert sorted(path.name for path in (two.folder / "results").iterdir()) == ["grid", "single"]
    for name, tiles in [("grid", 4), ("single", 1)]:
        results = two.folder / "results" / name
        assert len(pd.read_csv(results / "placement.csv")) == tiles
        assert (results / "mosaic.ome.zarr" / "zarr.json").is_file()
        assert not (results / "accuracy.csv").exists()
        assert set(pd.read_csv(results / "selfcheck.csv")["method"]) == ({"phase", "none"} if name == "grid" else set())


def test_snakemake_looks_for_jobs_only_when_one_has_ended(two: Workflow) -> None:
    ended = two.log.count("Finished jobid: ")
    assert ended > 15
    assert two.log.count("Ready jobs: ") <= ended + 1


def test_grid_is_placed_where_it_was_cut(two: Workflow) -> None:
    placement = pd.read_csv(two.folder / "results" / "grid" / "placement.csv").sort_values("path")
    found = placement[["y0", "x0"]].to_numpy()
    assert np.abs(found - found[0] - [[0, 0], [0, 48], [48, 0], [48, 48]]).max() < 0.5


def test_phase_correlation_needs_no_model(two: Workflow) -> None:
    planned = two.planned("--forceall")
    assert planned == {step: 2 for step in FLOW if step not in ("demo", "train", "accuracy")}


def test_bands_are_jobs_of_their_own(two: Workflow) -> None:
    planned = two.planned(mosaic={"bands": 3})
    assert planned == {"band": 6, "mosaic": 2, "report": 2}


@pytest.mark.parametrize(("share", "models"), [(False, 2), (True, 1)])
def test_datasets_share_a_model_when_told(two: Workflow, share: bool, models: int) -> None:
    planned = two.planned(register={"method": "network"}, train={"share": share})
    later = ["register", "selfcheck", "place", "mosaic", "report"]
    assert planned == {"train": models, **dict.fromkeys(later, 2)}


def test_threads_and_device_come_from_the_command_line_and_rerun_nothing(demo: tuple[Workflow, str]) -> None:
    options = [
        "--set-resources",
        "train:device=cpu",
        "register:device=cpu",
        "selfcheck:device=cpu",
        "--set-threads",
        "mosaic=1",
    ]
    assert demo[0].planned(*options) == {}
    result = demo[0]("--dry-run", "--printshellcmds", "--forcerun", "train", *options)
    assert result.stdout.count("--device cpu") == 4
    assert result.stdout.count("--threads 1") == 1


def test_two_runs_from_scratch_are_the_same_to_the_byte(demo: tuple[Workflow, str], repository: Path, tmp_path: Path) -> None:
    again = Workflow(repository, tmp_path, SMALL)
    again.finish()
    first, second = (contents(workflow.folder / "results" / "demo") for workflow in (demo[0], again))
    assert set(first) == set(second)
    assert {"model.pt", "model.csv", "affines.csv", "placement.csv", "mosaic.ome.zarr/zarr.json", "report.html"} <= set(first)
    assert [name for name in first if first[name] != second[name]] == []


# What runs again


def test_nothing_changed(demo: tuple[Workflow, str], two: Workflow) -> None:
    assert demo[0].planned() == {}
    assert two.planned() == {}


def test_provenance_holds_what_each_step_took(demo: tuple[Workflow, str]) -> None:
    found = json.loads((demo[0].folder / "results" / "demo" / "provenance.json").read_text())
    assert set(found["stages"]) == set(FLOW) - {"report"}
    assert min(step["seconds"] for step in found["stages"].values()) > 0
    assert max(step["peak_memory_mb"] or 0 for step in found["stages"].values()) > 100
    assert found["settings"]["datasets"].keys() == {"demo"}
    expected = {"illumination.tif", "pairs.csv", "affines.csv", "lens.csv", "placement.csv", "exposure.csv", "model.pt"}
    assert set(found["results"]) == expected


def test_everything_touched(demo: tuple[Workflow, str], two: Workflow, tmp_path: Path) -> None:
    for number, workflow in enumerate([demo[0], two]):
        copy = workflow.copy(tmp_path / str(number))
        inputs = [*copy.folder.glob("in/*/*.tif"), *copy.folder.glob("results/demo/tiles/*.tif")]
        assert len(inputs) in (5, 6)
        for path in [*inputs, *copy.repository.rglob("*.*")]:
            path.touch()
        assert copy.planned() == {}
    assert copy.planned("--max-checksum-file-size", "1000000") == {}  # as without the profile


def test_another_working_directory(demo: tuple[Workflow, str], tmp_path: Path) -> None:
    assert demo[0].planned(cwd=tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_a_moved_folder_of_code_and_results(repository: Path, tmp_path: Path) -> None:
    shutil.copytree(repository, tmp_path / "here" / "code")
    write_tiles(tmp_path / "here")
    here = Workflow(tmp_path / "here" / "code", tmp_path / "here", TWO)
    assert here("--until", "pairs").returncode == 0
    (tmp_path / "here").rename(tmp_path / "there")
    assert Workflow(tmp_path / "there" / "code", tmp_path / "there", TWO).planned("--until", "pairs") == {}


@pytest.mark.parametrize(
    ("section", "key", "value", "steps"),
    [
        ("demo", "seed", 2, ["demo"]),
        ("tiles", "pixel_size", 0.5, ["tiles"]),
        ("layout", "check", "warn", ["survey"]),
        ("illumination", "correct", False, ["illumination"]),
        ("pairs", "search", 0.4, ["pairs"]),
        ("train", "steps", 3, ["train"]),
        ("register", "accept", 0.6, ["register"]),
        ("selfcheck", "count", 3, ["selfcheck"]),
        ("place", "stage_weight", 2.0, ["place"]),
        ("exposure", "correct", True, ["place"]),
        ("mosaic", "interpolation", 3, ["mosaic"]),
        ("report", "embed", 0, ["report"]),
    ],
)
def test_a_setting_reruns_its_step_and_those_after(
    demo: tuple[Workflow, str], section: str, key: str, value: object, steps: list[str]
) -> None:
    assert demo[0].planned(**{section: {key: value}}) == jobs_from(*steps)


def test_comments_and_order_of_the_config(
    demo: tuple[Workflow, str], repository: Path, edit: Callable[[str, str], None]
) -> None:
    tree = yaml.safe_load((repository / "config.yaml").read_text())
    turned = {name: dict(reversed(part.items())) for name, part in reversed(tree.items())}
    edit("config.yaml", "# another comment\n" + yaml.safe_dump(turned, sort_keys=False))
    assert demo[0].planned() == {}


@pytest.mark.parametrize(
    ("module", "steps"),
    [
        ("__main__", []),
        ("__init__", []),
        ("core/progress", []),
        ("demo/make", ["demo"]),
        ("reading/grid_layout", ["tiles"]),
        ("survey/scans", ["survey"]),
        ("registration/model/checkpoint", ["train", "register", "selfcheck"]),
        ("registration/model/hough_correlation", ["train", "register", "selfcheck"]),  # imported through others
        ("registration/inference/consensus", ["register"]),
        ("registration/confidence/selfcheck", ["selfcheck"]),
        ("placement/place", ["place"]),
        ("illumination/smooth", ["illumination"]),
        ("fusion/exposure", ["place"]),
        ("fusion/mosaic", ["mosaic"]),
        ("reporting/accuracy", ["accuracy"]),
        ("core/tables", [step for step in FLOW if step != "train"]),
    ],
)
def test_an_edited_module_reruns_the_steps_that_use_it(
    demo: tuple[Workflow, str], repository: Path, edit: Callable[[str, str], None], module: str, steps: list[str]
) -> None:
    text = (repository / "dlir" / f"{module}.py").read_text()
    edit(f"dlir/{module}.py", text + "EDITED = True\n")
    assert demo[0].planned() == jobs_from(*steps)


def test_comments_and_docstrings_rerun_nothing(
    demo: tuple[Workflow, str], repository: Path, edit: Callable[[str, str], None]
) -> None:
    for path in (repository / "dlir").rglob("*.py"):
        text = path.read_text()
        edit(str(path.relative_to(repository)), text.replace('"""', '"""Edited. ', 1) + "# edited\n")
    assert demo[0].planned() == {}


def test_a_tile_edited_in_place_reruns_its_dataset(two: Workflow, tmp_path: Path) -> None:
    copy = two.copy(tmp_path / "copy")
    path = copy.folder / "in" / "grid" / "1_0.tif"
    pixels = tifffile.imread(path)
    pixels[5, 5] += 1
    tifffile.imwrite(path, pixels)
    expected = jobs_from("tiles")  # but for the network, which is trained once
    assert copy.planned() == {step: 1 for step in expected if step not in ("train", "accuracy")}


def test_a_flat_field_of_ones_own_reruns_what_needs_it(two: Workflow, tmp_path: Path) -> None:
    copy = two.copy(tmp_path / "copy")
    grid = {**GRID, "flat": "in/my flat.tif"}
    tifffile.imwrite(copy.folder / "in" / "my flat.tif", np.full((64, 64), 100, np.uint16))
    expected = {step: 1 for step in jobs_from("illumination") if step not in ("train", "accuracy")}
    assert copy.planned(datasets={"grid": grid}) == expected
    result = copy(datasets={"grid": grid})
    assert result.returncode == 0, result.stdout + result.stderr
    assert copy.planned(datasets={"grid": grid}) == {}
    tifffile.imwrite(copy.folder / "in" / "my flat.tif", np.full((64, 64), 101, np.uint16))
    assert copy.planned(datasets={"grid": grid}) == expected


# What stops it before any job


def nothing_ran(result: subprocess.CompletedProcess[str], folder: Path) -> bool:
    unstarted = not (folder / "results").exists() and "Job stats" not in result.stdout
    return unstarted and result.returncode == 1 and "Traceback" not in result.stdout + result.stderr


def test_a_typo_is_named(repository: Path, tmp_path: Path) -> None:
    result = Workflow(repository, tmp_path, SMALL)(train={"step": 3}, mosiac={"chunk": 64})
    assert nothing_ran(result, tmp_path)
    assert "error: the settings are not right:\n" in result.stderr
    assert "  train.step: unknown key" in result.stderr
    assert "  mosiac: unknown key" in result.stderr


def test_no_tile_found(repository: Path, tmp_path: Path) -> None:
    result = Workflow(repository, tmp_path, {"datasets": {"grid": GRID}})()
    assert nothing_ran(result, tmp_path)
    assert "error: no tile found: images is in/grid/{row}_{col}.tif" in result.stderr


def test_a_damaged_tile_stops_the_first_step(repository: Path, tmp_path: Path) -> None:
    write_tiles(tmp_path)
    path = tmp_path / "in" / "grid" / "1_1.tif"
    path.write_bytes(path.read_bytes()[:4000])
    result = Workflow(repository, tmp_path, {"datasets": {"grid": GRID}, **PHASE})()
    assert result.returncode == 1
    printed = result.stdout + result.stderr
    assert "tiles: error: the tiles cannot be used:\n  in/grid/1_1.tif: is damaged" in printed
    assert "Traceback" not in printed
    assert sorted(path.name for path in tmp_path.glob("results/grid/*")) == ["cache", "logs"]


def test_a_pattern_with_wells_makes_a_dataset_of_each_and_a_plate(repository: Path, tmp_path: Path) -> None:
    write_tiles(tmp_path)
    for well in ("A01", "B02"):
        shutil.copytree(tmp_path / "in" / "grid", tmp_path / "in" / well)
    settings = {"datasets": {"screen": {"images": "in/{well}/{row}_{col}.tif", "overlap": 0.25}}, **PHASE}
    run = Workflow(repository, tmp_path, settings)
    run.finish()
    results = tmp_path / "results" / "screen"
    assert {path.name for path in results.iterdir()} == {"A01", "B02", "index.html", "plate.ome.zarr", "logs", "benchmarks"}
    one, other = (contents(results / well) for well in ("A01", "B02"))
    assert one["mosaic.sha256"] == other["mosaic.sha256"]
    found = HCS.from_zarr(zarr.open_group(results / "plate.ome.zarr", mode="r"))
    assert [well.path for well in found.ome_attributes.plate.wells] == ["A/1", "B/2"]
    assert run.planned() == {}
    (tmp_path / "in" / "A01" / "0_0.tif").write_bytes((tmp_path / "in" / "A01" / "0_1.tif").read_bytes())
    planned = run.planned()
    assert planned["tiles"] == planned["mosaic"] == planned["plate"] == planned["index"] == 1


def test_a_broken_well_stops_no_other_one_and_is_named_at_the_end(repository: Path, tmp_path: Path) -> None:
    write_tiles(tmp_path)
    for well in ("A01", "A02", "B02"):
        shutil.copytree(tmp_path / "in" / "grid", tmp_path / "in" / well)
    (tmp_path / "in" / "A02" / "1_1.tif").write_bytes(b"")
    settings = {"datasets": {"screen": {"images": "in/{well}/{row}_{col}.tif", "overlap": 0.25}}, **PHASE}
    run = Workflow(repository, tmp_path, settings)
    result = run()
    assert result.returncode == 1
    results = tmp_path / "results" / "screen"
    assert sorted(path.parent.name for path in results.glob("*/report.html")) == ["A01", "B02"]
    printed = result.stdout + result.stderr
    assert "screen/A02: the step tiles failed: the tiles cannot be used:\n  in/A02/1_1.tif: is an empty file" in printed
    assert "screen: the page and the plate of all its datasets wait for a run without an error" in printed
    shutil.copy(tmp_path / "in" / "A01" / "1_1.tif", tmp_path / "in" / "A02")
    run.finish()
    assert (results / "index.html").exists() and (results / "plate.ome.zarr").exists()
