"""The page on a mosaic: overview, one seam before and after, the camera's patterns, self-check and residuals of the pairs.

The residual of a pair is the distance between the two places that the mosaic gives to the middle of the overlap: through
the moving tile, and through the fixed tile by way of the pair's own affine. The page is one file that needs no network.
"""

import base64
import io
import logging
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import zarr
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from ome_zarr_models.v05.image import Image as ImageModel

from dlir import affine, images, light, tables
from dlir.files import whole
from dlir.fusion import Placed, Region
from dlir.images import Image, Plane
from dlir.light import Light
from dlir.settings import Report
from dlir.stacks import Stacks

log = logging.getLogger(__name__)
SEAM = 300  # px, longest side of the crop around a seam
ROWS = 50  # of a table on the page
GREY = "#808080"  # text that can be read on a light and on a dark page
STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 75rem; margin: 0 auto; padding: 1rem; }
h1, h2 { line-height: 1.2; margin: 2rem 0 .5rem; }
h1 { margin-top: 0; }
p { margin: .5rem 0; max-width: 48rem; }
img { display: block; max-width: 100%; height: auto; margin: .5rem 0; }
.wide { width: 100%; }
.numbers { display: flex; flex-wrap: wrap; gap: .5rem; padding: 0; }
.numbers li { flex: 1 1 8rem; list-style: none; border: 1px solid #8886; border-radius: .4rem; padding: .5rem .75rem; }
.numbers b { display: block; font-size: 1.3rem; line-height: 1.3; white-space: nowrap; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .15rem .75rem; text-align: right; border-bottom: 1px solid #8884; }
.reasons th:last-child, .reasons td:last-child { text-align: left; }
"""


def report(
    tiles: Path,
    illumination: Path,
    affines: Path,
    placement: Path,
    exposure: Path,
    mosaic: Path,
    selfcheck: Path,
    output: Path,
    *,
    settings: Report,
    accuracy: Path | None = None,
) -> None:
    """Write the page `output`; its title is the name of the folder that it lies in.

    Raises:
        ImageError: when a tile at the seam that is shown cannot be read any more.
    """
    listed, placed = tables.read(tiles, tables.TILES), tables.read(placement, tables.PLACEMENT)
    pairs = tables.read(affines, tables.AFFINES)
    pairs["residual"] = residuals(pairs, placed)
    patterns, exposed, stacks = light.read(illumination), tables.read(exposure, tables.EXPOSURE), Stacks(listed)
    errors = None if accuracy is None else tables.read(accuracy, tables.ACCURACY)["error"]
    accepted = pairs[pairs["accepted"]].sort_values("residual", ascending=False)
    rejected = pairs[~pairs["accepted"]].sort_values("residual", ascending=False)
    parts = [
        f"<h1>{escape(output.absolute().parent.name)}</h1>",
        _numbers(placed, pairs, errors),
        "<h2>Mosaic</h2><p>Outlines: the tiles, coloured by the root mean square residual of their pairs; grey where a "
        "tile has no pair and lies where the stage says. Numbers: the column tile of placement.csv.</p>",
        _picture(_overview(mosaic, placed, stacks, settings.overview), "Mosaic", "wide"),
        "<h2>A seam before and after</h2>",
        _seam(listed, placed, accepted, patterns, exposed),
        "<h2>Illumination</h2><p>What sits still on the camera: the dark-field was taken off each tile, the rest divided by "
        f"the flat-field.</p>{_list(light.words(patterns))}",
        _picture(_patterns(patterns), "Illumination"),
        f"<h2>Exposure</h2>{_exposure(exposed)}",
        f"<h2>Self-check</h2>{_selfcheck(tables.read(selfcheck, tables.SELFCHECK))}",
        f"<h2>Accepted pairs, worst first</h2>{_table(accepted, affines.name)}",
        f"<h2>Rejected pairs</h2>{_table(rejected, affines.name)}",
    ]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    title = f"<title>{escape(output.absolute().parent.name)}: mosaic report</title>"
    page = f'<!doctype html>\n<html lang="en"><head>{head}{title}<style>{STYLE}</style></head>\n<body>\n'
    with whole(output) as partial:
        partial.write_text(page + "\n".join(parts) + "\n</body></html>\n", encoding="utf-8")
    log.info("%s: %d tiles, %d of %d pairs accepted", output, len(placed), len(accepted), len(pairs))


def residuals(pairs: pd.DataFrame, placed: pd.DataFrame) -> NDArray[np.float64]:
    """The residual (n,), px, of each pair in a placement."""
    centres = pairs[["centre_y", "centre_x"]].to_numpy()[:, None]  # (n, 1, 2)
    by_tile = placed.set_index("tile")
    fixed, moving = (affine.from_table(by_tile.loc[pairs[side]]) for side in ("fixed", "moving"))
    through_pair = affine.apply(fixed, affine.apply(affine.from_table(pairs), centres))
    lengths: NDArray[np.float64] = np.linalg.norm(through_pair - affine.apply(moving, centres), axis=-1)[:, 0]
    return lengths


def _numbers(placed: pd.DataFrame, pairs: pd.DataFrame, errors: "pd.Series[float] | None") -> str:
    """The key numbers as a list."""
    numbers = {
        "tiles": str(len(placed)),
        "of them placed by the stage alone": str((placed["pairs"] == 0).sum()),
        "pairs of neighbours": str(len(pairs)),
        "of them accepted": str(pairs["accepted"].sum()),
        "residual of the accepted: median · 95 % · largest, px": _spread(pairs.loc[pairs["accepted"], "residual"]),
    }
    if errors is not None:
        numbers["error against the truth: median · 95 % · largest, px"] = _spread(errors)
    items = "".join(f"<li><b>{value}</b>{name}</li>" for name, value in numbers.items())
    return f'<ul class="numbers">{items}</ul>'


def _spread(values: "pd.Series[float]") -> str:
    if not len(values):
        return "none"
    return " · ".join(f"{value:.2f}" for value in np.percentile(values, [50, 95, 100]))


def _selfcheck(found: pd.DataFrame) -> str:
    """What tables.SELFCHECK says, in a sentence and a table."""
    if found.empty:
        return "<p>Nothing was measured: the dataset has no overlaps that crops of its tiles could stand for.</p>"
    words = (
        "<p>How registration does on these very tiles: crops as large as the overlaps were cut from them where there is "
        "something to see, shifted by up to the search distance, turned and scaled, all by known amounts, with noise of their "
        "own. Numbers: how far their corners come to lie from the truth. No registration leaves them where the stage says.</p>"
    )
    names = {"network": "network", "phase": "phase correlation", "none": "no registration"}
    shown = found.assign(method=found["method"].map(names), over_2px=found["over_2px"].map("{:.0%}".format))
    shown.columns = ["side", "method", "pairs", "median, px", "95 %, px", "over 2 px"]
    return f'{words}<div class="table">{shown.to_html(index=False, border=0, float_format="{:.2f}".format)}</div>'


def _table(pairs: pd.DataFrame, source: str) -> str:
    """The first rows of the pairs, with a note on where the others are."""
    if pairs.empty:
        return "<p>None.</p>"
    names = ["pair", "fixed", "moving", "side", "residual", "score_before", "score_after", "accepted", "reason"]
    shown = pairs[names].head(ROWS)
    shown = shown.assign(accepted=shown["accepted"].map({True: "yes", False: "no"}), reason=shown["reason"].fillna(""))
    shown.columns = ["residual, px" if name == "residual" else name.replace("_", " ") for name in names]
    body = shown.to_html(index=False, border=0, float_format="{:.3f}".format, classes="reasons")
    note = f"<p>{len(shown)} of {len(pairs)}; all are in {escape(source)}.</p>" if len(shown) < len(pairs) else ""
    return f'<div class="table">{body}</div>{note}'


def at_reference(level: "Image | zarr.Array[Any]", axes: str, stacks: Stacks) -> Image:
    """The pixels (channels, y, x) of a mosaic with the axes, such as tczyx, at the reference time and z."""
    chosen: dict[str, Any] = {"t": stacks.time, "z": slice(None) if stacks.z is None else slice(stacks.z, stacks.z + 1)}
    pixels = np.asarray(level[tuple(chosen.get(axis, slice(None)) for axis in axes)])
    left = axes.replace("t", "")
    pixels = pixels.max(axis=left.index("z")) if "z" in left else pixels
    return pixels if "c" in left else pixels[None]


def _overview(store: Path, placed: pd.DataFrame, stacks: Stacks, longest: int) -> Figure:
    """The mosaic with the outlines and the numbers of its tiles (y, x), at most `longest` px if the pyramid has that."""
    described = ImageModel.from_zarr(zarr.open_group(store, mode="r")).ome_attributes.multiscales[0]
    levels = [zarr.open_array(store / dataset.path, mode="r") for dataset in described.datasets]
    index = next((i for i, level in enumerate(levels) if max(level.shape[-2:]) <= longest), len(levels) - 1)
    pixels = at_reference(levels[index], "".join(str(axis.name) for axis in described.axes), stacks)
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


def _seam(listed: pd.DataFrame, placed: pd.DataFrame, accepted: pd.DataFrame, patterns: Light, exposed: pd.DataFrame) -> str:
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
    stacks, both = Stacks(listed), []
    for second in (before, after):
        affines = np.stack([affine.translation([0, 0]), second])
        chosen = gains[:, stacks.chosen], patterns.of(stacks.chosen)
        both.append(Placed(list(rows["path"]), affines, *chosen, stacks.reference, 1, "linear").fuse(region)[0])
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
    return words + _picture(figure, "The seam before and after", "wide")


def _patterns(patterns: Light) -> Figure:
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


def _exposure(exposed: pd.DataFrame) -> str:
    """What tables.EXPOSURE says, in a sentence a channel."""
    if (exposed["gain"] == 1).all():
        return "<p>The tiles keep their brightness.</p>"
    lines = []
    for channel, of in exposed.groupby("channel"):
        tile, gain = of["tile"].to_numpy(), of["gain"].to_numpy()
        least, most = gain.argmin(), gain.argmax()
        lines.append(f"channel {channel}: {gain[least]:.3f} (tile {tile[least]}) to {gain[most]:.3f} (tile {tile[most]})")
    return f"<p>Each tile was divided by its gain, which the overlaps show; all are in exposure.csv.</p>{_list(lines)}"


def _list(lines: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _label(bar: "matplotlib.axes.Axes", text: str) -> None:
    """Give a colour bar a label and ticks that a dark page shows too."""
    bar.tick_params(colors=GREY, labelsize=9)
    bar.set_xlabel(text, color=GREY, fontsize=9)


def display(pixels: Image, limits: tuple[float, float]) -> Plane:
    """The pixels (channels, y, x) between the limits as 0 to 1: (y, x, 3) for three channels, else their mean (y, x)."""
    shown = np.moveaxis(pixels, 0, -1).astype(np.float32) if len(pixels) == 3 else images.plane(pixels)
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


def _picture(figure: Figure, text: str, kind: str = "") -> str:
    """The figure as an element of the page."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100, transparent=True)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img class="{kind}" alt="{text}" src="data:image/png;base64,{data}">'
