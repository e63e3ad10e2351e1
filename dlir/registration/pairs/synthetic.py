"""Pairs with known truth, cut from the tiles themselves: what the network learns from without any label.

A tile is seen twice: once as it is, once under a random affine like those between neighbours. The noise in a tile would be
the same in both views, and matching it would be learnt instead of the specimen. It is split: with noise n of variance s2 in
the tile x = u + n, and m drawn with the same variance, x + m and x - m carry independent noise of variance 2 s2 (data
fission; Leiner et al. 2023, arXiv 2112.11079). s2 is estimated as a straight line over the brightness. Gain, offset, shading
and further noise differ between the views.
"""

import math
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

SHADING = 0.15
QUIET_VARIANCE = 0.767  # of the variance of white noise: what a quarter of the blocks of 8 x 8 px does not reach


class Shape(NamedTuple):
    """The geometry of a pair of windows: height <= width, px, and where and how far the shift is searched."""

    height: int
    width: int
    search: float
    centre: tuple[float, float]


def overlap_shape(
    rows: pd.DataFrame, tile: tuple[int, int], longest: float = math.inf, widest: float = math.inf
) -> Shape | None:
    """The geometry of crops like the windows of `rows` (tables.PAIRS, all of one side), turned so that the long side is x.

    They are as large as those windows, or as a tile of that size (y, x) and the limits, px, allow; None where none fits.
    """
    sides, search = rows[["height", "width"]].median().to_numpy(), float(rows["search"].median())
    centre = np.median(expected_shift(rows), axis=0)
    if sides[0] > sides[1]:
        sides, centre = sides[::-1], centre[::-1]
    width = int(min(sides[1], longest, min(tile) - search)) // MULTIPLE * MULTIPLE
    height = int(min(sides[0], widest, width)) // MULTIPLE * MULTIPLE
    across = min(0.0, float(centre[0] + sides[0] - height))  # a narrower crop keeps the width of the overlap that is seen
    return Shape(height, width, search, (across, 0.0)) if height >= MULTIPLE else None


class Augment(NamedTuple):
    """What is done to the crops besides the warp."""

    noise: tuple[float, float]  # further noise, log-uniform, in units of the tile's own deviation
    zoom: tuple[float, float]  # tile px a crop px
    dirt: float  # pattern that lies at the same px of both crops, at most, in units of the crop's deviation
    tries: int = 4  # places drawn for a crop, of which the one with most to see is taken


TILES = Augment(noise=(0.03, 1.0), zoom=(1.0, 1.0), dirt=0.0)  # of the user, which have noise of their own


class SyntheticPairs(NamedTuple):
    """Crops (b, 1, h, w) and the affine (b, 2, 3) that takes a fixed px to its moving px, about the centres."""

    fixed: Tensor
    moving: Tensor
    affine: Tensor


def noise_variance(plane: Plane) -> tuple[float, float]:
    """Offset and slope of the noise's variance over the brightness of a tile (y, x).

    The noise is what a Laplacian of a Laplacian leaves (Immerkaer 1996), by blocks; texture adds to it, so in each class of
    brightness the quieter quarter of the blocks counts, and is set right for what that quarter is of plain noise.
    """
    kernel = np.outer([1, -2, 1], [1, -2, 1]) / 6.0
    rough = ndimage.convolve(plane.astype(np.float64), kernel)
    blocks = (s // 8 * 8 for s in plane.shape)
    h, w = blocks
    means = plane[:h, :w].reshape(h // 8, 8, w // 8, 8).mean((1, 3)).ravel()
    squares = (rough[:h, :w] ** 2).reshape(h // 8, 8, w // 8, 8).mean((1, 3)).ravel()
    classes = np.array_split(np.argsort(means), min(8, means.size))
    level = np.array([means[c].mean() for c in classes])
    variance = np.array([np.quantile(squares[c], 0.25) for c in classes]) / QUIET_VARIANCE
    (offset, slope), _ = nnls(np.stack([np.ones_like(level), level], 1), variance)
    return float(offset), float(slope)


class TileStack(NamedTuple):
    """The tiles (n, 1, y, x) of one dataset, in units of their spread, and their noise's deviation, of the same shape."""

    tiles: Tensor
    noise: Tensor


def stack_tiles(planes: list[Plane], device: torch.device) -> TileStack:
    """The planes (y, x) of one dataset as crops are cut from them."""
    spread = float(np.median([p.std() for p in planes])) or 1.0
    tiles, noise = [], []
    for plane in planes:
        offset, slope = noise_variance(plane)
        tiles.append((plane - plane.mean()) / spread)
        noise.append(np.sqrt(np.clip(offset + slope * ndimage.uniform_filter(plane, 3), 0, None)) / spread)
    stack = [torch.from_numpy(np.stack(part).astype(np.float32)[:, None]).to(device) for part in (tiles, noise)]
    return TileStack(*stack)


def synthetic_pairs(
    source: TileStack, shape: Shape, count: int, generator: torch.Generator, augment: Augment = TILES
) -> SyntheticPairs:
    """Draw `count` pairs of crops with known affines from the tiles."""
    device = source.tiles.device

    def uniform(*size: int) -> Tensor:
        return torch.rand(*size, generator=generator, device=device) * 2 - 1

    def normal(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, device=device)

    shift = torch.tensor(shape.centre, device=device) + uniform(count, 2) * shape.search
    affine = random_affine(uniform(count, 4), shift)
    frame, which = _frames(source, shape, count, generator, augment)
    points = grid(shape.height, shape.width, device).expand(count, -1, -1, -1)
    tiles, noise = source.tiles[which], source.noise[which]
    noise = noise * normal(noise)
    linear = torch.linalg.inv(affine[:, :, :2])
    back = torch.cat([linear, -linear @ affine[:, :, 2:]], -1)
    fixed, _ = sample(tiles + noise, _each(frame, points), mode="bicubic")
    moving, _ = sample(tiles - noise, _each(frame, _each(back, points)), mode="bicubic")
    low, high = (math.log(level) for level in augment.noise)
    level = torch.exp(low + (high - low) * (uniform(count, 1, 1, 1) + 1) / 2) * tiles.std(dim=(2, 3), keepdim=True)
    share = (uniform(count, 1, 1, 1) + 1) / 2  # of the noise's variance, which grows with the light
    profile = uniform(count, 2)
    dirt = blur(normal(fixed), 1.5)
    dirt = augment.dirt * dirt / dirt.std(dim=(2, 3), keepdim=True) * (uniform(count, 1, 1, 1) - 0.5).clamp(min=0) * 2
    views = []
    for view, side in ((fixed, 1.0), (moving, -1.0)):
        light = (view - tiles.amin((2, 3), keepdim=True)).clamp(min=0)
        view = view + level * normal(view) * (1 - share + share * light / (light.mean((2, 3), keepdim=True) + 1e-3)).sqrt()
        view = standardise(view - view.mean(dim=(2, 3), keepdim=True))
        views.append(view + _shading(points, shape, profile, side) + dirt)
    return SyntheticPairs(views[0], views[1], affine)


def random_affine(unit: Tensor, shift: Tensor) -> Tensor:
    """Affines (b, 2, 3) of rotation, scale, aspect and shear from `unit` (b, 4), each within -1 to 1, and shift (b, 2)."""
    turn, scale, aspect, shear = (unit * unit.new_tensor(SYNTHETIC_LIMITS)).unbind(1)
    y = torch.stack([turn.cos() * (1 + scale + aspect), turn.sin() + shear, shift[:, 0]], -1)
    x = torch.stack([shear - turn.sin(), turn.cos() * (1 + scale - aspect), shift[:, 1]], -1)
    return torch.stack([y, x], 1)


def _each(affine: Tensor, points: Tensor) -> Tensor:
    """The points (b, h, w, 2) under each sample's own affine (b, 2, 3)."""
    return points @ affine[:, None, :, :2].mT + affine[:, None, None, :, 2]


def _frames(source: TileStack, shape: Shape, count: int, generator: torch.Generator, augment: Augment) -> tuple[Tensor, Tensor]:
    """Affines (b, 2, 3) from a crop's px to a tile's px, both about their centres, at whole pixels, with quarter turns and
    flips, and the tile of each; of several places the one with most to see."""
    device, size = source.tiles.device, source.tiles.shape[-2:]
    tries, zoom = count * augment.tries, augment.zoom
    which = torch.randint(len(source.tiles), (tries,), generator=generator, device=device)
    turn = torch.randint(4, (tries,), generator=generator, device=device) * (math.pi / 2)
    flip = torch.randint(2, (tries,), generator=generator, device=device) * 2.0 - 1
    cos, sin = turn.cos().round(), turn.sin().round()
    size_px = zoom[0] + (zoom[1] - zoom[0]) * torch.rand(tries, 1, 1, generator=generator, device=device)
    linear = torch.stack([torch.stack([cos, sin * flip], -1), torch.stack([-sin, cos * flip], -1)], 1) * size_px
    half = linear.abs() @ torch.tensor([shape.height / 2, shape.width / 2], device=device)
    lead = linear @ torch.tensor(shape.centre, device=device)  # the moving crop lies back by the expected shift
    room = torch.tensor([s / 2 for s in size], device=device) - half
    low = torch.maximum(-room, lead - room + shape.search / 2)
    high = torch.minimum(room, lead + room - shape.search / 2)
    spread = torch.rand(tries, 2, generator=generator, device=device) - 0.5
    place = (low + high) / 2 + spread * (high - low).clamp(min=0)
    odd = torch.tensor([(s % 2) / 2 for s in size], device=device)  # crops have even sides: keep to the tile's pixels
    place = (place + odd).round() - odd
    frame = torch.cat([linear, place[..., None]], -1)
    coarse = grid(shape.height // 8, shape.width // 8, device) * 8
    small = torch.nn.functional.avg_pool2d(source.tiles, 8)
    seen, _ = sample(small[which], transform(frame, coarse) / 8)
    best = seen.std(dim=(1, 2, 3)).view(count, -1).argmax(1) + torch.arange(count, device=device) * augment.tries
    return frame[best], which[best]


def _shading(points: Tensor, shape: Shape, profile: Tensor, side: float) -> Tensor:
    """The light's fall-off towards the tile's edge: opposite in the two windows across, the same along them."""
    across, along = points[..., 0] / shape.height, points[..., 1] / shape.width
    tilt, bow = profile[:, 0, None, None] * 2, profile[:, 1, None, None] * 4
    return SHADING * (side * tilt * across + bow * along**2)[:, None]
