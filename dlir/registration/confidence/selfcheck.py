"""The step `selfcheck`: how large the errors of registration are on the user's own tiles, measured on synthetic pairs.

The step `register` measures them too, while the network is at hand, and keeps the table; then this step only copies it, and
does not load torch (`known_errors.py`).
"""

import io
import logging
from pathlib import Path

import pandas as pd

from dlir import steps
from dlir.core import hashing, sealed, tables
from dlir.registration.settings import Selfcheck, own_method_file

log = logging.getLogger(__name__)
KEPT = "selfcheck"  # the file in the folder `cache`: a key in its first line, then the table


def selfcheck(
    tiles: Path,
    illumination: Path,
    pairs: Path,
    *,
    output: Path | None = None,
    model: Path | None = None,
    method: str = "network",
    settings: Selfcheck = Selfcheck(),
    device: str = "auto",
    cache: Path | None = None,
) -> None:
    """Measures registration on synthetic pairs and writes the errors for each side (tables.SELFCHECK) to `output`.

    Without a model the network is left out. Without pairs, or where no window fits into a tile, the table is empty.

    Args:
        tiles, illumination, pairs: files of earlier steps: tiles.csv, illumination.tif and pairs.csv.
        output: the table; None only keeps it in `cache`.
        model: the file of the network.
        method: what is measured beside phase correlation: the network, or a function of your own (`model/methods.py`).
        device: cpu, cuda, mps, or auto for the fastest of the machine.
        cache: a folder that keeps the table; the next call with the same inputs takes it from there.

    Raises:
        ModelError: when the model cannot be read.
        MethodError: when `method` names a function that cannot be imported.
    """
    files = [hashing.of_file(path) if path else "" for path in (tiles, illumination, pairs, model, own_method_file(method))]
    key = hashing.of(steps.code("selfcheck"), *files, method, settings.model_dump_json())
    found = _kept(cache / KEPT, key) if cache else None
    if found is None:
        from dlir.registration.confidence.known_errors import known_errors  # imports torch, which is slow

        found = known_errors(tiles, illumination, pairs, model=model, method=method, settings=settings, device=device)
        if cache:
            sealed.write(f"{key}\n{found.to_csv(index=False)}".encode(), cache / KEPT)
    if output:
        tables.write(found, tables.SELFCHECK, output)
        for row in found.to_dict("records"):
            log.info("%(side)s, %(method)s: median error %(median).2f px, 95 %% below %(p95).2f px", row)


def _kept(file: Path, key: str) -> pd.DataFrame | None:
    """Returns the table that is kept with this key; None without one."""
    first, _, table = (sealed.read(file) or b"").partition(b"\n")
    return pd.read_csv(io.BytesIO(table)) if first.decode() == key else None
