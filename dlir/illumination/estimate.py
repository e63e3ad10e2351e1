"""The step `illumination`: estimates the flat-field, the dark-field and the blind pixels of each camera from its tiles.

The user's own flat-field and dark-field replace the estimates of the cameras whose tiles have their size.

Shading, dust and fringes stay at the same pixels in every tile. In a nearly empty overlap, registration would match these
instead of the specimen, at a wrong place. So tiles are corrected pixel by pixel before registration. `smooth.py` finds the
smooth part of the flat-field, the shading, and `dark.py` the dark-field. `fine.py` then finds dust and fringes, in tiles
corrected for these.

The tiles of a very large camera are pooled first, by 2 or 4 px: finer dust is not corrected there. Pixels that show no image
are looked for at every pixel all the same.
"""

import io
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import hashing, sealed
from dlir.core.progress import progress
from dlir.illumination import fields, smooth
from dlir.illumination.blind import Blind, Mask, filled, find_blind, of_one_value
from dlir.illumination.dark import find_dark
from dlir.illumination.fields import Fields, Lesson
from dlir.illumination.fine import fixed_pattern
from dlir.illumination.octaves import enlarged, pooled, repeated
from dlir.illumination.settings import Illumination
from dlir.reading import image_files
from dlir.reading.tile_reader import TileReader, read_table

log = logging.getLogger(__name__)
MOST_TILES = 128  # tiles that the illumination is estimated from at most, evenly chosen from the table
MOST_BYTES = 384 * 2**20  # of these tiles, of which FEW are taken however large they are
MOST_PIXELS = 8_000_000  # of a channel of a tile: larger ones are pooled by 2, 4 and so on
FEW = 16  # tiles; what was learnt from fewer is learnt again as soon as the tiles change
KEPT = "illumination"  # in the cache: the fields that were learnt last
FEWEST_TILES = 4  # tiles that are needed at least to distinguish the illumination from the specimen
FEWEST_FOR_FINE = 8  # tiles that are needed at least to distinguish dust from the specimen
BELOW_ZERO, DARKEST = 0.1, 1e-3  # of the mean level: where so much of the pixels lies so far below 0, 0 is not without light
LEAST_LEVEL = 1e-3  # of the median level of all tiles; the fine pattern ignores darker tiles


def illumination(
    tiles: Path,
    output: Path,
    *,
    settings: Illumination = Illumination(),
    flat: Path | None = None,
    dark: Path | None = None,
    key: str = "",
    cache: Path | None = None,
    again: bool = False,
) -> None:
    """Estimates the illumination of the tiles in a table and writes it to a TIFF (`fields.write`).

    What was learnt is kept while the tiles change little, since new fields change all pixels of the mosaic; see `_fits`.

    Args:
        tiles: the table of the tiles (tables.TILES).
        output: the TIFF that is written.
        flat, dark: the user's own images (channels, y, x), which replace the estimate. With a flat-field alone, the dark-field
            is 0; with a dark-field alone, the flat-field is estimated.
        key: a hash of the settings and the code: fields with another key, `flat` or `dark` are not kept.
        cache: the folder in which the fields are kept from run to run; None for no cache.
        again: whether they are learnt again in any case.

    Raises:
        ImageError: when a given image does not fit the tiles, or a tile can no longer be read.
        ChangedError: when a given image changes meanwhile.
    """
    table, own = read_table(tiles), [path for path in (flat, dark) if path]
    read = {path: hashing.of_file(path) for path in own}
    key = hashing.of(key, *read.values())
    kept = sealed.read(cache / KEPT) if cache and not again else None
    before = [] if kept is None else list(zip(fields.read_all(io.BytesIO(kept)), fields.lessons(io.BytesIO(kept)), strict=True))
    light, lessons = [], []
    for of_camera in by_camera(table):
        found = next((each for each in before if _fits(each[1], of_camera, key)), None)
        if found:
            log.info("the illumination is kept as it was learnt%s", named(of_camera, table))
        else:
            estimated, sources = _estimate_camera(of_camera, table, settings, flat, dark)
            dtype = str(table["dtype"].iloc[0])
            found = estimated, Lesson(tuple(sources), len(of_camera), dtype, _planes(of_camera), key)
        light.append(found[0])
        lessons.append(found[1])
    for path, sha256 in read.items():
        hashing.check(path, sha256)
    fields.write(light, output, lessons)
    if cache:
        sealed.write(output.read_bytes(), cache / KEPT)
    for lesson, of_camera in zip(lessons, by_camera(table), strict=True):
        for sentence in lesson.described(of_camera):
            log.info("%s%s", sentence, named(of_camera, table))


def by_camera(tiles: pd.DataFrame) -> list[pd.DataFrame]:
    """Returns the tiles (tables.TILES) of each camera that has any."""
    return [of_camera for _, of_camera in tiles.groupby("camera")]


def named(of_camera: pd.DataFrame, tiles: pd.DataFrame) -> str:
    """Returns the number and the size of a camera for a message, from its tiles; nothing where all tiles have one camera."""
    camera, height, width = of_camera[["camera", "height", "width"]].iloc[0]
    return f" (camera {camera}, {height} x {width} px)" if len(set(tiles["camera"])) > 1 else ""


def _fits(lesson: Lesson, tiles: pd.DataFrame, key: str) -> bool:
    """Returns whether fields that were learnt once are kept for these tiles (tables.TILES) of a camera.

    They are where nothing changed, or where they were learnt from FEW tiles or more of the same kind, and at least half of the
    present tiles were there then. The part of the tiles that were looked at which are still there stands for that of all.
    """
    if not lesson.tiles or (lesson.key, lesson.dtype, lesson.planes) != (key, tiles["dtype"].iloc[0], _planes(tiles)):
        return False
    if lesson.tiles == tuple(tiles["sha256"]):
        return True
    share = lesson.there(tiles) / len(lesson.tiles)
    return len(lesson.tiles) >= FEW and share * lesson.listed >= len(tiles) / 2


def _planes(tiles: pd.DataFrame) -> str:
    """Returns which planes of the tiles the illumination is learnt from, and their size."""
    kind = ["times", "depth", "channels", "height", "width"], ["reference_z", "reference_time"]
    return "".join(str(tiles.iloc[0][columns].to_json()) for columns in kind)


def estimate_illumination(tiles: pd.DataFrame, settings: Illumination = Illumination()) -> list[Fields]:
    """Returns the fields of each camera of these tiles (tables.TILES). A camera without a tile leaves its tiles unchanged.

    Raises:
        ImageError: when a tile can no longer be read.
    """
    light = fields.without_light(tiles)
    for of_camera in by_camera(tiles):
        light[int(of_camera["camera"].iloc[0])], _ = _estimate_camera(of_camera, tiles, settings, None, None)
    return light


def _estimate_camera(
    of_camera: pd.DataFrame, tiles: pd.DataFrame, settings: Illumination, flat: Path | None, dark: Path | None
) -> tuple[Fields, list[str]]:
    """Returns the fields of a camera, and the SHA-256 of each of its tiles that they come from.

    Args:
        of_camera: its tiles (tables.TILES).
        tiles: those of all cameras.
    """
    shape = fields.shapes(tiles)[int(of_camera["camera"].iloc[0])]
    own_flat, own_dark = (None if path is None else _read_own(path, of_camera, tiles) for path in (flat, dark))
    if not settings.correct:
        log.info("the illumination is not corrected: illumination.correct is false")
        return fields.identity(shape), []
    halvings = _halvings(shape)
    sample, stack = _sample(of_camera, halvings)
    if own_dark is not None and (stack.max(axis=0) <= pooled(own_dark, halvings)).all(axis=(1, 2)).any():
        raise image_files.ImageError(f"{dark}: is as bright as the brightest tile or brighter: give an image without any light")
    seen = _find_blind(stack, sample, halvings)
    found = fields.identity(shape)._replace(blind=seen.blind, dim=seen.dim)
    if own_flat is not None:
        if (least := own_flat[:, ~seen.blind].min(initial=np.inf)) <= 0:
            raise image_files.ImageError(
                f"{flat}: its smallest pixel is {least:g}: give a flat-field that is positive everywhere"
            )
        found = found._replace(flat=np.maximum(own_flat, 1e-6) / own_flat.mean((1, 2), keepdims=True))
        found = found if own_dark is None else found._replace(dark=own_dark)
    elif len(of_camera) < FEWEST_TILES:
        level = logging.INFO if len(of_camera) == len(tiles) else logging.WARNING
        what = f"there are fewer than {FEWEST_TILES} tiles{named(of_camera, tiles)}"
        log.log(level, "the flat-field is not estimated: %s", what)
        found = found if own_dark is None else found._replace(dark=own_dark)
    elif own_dark is None and _reaches_below_zero(stack):
        what = "many grey values are below 0, so 0 is not what the camera gives without light"
        log.warning("the flat-field is not estimated: %s: give dark, an image without light%s", what, named(of_camera, tiles))
    else:
        found = estimate_fields(stack, own_dark, seen, halvings)
    for sentence in fields.described([found]):
        log.info("%s%s", sentence, named(of_camera, tiles))
    return found, list(sample["sha256"])


def _halvings(shape: tuple[int, ...]) -> int:
    """Returns how often the sides of tiles (channels, y, x) are halved, so that little memory is enough."""
    return next(halvings for halvings in range(32) if shape[1] * shape[2] <= MOST_PIXELS * 4**halvings)


def _sample(of_camera: pd.DataFrame, halvings: int) -> tuple[pd.DataFrame, NDArray[Any]]:
    """Returns some of the tiles (tables.TILES) of a camera, and their pooled pixels (n, channels, y, x)."""
    reader = TileReader(of_camera)
    first = pooled(reader.sample(of_camera["path"].iloc[0]), halvings)
    most = min(max(MOST_BYTES // first.nbytes, FEW), MOST_TILES)
    sample = of_camera[:: -(-len(of_camera) // most)]
    return sample, _stacked(progress(list(sample["path"]), "reading tiles"), len(sample), first, reader, halvings)


def _stacked(paths: Iterable[str], count: int, first: image_files.Image, reader: TileReader, halvings: int = 0) -> NDArray[Any]:
    """Returns the pooled pixels (count, channels, y, x) of tiles, of which the first one was read before."""
    stack = np.empty((count, *first.shape), first.dtype)
    for number, path in enumerate(paths):
        stack[number] = first if number == 0 else pooled(reader.sample(path), halvings)
    return stack


def _find_blind(stack: NDArray[Any], sample: pd.DataFrame, halvings: int) -> Blind:
    """Returns the blind and the dim pixels of a camera.

    Where the tiles are pooled, a few are read again: a frame that is one px wide does not show in pooled ones.

    Args:
        stack: (n, channels, y, x), the tiles, pooled.
        sample: the same tiles (tables.TILES).
    """
    seen = find_blind(stack)
    if not halvings:
        return seen
    reader = TileReader(sample)
    first = reader.sample(sample["path"].iloc[0])
    few = max(MOST_BYTES // (2 * first.nbytes), FEWEST_TILES)
    paths = sample["path"].iloc[:: -(-len(sample) // few)]
    shape = first.shape[1:]
    blind = repeated(seen.blind, halvings, shape) | of_one_value(_stacked(paths, len(paths), first, reader))
    light = (
        np.stack([repeated(channel, halvings, shape) for channel in seen.light]) if seen.dim.any() else seen.light[:, :1, :1]
    )
    return Blind(blind, repeated(seen.dim, halvings, shape) & ~blind, np.broadcast_to(light, first.shape))


def estimate_fields(
    tiles: NDArray[Any], dark: image_files.Plane | None = None, seen: Blind | None = None, halvings: int = 0
) -> Fields:
    """Estimates the fields that tiles (n, channels, y, x) have in common.

    Args:
        dark: the dark-field (channels, y, x), which is kept where it is given.
        seen: the pixels that show no image, or little light; all show the image without.
        halvings: how often the sides of the tiles were halved; dark, seen and the fields have the size that they had before.
    """
    nothing = np.zeros(tiles.shape[2:], bool)
    seen = seen or Blind(nothing, nothing, np.ones(tiles.shape[1:], np.float32))
    left_out = seen.blind | seen.dim
    covered = pooled(left_out[None], halvings)[0] > 0
    tiles = np.stack([filled(tile, covered) for tile in tiles]) if left_out.any() else tiles
    given = None if dark is None else pooled(dark, halvings)
    channels = [_estimate_channel(tiles[:, i], None if given is None else given[i], covered) for i in range(tiles.shape[1])]
    flats, darks = (_enlarged(planes, left_out.shape) for planes in zip(*channels, strict=True))
    flats[:, left_out] = seen.light[:, left_out]
    return Fields(flats, darks if dark is None else dark, seen.blind, seen.dim)


def _enlarged(planes: Sequence[image_files.Plane], shape: tuple[int, ...]) -> image_files.Plane:
    """Returns pooled planes (y, x) as channels (channels, y, x) with the shape (y, x) that the tiles have."""
    if not np.any(planes):  # no dark-field takes no memory
        return np.broadcast_to(np.float32(0), (len(planes), *shape))
    found = np.empty((len(planes), *shape), np.float32)
    for channel, plane in zip(found, planes, strict=True):
        channel[...] = enlarged(plane, shape)
    return found


def _reaches_below_zero(tiles: NDArray[Any]) -> bool:
    """Returns whether the dark pixels of a channel of the tiles (n, channels, y, x) lie clearly below 0.

    Then the grey values are not the light times a factor, and a flat-field that divides them would do harm.
    """
    if tiles.dtype.kind != "f":
        return False
    channels = np.moveaxis(tiles[..., ::3, ::3], 1, 0).reshape(tiles.shape[1], -1)
    lowest, mean = np.quantile(channels, DARKEST, axis=1), channels.mean(axis=1, dtype=np.float64)
    return bool((lowest < -BELOW_ZERO * np.abs(mean)).any())


def _read_own(path: Path, of_camera: pd.DataFrame, tiles: pd.DataFrame) -> image_files.Plane | None:
    """Reads the user's own flat-field or dark-field, mirrored as the tiles are; None where it is that of another camera.

    Args:
        of_camera: the tiles (tables.TILES) of the camera.
        tiles: those of all cameras.

    Raises:
        ImageError: when its shape (channels, y, x) is that of no camera, or it has pixels that are no numbers.
    """
    pixels, shapes = image_files.read(path).astype(np.float32), fields.shapes(tiles)
    if pixels.shape not in shapes:
        tile, shape = of_camera["path"].iloc[0], shapes[int(of_camera["camera"].iloc[0])]
        what = f"has the shape {pixels.shape}, but {tile} has {shape} (channels, y, x)"
        raise image_files.ImageError(f"{path}: {what}: give an image of the same camera")
    if not np.isfinite(pixels).all():
        raise image_files.ImageError(f"{path}: has pixels that are not finite numbers: repair the image")
    if pixels.shape != shapes[int(of_camera["camera"].iloc[0])]:
        log.warning("%s: has another size than the tiles%s, and is not used for them", path, named(of_camera, tiles))
        return None
    return pixels[..., ::-1] if tiles["mirrored"].iloc[0] else pixels


def _estimate_channel(
    tiles: NDArray[Any], given_dark: image_files.Plane | None, blind: Mask
) -> tuple[image_files.Plane, image_files.Plane]:
    """Returns the flat-field and the dark-field (y, x) of one channel of the tiles (n, y, x), whose blind pixels are filled."""
    known_dark = np.zeros(tiles.shape[1:]) if given_dark is None else given_dark
    polynomials = smooth.Polynomials(blind)
    blocks = np.stack([polynomials.medians(tile - known_dark) for tile in tiles])
    proven = find_dark(tiles, blocks, polynomials) if given_dark is None else None
    if proven is None:
        pattern = smooth.proven_pattern(blocks, polynomials.at_blocks)
        proven = smooth.normalised_flat(polynomials.image(pattern)), np.asarray(known_dark, np.float64)
    flat, dark = (plane.astype(np.float32) for plane in proven)
    fine = _fine_flat(tiles, flat, dark)
    if fine is None:
        log.warning("what all tiles have in common moves with the stage, so it is a periodic specimen: no dust is corrected")
        return smooth.broad_flat(tiles, known_dark, blind).astype(np.float32), known_dark.astype(np.float32)
    flat *= fine
    return flat / flat[~blind].mean() if not blind.all() else flat, dark


def _fine_flat(tiles: NDArray[Any], flat: image_files.Plane, dark: image_files.Plane) -> image_files.Plane | None:
    """Returns the fine part (y, x) of the flat-field, around 1, from tiles (n, y, x) and their smooth flat and dark (y, x).

    None where what the tiles have in common is the specimen.
    """
    level = np.array([np.median((tile - dark) / flat) for tile in tiles], np.float32)
    lit = level > LEAST_LEVEL * max(float(np.median(level)), 1e-3)  # the floor, 1e-3 grey values, leaves out black tiles
    if lit.sum() < FEWEST_FOR_FINE:
        return np.ones_like(flat)
    logarithm = fixed_pattern(tiles if lit.all() else tiles[lit], level[lit], flat, dark)
    return None if logarithm is None else np.exp(smooth.without_polynomial(logarithm), dtype=np.float32)
