"""Rounds of one specimen with exact truth, placed in their own frames, as the steps of rounds take them."""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from dlir.core import affine, hashing, lens, tables
from dlir.illumination import fields
from dlir.rounds.inputs import PlacedRound, Round
from dlir.rounds.similarity import turning
from support.specimens import ONE_PLANE

Array = NDArray[np.float64]
BEFORE, EXTENT = 400, (1200, 1700)  # px of the specimen before its px (0, 0), and in all
ROWS, COLUMNS, STEP = 2, 3, 0.8  # of a grid, and the step of the stage in tiles


@cache
def spline(seed: int) -> Array:
    """The coefficients of the spline that is the specimen: smoothed noise, which never repeats itself."""
    noise = np.random.default_rng(seed).standard_normal(EXTENT)
    smooth = sum(scale * ndimage.gaussian_filter(noise, scale) for scale in (1.5, 4.0, 12.0))
    return np.asarray(ndimage.spline_filter(smooth / np.std(smooth), 3))


def seen(specimen: int, to_specimen: Array, side: int) -> Array:
    """What a tile (side, side) shows of a specimen, with standard deviation one."""
    points = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1).reshape(-1, 2)
    at = affine.apply(to_specimen, points) + BEFORE
    return np.asarray(ndimage.map_coordinates(spline(specimen), at.T, order=3, prefilter=False).reshape(side, side))


def true_map(turn: float = 0.0, scale: float = 1.0, shift: tuple[float, float] = (0.0, 0.0), side: int = 192) -> Array:
    """The similarity (2, 3) from the frame of a round to the specimen, about the middle of the grid; `turn` in degrees."""
    middle = np.array([ROWS - 1, COLUMNS - 1]) * STEP * side / 2 + (side - 1) / 2
    linear = turning(turn, scale)
    return np.c_[linear, middle + np.array(shift) - linear @ middle]


def acquired(
    folder: Path,
    to_specimen: Array,
    *,
    side: int = 192,
    light: float = 1.0,
    noise: float = 40.0,
    debris: int = 0,
    blank: tuple[int, ...] = (),
    seed: int = 0,
    specimen: int = 1,
) -> PlacedRound:
    """Writes the tiles of a round into `folder`, which names it, with their tables.

    Args:
        to_specimen: (2, 3) from the frame of the round, in which its tiles are placed exactly, to the specimen.
        side: of a tile, px.
        light: of the stain, for bleaching.
        noise: standard deviation, grey values; that of the specimen is about 200.
        debris: bright specks in each tile that this round alone shows.
        blank: tiles without specimen.
        seed, specimen: of the round, and of what it shows.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    places = np.stack(np.divmod(np.arange(ROWS * COLUMNS), COLUMNS), 1) * STEP * side + rng.uniform(0, 4, (ROWS * COLUMNS, 2))
    listed = []
    for tile, place in enumerate(places):
        path = folder / f"{tile}.tif"
        stain = 200 * light * seen(specimen, affine.compose(to_specimen, affine.translation(place)), side)
        background = 3000 + np.linspace(0, 300, side)  # the same in each tile
        pixels = background + (tile not in blank) * stain + noise * rng.standard_normal((side, side))
        for y, x in rng.integers(8, side - 8, (debris, 2)):
            pixels[y - 4 : y + 4, x - 4 : x + 4] += 4000
        tifffile.imwrite(path, np.rint(pixels).clip(0, 65535).astype(np.uint16))
        row, col = divmod(tile, COLUMNS)
        listed.append({"tile": tile, "path": str(path), "row": row, "col": col, "y": STEP * side * row, "x": STEP * side * col,
                       "height": side, "width": side, "channels": 1, "dtype": "uint16", "pixel_size": None,
                       "sha256": hashing.of_file(path), **ONE_PLANE})  # fmt: skip
    tables.write(pd.DataFrame(listed), tables.TILES, folder / "tiles.csv")
    fields.write([fields.identity((1, side, side))], folder / "illumination.tif")
    lens.write({}, folder / "lens.csv")
    tiles = tables.read(folder / "tiles.csv", tables.TILES)
    placement = tiles[["tile", "path"]].assign(
        **affine.to_columns(affine.translation(places)), pairs=2, residual=0.0, deviation=0.03, group=0, slip_y=0.0, slip_x=0.0,
        loop=0.0, placed_by="pairs",
    )  # fmt: skip
    none = pd.DataFrame(columns=list(tables.AFFINES.columns))
    return PlacedRound(Round(folder.name, folder, tiles, none, pd.DataFrame(columns=list(tables.SURVEY.columns))), placement)


def pair_error(found: pd.DataFrame, fixed: tuple[PlacedRound, Array], moving: tuple[PlacedRound, Array]) -> Array:
    """How far (n, 2), px, the points of pairs (tables.ROUND_PAIRS) lie from their true places in the fixed tile.

    Args:
        fixed, moving: the rounds, and their maps (2, 3) to the specimen.
    """
    ends = [
        affine.compose(to_specimen, affine.from_table(each.placement)[found[end].to_numpy(int)])
        for end, (each, to_specimen) in (("fixed", fixed), ("moving", moving))
    ]
    true = affine.compose(affine.invert(ends[0]), ends[1])
    centre = found[["centre_y", "centre_x"]].to_numpy()[:, None]
    return np.asarray((affine.apply(affine.from_table(found), centre) - affine.apply(true, centre))[:, 0])
