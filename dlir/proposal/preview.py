"""Shows the grid as the settings say it, before anything is registered: small pictures of the tiles, and a text.

section1: 12 tiles in 3 rows and 4 columns
        0     1     2     3
   0  t00   t01   t02   t03
   1  t07   t06   t05   t04
   2  t08   t09   t10   t11

Where no overlap is told, the tiles are drawn with the one that some of them show.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from dlir.core.atomic import atomically
from dlir.fusion.display import DISPLAYED
from dlir.proposal import fit
from dlir.reading import filenames, image_files
from dlir.reading.grid_layout import TileError
from dlir.reading.image_files import Image, ImageError, Plane
from dlir.reading.inventory import USUAL_OVERLAP, outline
from dlir.reading.settings import Dataset
from dlir.survey.thumbnails import shrunk

LONGEST = 2000  # px, of the picture
LEAST_NAMED = 40  # px of a tile in the picture, from which on it shows its name
MOST_COLUMNS, MOST_ROWS = 12, 40  # of the grid, in the text
THREADS = 4  # tiles that are read at the same time
DOTS_PER_INCH = 100


def preview(name: str, settings: Dataset, output: Path) -> str:
    """Writes a picture of the tiles at their nominal places to the PNG `output`, and returns the same as text.

    Raises:
        TileError: when the tiles cannot be found, or the header of one cannot be read.
    """
    tiles, note = outline(settings), ""
    if None in settings.told_overlap and settings.on_grid and len(tiles) > 1:
        tiles, note = _with_shown_overlap(tiles, settings)
    draw(tiles, settings, output)
    return described(name, tiles) + note


def _with_shown_overlap(tiles: pd.DataFrame, settings: Dataset) -> tuple[pd.DataFrame, str]:
    """Returns the tiles with places by the overlap that some of them show, and a line on that; as they are where none does."""
    try:
        shown = fit.fitted(settings.model_dump(exclude_defaults=True))
    except (TileError, ImageError):
        shown = None
    if shown is None or shown.found is None or shown.changed:
        return tiles, f"\nThe overlap is not yet known: the picture shows {100 * USUAL_OVERLAP:.0f} %."
    steps = shown.found.set_index("side")[["step_y", "step_x"]].astype(float).reindex(["down", "right"], fill_value=0.0)
    places = tiles[["row", "col"]].to_numpy(float) @ steps.to_numpy()
    note = f"\nThe overlap is the one that the tiles show: {fit.shares(shown.found)}."
    return tiles.assign(y=places[:, 0], x=places[:, 1]), note


def described(name: str, tiles: pd.DataFrame) -> str:
    """Returns the grid as text: the names of the tiles in their rows and columns.

    Args:
        tiles: as `inventory.outline` returns them.
    """
    short = _short_names(tiles["path"].tolist())
    rows, columns = tiles["row"].max() + 1, tiles["col"].max() + 1
    text = [f"{name}: {len(tiles)} tiles in {rows} rows and {columns} columns, as if numbered from 0 at the top left"]
    cells: dict[tuple[int, int], str] = {}
    for row, col, label in zip(tiles["row"], tiles["col"], short, strict=True):
        cells[row, col] = f"{cells[row, col]}+" if (row, col) in cells else label
    shown_rows, shown_columns = range(min(rows, MOST_ROWS)), range(min(columns, MOST_COLUMNS))
    width = max(len(cells.get((row, col), "")) for row in shown_rows for col in shown_columns)
    width = max(width, len(str(columns)))
    more = " ..." if columns > MOST_COLUMNS else ""
    text.append("      " + "  ".join(f"{col:>{width}}" for col in shown_columns) + more)
    for row in shown_rows:
        text.append(f"{row:>4}  " + "  ".join(f"{cells.get((row, col), '-'):>{width}}" for col in shown_columns) + more)
    text += ["   ..."] if rows > MOST_ROWS else []
    return "\n".join(text)


def draw(tiles: pd.DataFrame, settings: Dataset, output: Path) -> None:
    """Writes the picture; a tile that cannot be read stays empty, with its name."""
    places, sizes = tiles[["y", "x"]].to_numpy(float), tiles[["height", "width"]].to_numpy(int)
    places = places - places.min(axis=0)
    extent = (places + sizes).max(axis=0)
    by = max(1, int(np.ceil(extent.max() / LONGEST)))
    height, width = (int(np.ceil(side / by)) for side in extent)
    canvas = np.full((height + 1, width + 1), np.nan, np.float32)
    read = partial(_thumbnail, by=by, settings=settings)
    with ThreadPoolExecutor(THREADS) as pool:
        for (y, x), small in zip((places / by).round().astype(int), pool.map(read, tiles["path"], tiles["file"]), strict=True):
            part = canvas[y : y + small.shape[0], x : x + small.shape[1]]
            part[...] = small[: part.shape[0], : part.shape[1]]
    scale = max(1.0, 600 / max(canvas.shape)) / DOTS_PER_INCH
    figure = Figure(figsize=(canvas.shape[1] * scale, canvas.shape[0] * scale), facecolor="#404040")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    black, white = np.nanpercentile(canvas, DISPLAYED) if np.isfinite(canvas).any() else (0.0, 1.0)
    axes.imshow(canvas, cmap="gray", vmin=black, vmax=max(white, black + 1e-6), interpolation="nearest")
    for (y, x), (rows, columns), name in zip(places / by, sizes / by, _short_names(tiles["path"].tolist()), strict=True):
        axes.plot([x, x + columns, x + columns, x, x], [y, y, y + rows, y + rows, y], color="#e0a030", linewidth=0.8)
        if columns * scale * DOTS_PER_INCH >= LEAST_NAMED:
            points = float(np.clip(1.2 * columns * scale * 72 / max(len(name), 1), 4, 14))
            text = axes.text(x + columns / 2, y + rows / 2, name, color="white", fontsize=points, ha="center", va="center")
            text.set_path_effects([withStroke(linewidth=2, foreground="black")])
    axes.set(xlim=(-0.5, canvas.shape[1] - 0.5), ylim=(canvas.shape[0] - 0.5, -0.5))
    with atomically(output) as partial_file:
        figure.savefig(partial_file, format="png", dpi=DOTS_PER_INCH)


def _thumbnail(path: str, file: str, by: int, settings: Dataset) -> Plane:
    """Returns a small picture (y, x) of the first plane of a tile; empty where it cannot be read."""
    try:
        with image_files.opened(file, settings.pages or "channel", filenames.image_of(path)) as stack:
            channel = settings.reference_channel if isinstance(settings.reference_channel, int) else None
            inside = channel if channel is not None and channel < stack.sizes.channels else None
            pixels: Image = stack.read(0, stack.sizes.depth // 2, inside)
    except ImageError:
        return np.zeros((0, 0), np.float32)
    plane = image_files.channel_mean(pixels)
    return shrunk(plane[:, ::-1] if settings.mirrored else plane, by)


def _short_names(paths: list[str]) -> list[str]:
    """Returns the part of each path that differs from the others; whole names where the paths do not differ."""
    if len(paths) == 1:
        return [Path(paths[0]).name]
    before = _shared(paths).rstrip("0123456789-")
    after = _shared([path[::-1] for path in paths])[::-1].lstrip("0123456789")
    return [path[len(before) : len(path) - len(after)] for path in paths]


def _shared(texts: list[str]) -> str:
    """Returns the letters with which all texts begin."""
    least, most = min(texts), max(texts)
    return least[: next((at for at, letter in enumerate(least) if letter != most[at]), len(least))]
