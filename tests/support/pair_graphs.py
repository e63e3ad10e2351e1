"""Makes the tables of grids of tiles and of the pairs between them, with exact truth and without images."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from dlir.core import affine
from dlir.core.affine import BASIS
from dlir.core.tables import LINEAR_COVARIANCE
from support.specimens import ONE_PLANE

SIDE, STEP = 220, 200.0  # px: side of a tile, and distance from tile to tile


class Graph(NamedTuple):
    """The tables tables.TILES and tables.AFFINES, and the true affines (n, 2, 3), tile px to camera px."""

    tiles: pd.DataFrame
    pairs: pd.DataFrame
    truth: np.ndarray

    def error(self, placed: np.ndarray) -> np.ndarray:
        """Returns the distances (n,), px, of the middles of the placed tiles from the truth, less the median of all offsets."""
        middle = np.array([[(SIDE - 1) / 2] * 2])
        offset = (affine.apply(placed, middle) - affine.apply(self.truth, middle))[:, 0]
        return np.asarray(np.linalg.norm(offset - np.median(offset, axis=0), axis=1))


def cropped(graph: Graph, crops: np.ndarray) -> Graph:
    """Returns the same graph of tiles that lack `crops` (n, 2) px at their tops and left sides."""
    of = dict(zip(graph.tiles["tile"], crops, strict=True))
    fixed, moving = (np.array([of[tile] for tile in graph.pairs[end]]) for end in ("fixed", "moving"))
    found = affine.compose(affine.from_table(graph.pairs), affine.translation(moving))
    found = affine.compose(affine.translation(-fixed), found)
    tiles = graph.tiles.assign(y=graph.tiles["y"] + crops[:, 0], x=graph.tiles["x"] + crops[:, 1])
    tiles = tiles.assign(height=SIDE - crops[:, 0].astype(int), width=SIDE - crops[:, 1].astype(int))
    centre = graph.pairs[["centre_y", "centre_x"]].to_numpy() - moving
    pairs = graph.pairs.assign(**affine.to_columns(found), centre_y=centre[:, 0], centre_x=centre[:, 1])
    return Graph(tiles, pairs, affine.compose(graph.truth, affine.translation(crops)))


def make_graph(rows: int, cols: int, *, noise: float = 0.1, stage_error: float = 4.0, turn: float = 0.0, scale: float = 1.0,
               backlash: float = 0.0, linear: tuple[float, ...] = (0, 0, 0, 0), seed: int = 0) -> Graph:  # fmt: skip
    """Makes a grid of tiles and the pairs between neighbours.

    Args:
        rows, cols: of the grid.
        noise: standard deviation of the shift of a pair, px; that of its linear part is noise / SIDE.
        stage_error: standard deviation, px.
        turn, scale: of the camera against the stage: degrees, and stage px in one camera px.
        backlash: shift of every second row along x, px.
        linear: standard deviations of the tiles' linear parts along BASIS.
        seed: of all random numbers.
    """
    rng = np.random.default_rng(seed)
    index = np.arange(rows * cols)
    stage = np.stack(np.divmod(index, cols), 1) * STEP
    angle = np.deg2rad(turn)
    to_camera = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    middle = np.full(2, (SIDE - 1) / 2)
    error = rng.normal(0, stage_error, stage.shape) + np.array([0, backlash]) * (index // cols % 2)[:, None]
    centre = (stage + error) @ to_camera.T
    turned = np.eye(2) + np.einsum("nk,kab->nab", rng.normal(0, 1, (len(index), 4)) * linear, BASIS)
    truth = np.concatenate([turned, (centre - turned @ middle)[:, :, None]], 2)
    tiles = pd.DataFrame({"tile": index + 10, "path": [f"{i}.tif" for i in index], "row": index // cols, "col": index % cols,
                          "y": stage[:, 0], "x": stage[:, 1], "height": SIDE, "width": SIDE, **ONE_PLANE})  # fmt: skip
    right, down = index[index % cols < cols - 1], index[index < (rows - 1) * cols]
    i, j = np.concatenate([right, down]), np.concatenate([right + 1, down + cols])
    side = np.repeat(["right", "down"], [len(right), len(down)])
    at = np.where((side == "right")[:, None], [middle[0], 10.0], [10.0, middle[0]])  # of the moving tile
    pair = affine.compose(affine.invert(truth[i]), truth[j])
    pair[:, :, 2] += rng.normal(0, noise, (len(i), 2))
    linear_error = rng.normal(0, noise / SIDE, (len(i), 2, 2))
    pair[:, :, :2] += linear_error
    pair[:, :, 2] -= np.einsum("nab,nb->na", linear_error, at)
    pairs = pd.DataFrame({"pair": np.arange(len(i)), "fixed": i + 10, "moving": j + 10, "side": side, **affine.to_columns(pair),
                          "centre_y": at[:, 0], "centre_x": at[:, 1], "var_y": noise**2, "cov_yx": 0.0, "var_x": noise**2,
                          "confidence": 1.0, "accepted": True, "method": "network"})  # fmt: skip
    covariance = dict(zip(LINEAR_COVARIANCE, (np.eye(4) * (noise / SIDE) ** 2).ravel(), strict=True))
    return Graph(tiles, pairs.assign(**covariance), truth)
