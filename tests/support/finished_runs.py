"""A folder of results as a run leaves it, of the tiles of two_groups.py, without registering them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from dlir.config import Settings
from dlir.core import affine, hashing, tables
from dlir.core.tables import BOW, LINEAR_COVARIANCE
from dlir.illumination import fields
from dlir.placement.overrides import read_overrides
from dlir.placement.place import place_times
from dlir.placement.settings import Place
from support import two_groups
from support.specimens import ONE_PLANE
from support.two_groups import COLUMNS, ROWS, SIDE, STEP

NAME = "two"


def make(folder: Path, *, config: str = "mine.yaml", overrides: str | None = None) -> Path:
    """Writes the working directory of a run, and returns results/two in it.

    Args:
        config: the file of its settings.
        overrides: the table that its settings name, which has to be there.
    """
    mine = two_groups.write(folder)
    results = folder / "results" / NAME
    results.mkdir(parents=True)
    settings = yaml.safe_load(mine.read_text())
    if overrides:
        settings["datasets"][NAME]["overrides"] = overrides
    (folder / config).write_text(yaml.safe_dump(settings))
    tiles, pairs, survey = _tiles(folder), _pairs(), _survey()
    user = read_overrides(folder / overrides, tiles) if overrides else None
    placed, _ = place_times(tiles, pairs, Place(), user, survey)
    level = {"channel": 0, "gain": 1.0, "scale": 1.0, "pedestal": 0.0, "clipped": 0}
    exposure = tiles[["tile"]].assign(**level)
    for name, table, schema in (
        ("tiles", tiles, tables.TILES), ("affines", pairs, tables.AFFINES), ("survey", survey, tables.SURVEY),
        ("placement", placed, tables.PLACEMENT), ("exposure", exposure, tables.EXPOSURE),
    ):  # fmt: skip
        tables.write(table, schema, results / f"{name}.csv")
    fields.write([fields.identity((1, SIDE, SIDE))], results / "illumination.tif")
    checked = Settings.checked(settings).model_dump_json(by_alias=True)
    (results / "provenance.json").write_text(json.dumps({"settings": json.loads(checked), "configs": [config]}))
    (results / "report.html").write_text("<!doctype html><title>two</title>")
    return results


def errors(rows: list[list[Any]]) -> np.ndarray:
    """Returns how far each tile lies from the truth (n,), px, less the median of all; rows as `mend.solve` returns them."""
    off = np.array([[row[3], row[6]] for row in rows], float) - two_groups.true_places()
    return np.asarray(np.linalg.norm(off - np.median(off, axis=0), axis=1))


def _tiles(folder: Path) -> pd.DataFrame:
    rows = []
    for tile, (row, column) in enumerate(np.ndindex(ROWS, COLUMNS)):
        path = f"tiles/{row}_{column}.tif"
        rows.append({"tile": tile, "path": path, "row": row, "col": column, "y": float(row * STEP), "x": float(column * STEP),
                     "height": SIDE, "width": SIDE, "channels": 1, "dtype": "uint16", "pixel_size": None,
                     "sha256": hashing.of_file(folder / path), **ONE_PLANE})  # fmt: skip
    return pd.DataFrame(rows)


def _pairs() -> pd.DataFrame:
    """The pairs (tables.AFFINES): exact within the two groups, and rejected between them."""
    places, index = two_groups.true_places(), np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    right = [(a, b, "right") for a, b in zip(index[:, :-1].ravel(), index[:, 1:].ravel(), strict=True)]
    down = [(a, b, "down") for a, b in zip(index[:-1].ravel(), index[1:].ravel(), strict=True)]
    rows = []
    for pair, (fixed, moving, side) in enumerate([*right, *down]):
        between = side == "right" and fixed % COLUMNS == 1
        offset = places[moving] - places[fixed] + (between * 7)
        at = (SIDE / 2, 16.0) if side == "right" else (16.0, SIDE / 2)
        rows.append({"pair": pair, "fixed": fixed, "moving": moving, "side": side,
                     **{name: float(value[0]) for name, value in affine.to_columns(affine.translation(offset[None])).items()},
                     "centre_y": at[0], "centre_x": at[1], "accepted": not between})  # fmt: skip
    same = {"var_y": 0.01, "cov_yx": 0.0, "var_x": 0.01, "score_before": 0.1, "score_after": 0.9, "confidence": 1.0,
            "overruled": False, "reason": "", "method": "network", **dict.fromkeys(BOW, 0.0)}  # fmt: skip
    covariance = dict(zip(LINEAR_COVARIANCE, (np.eye(4) * 1e-6).ravel(), strict=True))
    return pd.DataFrame(rows).assign(**same, **covariance)


def _survey() -> pd.DataFrame:
    step = {"down": (float(STEP), 0.0), "right": (0.0, float(STEP))}
    rows = [
        {"side": side, "told_y": y, "told_x": x, "found_y": y, "found_x": x, "spread_y": 1.0, "spread_x": 1.0, "pairs": 4,
         "sure": 4, "step_y": y, "step_x": x, "overlap": 0.2, "layout": "fits", "advice": ""}
        for side, (y, x) in step.items()
    ]  # fmt: skip
    return pd.DataFrame(rows)
