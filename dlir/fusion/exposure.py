"""The step `exposure`: estimates how bright each tile was exposed, from the overlaps of placed tiles.

It also sets the grey levels of the mosaic (`levels.py`).

Lamps flicker, and cameras choose their exposure time, so each tile has a gain g: its grey values are g times those at the usual
exposure. In an overlap both tiles show the same specimen, so the ratio r of their grey values is the ratio of their gains. For
each pair (f, m) of fixed and moving tile, log r is the median over small blocks of the overlap, weighted by their grey value,
so that dark blocks count little. The gains follow by least squares,

    sum over pairs of ((log g_m - log g_f - log r) / deviation)^2 + sum over tiles of (log g / PRIOR)^2,

in which pairs that contradict the others count less (Cauchy's weights). The gains of each channel have the mean 1.

Where the tiles come from several cameras whose flat-fields are known, each of mean 1, nothing says yet how bright one camera is
against the other. So all tiles of a camera have a gain in common, found in the same way from the overlaps of tiles of two
cameras, also where the exposure of single tiles is not corrected.
"""

import logging
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from dlir.core import affine, tables, time_points
from dlir.core.affine import Array
from dlir.core.factors import factorised
from dlir.core.lens import NO_LENSES, Lens, Lenses
from dlir.core.lens import read_for as read_lenses
from dlir.core.progress import progress
from dlir.core.tile_graph import differences, normal_of_differences
from dlir.fusion.levels import levels
from dlir.fusion.settings import Exposure
from dlir.illumination import fields
from dlir.illumination.blind import filled
from dlir.illumination.fields import Light
from dlir.reading import image_files
from dlir.reading.tile_reader import TileReader, read_table

log = logging.getLogger(__name__)
BLOCK = 9  # px, side of a block; so wide that an error of some tenths of a px in the placement does not matter
FEWEST_BLOCKS = 8  # bright blocks that a pair needs at least
LEAST_BRIGHTNESS = 0.05  # of the 95 % quantile of the blocks; darker blocks are left out
LEAST_DEVIATION = 0.002  # of log r, even for the best pair, since the flat-field is not known better
PRIOR = 0.3  # standard deviation of log g before any pair is seen; far weaker than one pair
CAUCHY = 3.0  # deviations of a pair at which its weight is halved
ROUNDS = 20  # of the robust least squares
MAD = 1.4826  # standard deviation of a normal distribution over its median absolute deviation
CACHED = 64  # tiles kept in memory


def exposure(
    tiles: Path,
    illumination: Path,
    placement: Path,
    output: Path,
    *,
    pairs: Path | None = None,
    lens: Path | None = None,
    settings: Exposure = Exposure(),
) -> None:
    """Writes the gain of each tile and the grey levels of the mosaic (tables.EXPOSURE).

    Unless `settings.correct` is true, the tiles of a camera have one gain, which is 1 where there is one camera.

    Args:
        tiles, placement: the tables TILES and PLACEMENT.
        pairs: the table PAIRS; without it, all tiles that overlap where they are placed are pairs.
        illumination: the TIFF of the fields.
        lens: the distortion of each camera (tables.LENS); None for no distortion.

    Raises:
        IlluminationError: when the illumination was estimated from tiles of another shape.
        ImageError: when a tile cannot be read.
    """
    listed = read_table(tiles)
    placed = time_points.at(tables.read(placement, tables.PLACEMENT), TileReader(listed).time)
    light = fields.read(illumination, listed)
    listed_pairs = tables.read(pairs, tables.PAIRS) if pairs else None
    lenses = read_lenses(lens, listed)
    found = tile_gains(listed, placed, listed_pairs, light, correct=settings.correct, lenses=lenses)
    table = levels(listed.set_index("tile").loc[placed["tile"]].reset_index(), found, light, pedestal=settings.pedestal)
    for channel, (scale, kept, clipped) in enumerate(zip(*_of_channels(table), strict=True)):
        log.info("channel %d: the mosaic is scaled by %.3f and keeps a pedestal of %.0f grey values; %d pixels are clipped",
                 channel, scale, kept, clipped)  # fmt: skip
    tables.write(table, tables.EXPOSURE, output)


def tile_gains(
    listed: pd.DataFrame,
    placed: pd.DataFrame,
    pairs: pd.DataFrame | None,
    light: Light,
    *,
    correct: bool,
    lenses: Lenses = NO_LENSES,
) -> Array:
    """Returns the gains (n, channels) of placed tiles.

    Args:
        listed, placed, pairs: the tables TILES, PLACEMENT and PAIRS; without pairs, all tiles that overlap as placed are pairs.
        light: the fields of each camera.
        correct: whether each tile has a gain of its own; else all tiles of a camera have one gain.
        lenses: of the cameras that distort their tiles.

    Raises:
        ImageError: when a tile cannot be read.
    """
    camera = listed.set_index("tile").loc[placed["tile"], "camera"].to_numpy(int)
    lit = any(illumination.dark.any() or (illumination.flat != 1).any() for illumination in light)
    if not correct and not (lit and len(light) > 1):
        log.info("the brightness of the tiles is not changed: exposure.correct is false")
        return np.ones((len(placed), int(listed["channels"].iloc[0])))
    sizes = tables.sizes(listed.set_index("tile").loc[placed["tile"]])
    ends = _overlapping(placed, sizes) if pairs is None else _tiles_of_pairs(pairs, placed)
    unit = np.arange(len(placed)) if correct else camera  # a unit has one gain
    ends = ends[unit[ends[:, 0]] != unit[ends[:, 1]]]
    ratios, deviations = _log_ratios(ends, placed, camera, TileReader(listed), light, lenses)
    by_channel = zip(ratios.T, deviations.T, strict=True)
    found = np.stack([gains(unit[ends], *measured, int(unit.max()) + 1)[unit] for measured in by_channel], axis=1)
    found = found if correct else found / found.mean(axis=0)
    for channel, of_channel in enumerate(found.T):
        known = np.isfinite(ratios[:, channel]).sum()
        log.info("channel %d: gains from %.3f to %.3f, estimated from %d of %d pairs",
                 channel, of_channel.min(), of_channel.max(), known, len(ends))  # fmt: skip
    return found


def _of_channels(table: pd.DataFrame) -> tuple["pd.Series[float]", "pd.Series[float]", "pd.Series[int]"]:
    """Returns scale, pedestal and number of clipped pixels of each channel (tables.EXPOSURE)."""
    by_channel = table.groupby("channel")
    return by_channel["scale"].first(), by_channel["pedestal"].first(), by_channel["clipped"].sum()


def gains(ends: NDArray[np.int64], ratios: Array, deviations: Array, count: int) -> Array:
    """Returns the gains (count,) of the tiles in one channel, with the mean 1, by robust least squares.

    Args:
        ends: (p, 2), the fixed and the moving tile of each pair, numbered from 0 to count - 1.
        ratios: (p,), log r of each pair; pairs with nan are left out.
        deviations: (p,), the standard deviation of log r.
    """
    known = np.isfinite(ratios)
    ends, ratios, deviations = ends[known], ratios[known], deviations[known]
    difference = differences(ends[:, 0], ends[:, 1], count)
    log_gains, robust_weight = np.zeros(count), np.ones(len(ends))
    for _ in range(ROUNDS):
        weight = robust_weight / deviations**2
        normal = normal_of_differences(ends[:, 0], ends[:, 1], weight, np.full(count, 1 / PRIOR**2))
        log_gains = factorised(normal).solve(difference.T @ (weight * ratios))
        robust_weight = 1 / (1 + ((ratios - difference @ log_gains) / (CAUCHY * deviations)) ** 2)
    gain = np.exp(log_gains)
    return np.asarray(gain / gain.mean())


def _tiles_of_pairs(pairs: pd.DataFrame, placed: pd.DataFrame) -> NDArray[np.int64]:
    """Returns the rows (p, 2) of `placed` of the fixed and the moving tile of each pair."""
    return np.stack([pd.Index(placed["tile"]).get_indexer(pairs[side]) for side in ("fixed", "moving")], axis=1)


def _overlapping(placed: pd.DataFrame, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the rows (p, 2) of `placed` of the tiles that may overlap; `sizes` (n, 2), px, are theirs."""
    ends = affine.apply(affine.from_table(placed), np.stack([affine.corners(*size) for size in sizes]))
    low, high = ends.min(axis=1), ends.max(axis=1)
    near = cKDTree((low + high) / 2).query_pairs(float((high - low).max()), p=np.inf, output_type="ndarray")
    overlap = (low[near[:, 0]] < high[near[:, 1]]) & (low[near[:, 1]] < high[near[:, 0]])
    found = near[overlap.all(axis=1)]
    return np.asarray(found[np.lexsort(found.T[::-1])], np.int64)


def _log_ratios(
    ends: NDArray[np.int64],
    placed: pd.DataFrame,
    camera: NDArray[np.int64],
    reader: TileReader,
    light: Light,
    lenses: Lenses,
) -> tuple[Array, Array]:
    """Returns log r and its standard deviation (p, channels); nan where the overlap has too few bright blocks.

    Args:
        camera: (n,) number of the camera of each tile in `placed`.
    """
    affines, paths = affine.from_table(placed), list(placed["path"])

    @lru_cache(maxsize=CACHED)
    def smoothed_tile(tile: int) -> image_files.Plane:
        illumination = light[camera[tile]]
        pixels = fields.correct(filled(reader.sample(paths[tile]), illumination.blind), illumination)
        return np.asarray(ndimage.uniform_filter(pixels, (0, BLOCK, BLOCK), mode="nearest"))

    found = np.full((2, len(ends), reader.channels), np.nan)
    for row, (fixed, moving) in enumerate(progress(ends.tolist(), "measuring the brightness of overlaps")):
        sizes = light[camera[fixed]].size, light[camera[moving]].size
        lens = lenses.get(camera[fixed]), lenses.get(camera[moving])
        points = _common_blocks(affines[fixed], affines[moving], *sizes, *lens)
        if len(points[0]) < FEWEST_BLOCKS:
            continue
        both_tiles = zip(smoothed_tile(fixed), smoothed_tile(moving), strict=True)
        for channel, planes in enumerate(both_tiles):
            first, second = (ndimage.map_coordinates(plane, at.T, order=1) for plane, at in zip(planes, points, strict=True))
            found[:, row, channel] = _log_ratio(first, second)
    return found[0], found[1]


def _common_blocks(
    fixed: Array,
    moving: Array,
    fixed_size: tuple[int, int],
    moving_size: tuple[int, int],
    fixed_lens: Lens | None,
    moving_lens: Lens | None,
) -> tuple[Array, Array]:
    """Returns the centres (b, 2) of the blocks that lie inside two tiles, px of the fixed and of the moving tile.

    Args:
        fixed, moving: (2, 3), the affines from px of either tile to px of the mosaic.
        fixed_size, moving_size: (y, x) px, of both tiles.
        fixed_lens, moving_lens: of their cameras; None where one does not distort.
    """
    rows, columns = (np.arange(BLOCK // 2, length - BLOCK // 2, BLOCK) for length in fixed_size)
    in_fixed = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2).astype(float)
    undistorted = fixed_lens.from_raw(in_fixed) if fixed_lens else in_fixed
    in_moving = affine.apply(affine.compose(affine.invert(moving), fixed), undistorted)
    in_moving = moving_lens.to_raw(in_moving) if moving_lens else in_moving
    inside = ((in_moving >= BLOCK // 2) & (in_moving <= np.array(moving_size) - 1 - BLOCK // 2)).all(1)
    return in_fixed[inside], in_moving[inside]


def _log_ratio(first: NDArray[np.floating], second: NDArray[np.floating]) -> tuple[float, float]:
    """Returns the log of the ratio second / first of the grey values (b,) of two tiles in the same blocks, and its deviation.

    Both are nan where fewer than FEWEST_BLOCKS are bright.
    """
    darker = np.minimum(first, second)
    bright = darker > LEAST_BRIGHTNESS * np.percentile(darker, 95)
    if darker.max(initial=0) <= 0 or bright.sum() < FEWEST_BLOCKS:
        return np.nan, np.nan
    log_ratios, weight = np.log(second[bright] / first[bright]), darker[bright]
    median = _weighted_median(log_ratios, weight)
    scatter = MAD * _weighted_median(np.abs(log_ratios - median), weight)
    effective_count = weight.sum() ** 2 / np.sum(weight**2)
    return median, float(np.hypot(LEAST_DEVIATION, scatter / np.sqrt(effective_count)))


def _weighted_median(values: Array, weight: Array) -> float:
    """Returns the smallest of the values (n,) up to which they have at least half of the total weight."""
    return float(np.quantile(values, 0.5, weights=weight.astype(float), method="inverted_cdf"))
