"""What the steps of rounds read of each round, and where its own pairs place its tiles."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from dlir.core import hashing, tables
from dlir.core.lens import Lenses, to_table
from dlir.core.lens import read_for as read_lenses
from dlir.core.progress import quiet
from dlir.illumination import fields
from dlir.illumination.fields import Light
from dlir.placement.place import place_tiles
from dlir.placement.settings import Place
from dlir.reading.tile_reader import read_table
from dlir.registration.pairs.planes import TilePlanes

_own: dict[str, pd.DataFrame] = {}  # own placements, since several steps of one process need them


class Round(NamedTuple):
    """One acquisition of the specimen, and the files of its folder of results."""

    name: str
    folder: Path
    tiles: pd.DataFrame  # tables.TILES
    affines: pd.DataFrame  # tables.AFFINES
    survey: pd.DataFrame  # tables.SURVEY

    def own_placement(self, settings: Place) -> pd.DataFrame:
        """Returns where the pairs of this round alone place its tiles (tables.PLACEMENT): its own frame, in px."""
        tables_of_it = (self.tiles, self.affines, self.survey)
        key = hashing.of(
            *(table.to_csv() for table in tables_of_it), to_table(self.lenses()).to_csv(), settings.model_dump_json()
        )
        if key not in _own:
            with quiet("dlir.placement"):  # what it says is not about the placement that counts
                _own[key] = place_tiles(self.tiles, self.affines, settings, None, self.survey, self.lenses())[0]
        return _own[key]

    def light(self) -> Light:
        """Reads the flat-field and the dark-field of each of its cameras."""
        return fields.read(self.folder / "illumination.tif", self.tiles)

    def lenses(self) -> Lenses:
        """Reads the distortion of its cameras; none where there is no lens.csv."""
        file = self.folder / "lens.csv"
        return read_lenses(file if file.is_file() else None, self.tiles)

    def planes(self, lenses: Lenses | None = None) -> TilePlanes:
        """Returns the planes of its tiles that are registered, undistorted by its own lenses, or by others."""
        return TilePlanes(self.tiles, self.light(), self.lenses() if lenses is None else lenses)


class PlacedRound(NamedTuple):
    """A round, and where its own pairs place its tiles."""

    round: Round
    placement: pd.DataFrame  # tables.PLACEMENT, in its own frame


def read_placed(results: Sequence[Path], settings: Place) -> list[PlacedRound]:
    """Reads rounds, as `read_rounds` does, and places each by its own pairs."""
    return [PlacedRound(each, each.own_placement(settings)) for each in read_rounds(results)]


def read_rounds(results: Sequence[Path]) -> list[Round]:
    """Reads the rounds whose results lie in these folders, the first of which gives the common frame.

    Raises:
        TableError: when a table is damaged.
    """
    return [
        Round(
            folder.name, folder, read_table(folder / "tiles.csv"), tables.read(folder / "affines.csv", tables.AFFINES),
            tables.read(folder / "survey.csv", tables.SURVEY),
        )
        for folder in results
    ]  # fmt: skip
