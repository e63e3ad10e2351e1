"""The steps `mosaic` and `band`: fuse all tiles into an OME-Zarr 0.5 store with its pyramid (`pyramid.py`).

Into both steps flow tiles.csv, illumination.tif, lens.csv, exposure.csv and placement.csv. Out of `mosaic` flows the finished
store. On a cluster, several jobs of the step `band` first write horizontal parts of the store. Then `mosaic` puts these
together by hard links to their files, without copying them, and writes only the levels of the pyramid above.
"""

from pathlib import Path

from dlir.core.atomic import atomically, link_or_copy
from dlir.fusion import reuse
from dlir.fusion.ome_zarr_metadata import shown_by_pixels, write_metadata
from dlir.fusion.plan import MosaicPlan, read_plan
from dlir.fusion.pyramid import Pyramid
from dlir.fusion.settings import Mosaic
from dlir.reading.contents import MOSAIC, Contents


class OutputError(ValueError):
    """The path of the mosaic holds something else."""


def mosaic(
    tiles: Path,
    illumination: Path,
    exposure: Path,
    placement: Path,
    output: Path,
    *,
    lens: Path | None = None,
    canvas: Path | None = None,
    local: Path | None = None,
    settings: Mosaic = Mosaic(),
    sums: Path | None = None,
    bands: list[Path] | None = None,
    threads: int = 1,
    cache: Path | None = None,
) -> None:
    """Fuses the tiles into the OME-Zarr store `output`, in their own data type. An old store stands until then.

    Args:
        tiles, exposure, placement: the tables TILES, EXPOSURE and PLACEMENT.
        illumination: the TIFF of the fields.
        lens: the distortion of each camera (tables.LENS); None for no distortion.
        canvas: the size of the mosaic that all rounds of a specimen share (tables.CANVAS); None: that of the tiles.
        local: how the tissue of this round was stretched (tables.LOCAL), which is mended; None where it was not.
        output: the folder of the store.
        sums: the file for the SHA-256 of each file of the store, as `sha256sum --check` reads it.
        settings: section `mosaic` of config.yaml.
        bands: the stores of all bands, in any order, that jobs of the step `band` wrote; None to fuse all tiles here.
        threads: number of blocks that are fused at the same time.
        cache: the folder that keeps what the shards were fused from, for the next run, which then fuses only those that differ;
            None for no cache.

    Raises:
        IlluminationError: when the illumination was estimated from tiles of another kind.
        ImageError: when a tile cannot be read, or has changed.
        CanvasError: when a tile lies outside the canvas.
    """
    plan = read_plan(tiles, illumination, exposure, placement, settings, lens, canvas, local)
    fuse(plan, output, sums=sums, bands=bands, threads=threads, cache=cache)


def fuse(
    plan: MosaicPlan,
    output: Path,
    *,
    sums: Path | None = None,
    bands: list[Path] | None = None,
    threads: int = 1,
    cache: Path | None = None,
) -> None:
    """Writes a planned mosaic to the OME-Zarr 0.5 store `output`. An old store stands until the new one takes its place.

    Args:
        plan: the mosaic, as `plan_mosaic` returns it.
        output: the folder of the store, which is replaced if it exists. Its name up to the first dot becomes the image's name.
        sums: the file for the SHA-256 of each file of the store; None for no such file.
        bands: the stores of all bands, in any order, that jobs of the step `band` wrote; None to fuse all tiles here.
        threads: number of blocks that are fused at the same time; it does not change the result.
        cache: as in `mosaic`; it needs `sums`.

    Raises:
        ImageError: when a tile cannot be read, or has changed.
        BlockingIOError: when another process is writing the same store.
        OutputError: when `output` exists and is no Zarr store; a store is replaced.
    """
    if output.exists() and not any(output.rglob("zarr.json")):
        raise OutputError(f"{output}: exists and is no Zarr store, so it is not replaced: give another path, or move it away")
    with atomically(output) as partial:
        pyramid = Pyramid(partial, plan.shape, plan.dtype, plan.settings)
        if bands:
            inputs = reuse.read_inputs(bands)
            for band in bands:
                for shard in (path for path in band.glob("*/c/**/*") if path.is_file()):
                    link_or_copy(shard, partial / shard.relative_to(band))
            plan.write_upper_levels(pyramid, len(bands), threads)
        else:
            roots = pyramid.band_blocks(0, 1)
            inputs = reuse.reuse_shards(plan, pyramid, roots, partial, output, cache)
            plan.write(pyramid, roots, threads)
        shown = shown_by_pixels(pyramid, plan.reader.channel_names)
        write_metadata(partial, pyramid, output.name.split(".")[0], plan.pixel_size, shown)
    if sums:
        found = Contents()
        listed = found.sums(str(path) for path in sorted(output.rglob("*")) if path.is_file())
        with atomically(sums) as partial:
            partial.write_text("".join(f"{sha256}  {Path(path).relative_to(sums.parent)}\n" for path, sha256 in listed.items()))
        if cache:
            found.write(cache / MOSAIC)
            by_name = {str(Path(path).relative_to(output)): sha256 for path, sha256 in listed.items()}
            reuse.keep_inputs(plan, pyramid, inputs, by_name, cache)


def band(
    tiles: Path,
    illumination: Path,
    exposure: Path,
    placement: Path,
    output: Path,
    *,
    number: int,
    lens: Path | None = None,
    canvas: Path | None = None,
    local: Path | None = None,
    settings: Mosaic = Mosaic(),
    threads: int = 1,
    last: Path,
    cache: Path | None = None,
) -> None:
    """Fuses one band, a horizontal part of the mosaic, into the store `output`, which has no metadata.

    Args:
        tiles, exposure, placement: the tables TILES, EXPOSURE and PLACEMENT.
        illumination: the TIFF of the fields.
        lens: the distortion of each camera (tables.LENS); None for no distortion.
        canvas: the size of the mosaic that all rounds of a specimen share (tables.CANVAS); None: that of the tiles.
        local: how the tissue of this round was stretched (tables.LOCAL), which is mended; None where it was not.
        output: the folder of the store of this band.
        number: which of the `settings.bands` bands is fused, counted from 0 at the top.
        settings: section `mosaic` of config.yaml.
        threads: number of blocks that are fused at the same time.
        last: the folder of the mosaic of the last run, which may be missing. Shards that would be the same are reused.
        cache: the folder in which `mosaic` kept what they were fused from; None for no cache.

    Raises:
        IlluminationError: when the illumination was estimated from tiles of another kind.
        ImageError: when a tile cannot be read, or has changed.
        CanvasError: when a tile lies outside the canvas.
    """
    plan = read_plan(tiles, illumination, exposure, placement, settings, lens, canvas, local)
    with atomically(output) as partial:
        pyramid = Pyramid(partial, plan.shape, plan.dtype, settings)
        roots = pyramid.band_blocks(number, settings.bands)
        reuse.write_inputs(reuse.reuse_shards(plan, pyramid, roots, partial, last, cache), partial)
        plan.write(pyramid, roots, threads)
