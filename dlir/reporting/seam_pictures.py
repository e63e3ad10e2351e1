"""The pictures of the seams: cut from the tiles in the frame of the mosaic, with the light divided out as the fusion does.

For each pair there are three pictures: the fixed tile; the moving tile as it is placed; and the moving tile where the stage
puts it beside the fixed one. They share one contrast. The page shows them over each other.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.fusion.blend import PlacedTiles, Region, borders, camera_weight
from dlir.illumination.blind import filled
from dlir.reading.image_files import Plane, channel_mean
from dlir.reading.tile_reader import TileReader
from dlir.reporting.results import Results

NAMES = ("fixed", "moving", "before")  # of the pictures of a pair
SIDE = 256  # px, longest side of a picture
MARGIN = 32  # px that are shown around an overlap
SMOOTHED = 3  # px, side of the box that takes noise off before tiles are compared
LEAST_COMPARED = 64  # px that have to overlap for the tiles to be compared
SHOWN = (0.5, 99.7)  # percentiles of the grey values that are shown as black and white


class Frame(NamedTuple):
    """Where the pictures of a pair are cut from."""

    region: Region  # of the mosaic
    affines: Array  # (3, 2, 3) in the order of NAMES, from px of the tile to px of the mosaic


class Pictures(NamedTuple):
    """The pictures of a pair, and how far its tiles differ."""

    grey: NDArray[np.uint8]  # (3, y, x) in the order of NAMES; even grey where the tile ends
    contrast: float  # grey values from black to white
    before: float  # standard deviation of the difference where the tiles overlap, grey values; NaN where they hardly do
    after: float


def frames(pairs: pd.DataFrame, results: Results) -> list[Frame]:
    """Returns where the pictures of each pair are cut from: around the middle of its overlap."""
    placed, listed = results.placed.set_index("tile"), results.listed.set_index("tile")
    ends = pairs["fixed"], pairs["moving"]
    fixed, moving = (affine.from_table(placed.loc[tiles]) for tiles in ends)
    nominal = listed.loc[ends[1], ["y", "x"]].to_numpy(float) - listed.loc[ends[0], ["y", "x"]].to_numpy(float)
    before = affine.compose(fixed, affine.translation(nominal))
    corners = [affine.corners(*tables.sizes(results.listed, tiles).T) for tiles in ends]
    hulls = [affine.apply(affines, corner) for affines, corner in zip((fixed, moving), corners, strict=True)]
    low = np.maximum(*(hull.min(axis=1) for hull in hulls))
    high = np.minimum(*(hull.max(axis=1) for hull in hulls))
    size = np.clip(high - low + 1 + 2 * MARGIN, 2 * MARGIN, SIDE).astype(int)
    first = np.rint((low + high - size + 1) / 2).astype(int)
    regions = [Region(*start, *length) for start, length in zip(first.tolist(), size.tolist(), strict=True)]
    return [Frame(region, np.stack(affines)) for region, *affines in zip(regions, fixed, moving, before, strict=True)]


def pictures(pairs: pd.DataFrame, framed: Mapping[int, Frame], results: Results) -> Iterator[tuple[int, Pictures]]:
    """Yields the rows of the pairs with their pictures. Each tile is read once; raises ImageError when that fails."""
    wanted: dict[int, list[tuple[int, int]]] = defaultdict(list)  # of each tile: rows, and which of their pictures
    for row, fixed, moving in zip(pairs.index.tolist(), pairs["fixed"].tolist(), pairs["moving"].tolist(), strict=True):
        wanted[fixed].append((row, 0))
        wanted[moving] += [(row, 1), (row, 2)]
    cut: dict[int, dict[int, tuple[Plane, NDArray[np.bool_]]]] = defaultdict(dict)
    resampler = _Resampler(results)
    for tile in sorted(wanted):
        parts = [(framed[row].region, framed[row].affines[which]) for row, which in wanted[tile]]
        for (row, which), part in zip(wanted[tile], resampler.resampled(tile, parts), strict=True):
            cut[row][which] = part
            if len(cut[row]) == len(NAMES):
                found = cut.pop(row)
                yield row, _compared([found[i] for i in range(len(NAMES))])


class _Resampler:
    """Resamples tiles into the frame of the mosaic, as the fusion does."""

    def __init__(self, results: Results) -> None:
        listed = results.listed
        self._reader, self._blind = TileReader(listed), [illumination.blind for illumination in results.light]
        chosen = self._reader.chosen
        self._light = [illumination.of(chosen) for illumination in results.light]
        self._weights = [camera_weight(illumination, "average") for illumination in results.light]
        self._lenses = results.lenses
        self._paths: dict[int, str] = dict(zip(listed["tile"], listed["path"], strict=True))
        self._cameras: dict[int, int] = dict(zip(listed["tile"], listed["camera"], strict=True))
        gains = tables.gains(results.exposure, listed["tile"])[:, None, chosen]
        self._gains: dict[int, Array] = dict(zip(listed["tile"], gains, strict=True))
        self._pedestal = tables.pedestals(results.exposure)[chosen]

    def resampled(self, tile: int, parts: Sequence[tuple[Region, Array]]) -> list[tuple[Plane, NDArray[np.bool_]]]:
        """Returns a tile in regions of the mosaic under affines (2, 3): grey values (y, x), and where the tile reaches."""
        path, camera = self._paths[tile], self._cameras[tile]
        pixels = filled(self._reader.reference(path), self._blind[camera])
        found = []
        for region, to_mosaic in parts:
            corrected, lenses = (self._gains[tile], self._pedestal, self._light), [self._lenses.get(camera)]
            placed = PlacedTiles(
                [path], [camera], to_mosaic[None], *corrected, lambda _: pixels, 1, "average", self._weights, lenses,
                borders(self._light, [camera], lenses),
            )  # fmt: skip
            values, covered = placed.fuse(region)
            found.append((channel_mean(values), covered))
        return found


def _compared(parts: Sequence[tuple[Plane, NDArray[np.bool_]]]) -> Pictures:
    """Returns the pictures of a pair, from the grey values of its tiles and where they reach (`_Resampler.resampled`)."""
    values = np.concatenate([pixels[covered] for pixels, covered in parts])
    low, high = np.percentile(values, SHOWN) if values.size else (0.0, 1.0)
    mean, stretch = values.mean() if values.size else 0.0, 255 / max(high - low, 1e-6)
    grey = [((np.where(covered, pixels, mean) - low) * stretch).clip(0, 255).astype(np.uint8) for pixels, covered in parts]
    smooth = [ndimage.uniform_filter(pixels, SMOOTHED, mode="nearest") for pixels, _ in parts]
    after, before = (_difference(smooth[0], smooth[i], parts[0][1] & parts[i][1]) for i in (1, 2))
    return Pictures(np.stack(grey), float(high - low), before, after)


def _difference(fixed: Plane, moving: Plane, both: NDArray[np.bool_]) -> float:
    """The standard deviation of the difference of two tiles where both reach; NaN where that is hardly anywhere."""
    inside = ndimage.binary_erosion(both, iterations=SMOOTHED // 2)
    return float((fixed - moving)[inside].std()) if inside.sum() >= LEAST_COMPARED else np.nan
