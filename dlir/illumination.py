"""What sits still on the camera: shading, dirt, fringes, an offset; estimated from the tiles themselves, or given.

It matches perfectly at the wrong place in every nearly empty overlap, so it is taken out before registration, pixel by pixel.
`shading.py` finds the smooth part: how the light falls off, and what the camera shows in the dark; `fixed_pattern.py` the fine
one, in tiles that are freed of it.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlir import images, light, shading, tables
from dlir.fixed_pattern import fixed_pattern
from dlir.light import Light
from dlir.progress import progress
from dlir.settings import Illumination
from dlir.stacks import Stacks

log = logging.getLogger(__name__)
TILES = 128  # at most; evenly chosen
FEWEST = 4  # tiles; with fewer no pattern can be told from the specimen


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
    if seen.sum() < FEWEST:
        return np.ones_like(flat)
    return np.exp(shading.without(fixed_pattern(tiles[seen], level[seen], flat, dark)), dtype=np.float32)
