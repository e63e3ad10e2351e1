"""Synthetic pairs: windows cut from one tile, with a known affine between them. The network learns from them without labels.

A part of a tile is sampled twice: once as it is, and once under a random affine like those between neighbours. The noise of the
tile would be the same in both windows, and the network would learn to match the noise instead of the specimen. So the noise is
split (data fission; Leiner et al. 2023, arXiv 2112.11079). The tile is x = u + n with noise n of variance s2. With a random m
of the same variance, x + m and x - m have independent noise of variance 2 s2. The variance s2 is estimated as a straight line
over the brightness. Gain, offset, shading and additional noise differ between the two windows.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy import ndimage
from scipy.optimize import nnls
from torch import Tensor

from dlir.reading.image_files import Plane
from dlir.registration.model.filters import blur, standardise
from dlir.registration.model.priors import SYNTHETIC_LIMITS
from dlir.registration.model.warping import grid, sample, transform
from dlir.registration.pairs.neighbours import MULTIPLE
from dlir.registration.pairs.windows import expected_shift

SHADING = 0.15  # largest shading towards the edge of a window, in units of the window's standard deviation
DIRT_BLUR = 1.5  # px, sigma of the blur that turns noise into dirt
PLACES = 4  # in a tile, from which a piece may be cut
BLOCK = 8  # px, side of the blocks in which the noise of a tile is measured
BRIGHTNESS_CLASSES = 8  # in each of which the noise of a tile is measured
QUIET_QUANTILE = 0.25  # of the blocks of a class: texture adds variance, so the quieter blocks show the noise
QUIET_VARIANCE = 0.767  # what that quantile is for white noise of variance one


class Shape(NamedTuple):
    """The geometry of a pair of windows, with the long side along x."""

    height: int  # px
    width: int  # px, not less than the height
    search: float  # px, how far the shift may lie from the centre along either axis
    centre: tuple[float, float]  # px, the expected shift (y, x)


def overlap_shape(rows: pd.DataFrame, tile: Sequence[int], longest: float = math.inf, widest: float = math.inf) -> Shape | None:
    """Returns the geometry of synthetic pairs that resemble the windows of real pairs.

    They are as large as those windows, or as large as the tile and the limits allow; windows with the long side along y are
    turned. None where nothing fits into the tile.

    Args:
        rows: pairs (tables.PAIRS), all of one side.
        tile: size (y, x), px.
        longest, widest: limits of the long and of the short side, px.
    """
    sides, search = rows[["height", "width"]].median().to_numpy(), float(rows["search"].median())
    centre = np.median(expected_shift(rows), axis=0)
    if sides[0] > sides[1]:
        sides, centre = sides[::-1], centre[::-1]
    width = int(min(sides[1], longest, min(tile) - search)) // MULTIPLE * MULTIPLE
    height = int(min(sides[0], widest, width)) // MULTIPLE * MULTIPLE
    across = min(0.0, float(centre[0] + sides[0] - height))  # narrower windows overlap by as many px as the real ones
    return Shape(height, width, search, (across, 0.0)) if height >= MULTIPLE else None


class Augment(NamedTuple):
    """What is done to the windows besides warping one of them."""

    noise: tuple[float, float]  # range of additional noise, in units of the tile's standard deviation; drawn log-uniformly
    zoom: tuple[float, float]  # range of tile px per window px
    dirt: float  # largest dirt at the same pixels of both windows, in units of the window's standard deviation
    tries: int = 4  # places that are drawn for each window; the one with the most structure is taken


TILE_AUGMENT = Augment(noise=(0.03, 1.0), zoom=(1.0, 1.0), dirt=0.0)  # for the user's tiles, which have noise of their own


class SyntheticPairs(NamedTuple):
    """Windows and the affines between them."""

    fixed: Tensor  # (b, 1, h, w)
    moving: Tensor  # (b, 1, h, w)
    affine: Tensor  # (b, 2, 3) a fixed px to a moving px, about the windows' centres


def noise_variance(plane: Plane) -> tuple[float, float]:
    """Returns the variance of the noise of a tile (y, x) as a straight line over the brightness: its offset and its slope.

    The noise is what the difference of two Laplacians leaves of the tile (Immerkaer 1996). Its mean square is measured in
    blocks of BLOCK x BLOCK px. Texture adds to it. So in each class of brightness the quantile QUIET_QUANTILE of the blocks is
    taken, and divided by what that is for noise alone.
    """
    kernel = np.outer([1, -2, 1], [1, -2, 1]) / 6.0
    rough = ndimage.convolve(plane.astype(np.float64), kernel)
    height, width = (side // BLOCK * BLOCK for side in plane.shape)
    blocks = (height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    means = plane[:height, :width].reshape(blocks).mean((1, 3)).ravel()
    squares = (rough[:height, :width] ** 2).reshape(blocks).mean((1, 3)).ravel()
    classes = np.array_split(np.argsort(means), min(BRIGHTNESS_CLASSES, means.size))
    level = np.array([means[c].mean() for c in classes])
    variance = np.array([np.quantile(squares[c], QUIET_QUANTILE) for c in classes]) / QUIET_VARIANCE
    (offset, slope), _ = nnls(np.stack([np.ones_like(level), level], 1), variance)
    return float(offset), float(slope)


def piece(plane: Plane, side: int, random: np.random.Generator) -> Plane:
    """Returns a square part of a tile (along a shorter axis, all of it): of some places, the one with the most structure."""
    height, width = (min(side, length) for length in plane.shape)
    if (height, width) == plane.shape:
        return plane
    corners = random.integers((plane.shape[0] - height + 1, plane.shape[1] - width + 1), size=(PLACES, 2)).tolist()
    pieces = [plane[y : y + height, x : x + width] for y, x in corners]
    return max(pieces, key=lambda piece: float(piece.std())).copy()


class TileStack(NamedTuple):
    """The tiles of one dataset, from which synthetic pairs are cut."""

    tiles: Tensor  # (n, 1, y, x) each less its mean, in units of the median of the tiles' standard deviations
    noise: Tensor  # (n, 1, y, x) standard deviation of the noise of each pixel, in the same units


def stack_tiles(planes: list[Plane], device: torch.device) -> TileStack:
    """Returns the planes (y, x) of one dataset as a stack on `device`, with their noise."""
    unit = float(np.median([p.std() for p in planes])) or 1.0
    tiles, noise = [], []
    for plane in planes:
        offset, slope = noise_variance(plane)
        tiles.append((plane - plane.mean()) / unit)
        noise.append(np.sqrt(np.clip(offset + slope * ndimage.uniform_filter(plane, 3), 0, None)) / unit)
    tensors = [torch.from_numpy(np.stack(part).astype(np.float32)[:, None]).to(device) for part in (tiles, noise)]
    return TileStack(*tensors)


def synthetic_pairs(
    stack: TileStack, shape: Shape, count: int, generator: torch.Generator, augment: Augment = TILE_AUGMENT
) -> SyntheticPairs:
    """Draws `count` pairs of windows with known affines from the tiles.

    The shift is uniform within `search` of the expected one, the linear part within `priors.SYNTHETIC_LIMITS`.
    """
    device = stack.tiles.device

    def uniform(*size: int) -> Tensor:
        return torch.rand(*size, generator=generator, device=device) * 2 - 1

    def normal(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, device=device)

    shift = torch.tensor(shape.centre, device=device) + uniform(count, 2) * shape.search
    affine = random_affine(uniform(count, 4), shift)
    frame, which = _frames(stack, shape, count, generator, augment)
    points = grid(shape.height, shape.width, device).expand(count, -1, -1, -1)
    tiles, noise = stack.tiles[which], stack.noise[which]
    noise = noise * normal(noise)
    linear = torch.linalg.inv(affine[:, :, :2])
    inverse = torch.cat([linear, -linear @ affine[:, :, 2:]], -1)
    fixed, _ = sample(tiles + noise, _transform_each(frame, points), mode="bicubic")
    moving, _ = sample(tiles - noise, _transform_each(frame, _transform_each(inverse, points)), mode="bicubic")
    low, high = (math.log(level) for level in augment.noise)
    level = torch.exp(low + (high - low) * (uniform(count, 1, 1, 1) + 1) / 2) * tiles.std(dim=(2, 3), keepdim=True)
    share = (uniform(count, 1, 1, 1) + 1) / 2  # of the additional noise's variance, that grows with the brightness
    profile = uniform(count, 2)
    dirt = blur(normal(fixed), DIRT_BLUR)
    dirt = augment.dirt * dirt / dirt.std(dim=(2, 3), keepdim=True) * (uniform(count, 1, 1, 1) - 0.5).clamp(min=0) * 2
    windows = []
    for window, side in ((fixed, 1.0), (moving, -1.0)):
        brightness = (window - tiles.amin((2, 3), keepdim=True)).clamp(min=0)
        mean = brightness.mean((2, 3), keepdim=True) + 1e-3
        window = window + level * normal(window) * (1 - share + share * brightness / mean).sqrt()
        window = standardise(window - window.mean(dim=(2, 3), keepdim=True))
        windows.append(window + _shading(points, shape, profile, side) + dirt)
    return SyntheticPairs(windows[0], windows[1], affine)


def random_affine(unit: Tensor, shift: Tensor) -> Tensor:
    """Returns affines (b, 2, 3) from `unit` (b, 4) and `shift` (b, 2), px.

    `unit`, between -1 and 1, gives rotation, scale, aspect and shear as parts of `priors.SYNTHETIC_LIMITS`.
    """
    turn, scale, aspect, shear = (unit * unit.new_tensor(SYNTHETIC_LIMITS)).unbind(1)
    y = torch.stack([turn.cos() * (1 + scale + aspect), turn.sin() + shear, shift[:, 0]], -1)
    x = torch.stack([shear - turn.sin(), turn.cos() * (1 + scale - aspect), shift[:, 1]], -1)
    return torch.stack([y, x], 1)


def _transform_each(affine: Tensor, points: Tensor) -> Tensor:
    """The points (b, h, w, 2) of each sample after its own affine (b, 2, 3)."""
    return points @ affine[:, None, :, :2].mT + affine[:, None, None, :, 2]


def _frames(stack: TileStack, shape: Shape, count: int, generator: torch.Generator, augment: Augment) -> tuple[Tensor, Tensor]:
    """Draws where the windows lie in the tiles.

    Returns:
        affines (b, 2, 3) from a window px to a tile px, about both centres, at whole pixels, with quarter turns and flips, and
        the tile (b,) of each. Of `augment.tries` places for each window the one with the most structure is taken.
    """
    device, size = stack.tiles.device, stack.tiles.shape[-2:]
    tries, zoom = count * augment.tries, augment.zoom
    which = torch.randint(len(stack.tiles), (tries,), generator=generator, device=device)
    turn = torch.randint(4, (tries,), generator=generator, device=device) * (math.pi / 2)
    flip = torch.randint(2, (tries,), generator=generator, device=device) * 2.0 - 1
    cos, sin = turn.cos().round(), turn.sin().round()
    px = zoom[0] + (zoom[1] - zoom[0]) * torch.rand(tries, 1, 1, generator=generator, device=device)  # tile px per window px
    linear = torch.stack([torch.stack([cos, sin * flip], -1), torch.stack([-sin, cos * flip], -1)], 1) * px
    half = linear.abs() @ torch.tensor([shape.height / 2, shape.width / 2], device=device)
    lead = linear @ torch.tensor(shape.centre, device=device)  # the moving window lies back by the expected shift
    # how far from the tile's centre the window's centre may lie
    reach = torch.tensor([s / 2 for s in size], device=device) - half
    low = torch.maximum(-reach, lead - reach + shape.search / 2)
    high = torch.minimum(reach, lead + reach - shape.search / 2)
    offset = torch.rand(tries, 2, generator=generator, device=device) - 0.5
    place = (low + high) / 2 + offset * (high - low).clamp(min=0)
    odd = torch.tensor([(s % 2) / 2 for s in size], device=device)  # windows have even sides: keep to the tile's pixels
    place = (place + odd).round() - odd
    frame = torch.cat([linear, place[..., None]], -1)
    coarse = grid(shape.height // 8, shape.width // 8, device) * 8
    small = torch.nn.functional.avg_pool2d(stack.tiles, 8)
    shown, _ = sample(small[which], transform(frame, coarse) / 8)
    best = shown.std(dim=(1, 2, 3)).view(count, -1).argmax(1) + torch.arange(count, device=device) * augment.tries
    return frame[best], which[best]


def _shading(points: Tensor, shape: Shape, profile: Tensor, side: float) -> Tensor:
    """The shading towards the tile's edge: opposite in the two windows across the overlap, the same in both along it."""
    across, along = points[..., 0] / shape.height, points[..., 1] / shape.width
    tilt, bow = profile[:, 0, None, None] * 2, profile[:, 1, None, None] * 4
    return SHADING * (side * tilt * across + bow * along**2)[:, None]
