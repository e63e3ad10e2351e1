"""The results of a specimen with rounds, read once for all parts of its report."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.reading.tile_reader import TileReader, read_table
from dlir.reporting import verdict_file
from dlir.reporting.mosaic_store import MosaicStore, Plane, reference_plane
from dlir.rounds.groups import leaders


class StoreError(ValueError):
    """The mosaics of the rounds do not fit together."""


class RoundResults(NamedTuple):
    """One round, as it is placed with the others."""

    name: str
    folder: Path
    tiles: pd.DataFrame  # tables.TILES
    placed: pd.DataFrame  # tables.ROUND_PLACEMENT, of this round
    found: dict[Any, Any]  # the row of tables.ROUNDS
    mosaic: MosaicStore
    plane: Plane  # that registration saw
    channel: int | None  # likewise; None: the mean of all
    verdict: dict[str, Any]  # its verdict.json
    provenance: dict[str, Any]  # its provenance.json; empty where there is none

    @property
    def shown(self) -> list[int]:
        """The channels, from 0, by which the round was registered."""
        return list(range(len(self.mosaic.channels))) if self.channel is None else [self.channel]

    def registered(self, y: slice, x: slice) -> Array:
        """Returns what registration saw (y, x), in grey values, from a part of the mosaic."""
        chosen = slice(None) if self.channel is None else slice(self.channel, self.channel + 1)
        return np.asarray(self.mosaic.read(0, self.plane, y, x, chosen).mean(axis=0, dtype=np.float64))


class Specimen(NamedTuple):
    """All rounds, the first of which gives the common frame."""

    name: str
    rounds: list[RoundResults]
    placed: pd.DataFrame  # tables.ROUND_PLACEMENT; the row numbers name the tiles of all rounds
    pairs: pd.DataFrame  # tables.ROUND_PAIRS with residual, px: how far each lies from the placement
    pixel_size: float  # µm; NaN where it is unknown

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the mosaic, px."""
        return self.rounds[0].mosaic.shape

    def compared_with(self, each: RoundResults) -> RoundResults:
        """Returns the round with which this one is compared: the one that it was found against, else the first."""
        return next((other for other in self.rounds if other.name == each.found["against"]), self.rounds[0])

    def groups(self) -> list[list[str]]:
        """Returns the names of the rounds of each group that the pixels join, that of the first round first."""
        found: dict[str, list[str]] = {}
        for name, leader in leaders(pd.DataFrame([each.found for each in self.rounds])).items():
            found.setdefault(leader, []).append(name)
        return list(found.values())


def read(results: list[Path], rounds: Path, between: Path, placement: Path, name: str) -> Specimen:
    """Reads the results of a specimen.

    Args:
        results: the folders of the results of the rounds, in order.
        rounds, between, placement: the tables ROUNDS, ROUND_PAIRS and ROUND_PLACEMENT.
        name: of the specimen.

    Raises:
        TableError: when a table is not what its step writes.
        StoreError: when the mosaics of the rounds differ in size.
        VerdictError: when a round has no verdict.
    """
    found = {row["round"]: row for row in tables.read(rounds, tables.ROUNDS).to_dict("records")}
    placed = tables.read(placement, tables.ROUND_PLACEMENT)
    pairs = tables.read(between, tables.ROUND_PAIRS)
    every = [_round(folder, found[folder.name], placed[placed["round"] == folder.name]) for folder in results]
    first = every[0].mosaic
    for each in every[1:]:
        if each.mosaic.shape != first.shape:
            raise StoreError(f"{each.mosaic.path}: is not as large as {first.path}: delete both, and run the workflow again")
    pixel_size = float(every[0].tiles["pixel_size"].iloc[0])
    return Specimen(name, every, placed, pairs.assign(residual=_residuals(pairs, placed)), pixel_size)


def of_others(pairs: pd.DataFrame, name: str) -> pd.DataFrame:
    """Returns the pairs (tables.ROUND_PAIRS) between a round and the others."""
    chosen: pd.DataFrame = pairs[(pairs["moving_round"] == name) | (pairs["fixed_round"] == name)]
    return chosen


def accepted_by_tile(pairs: pd.DataFrame, name: str) -> "pd.Series[int]":
    """Returns how many accepted pairs (tables.ROUND_PAIRS) the tiles of a round have with others, by the number of the tile."""
    accepted = pairs[pairs["accepted"]]
    ends = [accepted.loc[accepted[f"{end}_round"] == name, end] for end in ("fixed", "moving")]
    counts: pd.Series[int] = pd.concat(ends).value_counts()
    return counts


def _round(folder: Path, found: dict[Any, Any], placed: pd.DataFrame) -> RoundResults:
    tiles = read_table(folder / "tiles.csv")
    reader = TileReader(tiles)
    provenance = folder / "provenance.json"
    return RoundResults(
        folder.name, folder, tiles, placed, found, MosaicStore(folder / "mosaic.ome.zarr"), reference_plane(reader),
        reader.channel if reader.channels > 1 else 0, verdict_file.read(folder),
        json.loads(provenance.read_text(encoding="utf-8")) if provenance.is_file() else {},
    )  # fmt: skip


def _residuals(pairs: pd.DataFrame, placed: pd.DataFrame) -> Array:
    """How far (n,), px, each pair of two rounds lies from the placement, at the point at which it is known best."""
    by_tile = placed.set_index(["round", "tile"])
    ends = (pd.MultiIndex.from_frame(pairs[[f"{end}_round", end]]) for end in ("fixed", "moving"))
    fixed, moving = (affine.from_table(by_tile.reindex(end)) for end in ends)
    centres = pairs[["centre_y", "centre_x"]].to_numpy(float)[:, None]
    off = affine.apply(fixed, affine.apply(affine.from_table(pairs), centres)) - affine.apply(moving, centres)
    return np.asarray(np.linalg.norm(off[:, 0], axis=1))
