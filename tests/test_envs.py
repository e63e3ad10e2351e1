"""The versions for conda are those of pyproject.toml, the one place where they are chosen."""

import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def test_conda_has_the_versions_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    packages = yaml.safe_load((ROOT / "envs" / "dlir.yaml").read_text())["dependencies"]
    assert packages[-1] == {"pip": project["dependencies"]}
    assert project["requires-python"] == ">=3.11"
    assert packages[0] == "python=3.11"


def test_every_version_is_exact() -> None:
    tree = tomllib.loads((ROOT / "pyproject.toml").read_text())
    optional = [pin for pins in tree["project"]["optional-dependencies"].values() for pin in pins]
    pins = tree["project"]["dependencies"] + optional + tree["build-system"]["requires"]
    assert [pin for pin in pins if "==" not in pin] == []
