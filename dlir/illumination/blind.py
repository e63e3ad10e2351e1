"""Blind pixels: those that show no image, such as black frames, padding, the outside of a round field, and dead rows.

They lie at the same pixels of every tile, so registration would match them with each other, and the mosaic would show them. A
pixel is blind when hardly anything ever changes there, from tile to tile, although it should. Two limits are tried: the values
are exactly the same in all tiles, as in a frame; or they differ by no more than the noise of the darkest pixels, as outside of
a round field.

**What could be chance.** A place may be empty in all tiles by chance. So pixels are taken for blind only where unchanging
pixels are rare in the middle of the tiles, at most RARE of all. Sparse specimens, and images whose background is clipped to one
value, do not meet this. Besides, a group of unchanging pixels should have changed often: with n tiles, B blocks that the group
touches, and the part p of the values in the middle that change, n p B has to be at least LEAST_CHANGES. Groups have to touch
the border of the tile, as frames, dead rows and round fields do.

The border of a round field is no step. Pixels there are dim: they show the image, but the light falls to nothing within a few
pixels, and how far it has fallen is measured at each of them.
"""

import logging
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlir.illumination.octaves import Picture, doubled, halved
from dlir.reading.image_files import Image, Plane

log = logging.getLogger(__name__)
Mask = NDArray[np.bool_]  # (y, x), true at blind pixels
MOST_TILES = 24  # tiles from which the change at each pixel is measured
BLOCK = 16  # px, side of the blocks in which a group of pixels is counted; about the size of a structure of the specimen
RARE = 0.02  # part of the pixels in the middle of the tiles that may be unchanged, beside whole rows and columns
WHOLE = 0.9  # part of the pixels of a row or column that are unchanged in a dead one
LEAST_CHANGES = 20.0  # that a group of blind pixels should have shown
FLOOR = 0.01  # quantile of the deviations of all pixels: that of pixels that show noise alone, if there are any
STILL = 2.0  # times that deviation: a pixel that deviates by less shows noise alone
CHANGED = 5.0  # times that deviation: a value that differs by more has changed
LEAST_CONTRAST = 5.0  # times that deviation: the median deviation of all pixels is at least so large, or all is noise
REACH = 16  # px, how far blind pixels spread into a border that is not sharp
LEAST_STEP = 0.5  # times the usual deviation of a pixel between tiles: by so much the light changes at a border
SHARP = 0.92  # part of the light beyond the border; darker pixels beside blind ones belong to a border that is not sharp
DIM = 0.25  # part of that light; beside a border that is not sharp, darker pixels are blind at any distance
ENCLOSED = 9  # px: blind pixels in a gap narrower than this lie between pixels that show the image


class Blind(NamedTuple):
    """The pixels of a camera that show no image, and those beside them that show it in little light."""

    blind: Mask  # (y, x), true where no image is shown
    dim: Mask  # (y, x), true where a border is not sharp: registration leaves it out, the mosaic takes it as the last resort
    light: Plane  # (channels, y, x), the part of the usual light at dim pixels, 1 elsewhere


def find_blind(tiles: NDArray[Any]) -> Blind:
    """Returns the blind and the dim pixels of tiles (n, channels, y, x); a pixel that is blind in one channel counts."""
    blind, dim, light = np.zeros(tiles.shape[2:], bool), np.zeros(tiles.shape[2:], bool), np.ones(tiles.shape[1:], np.float32)
    sample = tiles[:: -(-len(tiles) // MOST_TILES)]
    for channel in range(tiles.shape[1]):
        found = _blind_in_channel(tiles[:, channel], sample[:, channel])
        blind |= found
        label, groups = ndimage.label(found, np.ones((3, 3)))
        for group in range(1, groups + 1):
            border, part = _soft_border(label == group, sample[:, channel])
            blind |= border & (part < DIM)
            dim |= border
            light[channel] = np.where(border, part.clip(DIM, 1), light[channel])
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


def _blind_in_channel(tiles: NDArray[Any], sample: NDArray[Any]) -> Mask:
    """Returns which pixels (y, x) never change in the tiles (n, y, x) of one channel, of which `sample` are some."""
    difference = np.abs(sample - np.median(sample, axis=0).astype(np.float32))
    constant = (tiles == tiles[0]).all(axis=0)
    blind = _rare_groups(constant, float((_middle(difference) > 0).mean()), len(tiles))
    deviation = np.sqrt(np.mean(difference**2, axis=0))
    floor = float(np.quantile(deviation[~blind], FLOOR)) if (~blind).any() else 0.0
    if 0 < floor * LEAST_CONTRAST < np.median(deviation):
        still = ndimage.median_filter(deviation, 3, mode="nearest") < STILL * floor
        blind |= _rare_groups(still | blind, float((_middle(difference) > CHANGED * floor).mean()), len(sample))
    return blind


def _middle(images: NDArray[Any]) -> NDArray[Any]:
    """Returns the middle half, along y and x, of images (..., y, x)."""
    height, width = images.shape[-2:]
    return images[..., height // 4 : height - height // 4, width // 4 : width - width // 4]


def _rare_groups(unchanged: Mask, changes: float, count: int) -> Mask:
    """Returns the unchanged pixels (y, x) of groups at the border of the tile that cannot be unchanged by chance.

    Args:
        changes: p, the part of the values in the middle of the tiles that change.
        count: n, the number of tiles.
    """
    middle = _middle(unchanged)
    if middle[middle.mean(axis=1) < WHOLE][:, middle.mean(axis=0) < WHOLE].mean() > RARE:
        return np.zeros_like(unchanged)
    label, groups = ndimage.label(unchanged, np.ones((3, 3)))
    border = np.unique(np.concatenate([label[0], label[-1], label[:, 0], label[:, -1]]))
    y, x = np.nonzero(label)
    place = label[y, x].astype(np.int64) * label.size + y // BLOCK * label.shape[1] + x // BLOCK
    blocks = np.bincount(np.unique(place) // label.size, minlength=groups + 1)
    found = border[(border > 0) & (count * changes * blocks[border] >= LEAST_CHANGES)]
    return np.isin(label, found)


def _soft_border(blind: Mask, tiles: NDArray[Any]) -> tuple[Mask, Plane]:
    """Returns the pixels (y, x) beside a group of blind ones where the image only begins, and the part of the light there.

    That is the cliff at the border of a round field. There is none beside a sharp frame.

    Args:
        tiles: (n, y, x), of one channel.
    """
    typical = np.median(tiles, axis=0).astype(np.float32)
    contrast = float(np.median(np.abs(tiles - typical).mean(axis=0)))
    distance = np.ceil(ndimage.distance_transform_edt(~blind))
    beyond, nothing = (distance > REACH) & (distance <= 2 * REACH), np.zeros_like(blind)
    outside, inside = float(np.median(typical[blind])), float(np.median(typical[beyond])) if beyond.any() else 0.0
    if not beyond.any() or abs(inside - outside) <= LEAST_STEP * contrast:
        return nothing, typical
    light = (typical - outside) / (inside - outside)
    if np.median(light[distance == 1]) >= SHARP:
        return nothing, typical
    smoothed = ndimage.uniform_filter(light, 3, mode="nearest").astype(np.float32)
    dark = ndimage.binary_propagation(blind, np.ones((3, 3), bool), mask=blind | (smoothed < DIM))
    grown = ndimage.binary_dilation(dark, np.ones((3, 3), bool), REACH, mask=dark | (smoothed < SHARP))
    return np.asarray(grown & ~blind), smoothed
