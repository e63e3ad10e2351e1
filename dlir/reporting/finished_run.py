"""The run that made a folder of results: its settings, the table of overrides that it used, and the command that repeats it.

All of it comes from provenance.json, which the last step of each run writes.
"""

import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from dlir.core.atomic import atomically
from dlir.placement.settings import Place
from dlir.reading.settings import Dataset

RESULTS = "results"  # the folder of all results, in the working directory
OF_ROUNDS = "rounds.csv"  # beside the folder of a round of a specimen
OWN_CONFIG = "config.yaml"  # the settings that `dlir stitch FOLDER` writes beside the results
OWN_TABLE = "overrides.csv"  # the table of overrides that is saved where the settings name none


class FinishedRunError(ValueError):
    """The folder does not tell how its results were made; the message has the remedy."""


class FinishedRun(NamedTuple):
    """The run that made a folder of results."""

    results: Path  # absolute
    folder: Path  # the working directory, in which relative paths of the settings and of tiles.csv start
    name: str  # of the dataset
    place: Place
    adopted: Path | None  # the placement of another run that was taken over
    named_table: Path | None  # the table of overrides, as the settings name it
    configs: list[Path]  # the files of the user's settings, relative to `folder`; empty for the demo

    @property
    def table(self) -> Path:
        """The table of overrides that counts for the next run."""
        return self.folder / self.named_table if self.named_table else self.results / OWN_TABLE

    @property
    def own_config(self) -> Path | None:
        """The settings that `dlir stitch` wrote beside the results, where the run used these alone."""
        own = self.results / OWN_CONFIG
        return own if [self.folder / file for file in self.configs] == [own] else None

    def name_table(self) -> str:
        """Names the table in the settings that `dlir stitch` wrote, and returns the lines that the user has to add elsewhere.

        The lines are empty where nothing is to be added.
        """
        if self.named_table:
            return ""
        own = self.own_config
        config = yaml.safe_load(own.read_text(encoding="utf-8")) if own else {}
        keys = config.get("datasets", {}).get(self.name)
        path = self.table.relative_to(self.folder).as_posix()
        if own is None or keys is None:
            group, _, well = self.name.rpartition("/")
            part = "{round}" if (self.results.parent / OF_ROUNDS).is_file() else "{well}"
            path = f"{RESULTS}/{group}/{part}/{OWN_TABLE}" if well and group else path
            return f"datasets:\n  {group or self.name}:\n    overrides: {path}"
        keys["overrides"] = path
        with atomically(own) as partial:
            partial.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        return ""

    def command(self) -> str:
        """Returns the command line that runs the steps again that depend on a change."""
        program = "dlir" if shutil.which("dlir") else f"{shlex.quote(sys.executable)} -m dlir"
        go = f"cd {shlex.quote(str(self.folder))}"
        files = " ".join(shlex.quote(str(file)) for file in self.configs)
        if len(self.configs) == 1:
            return f"{go} && {program} stitch {files}"
        snakemake = "snakemake" if shutil.which("snakemake") else f"{shlex.quote(sys.executable)} -m snakemake"
        options = f" --configfile {files}" if files else ""
        return f'{go} && {snakemake} --snakefile "$({program} snakefile)" --cores all{options}'


def read(results: Path) -> FinishedRun:
    """Returns the run that made the folder results/NAME.

    Raises:
        FinishedRunError: when provenance.json is missing or damaged, or the folder was moved out of its working directory.
    """
    results = results.absolute()
    facts = _provenance(results / "provenance.json")
    folder = working_directory(results)
    name = results.relative_to(folder / RESULTS).as_posix() if results.is_relative_to(folder / RESULTS) else ""
    if name not in facts["settings"]["datasets"] or "configs" not in facts:
        what = "its run left it elsewhere, or was one of an earlier version"
        raise FinishedRunError(f"{results}: {what}: run the workflow again, and give the folder results/NAME that it names")
    dataset = Dataset.model_validate(facts["settings"]["datasets"][name])
    place, configs = Place.model_validate(facts["settings"]["place"]), [Path(file) for file in facts["configs"]]
    return FinishedRun(results, folder, name, place, dataset.placement, dataset.overrides, configs)


def working_directory(results: Path) -> Path:
    """Returns the folder in which `results` lies with the results of all datasets; its own where there is no such folder."""
    return next((folder.parent for folder in results.absolute().parents if folder.name == RESULTS), results.absolute())


def _provenance(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        found["settings"]["datasets"], found["settings"]["place"]
    except (OSError, ValueError, TypeError, KeyError):
        raise FinishedRunError(f"{path}: is missing or damaged: run the workflow to its end, which writes it") from None
    return found
