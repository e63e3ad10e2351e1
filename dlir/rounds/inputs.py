"""What the steps of rounds read of each round, and where its own pairs place its tiles."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from dlir.core import tables
from dlir.placement.place import place_tiles
from dlir.placement.settings import Place
from dlir.reading.tile_reader import read_table


class Round(NamedTuple):
    """One acquisition of the specimen, and the files of its folder of results."""

    name: str
    folder: Path
    tiles: pd.DataFrame  # tables.TILES
    affines: pd.DataFrame  # tables.AFFINES
    survey: pd.DataFrame  # tables.SURVEY

    def own_placement(self, settings: Place) -> pd.DataFrame:
        """Returns where the pairs of this round alone place its tiles (tables.PLACEMENT): its own frame, in px."""
        return place_tiles(self.tiles, self.affines, settings, survey=self.survey)[0]


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
