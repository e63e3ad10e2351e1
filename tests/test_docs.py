"""The documentation: its links lead somewhere, its examples run, and it names what exists and nothing else."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from markdown.extensions.toc import slugify

from dlir import __main__ as cli
from dlir.config import Settings
from dlir.core import tables
from dlir.reading.settings import Dataset

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SCHEMAS = {
    "placement.csv": tables.PLACEMENT, "stage.csv": tables.STAGE, "affines.csv": tables.AFFINES, "tiles.csv": tables.TILES,
    "selfcheck.csv": tables.SELFCHECK, "known_pairs.csv": tables.KNOWN_PAIRS, "accuracy.csv": tables.ACCURACY,
    "pairs.csv": tables.PAIRS, "lens.csv": tables.LENS, "rounds.csv": tables.ROUNDS, "canvas.csv": tables.CANVAS,
    "exposure.csv": tables.EXPOSURE, "survey.csv": tables.SURVEY, "model.csv": tables.HISTORY,
}  # fmt: skip
SHELL = {"console", "sh"}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


class Block(NamedTuple):
    """A fenced block of a page, and the mark in the comment before it: run, or run: FILE."""

    language: str
    text: str
    mark: str


def blocks(page: Path, *languages: str) -> list[Block]:
    found = re.findall(r"(?:<!-- (run[^>]*?) -->\n)?^```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return [Block(language, text, mark) for mark, language, text in found if language in languages]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def sections(page: Path) -> dict[str, str]:
    """The text below each heading of a page, by the heading."""
    _, *parts = re.split(r"^#+ (.*)$", prose(page), flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def first_cells(text: str) -> set[str]:
    """The code in the first cell of each row of the tables in a text."""
    rows = re.findall(r"^\|([^|]*)\|", text, re.MULTILINE)
    return {name for cell in rows for name in re.findall(r"`([^`]+)`", cell)}


def commands(page: Path) -> list[list[str]]:
    """The words of each command in a page's blocks for the shell, without variables in front and paths to the environment."""
    lines = [line for block in blocks(page, *SHELL) for line in block.text.replace("\\\n", " ").splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    plain = [[word for i, word in enumerate(line) if i or not re.match(r"[A-Z]+=", word)] for line in words]
    return [[Path(line[0]).name, *line[1:]] for line in plain if line]


@pages
def test_links_lead_to_a_file_and_to_a_heading_in_it(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"\w+://", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in {slugify(name, "-") for name in sections(file)}):
            broken.append(target)
    assert broken == []


@pages
def test_settings_in_a_page_are_valid(page: Path) -> None:
    for block in blocks(page, "yaml"):
        Settings.checked(yaml.safe_load(block.text))


@pages
def test_python_in_a_page_compiles(page: Path) -> None:
    for block in blocks(page, "python"):
        ast.parse(block.text)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["use-from-python", "your-own-method"])
def test_examples_run(name: str, tmp_path: Path) -> None:
    marked = [block for block in blocks(ROOT / "docs" / f"{name}.md", "python") if block.mark]
    for block in marked:
        if file := block.mark.removeprefix("run").removeprefix(": "):
            (tmp_path / file).write_text(block.text)
    program = "\n".join(block.text for block in marked if block.mark == "run")
    assert program
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pages
def test_commands_of_dlir_exist_with_their_options(page: Path) -> None:
    for command, *arguments in commands(page):
        if command == "dlir" and arguments[-1] != "--help":
            cli.app.parse_args(arguments, exit_on_error=False, print_error=False)
    named = {words.split()[1] for words in re.findall(r"`(dlir [a-z_]+[^`]*)`", prose(page))}
    named |= {arguments[0] for command, *arguments in commands(page) if command == "dlir"}
    assert {name for name in named - {"--help"} if name not in cli.app} == set()


@pages
def test_targets_of_make_exist(page: Path) -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    named = set(re.findall(r"`make ([\w-]+)`", prose(page)))
    named |= {arguments[0] for command, *arguments in commands(page) if command == "make"}
    assert named - set(phony[1].split()) == set()


def test_options_and_files_of_snakemake_exist() -> None:
    text = subprocess.run([sys.executable, "-m", "snakemake", "--help"], capture_output=True, text=True, check=True).stdout
    used = [arguments for page in PAGES for command, *arguments in commands(page) if command == "snakemake"]
    options = {word for arguments in used for word in arguments if word.startswith("--")}
    assert {"--profile", "--configfile", "--forcerun"} <= options
    assert {option for option in options if not re.search(rf"{option}\b", text)} == set()
    profiles = {word for arguments in used for word in arguments if word.startswith("workflow/")}
    assert profiles and [profile for profile in profiles if not (ROOT / profile).is_dir()] == []


@pages
def test_files_of_the_package_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(r"\b(?:dlir|workflow|envs|benchmarks|tests)/[\w./-]*\w", page.read_text())
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_setting_is_described() -> None:
    found = sections(ROOT / "docs" / "tiles.md")
    for name, field in Settings.model_fields.items():
        section = Dataset if name == "datasets" else field.annotation
        keys = {of.alias or key for key, of in section.model_fields.items()}
        keys -= set(Settings.model_fields["tiles"].annotation.model_fields) if name == "datasets" else set()
        assert first_cells(found[field.alias or name]) == keys


def test_every_column_of_the_results_is_described() -> None:
    found = sections(ROOT / "docs" / "results.md")
    for name, schema in SCHEMAS.items():
        columns = first_cells(found[name])
        if {"cov_yy_yy", "cov_xx_xx"} <= columns:
            columns |= set(tables.LINEAR_COVARIANCE)
        assert columns == set(schema.columns), name


def test_the_map_of_the_code_names_every_module() -> None:
    rows = re.findall(
        r"^\| `([\w/]+)`[^|]*\|([^|]*)\|$", sections(ROOT / "docs" / "how-it-works.md")["Map of the code"], re.MULTILINE
    )
    described = {wing: {item.split("`")[1].split(".")[0] for item in modules.split("·")} for wing, modules in rows}
    wings = {path.parent for path in (ROOT / "dlir").rglob("*.py") if path.parent != ROOT / "dlir"}
    modules = {
        str(wing.relative_to(ROOT / "dlir")): {path.stem for path in wing.glob("*.py")} - {"__init__", "settings"}
        for wing in wings
    }
    assert described | {"core": described["core"] - {"settings"}} == {wing: names for wing, names in modules.items() if names}


def test_every_page_is_in_the_navigation() -> None:
    assert sorted(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]) == sorted(page.name for page in PAGES[1:])


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "your-own-method.html").is_file()


def test_readme_is_a_front_page() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
