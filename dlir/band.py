"""A band of the mosaic: the part of the store that one of several jobs writes (`pyramid.py`)."""

from pathlib import Path

from dlir import shards
from dlir.canvas import canvas
from dlir.files import whole
from dlir.pyramid import Pyramid
from dlir.settings import Mosaic


def band(
    tiles: Path,
    illumination: Path,
    exposure: Path,
    placement: Path,
    output: Path,
    *,
    number: int,
    settings: Mosaic,
    threads: int = 1,
    cache: Path | None = None,
) -> None:
    """Fuse the band `number` of `settings.bands`, counted from 0 at the top, into the store `output`, which has no metadata.

    Args:
        cache: a folder where `mosaic` has kept shards, of which those that would be the same are taken over.

    Raises:
        ImageError: when a tile cannot be read any more, or has changed its shape.
    """
    image = canvas(tiles, illumination, exposure, placement, settings)
    with whole(output) as partial:
        pyramid = Pyramid(partial, image.shape, image.dtype, settings)
        roots = pyramid.part(number, settings.bands)
        shards.write(shards.take_over(image, pyramid, roots, partial, cache), partial)
        image.paint(pyramid, roots, threads)
