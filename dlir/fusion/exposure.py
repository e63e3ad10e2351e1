"""How bright each tile was exposed, from the places that two placed tiles both show.

Lamps flicker and cameras choose their own time: a tile is gain * light. In an overlap both tiles see the same specimen, so the
ratio of what they show there, r, is that of their gains g. The median of log r over small blocks, each counted by its light
so that dark blocks say little, is measured for each pair (f, m), and the gains follow by least squares,

    sum over pairs of ((log g_m - log g_f - log r) / deviation)^2 + sum over tiles of (log g / PRIOR)^2,

in which pairs that the others contradict count for less (Cauchy's weights). The gains of each channel have the mean 1.
"""

import logging
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage, sparse

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.core.progress import progress
from dlir.core.tile_graph import differences, factorised
from dlir.fusion.settings import Exposure
from dlir.illumination import fields
from dlir.illumination.fields import Fields
from dlir.reading import image_files
from dlir.reading.tile_reader import TileReader

log = logging.getLogger(__name__)
BLOCK = 9  # px, side of the blocks: wide enough that a placement some tenths of a px off does not matter
FEWEST = 8  # blocks with light; fewer say nothing of a pair
FLOOR = 0.002  # deviation of log r of the best pair: shading is not known better
PRIOR = 0.3  # deviation of log g; far weaker than any pair
ROUNDS = 20
CACHED = 64  # tiles kept in memory


def exposure(
    tiles: Path, illumination: Path, pairs: Path, placement: Path, output: Path, *, settings: Exposure = Exposure()
) -> None:
    """Write the gain of each tile and channel; all are 1 unless `settings.correct`."""
    listed, placed = tables.read(tiles, tables.TILES), tables.read(placement, tables.PLACEMENT)
    shape = (len(placed), int(listed["channels"].iloc[0]))
    found = np.ones(shape)
    if settings.correct:
        ends = _ends(tables.read(pairs, tables.PAIRS), placed)
        ratios, deviations = _ratios(ends, placed, TileReader(listed), fields.read(illumination, listed))
        found = np.stack([gains(ends, *of, len(placed)) for of in zip(ratios.T, deviations.T, strict=True)], axis=1)
        for channel, of in enumerate(found.T):
            known = np.isfinite(ratios[:, channel]).sum()
            log.info("channel %d: gains of %.3f to %.3f, from %d of %d pairs", channel, of.min(), of.max(), known, len(ends))
    else:
        log.info("the tiles keep their brightness: exposure.correct is false")
    rows, channels = np.indices(shape)
    table = {"tile": placed["tile"].to_numpy()[rows.ravel()], "channel": channels.ravel(), "gain": found.ravel()}
    tables.write(pd.DataFrame(table), tables.EXPOSURE, output)


def gains(ends: NDArray[np.int64], ratios: Array, deviations: Array, count: int) -> Array:
    """The gains (count,), mean 1, of tiles of which pairs `ends` (p, 2) show log ratios (p,); nan does not count."""
    known = np.isfinite(ratios)
    ends, ratios, deviations = ends[known], ratios[known], deviations[known]
    apart = differences(ends[:, 0], ends[:, 1], count)
    found, doubt = np.zeros(count), np.ones(len(ends))
    for _ in range(ROUNDS):
        weight = doubt / deviations**2
        normal = apart.T @ sparse.diags(weight) @ apart + sparse.identity(count) / PRIOR**2
        found = factorised(normal).solve(apart.T @ (weight * ratios))
        doubt = 1 / (1 + ((ratios - apart @ found) / (3 * deviations)) ** 2)
    gain = np.exp(found)
    return np.asarray(gain / gain.mean())


def _ends(pairs: pd.DataFrame, placed: pd.DataFrame) -> NDArray[np.int64]:
    """The rows in `placed` (p, 2) of the two tiles of each pair."""
    return np.stack([pd.Index(placed["tile"]).get_indexer(pairs[side]) for side in ("fixed", "moving")], axis=1)


def _ratios(ends: NDArray[np.int64], placed: pd.DataFrame, stacks: TileReader, patterns: Fields) -> tuple[Array, Array]:
    """Of each pair and channel (p, channels) log r and its deviation; nan where the overlap shows too little."""

    @lru_cache(maxsize=CACHED)
    def tile(path: str) -> image_files.Plane:
        pixels = fields.correct(stacks.sample(path), patterns)
        return np.asarray(ndimage.uniform_filter(pixels, (0, BLOCK, BLOCK), mode="nearest"))

    shape = patterns.flat.shape
    found = np.full((2, len(ends), shape[0]), np.nan)
    affines, paths = affine.from_table(placed), list(placed["path"])
    for row, (fixed, moving) in enumerate(progress(ends.tolist(), "overlaps")):
        points = _shared(affines[fixed], affines[moving], shape[1:])
        if len(points[0]) < FEWEST:
            continue
        for channel, of in enumerate(zip(tile(paths[fixed]), tile(paths[moving]), strict=True)):
            first, second = (ndimage.map_coordinates(c, at.T, order=1) for c, at in zip(of, points, strict=True))
            found[:, row, channel] = _ratio(first, second)
    return found[0], found[1]


def _shared(fixed: Array, moving: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Centres of blocks (b, 2) that lie in both tiles, as pixels of the one and of the other."""
    down, along = (np.arange(BLOCK // 2, length - BLOCK // 2, BLOCK) for length in shape)
    points = np.stack(np.meshgrid(down, along, indexing="ij"), -1).reshape(-1, 2).astype(float)
    there = affine.apply(affine.compose(affine.invert(moving), fixed), points)
    inside = ((there >= BLOCK // 2) & (there <= np.array(shape) - 1 - BLOCK // 2)).all(1)
    return points[inside], there[inside]


def _ratio(first: NDArray[np.floating], second: NDArray[np.floating]) -> tuple[float, float]:
    """log r of the light in blocks, as the second tile and the first one show it, and its deviation."""
    both = np.minimum(first, second)
    lit = both > 0.05 * np.percentile(both, 95)
    if both.max(initial=0) <= 0 or lit.sum() < FEWEST:
        return np.nan, np.nan
    logs, weight = np.log(second[lit] / first[lit]), both[lit]
    middle = _weighted_median(logs, weight)
    spread = 1.4826 * _weighted_median(np.abs(logs - middle), weight)
    return middle, float(np.hypot(FLOOR, spread / np.sqrt(weight.sum() ** 2 / np.sum(weight**2))))


def _weighted_median(values: Array, weight: Array) -> float:
    order = np.argsort(values)
    sums = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(sums, sums[-1] / 2)])
