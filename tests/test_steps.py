"""The code of a step: what it is made of agrees with the imports, and only edits that can change a result change its hash."""

import shutil
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

from dlir import steps


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """The imports of the package, as another program finds them."""
    return grimp.build_graph("dlir", include_external_packages=False)


@pytest.mark.parametrize("step", steps.STEPS)
def test_the_files_of_a_step_are_the_modules_that_it_imports(graph: grimp.ImportGraph, step: str) -> None:
    todo, found = {steps.STEPS[step].module}, set()
    while todo:
        found |= todo
        todo = (
            {name for module in todo for name in graph.find_modules_directly_imported_by(module)} - found - steps.WITHOUT_EFFECT
        )
    modules = [path.relative_to(steps.PACKAGE.parent) for path in steps.files(step) if path.suffix == ".py"]
    paths = {".".join(path.with_suffix("").parts) for path in modules}
    assert {name for name in paths if not name.endswith(".__init__")} == {name for name in found if _is_module(name)}


def _is_module(name: str) -> bool:
    return not steps.PACKAGE.joinpath(*name.split(".")[1:]).is_dir()


def edited(folder: Path, file: str, change: dict[str, str]) -> dict[str, str]:
    """The hash of each step in a copy of the package in which a file was edited."""
    package = folder / "dlir"
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(steps.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    text = (package / file).read_text()
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new, 1)
    (package / file).write_text(text)
    code = "from dlir import steps; print(*(f'{step} {steps.code(step)}' for step in steps.STEPS), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    return dict(line.split() for line in done.stdout.splitlines())


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("core/progress.py", {"import time\n": "import time\n\nEDITED = 1\n"}),
        ("core/tables.py", {'"""': '"""Edited. '}),
        ("core/affine.py", {"def translation(": "# a comment\ndef translation("}),
        ("placement/solver.py", {"import numpy as np\n": "import numpy as np\n\n\n"}),
        ("__main__.py", {"def main(": "EDITED = 1\n\n\ndef main("}),
        ("__init__.py", {"__all__ = [": 'EDITED = 1\n__all__ = [\n    "more",'}),
    ],
)
def test_edits_that_change_no_result_change_no_hash(tmp_path: Path, file: str, change: dict[str, str]) -> None:
    assert edited(tmp_path, file, change) == {step: steps.code(step) for step in steps.STEPS}


def test_an_edit_changes_the_steps_that_use_the_module_and_no_others(tmp_path: Path) -> None:
    found = edited(tmp_path, "fusion/blend.py", {"import numpy as np\n": "import numpy as np\n\nEDITED = 1\n"})
    changed = {step for step in steps.STEPS if found[step] != steps.code(step)}
    assert {"mosaic", "band", "report"} <= changed
    assert changed & {"tiles", "illumination", "pairs", "train", "register", "place", "selfcheck"} == set()


def test_code_of_a_package_belongs_to_the_steps_that_use_its_modules(tmp_path: Path) -> None:
    found = edited(tmp_path, "registration/__init__.py", {'"""\n': '"""\n\nEDITED = 1\n'})
    changed = {step for step in steps.STEPS if found[step] != steps.code(step)}
    assert {"pairs", "train", "register", "selfcheck"} <= changed
    assert changed & {"tiles", "illumination", "place", "exposure", "mosaic"} == set()


def test_an_edit_of_the_template_changes_the_report(tmp_path: Path) -> None:
    found = edited(tmp_path, "reporting/report.html.j2", {"<h1>": "<h1>Edited: "})
    assert {step for step in steps.STEPS if found[step] != steps.code(step)} == {"report"}


def test_what_is_kept_of_programs_may_be_missing_or_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    expected = {step: steps.code(step) for step in steps.STEPS}
    assert edited(tmp_path / "package", "core/progress.py", {}) == expected  # nothing was kept before
    (kept,) = (tmp_path / "dlir").iterdir()
    for damage in ("", "{", "[]"):
        assert len(kept.read_text()) > 10_000
        kept.write_text(damage)
        assert edited(tmp_path / "package", "core/progress.py", {}) == expected
