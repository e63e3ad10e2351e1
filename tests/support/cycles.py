"""Writes rounds of one small specimen: nuclei that all of them show, and a stain of each round alone."""

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

ROWS, COLUMNS, SIDE, STEP = 2, 3, 128, 100  # tiles, px
MARGIN, ERROR, NOISE = 30, 2.0, 15.0  # px, px, grey values
TURN, SHIFT = (0.0, 0.6, -0.3), ((0.0, 0.0), (-9.0, -12.0), (4.0, 3.0))  # of each round, degrees and px
STAINS = ("AF1", "AF2", "AF3")
SIZE = np.array([(ROWS - 1) * STEP + SIDE, (COLUMNS - 1) * STEP + SIDE])


def cells(seed: int) -> NDArray[np.float64]:
    """Returns a picture of round cells, with a margin around the tiles."""
    random = np.random.default_rng(seed)
    picture = np.zeros(SIZE + 2 * MARGIN)
    for y, x in random.integers(0, picture.shape, (110, 2)):
        picture[y, x] += random.uniform(0.5, 1.5)
    return ndimage.gaussian_filter(picture, 3.0) * 60_000


def write_round(folder: Path, number: int, dtype: type[np.generic] = np.uint16) -> None:
    """Writes the tiles ROW_COL_STAIN.tif of the round with this number, from 1, to a folder."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(number)
    angle, middle = np.deg2rad(TURN[number - 1]), (SIZE - 1) / 2
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    pictures = {"DAPI": 0.7 ** (number - 1) * cells(0), STAINS[number - 1]: cells(number)}
    pixels = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij"), -1)
    for row, col in np.ndindex(ROWS, COLUMNS):
        place = np.array([row, col]) * STEP + random.uniform(-ERROR, ERROR, 2)
        seen = (pixels + place - middle) @ turn.T + middle + SHIFT[number - 1] + MARGIN
        for name, picture in pictures.items():
            grey = ndimage.map_coordinates(picture, seen.transpose(2, 0, 1), order=3) + 200
            noisy = grey + random.normal(0, NOISE, grey.shape)
            tifffile.imwrite(folder / f"{row}_{col}_{name}.tif", noisy.clip(0, np.iinfo(dtype).max).astype(dtype))
