"""The mosaic: all tiles fused and written as an OME-Zarr 0.5 with its pyramid (`pyramid.py`).

The store is made in one job, or put together from bands (`band.py`) that others have made: their files become those of the
store without being copied, and only the levels above are left to be written.
"""

from pathlib import Path

from dlir.core.atomic import atomically, link_or_copy
from dlir.fusion import reuse
from dlir.fusion.ome_zarr_metadata import describe
from dlir.fusion.plan import MosaicPlan, read_plan
from dlir.fusion.pyramid import Pyramid
from dlir.fusion.settings import Mosaic


def mosaic(
    tiles: Path,
    illumination: Path,
    exposure: Path,
    placement: Path,
    output: Path,
    *,
    settings: Mosaic = Mosaic(),
    bands: list[Path] | None = None,
    threads: int = 1,
    cache: Path | None = None,
) -> None:
    """Fuse the tiles of `placement` into the OME-Zarr store `output`, in their dtype; a failed run leaves no store.

    Args:
        bands: the stores of all bands, in any order, where other jobs have made them.
        cache: a folder where shards are kept: only those that differ from those of the last run are fused again.

    Raises:
        ImageError: when a tile cannot be read any more, or has changed its shape.
    """
    image = read_plan(tiles, illumination, exposure, placement, settings)
    fuse(image, output, bands=bands, threads=threads, cache=cache)


def fuse(
    image: MosaicPlan, output: Path, *, bands: list[Path] | None = None, threads: int = 1, cache: Path | None = None
) -> None:
    """Write a planned mosaic to the OME-Zarr store `output`; see `mosaic` for the arguments and the errors."""
    with atomically(output) as partial:
        pyramid = Pyramid(partial, image.shape, image.dtype, image.settings)
        if bands:
            made = reuse.read_inputs(bands)
            for band in bands:
                for shard in (path for path in band.glob("*/c/**/*") if path.is_file()):
                    link_or_copy(shard, partial / shard.relative_to(band))
            image.write_upper_levels(pyramid, len(bands), threads)
        else:
            roots = pyramid.part(0, 1)
            made = reuse.reuse_shards(image, pyramid, roots, partial, cache)
            image.write(pyramid, roots, threads)
        describe(partial, pyramid, output.name.split(".")[0], image.pixel_size, image.reader.channel_names)
    if cache:
        reuse.keep_shards(image, pyramid, made, output, cache)


def band(
    tiles: Path,
    illumination: Path,
    exposure: Path,
    placement: Path,
    output: Path,
    *,
    number: int,
    settings: Mosaic = Mosaic(),
    threads: int = 1,
    cache: Path | None = None,
) -> None:
    """Fuse the band `number` of `settings.bands`, counted from 0 at the top, into the store `output`, which has no metadata.

    Args:
        cache: a folder where `mosaic` has kept shards, of which those that would be the same are taken over.

    Raises:
        ImageError: when a tile cannot be read any more, or has changed its shape.
    """
    image = read_plan(tiles, illumination, exposure, placement, settings)
    with atomically(output) as partial:
        pyramid = Pyramid(partial, image.shape, image.dtype, settings)
        roots = pyramid.part(number, settings.bands)
        reuse.write_inputs(reuse.reuse_shards(image, pyramid, roots, partial, cache), partial)
        image.write(pyramid, roots, threads)
