"""The command `dlir verdict`: what it prints, and with which status it ends."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FINDING = {"kind": "alone", "sentence": "1 tile lies apart", "remedy": "`dlir view RESULTS`", "tiles": [7], "pairs": []}


def dlir(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dlir", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("grade", "mark", "status"), [("good", "To know", 0), ("look", "Look here", 10), ("bad", "Not to be trusted", 11)]
)
def test_the_status_tells_the_grade_if_strict(tmp_path: Path, grade: str, mark: str, status: int) -> None:
    content = {"grade": grade, "sentence": "A <sentence> in µm.", "findings": [{**FINDING, "grade": grade}]}
    (tmp_path / "verdict.json").write_text(json.dumps(content))
    plain, strict = dlir("verdict", tmp_path), dlir("verdict", tmp_path, "--strict")
    assert (plain.returncode, strict.returncode) == (0, status)
    expected = f"A <sentence> in µm.\n\n{mark}: 1 tile lies apart.\n  What would help: `dlir view {tmp_path}`.\n"
    assert plain.stdout == strict.stdout == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "there is no verdict: give the folder of a finished dataset"),
        ("{", "is damaged"),
        ("null", "is damaged"),
        ('{"grade": "fine", "sentence": "", "findings": []}', "is damaged"),
        ('{"grade": "good", "sentence": "Good.", "findings": [7]}', "is damaged"),
    ],
)
def test_a_folder_without_a_verdict_is_told(tmp_path: Path, text: str | None, told: str) -> None:
    if text:
        (tmp_path / "verdict.json").write_text(text)
    found = dlir("verdict", tmp_path, "--strict")
    assert found.returncode == 1 and found.stdout == ""
    assert f"{tmp_path / 'verdict.json'}: {told}" in found.stderr
