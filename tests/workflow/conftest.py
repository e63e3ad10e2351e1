"""A copy of the repository for the tests of the workflow."""

import shutil
from pathlib import Path

import pytest
from support import ROOT


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code, free to edit."""
    copy = tmp_path_factory.mktemp("code") / "dlir"
    for name in ["workflow", "dlir", "envs"]:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ["Snakefile", "config.yaml", "pyproject.toml"]:
        shutil.copy2(ROOT / name, copy)
    return copy
