"""The commands `dlir init` and `dlir preview`: propose settings for a folder, and show what settings mean."""

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from dlir.config import Settings, check_keys
from dlir.core.atomic import atomically
from dlir.core.settings import SettingsError
from dlir.proposal.preview import preview
from dlir.proposal.propose import Proposal, propose
from dlir.proposal.settings_file import MOST_LEFT_OUT, settings_text
from dlir.reading import many_datasets

log = logging.getLogger(__name__)
MOST_PICTURES = 24  # datasets that are drawn


class QuestionError(ValueError):
    """A folder of tiles cannot be understood without an answer of the user, which its settings file asks for."""

    exit_code = 2


def init(folder: Path, output: Path | None = None) -> Path:
    """Writes settings for a folder of tiles, and returns the file. At a terminal, what is not clear is asked.

    Args:
        output: the file for the settings; None for NAME.yaml in the working directory, after the folder.

    Raises:
        ProposalError: when the folder holds no tiles of one mosaic.
        QuestionError: when something is not clear and nobody can be asked; the settings are written, with the question.
        SettingsError: when there is such a file already.
    """
    proposal = _answered(folder, {})
    file = output or Path(f"{proposal.name}.yaml")
    sys.stdout.write(_write(proposal, file))
    log.info("wrote %s", file)
    return file


def keys_of(folder: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings of the dataset in a folder of tiles; raises ProposalError and QuestionError as `init` does.

    Args:
        known: keys that the user gives.
    """
    proposal = _answered(folder, known)
    if proposal.questions:
        _write(proposal, Path(f"{proposal.name}.yaml"))
    for line in (*proposal.notes, *(f"left out: {text}" for text in proposal.left_out[:MOST_LEFT_OUT])):
        log.info(line)
    return dict(proposal.keys)


def _write(proposal: Proposal, file: Path) -> str:
    """Writes the settings to a file, and returns them; raises QuestionError where they have a question."""
    if file.exists():
        raise SettingsError(f"{file}: exists: move it away, or give another file with --output")
    text = settings_text(proposal, str(file))
    with atomically(file) as partial:
        partial.write_text(text, encoding="utf-8")
    if proposal.questions:
        words = "; ".join(question.words for question in proposal.questions)
        raise QuestionError(f"{file}: answer the question in it, and run dlir stitch {file}: {words}")
    return text


def _answered(folder: Path, known: Mapping[str, Any]) -> Proposal:
    """Returns a proposal with the answers of the user to its questions, where one can be asked at a terminal."""
    answers, proposal = dict(known), propose(folder, known)
    while sys.stdin.isatty() and proposal.questions and proposal.questions[0].key:
        question = proposal.questions[0]
        again = "That does not do: " if question.key in answers else ""
        sys.stdout.write(f"{again}{question.words}\n")
        given = input(f"{question.key} (such as {question.example}; nothing to leave it open): ").strip()
        if not given:
            return proposal
        answers[question.key] = yaml.safe_load(given)
        proposal = propose(folder, answers)
    return proposal


def preview_all(config: Path, output: Path | None = None) -> None:
    """Prints the grid of each dataset in a file of settings, and draws it to a PNG.

    Args:
        output: the PNG, or the folder for several; None for a name after that of the settings.

    Raises:
        SettingsError: when the settings are wrong, or the file cannot be read.
        TileError: when the tiles cannot be found.
    """
    datasets, _ = many_datasets.expanded(_settings(config).datasets)
    for name, dataset in list(datasets.items())[:MOST_PICTURES]:
        picture = _picture(config, output, name if len(datasets) > 1 else "")
        sys.stdout.write(f"{preview(name, dataset, picture)}\n\n")
        log.info("%s: drawn in %s", name, picture)
    if len(datasets) > MOST_PICTURES:
        log.warning("%d more datasets are not drawn", len(datasets) - MOST_PICTURES)


def _settings(config: Path) -> Settings:
    try:
        check_keys(config)
        tree = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{config}: cannot be read as YAML ({error}): correct it") from None
    return Settings.checked(tree or {})


def _picture(config: Path, output: Path | None, name: str) -> Path:
    """Returns the file of the picture of a dataset; without a name, of the only one."""
    plain = name.replace("/", "-")
    if output and output.suffix.lower() == ".png" and not name:
        return output
    if output and output.suffix.lower() != ".png":
        return output / f"{plain or config.stem}.png"
    beside = output or config
    return beside.with_name(".".join(filter(None, (beside.stem, plain, "preview", "png"))))
