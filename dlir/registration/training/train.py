"""The step `train`: trains the registration network on the user's own tiles, without labels.

Training starts from the generic weights of the package, or from random ones where the settings say so; `improve.py` tells how
and when it goes on.
"""

from pathlib import Path

import pandas as pd
import torch

from dlir.core import tables
from dlir.core.atomic import write_key
from dlir.registration.model import checkpoint
from dlir.registration.model.checkpoint import Network
from dlir.registration.settings import Train
from dlir.registration.training import distributed
from dlir.registration.training.improve import improve
from dlir.registration.training.lessons import read_source


def train(
    tiles: list[Path],
    illumination: list[Path],
    pairs: list[Path],
    output: Path,
    *,
    settings: Train = Train(),
    device: str = "auto",
    key: str | None = None,
) -> None:
    """Trains on one or more datasets; writes the model to `output`, and its history (tables.HISTORY) beside it as a CSV.

    An interrupted run resumes from the file `output` with the ending .state, as long as data and settings are the same. Several
    processes train together when `torchrun` started them (`distributed.py`); then only rank 0 writes.

    Args:
        tiles, illumination, pairs: one file of each for every dataset, in the same order.
        device: cpu, cuda, mps, or auto.
        key: text that identifies what the model was trained with; it is written beside `output` with the ending .key.

    Raises:
        RankError: when the number of processes or of GPUs is not that of the settings.
    """
    with checkpoint.full_precision(), distributed.process_group(device, settings.processes) as place:
        output.parent.mkdir(parents=True, exist_ok=True)
        model = _initial_network(settings, place)
        sources = [read_source(files, settings) for files in zip(tiles, illumination, pairs, strict=True)]
        history = improve(model, sources, settings, place, output.with_suffix(".state"))
        if distributed.rank() == 0:
            found = pd.DataFrame(history, columns=list(tables.HISTORY.columns))
            tables.write(found, tables.HISTORY, output.with_suffix(".csv"))
            read = tiles if len(history) > 1 else []
            learnt = [sha256 for file in read for sha256 in tables.read(file, tables.TILES)["sha256"]]
            checkpoint.save(model, settings.model_dump() | {"tiles": learnt}, output)
            write_key(output, key)
            output.with_suffix(".state").unlink(missing_ok=True)


def _initial_network(settings: Train, device: torch.device) -> Network:
    if settings.start == "generic" and settings.architecture == "correlation":
        return checkpoint.load(checkpoint.GENERIC, device)
    return checkpoint.untrained(settings.architecture, settings.seed).to(device)
