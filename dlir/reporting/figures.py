"""The pictures of the report: the mosaic with its tiles, one seam before and after registration, the illumination."""

import base64
import io
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
import zarr
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from dlir.core import affine, tables
from dlir.fusion.blend import PlacedTiles, Region, camera_weight
from dlir.fusion.display import grey_limits
from dlir.illumination.blind import filled
from dlir.illumination.fields import Fields, Light
from dlir.reading import image_files
from dlir.reading.image_files import Image, Plane
from dlir.reading.tile_reader import TileReader

SEAM_SIDE = 300  # px, longest side of the crop around a seam
CERTAIN_PART = 0.25  # of the accepted pairs, those of the smallest variance, of which one is shown
DOTS_PER_INCH = 100
OVERVIEW_SIDE = 900  # dots, shortest length of the longer side of the overview
BAR_HEIGHT = 0.7  # inches, the strip below the overview with the colour bar
NUMBER_SIZE = 0.16  # of a tile's shorter side, size of its number
LEAST_NUMBER, LARGEST_NUMBER = 4, 14  # points; smaller numbers are left out
LEAST_RESIDUAL_RANGE = 0.5  # px, the colour bar reaches at least so far
GREY = "#808080"  # text that can be read on a bright and on a dark page
BLIND = "#e08030"  # pixels that show no image


class Seam(NamedTuple):
    """The overlap of two tiles, blended at their nominal and at their registered places."""

    fixed: int
    moving: int
    side: int  # px, of the square crop
    moved: tuple[float, float]  # px, (y, x), from the nominal to the registered place of the moving tile
    figure: str  # PNG, base64


def reference_plane(level: "Image | zarr.Array[Any]", axes: str, reader: TileReader) -> Image:
    """The pixels (channels, y, x) of one level of a mosaic at the reference time and z.

    Args:
        axes: the axes of the level, such as tczyx.
    """
    chosen: dict[str, Any] = {"t": reader.time, "z": slice(None) if reader.z is None else slice(reader.z, reader.z + 1)}
    pixels = np.asarray(level[tuple(chosen.get(axis, slice(None)) for axis in axes)])
    left = axes.replace("t", "")
    pixels = pixels.max(axis=left.index("z")) if "z" in left else pixels
    return pixels if "c" in left else pixels[None]


def overview_figure(store: Path, placed: pd.DataFrame, reader: TileReader, longest: int) -> Figure:
    """The mosaic with the outlines and the numbers of its tiles.

    Args:
        placed: the placement of the tiles (tables.PLACEMENT).
        longest: px, longest side of the picture. The finest level of the pyramid that fits is shown, or the coarsest one.
    """
    # read as plain JSON: the step `mosaic` checked it, and the classes of ome-zarr-models take long to import
    ome: Any = zarr.open_group(store, mode="r").attrs["ome"]
    described = ome["multiscales"][0]
    levels = [zarr.open_array(store / dataset["path"], mode="r") for dataset in described["datasets"]]
    index = next((i for i, level in enumerate(levels) if max(level.shape[-2:]) <= longest), len(levels) - 1)
    pixels = reference_plane(levels[index], "".join(axis["name"] for axis in described["axes"]), reader)
    factor = 2**index
    sizes = np.array([reader.sizes[path] for path in placed["path"]])
    outlines = affine.apply(affine.from_table(placed), affine.corners(*sizes.T)[:, [0, 1, 3, 2]])
    outlines = (outlines - (factor - 1) / 2) / factor

    height, width = pixels.shape[1:]
    scale = max(1.0, OVERVIEW_SIDE / max(height, width)) / DOTS_PER_INCH  # inches per pixel
    figure = Figure(figsize=(max(width * scale, 3.5), height * scale + BAR_HEIGHT))
    share = BAR_HEIGHT / figure.get_figheight()
    axes = figure.add_axes((0, share, 1, 1 - share))
    axes.imshow(stretched(pixels, grey_limits(pixels)), cmap="gray", vmin=0, vmax=1)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.axis("off")

    residual = placed["residual"].to_numpy()
    colours = matplotlib.colormaps["cool"].with_extremes(bad="#a0a0a0")  # "cool" is bright at both ends
    lines = PolyCollection(list(outlines[..., ::-1]), facecolors="none", cmap=colours, linewidths=1.2)
    lines.set_array(np.ma.masked_invalid(residual))
    lines.set_clim(0, max(np.nanmax(residual, initial=0), LEAST_RESIDUAL_RANGE))
    axes.add_collection(lines)
    size = np.median(sizes.min(axis=1)) / factor * scale * 72 * NUMBER_SIZE  # points, 72 to an inch
    for outline, tile in zip(outlines, placed["tile"], strict=True):
        if size >= LEAST_NUMBER:
            y, x = outline.mean(0)
            text = axes.text(x, y, str(tile), color="white", fontsize=min(size, LARGEST_NUMBER), ha="center", va="center")
            text.set_path_effects([withStroke(linewidth=2, foreground="black")])
    bar = figure.colorbar(lines, cax=figure.add_axes((0.25, share * 0.7, 0.5, share * 0.15)), orientation="horizontal")
    _label(bar.ax, "residual, px")
    return figure


def worst_seam(
    listed: pd.DataFrame, placed: pd.DataFrame, accepted: pd.DataFrame, light: Light, exposure: pd.DataFrame
) -> Seam | None:
    """The pair that the stage placed worst, of the quarter of the accepted pairs with the smallest variance.

    Args:
        listed, placed, accepted, exposure: tables.TILES, PLACEMENT, AFFINES and EXPOSURE.

    Returns:
        None when no pair was accepted.

    Raises:
        ImageError: when a tile of the pair can no longer be read.
    """
    if accepted.empty:
        return None
    variance = accepted["var_y"] + accepted["var_x"]
    certain = accepted[variance <= variance.quantile(CERTAIN_PART)]
    places = listed.set_index("tile")[["y", "x"]]
    nominal = places.loc[certain["moving"]].to_numpy() - places.loc[certain["fixed"]].to_numpy()
    centres = certain[["centre_y", "centre_x"]].to_numpy()
    moved = affine.apply(affine.from_table(certain), centres[:, None])[:, 0] - centres - nominal
    worst = int(np.linalg.norm(moved, axis=1).argmax())
    pair = certain.iloc[worst]

    rows = placed.set_index("tile").loc[[pair["fixed"], pair["moving"]]]
    fixed, moving = affine.from_table(rows)
    before, after = affine.translation(nominal[worst]), affine.compose(affine.invert(fixed), moving)
    side = min(SEAM_SIDE, int(tables.sizes(listed, rows.index).min()))
    cameras = listed.set_index("tile")["camera"].loc[rows.index].tolist()
    gains = tables.gains(exposure, rows.index.to_series())
    top, left = np.rint(affine.apply(after, centres[worst][None])[0] - side / 2).astype(int)
    region = Region(int(top), int(left), side, side)
    reader, fused = TileReader(listed), []
    weights, pedestal = [camera_weight(illumination, "linear") for illumination in light], tables.pedestals(exposure)
    blind = dict(zip(rows["path"], (light[camera].blind for camera in cameras), strict=True))

    def read(path: str) -> Image:
        return filled(reader.reference(path), blind[path])

    for to_fixed in (before, after):
        affines = np.stack([affine.translation([0, 0]), to_fixed])
        channels = gains[:, reader.chosen], pedestal[reader.chosen], [illumination.of(reader.chosen) for illumination in light]
        placed_tiles = PlacedTiles(list(rows["path"]), cameras, affines, *channels, read, 1, "linear", weights)
        fused.append(placed_tiles.fuse(region)[0])
    figure = Figure(figsize=(9, 4.8))
    titles = ("at the places of the stage", "registered")
    for panel, pixels, title in zip(figure.subplots(1, 2), fused, titles, strict=True):
        panel.imshow(stretched(pixels, grey_limits(fused[1])), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        panel.set_title(title, color=GREY, fontsize=11)
        panel.axis("off")
    figure.subplots_adjust(0, 0, 1, 0.93, 0.02)
    return Seam(int(pair["fixed"]), int(pair["moving"]), side, (moved[worst][0], moved[worst][1]), png(figure))


def illumination_figure(illumination: Fields) -> Figure:
    """The flat-field, and below it the dark-field where there is one; each channel has a column. Blind pixels are orange."""
    shades = matplotlib.colormaps["gray"].with_extremes(bad=BLIND)
    rows = {"flat-field": illumination.flat, **({"dark-field": illumination.dark} if illumination.dark.any() else {})}
    channels, height, width = illumination.flat.shape
    figure = Figure(figsize=(3.6 * channels, (3.6 * height / width + 0.3) * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), channels, squeeze=False)
    for panels, (name, field) in zip(grid, rows.items(), strict=True):
        for panel, channel in zip(panels, field, strict=True):
            picture = panel.imshow(np.where(illumination.blind, np.nan, channel), cmap=shades)
            panel.axis("off")
            panel.set_title(name, color=GREY, fontsize=11)
            _label(figure.colorbar(picture, ax=panel, fraction=0.046, pad=0.04).ax, "")
    return figure


def stretched(pixels: Image, limits: tuple[float, float]) -> Plane:
    """The pixels (channels, y, x) with the limits taken to 0 and 1: (y, x, 3) for three channels, else their mean (y, x)."""
    shown = np.moveaxis(pixels, 0, -1).astype(np.float32) if len(pixels) == 3 else image_files.channel_mean(pixels)
    low, high = limits
    between: Plane = ((shown - low) / max(high - low, 1e-6)).clip(0, 1)
    return between


def png(figure: Figure) -> str:
    """The figure as a PNG with a transparent background, in base64."""
    file = io.BytesIO()
    quick = {"compress_level": 3}  # by default half of the time of the report, for files that are as large
    figure.savefig(file, format="png", dpi=DOTS_PER_INCH, transparent=True, pil_kwargs=quick)
    return base64.b64encode(file.getvalue()).decode()


def _label(bar: "matplotlib.axes.Axes", text: str) -> None:
    """Give a colour bar a label and ticks that can be read on a dark page too."""
    bar.tick_params(colors=GREY, labelsize=9)
    bar.set_xlabel(text, color=GREY, fontsize=9)
