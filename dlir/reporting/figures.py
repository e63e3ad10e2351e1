"""The pictures of the report: the mosaic with its tiles, a seam before and after, the camera's patterns."""

import base64
import io
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import zarr
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from dlir.core import affine, tables
from dlir.fusion.blend import PlacedTiles, Region
from dlir.illumination.fields import Fields
from dlir.reading import image_files
from dlir.reading.image_files import Image, Plane
from dlir.reading.tile_reader import TileReader

SEAM = 300  # px, longest side of the crop around a seam
GREY = "#808080"  # text that can be read on a light and on a dark page


def at_reference(level: "Image | zarr.Array[Any]", axes: str, stacks: TileReader) -> Image:
    """The pixels (channels, y, x) of a mosaic with the axes, such as tczyx, at the reference time and z."""
    chosen: dict[str, Any] = {"t": stacks.time, "z": slice(None) if stacks.z is None else slice(stacks.z, stacks.z + 1)}
    pixels = np.asarray(level[tuple(chosen.get(axis, slice(None)) for axis in axes)])
    left = axes.replace("t", "")
    pixels = pixels.max(axis=left.index("z")) if "z" in left else pixels
    return pixels if "c" in left else pixels[None]


def overview(store: Path, placed: pd.DataFrame, stacks: TileReader, longest: int) -> Figure:
    """The mosaic with the outlines and the numbers of its tiles (y, x), at most `longest` px if the pyramid has that."""
    ome: Any = zarr.open_group(store, mode="r").attrs["ome"]  # as `mosaic` checked it; the models take long to import
    described = ome["multiscales"][0]
    levels = [zarr.open_array(store / dataset["path"], mode="r") for dataset in described["datasets"]]
    index = next((i for i, level in enumerate(levels) if max(level.shape[-2:]) <= longest), len(levels) - 1)
    pixels = at_reference(levels[index], "".join(axis["name"] for axis in described["axes"]), stacks)
    factor = 2**index
    outlines = affine.apply(affine.from_table(placed), affine.corners(*stacks.size)[[0, 1, 3, 2]])
    outlines = (outlines - (factor - 1) / 2) / factor

    height, width = pixels.shape[1:]
    scale = max(1.0, 900 / max(height, width)) / 100  # inches a pixel, at 100 dots an inch
    figure = Figure(figsize=(max(width * scale, 3.5), height * scale + 0.7))
    share = 0.7 / figure.get_figheight()
    axes = figure.add_axes((0, share, 1, 1 - share))
    axes.imshow(display(pixels, _limits(pixels)), cmap="gray", vmin=0, vmax=1)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.axis("off")

    residual = placed["residual"].to_numpy()
    colours = matplotlib.colormaps["cool"].with_extremes(bad="#a0a0a0")  # bright all along
    lines = PolyCollection(list(outlines[..., ::-1]), facecolors="none", cmap=colours, linewidths=1.2)
    lines.set_array(np.ma.masked_invalid(residual))
    lines.set_clim(0, max(np.nanmax(residual, initial=0), 0.5))
    axes.add_collection(lines)
    size = min(stacks.size) / factor * scale * 72 * 0.16  # points
    for outline, tile in zip(outlines, placed["tile"], strict=True):
        if size >= 4:
            y, x = outline.mean(0)
            text = axes.text(x, y, str(tile), color="white", fontsize=min(size, 14), ha="center", va="center")
            text.set_path_effects([withStroke(linewidth=2, foreground="black")])
    bar = figure.colorbar(lines, cax=figure.add_axes((0.25, share * 0.7, 0.5, share * 0.15)), orientation="horizontal")
    _label(bar.ax, "residual, px")
    return figure


def seam(listed: pd.DataFrame, placed: pd.DataFrame, accepted: pd.DataFrame, patterns: Fields, exposed: pd.DataFrame) -> str:
    """The pair that the stage placed worst, among those quarter whose match is the surest, before and after."""
    if accepted.empty:
        return "<p>No pair was accepted, so there is none to show.</p>"
    variance = accepted["var_y"] + accepted["var_x"]
    clear = accepted[variance <= variance.quantile(0.25)]
    places = listed.set_index("tile")[["y", "x"]]
    nominal = places.loc[clear["moving"]].to_numpy() - places.loc[clear["fixed"]].to_numpy()
    centres = clear[["centre_y", "centre_x"]].to_numpy()
    moved = affine.apply(affine.from_table(clear), centres[:, None])[:, 0] - centres - nominal
    worst = int(np.linalg.norm(moved, axis=1).argmax())
    pair = clear.iloc[worst]

    rows = placed.set_index("tile").loc[[pair["fixed"], pair["moving"]]]
    fixed, moving = affine.from_table(rows)
    before, after = affine.translation(nominal[worst]), affine.compose(affine.invert(fixed), moving)
    side = min(SEAM, *patterns.flat.shape[1:])
    gains = tables.gains(exposed, rows.index.to_series())
    top, left = np.rint(affine.apply(after, centres[worst][None])[0] - side / 2).astype(int)
    region = Region(int(top), int(left), side, side)
    stacks, both = TileReader(listed), []
    for second in (before, after):
        affines = np.stack([affine.translation([0, 0]), second])
        chosen = gains[:, stacks.chosen], patterns.of(stacks.chosen)
        both.append(PlacedTiles(list(rows["path"]), affines, *chosen, stacks.reference, 1, "linear").fuse(region)[0])
    figure = Figure(figsize=(9, 4.8))
    for panel, pixels, title in zip(figure.subplots(1, 2), both, ("where the stage says", "registered"), strict=True):
        panel.imshow(display(pixels, _limits(both[1])), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        panel.set_title(title, color=GREY, fontsize=11)
        panel.axis("off")
    figure.subplots_adjust(0, 0, 1, 0.93, 0.02)
    words = (
        f"<p>Tiles {pair['fixed']} and {pair['moving']}, {side} px at full zoom around the middle of their overlap, blended. "
        f"Registration moved tile {pair['moving']} by {moved[worst][0]:+.1f} px in y and {moved[worst][1]:+.1f} px in x."
        " Of the surest matches, this one is furthest from where the stage says.</p>"
    )
    return words + picture(figure, "The seam before and after", "wide")


def patterns_of(patterns: Fields) -> Figure:
    """The flat-field, and below it the dark-field if there is one, a column a channel."""
    rows = {"flat-field": patterns.flat, **({"dark-field": patterns.dark} if patterns.dark.any() else {})}
    channels, height, width = patterns.flat.shape
    figure = Figure(figsize=(3.6 * channels, (3.6 * height / width + 0.3) * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), channels, squeeze=False)
    for panels, (name, pattern) in zip(grid, rows.items(), strict=True):
        for panel, channel in zip(panels, pattern, strict=True):
            picture = panel.imshow(channel, cmap="gray")
            panel.axis("off")
            panel.set_title(name, color=GREY, fontsize=11)
            _label(figure.colorbar(picture, ax=panel, fraction=0.046, pad=0.04).ax, "")
    return figure


def _label(bar: "matplotlib.axes.Axes", text: str) -> None:
    """Give a colour bar a label and ticks that a dark page shows too."""
    bar.tick_params(colors=GREY, labelsize=9)
    bar.set_xlabel(text, color=GREY, fontsize=9)


def display(pixels: Image, limits: tuple[float, float]) -> Plane:
    """The pixels (channels, y, x) between the limits as 0 to 1: (y, x, 3) for three channels, else their mean (y, x)."""
    shown = np.moveaxis(pixels, 0, -1).astype(np.float32) if len(pixels) == 3 else image_files.channel_mean(pixels)
    low, high = limits
    stretched: Plane = ((shown - low) / max(high - low, 1e-6)).clip(0, 1)
    return stretched


def _limits(pixels: Image) -> tuple[float, float]:
    """The grey values between which nearly all pixels that a tile covers lie."""
    covered = pixels[:, pixels.any(0)].astype(np.float32)
    if not covered.size:
        return 0.0, 1.0
    low, high = np.percentile(covered, [0.5, 99.7])
    return float(low), float(high)


def picture(figure: Figure, text: str, kind: str = "") -> str:
    """The figure as an element of the page."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100, transparent=True)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img class="{kind}" alt="{text}" src="data:image/png;base64,{data}">'
