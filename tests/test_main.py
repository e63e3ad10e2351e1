"""The command `dlir`: what it offers, what it imports, and how it says what went wrong."""

import hashlib
import inspect
import json
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pandas as pd
import pytest
from support.specimens import ONE_PLANE

from dlir import __main__ as cli
from dlir import steps
from dlir.core import tables

FILES = ["--tiles", "no.csv", "--output", "out.csv"]


def dlir(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dlir", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def dataset(images: Path | str) -> str:
    return json.dumps({"images": str(images)})


def test_help_lists_every_step() -> None:
    result = dlir("--help")
    assert result.returncode == 0
    assert [step for step in steps.STEPS if f"│ {step} " not in result.stdout] == []


@pytest.mark.parametrize("step", steps.STEPS)
def test_behind_each_step_is_the_function_of_its_name(step: str) -> None:
    function = getattr(import_module(steps.STEPS[step].module), step)
    assert "output" in inspect.signature(function).parameters
    assert cli.app[step].default_command is function


@pytest.mark.parametrize(
    ("commands", "heavy"),
    [
        ([""], ["torch", "numpy", "pandas", "pydantic", "dlir.core.settings"]),
        (["tiles", "pairs", "place", "place_rounds", "exposure", "mosaic", "report", "judge"], ["torch"]),
        (["verdict"], ["torch", "numpy", "pandas", "pydantic"]),
        (["view"], ["torch", "numpy", "pandas", "dlir.reporting"]),
    ],
)
def test_a_step_imports_only_what_it_needs(commands: list[str], heavy: list[str]) -> None:
    code = f"""
import contextlib, sys
from dlir import __main__ as cli
for command in {commands}:
    with contextlib.suppress(SystemExit):
        cli.app([*command.split(), "--help"])
    print("imported:", command, [name for name in {heavy} if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = [line for line in result.stdout.splitlines() if line.startswith("imported:")]
    assert imported == [f"imported: {command} []" for command in commands]


def test_own_errors_are_one_message(tmp_path: Path) -> None:
    result = dlir("tiles", "--output", tmp_path / "tiles.csv", "--settings", dataset(tmp_path / "{row}_{col}.tif"))
    assert result.returncode == 1
    assert re.fullmatch(r"\d\d:\d\d:\d\d tiles: error: no tile found: .*\n", result.stderr)
    assert str(tmp_path) in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["pairs", *FILES, "--settings", '{"search": 0.5, "min_overlap": 8}'], 1, "no.csv"),
        (["tiles", "--output", "out.csv", "--settings", '{"overlap": 0.5}'], 2, "images: is missing"),
        (["pairs", *FILES, "--settings", '{"search": 0.5, "min_overlap": 8, "serch": 1}'], 2, "serch: unknown key"),
        (
            ["pairs", *FILES, "--settings", '{"search": 5, "min_overlap": 8}'],
            2,
            "search: is 5: give a number above 0 and",
        ),
        (["pairs", *FILES, "--settings", "no json"], 2, "is no JSON"),
        (["pairs", *FILES[:2]], 2, "--output"),
        (
            ["selfcheck", *FILES, "--illumination", "i.tif", "--pairs", "p.csv", "--settings", '{"count": 0, "seed": 1}'],
            2,
            "count: is 0: give a whole number from 1 to",
        ),
        (["pairs", "--tile", "x"], 2, "--tile"),
        (["stich"], 2, "there is no step stich"),
    ],
)
def test_mistakes_are_one_message(
    arguments: list[str], code: int, message: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["dlir", *arguments])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    assert exit.value.code == code
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert message in record.getMessage()
    assert record.exc_info is None


def test_messages_go_to_the_log_too_and_name_the_dataset(tmp_path: Path) -> None:
    result = dlir("pairs", *FILES, "--log-file", tmp_path / "new" / "pairs.log", "--dataset", "brain")
    assert result.returncode == 1
    assert re.fullmatch(r"\d\d:\d\d:\d\d brain pairs: error: .*no\.csv.*\n", result.stderr)
    assert (tmp_path / "new" / "pairs.log").read_text() == result.stderr


def test_a_defect_is_in_the_log_with_its_traceback(tmp_path: Path) -> None:
    code = "import sys; sys.modules['dlir.registration.pairs.neighbours'] = None; from dlir import __main__ as cli; cli.main()"
    command = [sys.executable, "-c", code, "pairs", *FILES, "--log-file", str(tmp_path / "pairs.log")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "Traceback" in (tmp_path / "pairs.log").read_text()


def test_the_package_beside_the_file_runs_whatever_is_installed(tmp_path: Path) -> None:
    shutil.copytree(Path(cli.__file__).parent, tmp_path / "dlir", ignore=shutil.ignore_patterns("__pycache__"))
    text = (tmp_path / "dlir" / "steps.py").read_text()
    (tmp_path / "dlir" / "steps.py").write_text(text.replace("List the neighbours", "List the copied neighbours"))
    command = [sys.executable, "-P", tmp_path / "dlir" / "__main__.py", "--help"]
    assert "copied" in subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_defects_keep_their_traceback(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: object) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(SystemExit) as exit:
        cli.main()
    assert exit.value.code == 3
    assert "ValueError: a defect" in caplog.text


def test_lists_of_files_and_unions_arrive_whole() -> None:
    steps = {
        "model": None,
        "when": "auto",
        "share": True,
        "architecture": "dlir",
        "similarity": "local",
        "start": "random",
        "steps": 1,
        "batch": 1,
        "learning_rate": 0.1,
        "processes": 1,
        "seed": 1,
    }
    lists = ["--tiles", "a", "b", "--illumination", "c", "d", "--pairs", "e", "f"]
    _, train, _ = cli.app.parse_args(["train", *lists, "--output", "m.pt", "--settings", json.dumps(steps)])
    assert train.arguments["tiles"] == [Path("a"), Path("b")]
    assert train.arguments["pairs"] == [Path("e"), Path("f")]
    assert train.arguments["output"] == Path("m.pt")
    assert train.arguments["settings"].model_dump() == steps

    files = ["--tiles", "a", "--illumination", "c", "--pairs", "e", "--model", "m.pt", "--output", "s.csv"]
    _, known, _ = cli.app.parse_args(["selfcheck", *files, "--settings", '{"count": 4, "seed": 1}', "--device", "cpu"])
    assert known.arguments["model"] == Path("m.pt")
    assert known.arguments["settings"].count == 4

    own = json.loads(dataset("a b/{row}_{col}.tif")) | {"overlap": [0.1, 0.2], "positions": "p q.csv"}
    _, tiles, _ = cli.app.parse_args(["tiles", "--output", "t.csv", "--settings", json.dumps(own)])
    assert tiles.arguments["settings"].overlap == (0.1, 0.2)
    assert tiles.arguments["settings"].positions == Path("p q.csv")


def test_a_file_of_the_user_that_changed_stops_a_step(tmp_path: Path) -> None:
    given, known = tmp_path / "overrides.csv", hashlib.sha256(b"as it was").hexdigest()
    given.write_text("changed")
    result = dlir("pairs", "--tiles", tmp_path / "tiles.csv", "--output", tmp_path / "pairs.csv", "--given", given, known)
    assert result.returncode == 1
    assert result.stderr.endswith(f"pairs: error: {given}: was changed since the run began: run again\n")
    given.write_text("as it was")
    result = dlir("pairs", "--tiles", tmp_path / "tiles.csv", "--output", tmp_path / "pairs.csv", "--given", given, known)
    assert "was changed" not in result.stderr and "tiles.csv" in result.stderr


TILE = {
    "tile": 0, "path": "a.tif", "row": 0, "col": 0, "y": 0.0, "x": 0.0, "height": 64, "width": 64, "channels": 1,
    "dtype": "uint8", "sha256": "0", "pixel_size": 1.0, **ONE_PLANE,
}  # fmt: skip


def test_a_file_of_the_user_that_changes_during_the_step_stops_it(tmp_path: Path) -> None:
    tables.write(pd.DataFrame([TILE]), tables.TILES, tmp_path / "tiles.csv")
    given = tmp_path / "pairs.csv"  # the step itself changes it
    given.write_text("as it was")
    known = hashlib.sha256(b"as it was").hexdigest()
    result = dlir("pairs", "--tiles", tmp_path / "tiles.csv", "--output", given, "--given", given, known)
    assert result.returncode == 1
    assert result.stderr.endswith(f"pairs: error: {given}: was changed since the run began: run again\n")


def test_steps_share_a_process_and_a_log(tmp_path: Path) -> None:
    tables.write(pd.DataFrame([TILE]), tables.TILES, tmp_path / "tiles.csv")
    one = ["pairs", "--tiles", tmp_path / "tiles.csv", "--output"]
    result = dlir(
        *one, tmp_path / "a.csv", "--log-file", tmp_path / "log", "--dataset", "x", "--then", *one, tmp_path / "b.csv"
    )
    assert result.returncode == 0 and (tmp_path / "a.csv").is_file() and (tmp_path / "b.csv").is_file()
    assert (tmp_path / "log").read_text().count("x pairs: found 0 pairs") == 2
    failed = dlir("pairs", "--tiles", tmp_path / "no.csv", "--output", tmp_path / "c.csv", "--then", *one, tmp_path / "d.csv")
    assert failed.returncode == 1 and not (tmp_path / "d.csv").exists()  # the first one failed
