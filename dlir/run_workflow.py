"""A folder of tiles to a mosaic in one call: writes the settings and runs the workflow that comes with the package."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from dlir.config import Settings
from dlir.core.atomic import atomically
from dlir.proposal import commands
from dlir.reading.settings import Share
from dlir.reporting import verdict_file
from dlir.reporting.finished_run import OWN_CONFIG, OWN_TABLE, RESULTS

PACKAGE = Path(__file__).resolve().parent
log = logging.getLogger(__name__)


class StitchError(ValueError):
    """The workflow could not be run to its end."""


def snakefile() -> Path:
    """The Snakefile of the workflow: in the package that is installed, or beside the package in a checkout."""
    installed = PACKAGE / "_workflow" / "Snakefile"
    return installed if installed.is_file() else PACKAGE.parent / "Snakefile"


def stitch(
    images: str,
    overlap: Share | tuple[Share, Share] | None = None,
    *,
    name: str = "mosaic",
    positions: str | None = None,
    folder: str | Path = ".",
    cores: int | None = None,
    settings: dict[str, Any] | None = None,
    dry_run: bool = False,
) -> Path:
    """Stitch the tiles that `images` means; a second call runs only the steps that changed.

    The settings go to `results/NAME/config.yaml`, below `folder`, and the results beside them. Where `dlir view` has saved a
    table of overrides there, it counts.

    Args:
        images: the folder of the tiles, which is looked at as by `dlir init`; or their path, in which {row} and {col}, or
            {index}, stand for the numbers in their names. A relative path starts at `folder`.
        overlap: the part of a tile that neighbours share, or (y, x); by default that of `settings`, or auto, which finds it.
        name: the name of the dataset, and of the folder of its results.
        positions: a table of the nominal places, when the names of the files do not tell them.
        cores: processor cores to use; all of them by default.
        settings: other settings, as sections of config.yaml; the keys of `tiles` count for the dataset.
        dry_run: only list the jobs that would run.

    Returns:
        The folder of the results: mosaic.ome.zarr, report.html and the tables.

    Raises:
        SettingsError: when a setting is unknown or has a value that it cannot have.
        ProposalError: when a folder holds no tiles of one mosaic.
        QuestionError: when a folder cannot be understood without an answer of the user.
        StitchError: when a job failed; its message says where its log is.
    """
    if "datasets" in (settings or {}):
        raise StitchError("datasets is made from the path of the images: give several datasets in a file, to snakemake")
    given = {"overlap": list(overlap) if isinstance(overlap, tuple) else overlap, "positions": positions}
    where = {key: value for key, value in given.items() if value is not None}
    found = Path(folder) / images
    if not (found.exists() or positions or re.search(r"[{*]", images)):
        raise StitchError(
            f"{found}: there is no such folder: correct it, or give the path of the tiles, as in tiles/t{{index}}.tif"
        )
    keys = _keys_of_folder(found, Path(folder), where) if found.is_dir() else {"images": images, **where}
    results = Path(folder) / RESULTS / name
    if (results / OWN_TABLE).is_file():  # which `dlir view` saved
        keys = {**keys, "overrides": f"{RESULTS}/{name}/{OWN_TABLE}"}
    config = {**(settings or {}), "datasets": {name: keys}}
    Settings.checked(config)
    results.mkdir(parents=True, exist_ok=True)
    with atomically(results / OWN_CONFIG) as partial:
        partial.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    run(results / OWN_CONFIG, folder, cores, dry_run)
    return results


def run(config: Path, folder: str | Path = ".", cores: int | None = None, dry_run: bool = False) -> None:
    """Runs the workflow with a file of settings, below `folder`, and ends with the verdict on each mosaic.

    Raises:
        StitchError: when a job failed.
    """
    if cores is not None and cores < 1:
        raise StitchError(f"cores is {cores}: give the number of processor cores to use")
    profile = snakefile().parent / "workflow" / "profiles" / "local"
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile()), "--directory", str(folder)]
    command += [
        "--profile",
        str(profile),
        "--configfile",
        str(config),
        "--cores",
        str(cores or os.cpu_count()),
    ]
    with subprocess.Popen([*command, *(["--dry-run"] if dry_run else [])]) as workflow:
        try:
            workflow.wait()
        except KeyboardInterrupt:
            workflow.terminate()  # it ends its jobs, and unlocks the working directory
            workflow.wait()
            raise
    if workflow.returncode:
        logs = f"; the logs are in {config.parent / 'logs'}" if (config.parent / "logs").is_dir() else ""
        raise StitchError(f"the workflow stopped with status {workflow.returncode}: see the messages above{logs}")
    if not dry_run:  # Snakemake's own last words come after those of the workflow
        _tell_verdicts(config, Path(folder) / "results")


def _tell_verdicts(config: Path, results: Path) -> None:
    """Logs the verdict on each dataset in a file of settings; those of an entry with {well} or {dataset} are in one folder."""
    for name in yaml.safe_load(config.read_text(encoding="utf-8")).get("datasets") or {}:
        for file in [results / str(name) / verdict_file.FILE, *sorted((results / str(name)).glob(f"*/{verdict_file.FILE}"))]:
            if file.is_file():
                found = verdict_file.read(file.parent)["sentence"]
                log.info("%s: %s Open %s in a browser.", file.parent.relative_to(results), found, file.with_name("report.html"))


def _keys_of_folder(images: Path, folder: Path, known: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings of a folder of tiles, with paths that start at `folder`; raises QuestionError where one is open."""
    keys = commands.keys_of(images, known)
    paths = {key: Path(keys[key]) for key in ("images", "positions") if key in keys}
    below: dict[str, Any] = {
        key: str(path.relative_to(folder) if path.is_relative_to(folder) else path) for key, path in paths.items()
    }
    return {**keys, **below}


def parsed(assignments: list[str]) -> dict[str, Any]:
    """The settings in texts such as train.steps=0.

    Raises:
        StitchError: when a text is no assignment to a key of a section.
    """
    tree: dict[str, Any] = {}
    for text in assignments:
        found = re.fullmatch(r"(\w+)\.(\w+)=(.*)", text, re.DOTALL)
        if not found:
            raise StitchError(f"--set {text}: give section.key=value, as in --set train.steps=0")
        section, key, value = found.groups()
        try:
            tree.setdefault(section, {})[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise StitchError(f"--set {text}: the value cannot be read ({error}): correct it") from None
    return tree


def parsed_overlap(text: str) -> Share | tuple[Share, Share]:
    """The overlap in a text such as auto, 0.1, or 0.1,0.2 for y and x; raises StitchError when it is none."""
    try:
        parts: list[Share] = ["auto" if part == "auto" else float(part) for part in text.split(",")]
    except ValueError:
        parts = []
    if len(parts) not in (1, 2):
        raise StitchError(f"--overlap {text}: give auto, or a part of a tile, such as 0.1, or 0.1,0.2 for y and x")
    return parts[0] if len(parts) == 1 else (parts[0], parts[1])
