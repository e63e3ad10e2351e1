"""A copy of the repository for the tests of the workflow."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import ROOT, warm


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code, free to edit."""
    copy = tmp_path_factory.mktemp("code") / "dlir"
    for name in ["workflow", "dlir", "envs"]:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ["Snakefile", "config.yaml", "pyproject.toml"]:
        shutil.copy2(ROOT / name, copy)
    return copy


@pytest.fixture(scope="module")
def quick(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The same copy, whose steps run in processes that have imported everything already."""
    with warm.use(repository, tmp_path_factory.mktemp("warm")) as server:
        yield repository
        server.kill()
