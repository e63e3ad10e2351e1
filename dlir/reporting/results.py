"""The results of a dataset, read once for all parts of its report.

The residual of a pair is the distance between two places in the mosaic, both of the middle of the overlap: one follows from the
placement of the moving tile, the other from the placement of the fixed tile and the affine of the pair.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dlir.core import affine, tables, time_points
from dlir.core.affine import Array
from dlir.core.lens import Lenses
from dlir.core.lens import read_for as read_lenses
from dlir.illumination import fields
from dlir.illumination.fields import Lesson, Light
from dlir.reading.tile_reader import read_table


class Results(NamedTuple):
    """What a report is made from. Where each time point is placed by itself, placed, pairs and stage have rows for each."""

    dataset: str
    listed: pd.DataFrame  # tables.TILES
    placed: pd.DataFrame  # tables.PLACEMENT
    pairs: pd.DataFrame | None  # tables.AFFINES with off_y, off_x and residual, px, the largest first; None where adopted
    stage: pd.DataFrame | None  # tables.STAGE
    selfcheck: pd.DataFrame | None  # tables.SELFCHECK
    known_pairs: pd.DataFrame | None  # tables.KNOWN_PAIRS
    history: pd.DataFrame | None  # tables.HISTORY; None where no network was trained on the tiles
    exposure: pd.DataFrame  # tables.EXPOSURE
    light: Light  # the illumination of each camera
    lenses: Lenses  # of the cameras that distort their tiles
    lessons: list[Lesson]  # what it was learnt from, for each camera
    accuracy: pd.DataFrame | None  # tables.ACCURACY; None where no truth is known
    mosaic: Path  # the OME-Zarr store
    provenance: dict[str, Any]  # provenance.json: versions, settings, and what each step took; empty where there is none
    verdict: dict[str, Any] | None  # verdict.json; None where there is none

    @property
    def times(self) -> list[int]:
        """The time points that are placed each by itself; none where one placement holds for all."""
        return time_points.listed(self.placed)

    def at(self, time: int) -> "Results":
        """Returns the results of one time point."""
        placed, pairs, stage = (
            None if table is None else time_points.at(table, time) for table in (self.placed, self.pairs, self.stage)
        )
        assert placed is not None
        listed = self.listed.assign(reference_time=time) if self.times else self.listed
        return self._replace(listed=listed, placed=placed, pairs=pairs, stage=stage)


def read(
    dataset: str,
    tiles: Path,
    illumination: Path,
    placement: Path,
    exposure: Path,
    mosaic: Path,
    *,
    affines: Path | None = None,
    stage: Path | None = None,
    selfcheck: Path | None = None,
    known_pairs: Path | None = None,
    training: Path | None = None,
    accuracy: Path | None = None,
    lens: Path | None = None,
    provenance: Path | None = None,
    verdict: Path | None = None,
) -> Results:
    """Reads the results of a dataset; raises SchemaError when a table is not what its step writes."""
    listed, placed = read_table(tiles), tables.read(placement, tables.PLACEMENT)
    return Results(
        dataset=dataset,
        listed=listed,
        placed=placed,
        pairs=_pairs(affines, placed) if affines else None,
        stage=tables.read(stage, tables.STAGE) if stage else None,
        selfcheck=tables.read(selfcheck, tables.SELFCHECK) if selfcheck else None,
        known_pairs=tables.read(known_pairs, tables.KNOWN_PAIRS) if known_pairs else None,
        history=tables.read(training, tables.HISTORY) if training else None,
        exposure=tables.read(exposure, tables.EXPOSURE),
        light=fields.read(illumination, listed),
        lenses=read_lenses(lens, listed),
        lessons=fields.lessons(illumination),
        accuracy=tables.read(accuracy, tables.ACCURACY) if accuracy else None,
        mosaic=mosaic,
        provenance=json.loads(provenance.read_text(encoding="utf-8")) if provenance else {},
        verdict=json.loads(verdict.read_text(encoding="utf-8")) if verdict else None,
    )


def residuals(pairs: pd.DataFrame, placed: pd.DataFrame) -> Array:
    """Returns by how much (n, 2), px, each pair (tables.AFFINES) differs from a placement (tables.PLACEMENT), along y and x.

    It points from where the moving tile is placed to where the pair would have it.
    """
    centres = pairs[["centre_y", "centre_x"]].to_numpy()[:, None]  # (n, 1, 2)
    by_tile = placed.set_index("tile")
    fixed, moving = (affine.from_table(by_tile.loc[pairs[side]]) for side in ("fixed", "moving"))
    through_pair = affine.apply(fixed, affine.apply(affine.from_table(pairs), centres))
    return np.asarray((through_pair - affine.apply(moving, centres))[:, 0])


def _pairs(affines: Path, placed: pd.DataFrame) -> pd.DataFrame:
    """The pairs (tables.AFFINES) with their residuals, the largest first."""
    pairs = tables.read(affines, tables.AFFINES)
    found = []
    for time in time_points.listed(placed) or [0]:
        of_time = time_points.at(pairs, time)
        off = residuals(of_time, time_points.at(placed, time))
        found.append(of_time.assign(off_y=off[:, 0], off_x=off[:, 1], residual=np.linalg.norm(off, axis=1)))
    return pd.concat(found, ignore_index=True).sort_values("residual", ascending=False, ignore_index=True)
