"""The seams that the report shows: pictures of the overlaps of pairs, before and after registration.

A seam is the overlap of two neighbours, as they are placed. Shown are the worst ones, the least certain ones, and some that are
chosen at random, which show what is usual. The worst ones are, in turn,

- those whose pair has the largest residual against the placement, of the accepted pairs;
- those whose tiles differ most where they overlap as placed, in parts of the contrast;
- those whose pair has the largest residual, accepted or not.

The least certain ones are, in turn, accepted pairs of the lowest probability, any pairs of the lowest probability, and pairs
whose tiles have the largest deviation.

For each seam three pictures are cut from the tiles in the frame of the mosaic: the fixed tile; the moving tile as it is placed;
and the moving tile where the stage puts it beside the fixed one. The light is divided out of them as it is out of the mosaic,
and they share one contrast. The page shows them over each other.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, zip_longest
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.fusion.blend import PlacedTiles, Region, camera_weight
from dlir.illumination.blind import filled
from dlir.reading.image_files import Plane, channel_mean
from dlir.reading.tile_reader import TileReader
from dlir.reporting.page_files import PageFiles
from dlir.reporting.results import Results

EACH = 20  # seams of each group
MOST_COMPARED = 240  # pairs whose pixels are compared: of a large mosaic, those that may be bad, and some at random
SIDE = 256  # px, longest side of a picture
MARGIN = 32  # px that are shown around an overlap
SMOOTHED = 3  # px, side of the box that takes noise off before tiles are compared
LEAST_COMPARED = 64  # px that have to overlap for the tiles to be compared
SHOWN = (0.5, 99.7)  # percentiles of the grey values that are shown as black and white
QUALITY = 75  # of the JPEG pictures
SEED = 1  # of the choice at random: the same seams each time that the page is made
NAMES = ("fixed", "moving", "before")  # of the pictures of a seam
WORST, UNCERTAIN, RANDOM = "worst", "uncertain", "random"  # the groups


class Frame(NamedTuple):
    """Where the pictures of a pair are cut from."""

    region: Region  # of the mosaic
    affines: Array  # (3, 2, 3) from px of a tile to px of the mosaic: of the fixed tile, the moving one, and that one before


class Pictures(NamedTuple):
    """The pictures of a pair, and how far its tiles differ."""

    grey: NDArray[np.uint8]  # (3, y, x): the fixed tile, the moving one, and that one before; even grey where a tile ends
    contrast: float  # grey values from black to white
    after: float  # standard deviation of the difference where the tiles overlap, grey values; NaN where they hardly do
    before: float


def seams(results: Results, files: PageFiles) -> list[dict[str, Any]]:
    """Returns the seams for the page, and adds their pictures to its files.

    Each has the number of its pair; its group: worst, uncertain or random; the place (top, left) and the size of its pictures in
    the mosaic; their names `fixed`, `moving` and `before`; the outlines of the tiles in them (x, y), in per cent; how far the
    tiles differ before and after registration, in parts of the contrast; and by how much registration moved the moving tile.

    Args:
        results: those of one time point.

    Raises:
        ImageError: when a tile can no longer be read.
    """
    if results.pairs is None or results.pairs.empty:
        return []
    pairs = results.pairs.reset_index(drop=True)
    deviation = results.placed.set_index("tile")["deviation"].fillna(0)
    doubt = pd.concat([deviation.loc[pairs[end]].reset_index(drop=True) for end in ("fixed", "moving")], axis=1).max(axis=1)
    compared = pairs.loc[_candidates(pairs, doubt)]
    frames = {row: frame for row, frame in zip(compared.index.tolist(), frames_of(compared, results), strict=True)}
    pictures = _pictures(compared, frames, results)
    usual = float(np.median([each.contrast for each in pictures.values()]))
    differences = pd.DataFrame.from_dict(
        {row: np.array([each.before, each.after]) / max(each.contrast, usual, 1e-6) for row, each in pictures.items()},
        orient="index", columns=["before", "after"],
    )  # fmt: skip
    groups = chosen(pairs, doubt, differences["after"])
    return [
        {
            "pair": int(pairs.at[row, "pair"]),
            "group": group,
            **_places(pairs.loc[row], frames[row], results),
            **_files(int(pairs.at[row, "pair"]), pictures[row].grey, files),
            **{f"difference_{name}": _rounded(value) for name, value in differences.loc[row].items()},
        }
        for group, rows in groups.items()
        for row in rows
    ]


def chosen(pairs: pd.DataFrame, doubt: "pd.Series[float]", difference: "pd.Series[float]") -> dict[str, list[int]]:
    """Returns the rows of the pairs that are shown, by their group; no pair is in two groups.

    Args:
        pairs: tables.AFFINES with the residual.
        doubt: for each row, the larger one of the deviations of its two tiles, px.
        difference: for some of the rows, by how much the tiles differ; only these can be shown.
    """
    by_residual, by_doubt, by_chance = ([row for row in order if row in difference.index] for order in _orders(pairs, doubt))
    of_accepted = [row for row in by_residual if pairs.at[row, "accepted"]]
    by_difference = difference.dropna().sort_values(ascending=False, kind="stable").index.tolist()
    taken: set[int] = set()
    found = {}
    for group, order in (
        (WORST, _in_turn(of_accepted, by_difference, by_residual)),
        (UNCERTAIN, by_doubt),
        (RANDOM, by_chance),
    ):
        found[group] = [row for row in order if row not in taken][:EACH]
        taken |= set(found[group])
    return found


def frames_of(pairs: pd.DataFrame, results: Results) -> Iterator[Frame]:
    """Yields where the pictures of each pair are cut from: around the middle of its overlap."""
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
    for start, length, *affines in zip(first.tolist(), size.tolist(), fixed, moving, before, strict=True):
        yield Frame(Region(*start, *length), np.stack(affines))


def _candidates(pairs: pd.DataFrame, doubt: "pd.Series[float]") -> list[int]:
    """Returns the rows of the pairs whose pixels are compared: all of them where they are few."""
    if len(pairs) <= MOST_COMPARED:
        return pairs.index.tolist()
    by_residual, by_doubt, by_chance = _orders(pairs, doubt)
    orders = [row for row in by_residual if pairs.at[row, "accepted"]], by_residual, by_doubt, by_chance
    return sorted(set(chain.from_iterable(order[: MOST_COMPARED // len(orders)] for order in orders)))


def _orders(pairs: pd.DataFrame, doubt: "pd.Series[float]") -> tuple[list[int], list[int], list[int]]:
    """Returns the rows of the pairs in three orders: by their residual, by how uncertain they are, and at random."""
    residual = pairs["residual"].sort_values(ascending=False, kind="stable").index.tolist()
    unsure = pairs.sort_values("confidence", kind="stable")
    loose = doubt.sort_values(ascending=False, kind="stable").index.tolist()
    uncertain = _in_turn(unsure[unsure["accepted"]].index.tolist(), unsure.index.tolist(), loose)
    return residual, uncertain, np.random.default_rng(SEED).permutation(pairs.index.to_numpy()).tolist()


def _in_turn(*orders: Iterable[int]) -> list[int]:
    """Returns the rows of several orders, one of each in turn, each row once."""
    return [row for row in dict.fromkeys(chain.from_iterable(zip_longest(*orders))) if row is not None]


def _pictures(pairs: pd.DataFrame, frames: dict[int, Frame], results: Results) -> dict[int, Pictures]:
    """Returns the pictures of pairs by their rows. Each tile is read once."""
    wanted: dict[int, list[tuple[int, int]]] = defaultdict(list)  # of each tile: rows, and which of their pictures
    for row, fixed, moving in zip(pairs.index.tolist(), pairs["fixed"].tolist(), pairs["moving"].tolist(), strict=True):
        wanted[fixed].append((row, 0))
        wanted[moving] += [(row, 1), (row, 2)]
    cut: dict[int, dict[int, tuple[Plane, NDArray[np.bool_]]]] = defaultdict(dict)
    found = {}
    resampler = _Resampler(results)
    for tile in sorted(wanted):
        resampled = resampler.resampled(tile, [(frames[row].region, frames[row].affines[which]) for row, which in wanted[tile]])
        for (row, which), picture in zip(wanted[tile], resampled, strict=True):
            cut[row][which] = picture
            if len(cut[row]) == 3:
                parts = cut.pop(row)
                found[row] = _compared([parts[i] for i in range(3)])
    return found


class _Resampler:
    """Resamples tiles into the frame of the mosaic, as the fusion does."""

    def __init__(self, results: Results) -> None:
        self._reader, self._blind = TileReader(results.listed), [illumination.blind for illumination in results.light]
        of_channels = self._reader.chosen
        self._light = [illumination.of(of_channels) for illumination in results.light]
        self._weights = [camera_weight(illumination, "average") for illumination in results.light]
        self._listed = results.listed.set_index("tile")
        self._gains = dict(zip(results.listed["tile"], tables.gains(results.exposure, results.listed["tile"]), strict=True))
        self._pedestal = tables.pedestals(results.exposure)[of_channels]

    def resampled(self, tile: int, parts: Sequence[tuple[Region, Array]]) -> list[tuple[Plane, NDArray[np.bool_]]]:
        """Returns a tile in regions of the mosaic under these affines (2, 3): grey values (y, x), and where the tile reaches."""
        path, camera = self._listed.at[tile, "path"], int(self._listed.at[tile, "camera"])
        pixels = filled(self._reader.reference(path), self._blind[camera])
        gains = self._gains[tile][self._reader.chosen][None]
        found = []
        for region, to_mosaic in parts:
            placed = PlacedTiles(
                [path],
                [camera],
                to_mosaic[None],
                gains,
                self._pedestal,
                self._light,
                lambda _: pixels,
                1,
                "average",
                self._weights,
            )
            values, covered = placed.fuse(region)
            found.append((channel_mean(values), covered))
        return found


def _compared(parts: Sequence[tuple[Plane, NDArray[np.bool_]]]) -> Pictures:
    """Returns the pictures of a pair, from the grey values of its tiles and where they reach (`_Resampler.resampled`)."""
    values = np.concatenate([pixels[covered] for pixels, covered in parts])
    low, high = np.percentile(values, SHOWN) if values.size else (0.0, 1.0)
    stretch = 255 / max(high - low, 1e-6)
    grey = [
        ((np.where(covered, pixels, values.mean()) - low) * stretch).clip(0, 255).astype(np.uint8) for pixels, covered in parts
    ]
    smooth = [ndimage.uniform_filter(pixels, SMOOTHED, mode="nearest") for pixels, _ in parts]
    after, before = (_difference(smooth[0], smooth[i], parts[0][1] & parts[i][1]) for i in (1, 2))
    return Pictures(np.stack(grey), float(high - low), after, before)


def _difference(fixed: Plane, moving: Plane, both: NDArray[np.bool_]) -> float:
    """The standard deviation of the difference of two tiles where both reach; NaN where that is hardly anywhere."""
    inside = ndimage.binary_erosion(both, iterations=SMOOTHED // 2)
    return float((fixed - moving)[inside].std()) if inside.sum() >= LEAST_COMPARED else np.nan


def _places(pair: "pd.Series[Any]", frame: Frame, results: Results) -> dict[str, Any]:
    """Returns where the pictures of a pair lie, the outlines of the tiles in them, and how far the moving tile was moved."""
    region = frame.region
    sizes = tables.sizes(results.listed, [pair["fixed"], pair["moving"], pair["moving"]])
    corners = affine.corners(*(sizes + 1).T)[:, [0, 1, 3, 2]] - 0.5
    inside = affine.apply(frame.affines, corners) - (region.y - 0.5, region.x - 0.5)
    outlines = (100 * inside / (region.height, region.width))[..., ::-1].round(1)
    centre = np.array([[pair["centre_y"], pair["centre_x"]]])
    moved = (affine.apply(frame.affines[1], centre) - affine.apply(frame.affines[2], centre))[0]
    return {
        "top": region.y, "left": region.x, "height": region.height, "width": region.width,
        "outlines": dict(zip(NAMES, outlines.tolist(), strict=True)),
        "moved": [round(float(each), 2) for each in moved],
    }  # fmt: skip


def _files(number: int, grey: NDArray[np.uint8], files: PageFiles) -> dict[str, str]:
    """Adds the pictures (3, y, x) of a pair to the files, and returns their names."""
    encoded = [bytes(imagecodecs.jpeg8_encode(picture, level=QUALITY)) for picture in grey]
    return {name: files.add(f"seams/{number}_{name}.jpg", content) for name, content in zip(NAMES, encoded, strict=True)}


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 3)
