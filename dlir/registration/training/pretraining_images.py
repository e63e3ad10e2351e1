"""The images that the generic weights are trained on: some of scikit-image, and procedural specimens of several kinds.

Not among them, so that tests can use them: hubble_deep_field, coins, gravel and cell of scikit-image.
"""

from collections.abc import Callable, Iterator

import numpy as np
import skimage.data
from scipy import ndimage

from dlir.core.affine import Array
from dlir.reading.image_files import Plane

SIDE = 512  # px, of each image
PACKAGED = ("retina", "immunohistochemistry", "grass", "brick", "camera", "moon")  # of skimage.data
Random = np.random.Generator


def pretraining_images(count: int, seed: int) -> Iterator[Plane]:
    """Yields parts of the packaged images, then `count` procedural specimens: planes (SIDE, SIDE) with values of 0 to about
    1."""
    for name in PACKAGED:
        image = np.asarray(getattr(skimage.data, name)(), np.float64)
        image = image[..., 1] if image.ndim == 3 else image
        starts = [range(150 if n > 2 * SIDE else 0, n - SIDE + 1, SIDE) for n in image.shape]
        for y in starts[0]:
            for x in starts[1]:
                yield _scaled(image[y : y + SIDE, x : x + SIDE])
    for index in range(count):
        make = KINDS[index % len(KINDS)]
        yield _scaled(make(np.random.default_rng([seed, index])))


def _scaled(image: Array) -> Plane:
    """The image with its quantiles of 0.5 % and 99.9 % at 0 and 1, cut at 0 and 1.5."""
    low, high = np.percentile(image, [0.5, 99.9])
    return np.asarray(((image - low) / (high - low + 1e-6)).clip(0, 1.5), np.float32)


def spots(rng: Random) -> Array:
    """Returns bright spots of a few px on black, few or many."""
    image = np.zeros((SIDE, SIDE))
    for sigma in rng.uniform(0.8, 2.5, 4):
        points = np.zeros((SIDE, SIDE))
        number = rng.poisson(10 ** rng.uniform(-3.9, -2.7) * SIDE**2)
        np.add.at(points, tuple(rng.integers(0, SIDE, (2, number))), rng.lognormal(0, 0.7, number))
        image += ndimage.gaussian_filter(points, sigma) * sigma**2
    return image


def filaments(rng: Random) -> Array:
    """Returns blurred lines along smooth random walks."""
    image = np.zeros((SIDE, SIDE))
    for _ in range(int(rng.uniform(8, 50))):
        length = int(rng.uniform(150, 900))
        turn = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.03, length))
        y, x = rng.uniform(0, SIDE) + np.cumsum(np.sin(turn)), rng.uniform(0, SIDE) + np.cumsum(np.cos(turn))
        inside = (y >= 0) & (y < SIDE) & (x >= 0) & (x < SIDE)
        np.add.at(image, (y[inside].astype(int), x[inside].astype(int)), rng.lognormal(0, 0.4))
    return ndimage.gaussian_filter(image, rng.uniform(0.8, 2.0))


def nuclei(rng: Random) -> Array:
    """Returns textured ellipses on black."""
    image = np.zeros((SIDE, SIDE))
    grain = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), rng.uniform(0.7, 2.5))
    grain /= grain.std()
    for _ in range(int(10 ** rng.uniform(1.0, 2.2))):
        (y, x), (a, b), turn = rng.uniform(0, SIDE, 2), rng.uniform(5, 20, 2), rng.uniform(0, np.pi)
        reach = int(1.5 * max(a, b)) + 4
        part = tuple(slice(max(0, int(c) - reach), int(c) + reach) for c in (y, x))
        v, u = np.meshgrid(
            *(np.arange(p.start, min(p.stop, SIDE)) - c for p, c in zip(part, (y, x), strict=True)), indexing="ij"
        )
        radius = np.hypot((u * np.cos(turn) + v * np.sin(turn)) / a, (v * np.cos(turn) - u * np.sin(turn)) / b)
        disc = 1 / (1 + np.exp(((radius - 1) * min(a, b) / 0.6).clip(-30, 30)))
        image[part] = np.maximum(image[part], disc * rng.lognormal(0, 0.4) * (1 + 0.25 * grain[part]))
    return ndimage.gaussian_filter(image, rng.uniform(0.7, 1.3))


def texture(rng: Random) -> Array:
    """Returns dense structure of several sizes, as in stained tissue."""
    image = np.zeros((SIDE, SIDE))
    for sigma in (rng.uniform(0.6, 1.2), rng.uniform(2, 4), rng.uniform(6, 16)):
        band = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), sigma)
        image += rng.uniform(0.2, 1) * band / band.std()
    return image


def islands(rng: Random) -> Array:
    """Returns one of the other kinds inside a smooth random mask, and black elsewhere, so that most overlaps are nearly
    empty."""
    mask = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), rng.uniform(20, 50))
    inside = 1 / (1 + np.exp(-12 * (mask / mask.std() - rng.uniform(0, 0.8))))
    picked: Callable[[Random], Array] = (spots, filaments, nuclei, texture)[rng.integers(4)]
    image = picked(rng)
    return np.asarray((image - image.min()) * inside)


KINDS = (spots, filaments, nuclei, texture, nuclei, filaments, islands, texture)
