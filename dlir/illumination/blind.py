"""Blind pixels: those that show no image, such as black frames, padding, the outside of a round field, and dead rows.

They lie at the same pixels of every tile, so registration would match them with each other, and the mosaic would show them. But
pixels of the specimen must never be taken for blind, and an empty place of the specimen does not change either. So pixels are
blind only in two cases, and always in groups at the border of the tile:

- **One value.** All pixels of the group have one and the same value in all tiles and channels, and this value hardly occurs in
  the middle of the tiles, or beside the group. So neither saturated glass nor a background that is clipped to 0 is blind.
- **No light.** In all tiles the group shows noise alone, at one level, darker than anything in the middle of the tiles. Such
  groups lie in at least three corners and end at a cliff: within a few pixels there is an image. Shading and an empty
  background have no cliff, and the empty side of a specimen fills two corners.

What may be blind and does not meet these conditions stays in the image. The cliff at the border of a round field is dim: its
pixels show the image, but the light falls to nothing there, and how far it has fallen is measured at each of them.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlir.illumination.octaves import Picture, doubled, halved
from dlir.reading.image_files import Image, Plane

Mask = NDArray[np.bool_]  # (y, x), true at blind pixels
MOST_TILES = 24  # tiles from which the change at each pixel is measured
FEWEST_TILES = 4  # tiles from which on a value may occur as often as COMMON; with fewer, as RARE
RARE, COMMON = 1e-3, 0.03  # part of the pixels in the middle of the tiles that may have the value of blind ones
LEAST_GROUP = 0.25  # of the shorter side of a tile: so many pixels a group has at least
FLOOR = 0.01  # quantile of the deviations of all pixels: that of pixels that show noise alone, if there are any
STILL = 2.0  # times that deviation: a pixel that deviates by less shows noise alone
LEAST_CONTRAST = 5.0  # times that deviation: the median deviation of all pixels is at least so large, or all is noise
DARKEST = 1e-3  # quantile of the pixels in the middle of the tiles, than which a group without light is darker
EVEN = 0.1  # of the step at its cliff: the level of a group without light varies by no more
REACH = 16  # px, how far the cliff of a round field may reach
LEAST_CORNERS = 3  # of the tile, in which there is no light
BRIGHTEST = 0.75  # part of the light beyond the cliff that a blind pixel never reaches
BESIDE = 0.1  # part of the pixels beside a group of one value that may have this value
LIT = 0.92  # part of the light beyond the cliff; darker pixels belong to the cliff
DIM = 0.25  # part of that light; darker pixels of the cliff are blind
ENCLOSED = 9  # px: blind pixels in a gap narrower than this lie between pixels that show the image


class Blind(NamedTuple):
    """The pixels of a camera that show no image, and those beside them that show it in little light."""

    blind: Mask  # (y, x), true where no image is shown
    dim: Mask  # (y, x), true where a border is not sharp: registration leaves it out, the mosaic takes it as the last resort
    light: Plane  # (channels, y, x), the part of the usual light at dim pixels, 1 elsewhere


def find_blind(tiles: NDArray[Any]) -> Blind:
    """Returns the blind and the dim pixels of tiles (n, channels, y, x)."""
    sample = tiles[:: -(-len(tiles) // MOST_TILES)]
    blind, light = of_one_value(tiles), np.ones(tiles.shape[1:], np.float32)
    dim = np.zeros_like(blind)
    without_light = [_without_light(sample[:, channel], blind) for channel in range(tiles.shape[1])]
    candidates = _groups(np.all(without_light, axis=0)) if len(tiles) >= FEWEST_TILES else []
    corners = sum(bool(group[y, x]) for group in candidates for y in (0, -1) for x in (0, -1))
    for group in candidates if corners >= LEAST_CORNERS else []:
        cliffs = [_cliff(group, sample[:, channel]) for channel in range(tiles.shape[1])]
        if not all(cliff is None for cliff in cliffs):
            blind |= group
        for channel, cliff in enumerate(cliffs):
            if cliff is not None:
                blind |= cliff[0] & (cliff[1] < DIM) & (cliff[2] < BRIGHTEST)
                dim |= cliff[0]
                light[channel] = np.where(cliff[0], cliff[1].clip(DIM, 1), light[channel])
    dim &= ~blind
    return Blind(blind, dim, np.where(dim, light, np.float32(1)))


def enclosed(blind: Mask) -> Mask:
    """Returns those blind pixels that lie in a narrow gap between others, such as a dead row in the middle of the tile."""
    closed: Mask = np.zeros_like(blind)
    for axis in (0, 1):
        line = np.ones((ENCLOSED, 1) if axis == 0 else (1, ENCLOSED), bool)
        closed |= ndimage.binary_closing(~blind, line)
    return closed & blind


def filled(tile: Image, blind: Mask) -> Image:
    """Returns a tile (channels, y, x) whose blind pixels continue the image beside them; without any, the tile itself.

    No edge is left where the image ends. A blind pixel takes the mean of the nearest block that shows the image, blocks being
    the larger the farther away it is, interpolated linearly (pull-push; Gortler et al. 1996).
    """
    if not blind.any() or blind.all():
        return tile
    channels = np.stack([_pulled(channel.astype(np.float32), (~blind).astype(np.float32)) for channel in tile])
    return np.where(blind, channels if tile.dtype.kind == "f" else np.rint(channels), tile).astype(tile.dtype)


def _pulled(image: Picture, shown: Picture) -> Picture:
    """Returns an image (y, x) in which pixels that are not `shown` (y, x), 1 or 0, are interpolated from coarser images."""
    if shown.all():
        return image
    weight = halved(shown)
    mean = halved(image * shown) / np.maximum(weight, np.float32(1e-6))
    coarse = _pulled(mean, (weight > 0).astype(np.float32))
    return np.asarray(np.where(shown > 0, image, doubled(coarse, image.shape)), np.float32)


def _middle(images: NDArray[Any]) -> NDArray[Any]:
    """Returns the middle half, along y and x, of images (..., y, x)."""
    height, width = images.shape[-2:]
    return images[..., height // 4 : height - height // 4, width // 4 : width - width // 4]


def _groups(pixels: Mask) -> list[Mask]:
    """Returns the connected groups of pixels (y, x) that touch the border of the tile and are large enough."""
    label, _ = ndimage.label(pixels, np.ones((3, 3)))
    at_border = np.unique(np.concatenate([label[0], label[-1], label[:, 0], label[:, -1]]))
    size = np.bincount(label.ravel())
    return [label == n for n in at_border[at_border > 0] if size[n] >= LEAST_GROUP * min(pixels.shape)]


def of_one_value(tiles: NDArray[Any]) -> Mask:
    """Returns the pixels (y, x) of groups that have one and the same value in all tiles (n, channels, y, x)."""
    first, blind = tiles[0], np.zeros(tiles.shape[2:], bool)
    constant = ~blind
    for tile in tiles[1:]:
        constant &= (tile == first).all(axis=0)
    if not constant.any() or len(tiles) < 2:
        return blind
    often = COMMON if len(tiles) >= FEWEST_TILES else RARE
    middle = _middle(tiles)
    values, counts = np.unique(first[:, constant], axis=1, return_counts=True)
    for value in values.T[counts >= LEAST_GROUP * min(blind.shape)]:
        occurs = (middle == value[:, None, None]).all(axis=1)
        lines = occurs.all(axis=0)  # a dead row or column may cross the middle
        if (occurs & ~lines).mean() <= often and lines.mean() <= often:
            for group in _groups(constant & (first == value[:, None, None]).all(axis=0)):
                beside = ndimage.binary_dilation(group, np.ones((3, 3), bool), 2) & ~group & ~constant
                if (tiles[:, :, beside] == value[:, None]).all(axis=1).mean() <= BESIDE:
                    blind |= group
    return blind


def _without_light(tiles: NDArray[Any], blind: Mask) -> Mask:
    """Returns the pixels (y, x) that show noise alone in the tiles (n, y, x) of one channel, and are darker than their middle.

    Args:
        blind: pixels that are known to be blind.
    """
    typical = _median(tiles)
    square = np.zeros(typical.shape, np.float32)
    for tile in tiles:
        square += (tile - typical).astype(np.float32) ** 2
    deviation = np.sqrt(square / np.float32(len(tiles)))
    noisy = deviation[~blind & (deviation > 0)]
    floor = float(np.quantile(noisy, FLOOR)) if noisy.size else np.inf
    if floor * LEAST_CONTRAST >= np.median(deviation):
        return np.zeros_like(blind)
    still = ndimage.median_filter(deviation, 3, mode="nearest") < STILL * floor
    darkest = float(np.quantile(_middle(tiles), DARKEST))
    return np.asarray(still & (ndimage.median_filter(typical, 3, mode="nearest") + STILL * floor < darkest))


def _median(tiles: NDArray[Any]) -> NDArray[Any]:
    """Returns the median (y, x) of tiles (n, y, x), some rows at a time."""
    rows = max(1, 2**24 // tiles[:, :1].size)
    starts = range(0, tiles.shape[1], rows)
    return np.concatenate([np.median(tiles[:, start : start + rows], axis=0) for start in starts])


def _cliff(group: Mask, tiles: NDArray[Any]) -> tuple[Mask, Plane, Plane] | None:
    """Returns the cliff (y, x) at the border of a group without light, and the median and the largest light at each pixel.

    The light is a part of that beyond the cliff.

    None where the group ends at no cliff, or begins in no corner.

    Args:
        tiles: (n, y, x), of one channel.
    """
    typical = _median(tiles).astype(np.float32)
    distance = ndimage.distance_transform_edt(~group)
    beyond = (distance > REACH) & (distance <= 2 * REACH)
    if not beyond.any() or not any(group[y, x] for y in (0, -1) for x in (0, -1)):
        return None
    outside, inside = float(np.median(typical[group])), float(np.quantile(typical[beyond], 0.25))
    level = ndimage.uniform_filter(typical, 5, mode="nearest")[ndimage.binary_erosion(group, iterations=3, border_value=1)]
    if not level.size or inside <= outside or np.ptp(np.quantile(level, (0.05, 0.95))) > EVEN * (inside - outside):
        return None
    light, most = (
        ndimage.uniform_filter((each - outside) / (inside - outside), 3, mode="nearest").astype(np.float32)
        for each in (typical, tiles.max(axis=0).astype(np.float32))
    )
    dark = ndimage.binary_propagation(group, np.ones((3, 3), bool), mask=group | (light < DIM))
    grown = ndimage.binary_dilation(dark, np.ones((3, 3), bool), REACH, mask=dark | (light < LIT))
    return np.asarray(grown & ~group), light, most
