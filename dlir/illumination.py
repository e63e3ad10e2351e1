"""The pattern that sits still on the camera: shading, dirt, fringes; estimated from the tiles themselves.

It matches perfectly at the wrong place in every nearly empty overlap, so it is taken out before registration, pixel by pixel.
Each tile is divided by its own level; over all tiles, the median of a pixel is the camera's pattern P there, plus what is
left of the specimen. To tell the two apart, the tiles are split in halves: what the medians A and B of the halves share is
the camera's. In each band of spatial frequency of log P the share is

    w = cov(A, B) / ((var A + var B) / 2),    gain = 2 w / (1 + w)    (Wiener; Spearman and Brown for both halves)

less what chance alone would give, so that structure of the specimen, which the halves do not share, stays in the tiles.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from dlir import images, tables
from dlir.files import whole
from dlir.progress import progress
from dlir.settings import Illumination
from dlir.stacks import Stacks

log = logging.getLogger(__name__)
TILES = 128  # at most; evenly chosen
FEWEST = 4  # tiles; with fewer no pattern can be told from the specimen
WIDEST = 8  # parts of a tile's side: the deviation of the widest Gaussian
ROWS = 64  # whose medians are taken at a time, which bounds the memory


def illumination(tiles: Path, output: Path, *, settings: Illumination) -> None:
    """Write the pattern (channels, y, x), float32 around 1, of the tiles in the table `tiles`, as a TIFF."""
    table = tables.read(tiles, tables.TILES)
    first = table.iloc[0]
    shape = (int(first["channels"]), int(first["height"]), int(first["width"]))
    if settings.correct and len(table) >= FEWEST:
        step = -(-len(table) // TILES)
        stacks = Stacks(table)
        flat = pattern([stacks.sample(path) for path in progress(list(table["path"][::step]), "reading tiles")])
        deviation = 100 * float(flat.std())
        log.info("the camera's pattern is %.1f %% deep (root mean square), %.2f to %.2f", deviation, flat.min(), flat.max())
    else:
        flat = np.ones(shape, np.float32)
        log.info("no pattern is taken out: %s", "fewer than 4 tiles" if settings.correct else "illumination.correct is false")
    with whole(output) as partial:
        tifffile.imwrite(partial, flat, photometric="minisblack", compression="zlib", metadata={"axes": "CYX"})


def pattern(tiles: list[images.Image]) -> NDArray[np.float32]:
    """The pattern (channels, y, x) that the tiles (channels, y, x) share, mean 1 in each channel."""
    stack = np.stack(tiles)
    return np.stack([_plane(stack[:, channel]) for channel in range(stack.shape[1])])


def _plane(tiles: NDArray[Any]) -> NDArray[np.float32]:
    """The pattern (y, x) of one channel's tiles (n, y, x)."""
    level = np.maximum(np.median(tiles, axis=(1, 2)), 1e-6).astype(np.float32)
    whole, *halves = (_bands(_log_median(tiles[part], level[part])) for part in (np.s_[:], np.s_[::2], np.s_[1::2]))
    parts = zip(whole, *halves, strict=True)
    flat = np.exp(sum(_shared(first, second, sigma) * band for (sigma, band), (_, first), (_, second) in parts))
    return np.asarray(flat / flat.mean(), np.float32)


def _log_median(tiles: NDArray[Any], level: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logarithm of the median over tiles (n, y, x), each in units of its level (n,)."""
    starts = range(0, tiles.shape[1], ROWS)
    rows = [np.median(tiles[:, y : y + ROWS] / level[:, None, None], axis=0) for y in starts]
    return np.asarray(np.log(np.maximum(np.concatenate(rows), 1e-3)), np.float32)


def _bands(image: NDArray[np.float32]) -> list[tuple[float, NDArray[np.float32]]]:
    """The image less its mean as a sum of bands, each with the deviation, px, of its wider Gaussian."""
    bands, sigma, rest = [], 1.0, image - image.mean()
    while sigma <= min(image.shape) / WIDEST:
        smooth = ndimage.gaussian_filter(rest, sigma, mode="nearest")
        bands.append((sigma, rest - smooth))
        rest, sigma = smooth, sigma * 2
    return [*bands, (sigma, rest)]


def _shared(first: NDArray[np.float32], second: NDArray[np.float32], sigma: float) -> float:
    """The gain, 0 to 1, on a band of the whole: the part that both halves share beyond chance."""
    power = (float(first.var()) + float(second.var())) / 2
    if power == 0:
        return 0.0
    share = float(np.mean((first - first.mean()) * (second - second.mean()))) / power
    chance = min(0.7, float(np.sqrt(4 * np.pi * sigma**2 / first.size)))  # correlation of bands with as few independent places
    share = max(0.0, (share - chance) / (1 - chance))
    return 2 * share / (1 + share)
