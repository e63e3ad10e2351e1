"""The commands init and preview, and stitch with a folder: files that are written, questions, and exit codes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from support import ROOT
from support.surveys import cut_grid, write

from dlir.config import Settings
from dlir.core.settings import SettingsError
from dlir.proposal import commands
from dlir.proposal.commands import QuestionError


@pytest.fixture
def tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of 3 x 4 numbered tiles in the working directory."""
    monkeypatch.chdir(tmp_path)
    grid = cut_grid(3, 4, (104.0, 0.0), (0.0, 100.0))
    write(tmp_path / "01 my {tiles}".replace("{", "").replace("}", ""), {f"t{4 * r + c}.tif": p for (r, c), p in grid.items()})
    return Path("01 my tiles")


def test_init_writes_settings_that_are_valid_and_say_what_they_rest_on(tiles: Path) -> None:
    file = commands.init(tiles)
    assert file == Path("01_my_tiles.yaml")
    settings = Settings.checked(yaml.safe_load(file.read_text()))
    assert (
        settings.datasets["01_my_tiles"].images == "01 my tiles/t{index}.tif" and settings.datasets["01_my_tiles"].columns == 4
    )
    assert (
        "12 files, t0.tif to t9.tif" in file.read_text() and "neighbours share about 19 % along y and 22 %" in file.read_text()
    )
    with pytest.raises(SettingsError, match=r"01_my_tiles\.yaml: exists: move it away"):
        commands.init(tiles)


def test_preview_draws_beside_the_settings(tiles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands.preview_all(commands.init(tiles, Path("a.yaml")))
    assert Path("a.preview.png").stat().st_size > 1000 and "12 tiles in 3 rows and 4 columns" in capsys.readouterr().out


def test_an_open_question_is_written_with_an_example_that_answers_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).normal(1000, 50, (6, 64, 64)).astype(np.uint16)
    write(tmp_path / "in", {f"t{k}.tif": pixels for k, pixels in enumerate(noise)})
    with pytest.raises(QuestionError, match=r"in\.yaml: answer the question in it, and run dlir stitch in\.yaml: How many"):
        commands.init(Path("in"))
    text = Path("in.yaml").read_text()
    assert "    # QUESTION: How many tiles has a row" in text
    answered = Settings.checked(yaml.safe_load(text.replace("    # columns: 2", "    columns: 2")))
    assert answered.datasets["in"].columns == 2
    with pytest.raises(SettingsError, match=r"a path with \{index\} needs columns"):
        Settings.checked(yaml.safe_load(text))


@pytest.mark.parametrize(("folder", "status"), [("noise", 2), ("empty", 1)])
def test_the_exit_code_tells_a_question_from_a_refusal(folder: str, status: int, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "noise", {f"t{k}.tif": np.full((64, 64), k, np.uint16) for k in range(4)})
    for command in ("init", "stitch"):
        run = [sys.executable, "-P", str(ROOT / "dlir" / "__main__.py"), command, folder]
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        assert done.returncode == status, done.stderr
        (tmp_path / "noise.yaml").unlink(missing_ok=True)
    assert not (tmp_path / "results").exists()
