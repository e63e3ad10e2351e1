"""Runs the step `place` on a graph of pairs."""

from pathlib import Path

import numpy as np
import pandas as pd

from dlir.core import tables
from dlir.placement.place import place
from support.pair_graphs import Graph


def place_graph(graph: Graph, folder: Path, overrides: Path | None = None) -> pd.DataFrame:
    """Writes the tables of the graph to `folder`, runs the step `place`, and returns its table (tables.PLACEMENT)."""
    tiles = graph.tiles.assign(channels=1, dtype="uint16", pixel_size=np.nan, sha256="0")
    pairs = graph.pairs.assign(bow_y=0.0, bow_x=0.0, score_before=0.0, score_after=0.9, overruled=False, reason="")
    tables.write(tiles, tables.TILES, folder / "tiles.csv")
    tables.write(pairs, tables.AFFINES, folder / "affines.csv")
    given = folder / "tiles.csv", folder / "affines.csv", folder / "placement.csv"
    place(*given, stage=folder / "stage.csv", overrides=overrides)
    return tables.read(folder / "placement.csv", tables.PLACEMENT)
