"""What sits still on the camera: shading, dirt, fringes, an offset; estimated from the tiles themselves, or given.

It matches perfectly at the wrong place in every nearly empty overlap, so it is taken out before registration, pixel by pixel.
`shading.py` finds the smooth part: how the light falls off, and what the camera shows in the dark. Freed of it, each tile is
divided by its own level; over all tiles, the median of a pixel is the fine pattern P there, plus what is left of the
specimen. To tell the two apart, the tiles are split in halves: what the medians A and B of the halves share is the camera's.
In each band of spatial frequency of log P the share is

    w = cov(A, B) / ((var A + var B) / 2),    gain = 2 w / (1 + w)    (Wiener; Spearman and Brown for both halves)

less what chance alone would give, so that structure of the specimen, which the halves do not share, stays in the tiles.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from dlir import images, light, shading, tables
from dlir.light import Light
from dlir.progress import progress
from dlir.settings import Illumination
from dlir.stacks import Stacks

log = logging.getLogger(__name__)
TILES = 128  # at most; evenly chosen
FEWEST = 4  # tiles; with fewer no pattern can be told from the specimen
WIDEST = 8  # parts of a tile's side: the deviation of the widest Gaussian
ROWS = 64  # whose medians are taken at a time, which bounds the memory


def illumination(
    tiles: Path, output: Path, *, settings: Illumination, flat: Path | None = None, dark: Path | None = None
) -> None:
    """Write the light (`light.py`) of the tiles in the table `tiles`.

    Args:
        flat, dark: images of the user's, in place of what the tiles say; a flat alone means that there is no dark.

    Raises:
        ImageError: when a given image does not fit the tiles.
    """
    table = tables.read(tiles, tables.TILES)
    first = table.iloc[0]
    shape = (int(first["channels"]), int(first["height"]), int(first["width"]))
    own_flat, own_dark = (None if path is None else _given(path, shape, first["path"]) for path in (flat, dark))
    found, learnt = light.none(shape), table.iloc[:0]
    if not settings.correct:
        log.info("the tiles are used as they are: illumination.correct is false")
    elif flat is not None and own_flat is not None:
        if own_flat.min() <= 0:
            raise images.ImageError(f"{flat}: has pixels of {own_flat.min():g}: a flat-field is positive everywhere")
        found = Light(own_flat / own_flat.mean((1, 2), keepdims=True), found.dark if own_dark is None else own_dark)
    elif len(table) < FEWEST:
        log.info("no pattern is taken out: fewer than %d tiles", FEWEST)
        found = found if own_dark is None else found._replace(dark=own_dark)
    else:
        learnt, stacks = table[:: -(-len(table) // TILES)], Stacks(table)
        found = estimate([stacks.sample(path) for path in progress(list(learnt["path"]), "reading tiles")], own_dark)
    for channel, words in enumerate(light.words(found)):
        log.info("channel %d: %s", channel, words)
    light.write(found, output, list(learnt["sha256"]))


def estimate(tiles: list[images.Image], dark: images.Plane | None = None) -> Light:
    """The light that the tiles (channels, y, x) share; `dark` (channels, y, x) is found too unless it is given."""
    stack = np.stack(tiles)
    channels = [_channel(stack[:, channel], None if dark is None else dark[channel]) for channel in range(stack.shape[1])]
    return Light(*(np.stack(patterns) for patterns in zip(*channels, strict=True)))


def _given(path: Path, shape: tuple[int, ...], tile: str) -> images.Plane:
    pixels = images.read(path).astype(np.float32)
    if pixels.shape != shape:
        raise images.ImageError(
            f"{path}: has the shape {pixels.shape}, but {tile} has {shape} (channels, y, x): give an image of the same camera"
        )
    if not np.isfinite(pixels).all():
        raise images.ImageError(f"{path}: has pixels that are no number: repair the image")
    return pixels


def _channel(tiles: NDArray[Any], given: images.Plane | None) -> tuple[images.Plane, images.Plane]:
    """The flat and the dark (y, x) of one channel's tiles (n, y, x)."""
    known = 0 if given is None else given
    blocks = np.stack([shading.in_blocks(tile - known) for tile in tiles])
    even, offset = shading.smooth(blocks, tiles.shape[1:], dark=given is None)
    flat, dark = even.astype(np.float32), np.asarray(offset + known, np.float32)
    flat *= _fine(tiles, flat, dark)
    return flat / flat.mean(), dark


def _fine(tiles: NDArray[Any], flat: images.Plane, dark: images.Plane) -> images.Plane:
    """The fine pattern (y, x), around 1, of tiles (n, y, x) that their smooth light is taken from."""
    level = np.array([np.median((tile - dark) / flat) for tile in tiles], np.float32)
    seen = level > 1e-3 * max(float(np.median(level)), 1e-3)  # a tile without light shows no pattern
    tiles, level = tiles[seen], level[seen]
    if len(tiles) < FEWEST:
        return np.ones_like(flat)
    parts = (np.s_[:], np.s_[::2], np.s_[1::2])
    whole, first, second = (fft.dctn(_log_median(tiles[part], level[part], flat, dark), norm="ortho") for part in parts)
    gain = sum(_shared(band * first, band * second, sigma) * band for sigma, band in _bands(flat.shape))
    return np.exp(fft.idctn(gain * whole, norm="ortho"))


def _log_median(tiles: NDArray[Any], level: NDArray[np.float32], flat: images.Plane, dark: images.Plane) -> NDArray[np.float32]:
    """The logarithm of the median over tiles (n, y, x) in even light, each in units of its level (n,), less what is smooth."""
    rows = [np.s_[y : y + ROWS] for y in range(0, tiles.shape[1], ROWS)]
    even = ((tiles[:, part] - dark[part]) / (flat[part] * level[:, None, None]) for part in rows)
    medians = [shading.median(np.moveaxis(part, 0, -1)) for part in even]
    return np.asarray(shading.without(np.log(np.maximum(np.concatenate(medians), 1e-3))), np.float32)


def _bands(shape: tuple[int, ...]) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """How much of each frequency of the cosine transform (y, x) belongs to the bands between Gaussians that follow each other,
    each as wide as those before and twice as much, and the deviation, px, of a band's wider Gaussian; the mean is in none."""
    along = (np.pi * np.arange(length) / length for length in shape)
    squared = np.add.outer(*(frequency.astype(np.float32) ** 2 for frequency in along))
    sigma, left, wide = 1.0, np.ones(shape, np.float32), 0.0
    left[0, 0] = 0
    while sigma <= min(shape) / WIDEST:
        wide += sigma**2
        smooth = np.exp(-wide * squared / 2).astype(np.float32) * (squared > 0)
        yield sigma, left - smooth
        left, sigma = smooth, sigma * 2
    yield sigma, left


def _shared(first: NDArray[np.float32], second: NDArray[np.float32], sigma: float) -> float:
    """The gain, 0 to 1, on a band of the whole: the part that the halves, as cosine transforms, share beyond chance."""
    power = (float(np.vdot(first, first)) + float(np.vdot(second, second))) / 2
    if power == 0:
        return 0.0
    share = float(np.vdot(first, second)) / power
    chance = min(0.7, float(np.sqrt(4 * np.pi * sigma**2 / first.size)))  # correlation of bands with as few independent places
    share = max(0.0, (share - chance) / (1 - chance))
    return 2 * share / (1 + share)
