"""What sits still on the camera: shading, dirt, fringes, an offset; estimated from the tiles themselves, or given.

It matches perfectly at the wrong place in every nearly empty overlap, so it is taken out before registration, pixel by pixel.
`smooth.py` finds the smooth part: how the light falls off, and what the camera shows in the dark; `fixed_pattern.py` the fine
one, in tiles that are freed of it.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import tables
from dlir.core.atomic import write_key
from dlir.core.progress import progress
from dlir.illumination import fields, smooth
from dlir.illumination.fields import Fields
from dlir.illumination.fine import fixed_pattern
from dlir.illumination.settings import Illumination
from dlir.reading import image_files
from dlir.reading.tile_reader import TileReader

log = logging.getLogger(__name__)
TILES = 128  # at most; evenly chosen
FEWEST = 4  # tiles; with fewer no pattern can be told from the specimen


def illumination(
    tiles: Path,
    output: Path,
    *,
    settings: Illumination = Illumination(),
    flat: Path | None = None,
    dark: Path | None = None,
    key: str | None = None,
) -> None:
    """Write the flat-field and the dark-field (`fields.py`) of the tiles in the table `tiles` to `output`.

    Args:
        flat, dark: images of your own, which replace the estimate; a flat-field alone means that there is no dark-field.
        key: a text that says with what this was estimated, written beside `output` with the ending .key.

    Raises:
        ImageError: when a given image does not fit the tiles.
    """
    found, sources = estimate_illumination(tables.read(tiles, tables.TILES), settings, flat, dark)
    fields.write(found, output, sources)
    write_key(output, key)


def estimate_illumination(
    tiles: pd.DataFrame, settings: Illumination = Illumination(), flat: Path | None = None, dark: Path | None = None
) -> tuple[Fields, list[str]]:
    """The flat-field and the dark-field of tiles (tables.TILES), and the SHA-256 of the tiles that they were estimated from.

    See `illumination` for the arguments and the errors.
    """
    first = tiles.iloc[0]
    shape = (int(first["channels"]), int(first["height"]), int(first["width"]))
    own_flat, own_dark = (None if path is None else _given(path, shape, first["path"]) for path in (flat, dark))
    found, sample = fields.identity(shape), tiles.iloc[:0]
    if not settings.correct:
        log.info("the tiles are used as they are: illumination.correct is false")
    elif flat is not None and own_flat is not None:
        if own_flat.min() <= 0:
            raise image_files.ImageError(f"{flat}: has pixels of {own_flat.min():g}: a flat-field is positive everywhere")
        found = Fields(own_flat / own_flat.mean((1, 2), keepdims=True), found.dark if own_dark is None else own_dark)
    elif len(tiles) < FEWEST:
        log.info("the illumination is not corrected: there are fewer than %d tiles", FEWEST)
        found = found if own_dark is None else found._replace(dark=own_dark)
    else:
        sample, reader = tiles[:: -(-len(tiles) // TILES)], TileReader(tiles)
        found = estimate([reader.sample(path) for path in progress(list(sample["path"]), "reading tiles")], own_dark)
    for channel, words in enumerate(fields.described(found)):
        log.info("channel %d: %s", channel, words)
    return found, list(sample["sha256"])


def estimate(tiles: list[image_files.Image], dark: image_files.Plane | None = None) -> Fields:
    """The light that the tiles (channels, y, x) share; `dark` (channels, y, x) is found too unless it is given."""
    stack = np.stack(tiles)
    channels = [_channel(stack[:, channel], None if dark is None else dark[channel]) for channel in range(stack.shape[1])]
    return Fields(*(np.stack(patterns) for patterns in zip(*channels, strict=True)))


def _given(path: Path, shape: tuple[int, ...], tile: str) -> image_files.Plane:
    pixels = image_files.read(path).astype(np.float32)
    if pixels.shape != shape:
        raise image_files.ImageError(
            f"{path}: has the shape {pixels.shape}, but {tile} has {shape} (channels, y, x): give an image of the same camera"
        )
    if not np.isfinite(pixels).all():
        raise image_files.ImageError(f"{path}: has pixels that are no number: repair the image")
    return pixels


def _channel(tiles: NDArray[Any], given: image_files.Plane | None) -> tuple[image_files.Plane, image_files.Plane]:
    """The flat and the dark (y, x) of one channel's tiles (n, y, x)."""
    known = 0 if given is None else given
    blocks = np.stack([smooth.in_blocks(tile - known) for tile in tiles])
    even, offset = smooth.smooth(blocks, tiles.shape[1:], dark=given is None)
    flat, dark = even.astype(np.float32), np.asarray(offset + known, np.float32)
    flat *= _fine(tiles, flat, dark)
    return flat / flat.mean(), dark


def _fine(tiles: NDArray[Any], flat: image_files.Plane, dark: image_files.Plane) -> image_files.Plane:
    """The fine pattern (y, x), around 1, of tiles (n, y, x) that their smooth light is taken from."""
    level = np.array([np.median((tile - dark) / flat) for tile in tiles], np.float32)
    seen = level > 1e-3 * max(float(np.median(level)), 1e-3)  # a tile without light shows no pattern
    if seen.sum() < FEWEST:
        return np.ones_like(flat)
    return np.exp(smooth.without(fixed_pattern(tiles[seen], level[seen], flat, dark)), dtype=np.float32)
