"""The versions: the wheel asks for ranges, and every environment uses the exact ones of envs/constraints.txt."""

import re
import tomllib

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins() -> dict[str, str]:
    """The exact version of each package in envs/constraints.txt."""
    lines = [line for line in (ROOT / "envs" / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    parts = [line.split("==") for line in lines]
    return {canonicalize_name(name): version for name, version in parts}


def test_every_dependency_has_an_exact_version_in_its_range() -> None:
    exact = pins()
    optional = [one for group in PROJECT["optional-dependencies"].values() for one in group]
    for requirement in map(Requirement, PROJECT["dependencies"] + optional):
        assert requirement.specifier.contains(exact[canonicalize_name(requirement.name)]), requirement


def test_the_wheel_asks_for_ranges() -> None:
    for requirement in map(Requirement, PROJECT["dependencies"]):
        operators = {clause.operator for clause in requirement.specifier}
        assert ">=" in operators and "==" not in operators, requirement


def test_conda_has_the_exact_versions() -> None:
    exact = pins()
    packages = yaml.safe_load((ROOT / "envs" / "dlir.yaml").read_text())["dependencies"]
    names = [Requirement(one).name for one in PROJECT["dependencies"]]
    assert packages[-1] == {"pip": [f"{name}=={exact[canonicalize_name(name)]}" for name in names]}
    assert packages[0] == "python=3.11" and PROJECT["requires-python"] == ">=3.11"


def test_makefile_and_containers_use_the_exact_versions() -> None:
    for name in ("Makefile", "envs/Dockerfile", "envs/apptainer.def"):
        installs = re.findall(r"pip install .*", (ROOT / name).read_text())
        assert installs and all("--constraint" in line for line in installs), name


def test_no_registry_is_named() -> None:
    files = [ROOT / name for name in ("pyproject.toml", "Makefile", "README.md", "envs/constraints.txt", "envs/dlir.yaml")]
    assert not [path for path in files if re.search(r"index-url|https?://[^ ]*(pypi|simple)", path.read_text())]
