"""The step `selfcheck`: how large the errors of registration are on the user's own tiles, measured on synthetic pairs.

The step `register` measures them too, while the network is at hand, and keeps the table; then this step only copies it, and
does not load torch (`known_errors.py`).
"""

import io
import logging
from pathlib import Path

import numpy as np
import pandas as pd

from dlir import steps
from dlir.core import hashing, sealed, tables
from dlir.registration.settings import Selfcheck, own_method_file

log = logging.getLogger(__name__)
KEPT = "selfcheck"  # the file in the folder `cache`: a key in its first line, then the table of the synthetic pairs
LARGE_ERROR = 2.0  # px, of the column over_2px


def selfcheck(
    tiles: Path,
    illumination: Path,
    pairs: Path,
    *,
    output: Path | None = None,
    known_pairs: Path | None = None,
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
        output: the table of the errors; None only keeps what was measured in `cache`.
        known_pairs: gets a row for each synthetic pair and method (tables.KNOWN_PAIRS).
        model: the file of the network.
        method: what is measured beside phase correlation: the network, or a function of your own (`model/methods.py`).
        device: cpu, cuda, mps, or auto for the fastest of the machine.
        cache: a folder that keeps what was measured; the next call with the same inputs takes it from there.

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
    if known_pairs:
        tables.write(found, tables.KNOWN_PAIRS, known_pairs)
    if output:
        errors = _summary(found)
        tables.write(errors, tables.SELFCHECK, output)
        for row in errors.to_dict("records"):
            log.info("%(side)s, %(method)s: median error %(median).2f px, 95 %% below %(p95).2f px", row)


def _summary(found: pd.DataFrame) -> pd.DataFrame:
    """Returns the errors for each side and method (tables.SELFCHECK), from those of the pairs (tables.KNOWN_PAIRS)."""
    rows = []
    for (side, method), of_method in found.groupby(["side", "method"], sort=False):
        error = of_method["error"].to_numpy(float)
        median, p95 = np.quantile(error, [0.5, 0.95])
        over = float(np.mean(error > LARGE_ERROR))
        rows.append({"side": side, "method": method, "pairs": len(error), "median": median, "p95": p95, "over_2px": over})
    return pd.DataFrame(rows, columns=list(tables.SELFCHECK.columns))


def _kept(file: Path, key: str) -> pd.DataFrame | None:
    """Returns the table that is kept with this key; None without one."""
    first, _, table = (sealed.read(file) or b"").partition(b"\n")
    return pd.read_csv(io.BytesIO(table)) if first.decode() == key else None
