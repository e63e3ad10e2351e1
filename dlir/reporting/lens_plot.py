"""The plot of the distortion: where the lens shows the pixels of a tile, against where they belong."""

import numpy as np

from dlir.core import affine, lens
from dlir.core.affine import Array
from dlir.core.lens import Lens
from dlir.reporting.page_plot import Plot, drawn, left_out, rounded
from dlir.reporting.results import Results

ARROWS = 9  # along each side of a tile
LEAST_ARROW = 0.1  # px, that the longest arrow stands for at least
CORNERS = ("top left", "top right", "bottom left", "bottom right")  # as affine.corners has them
HOW = {"found": "found in the overlaps of the tiles", "given": "given in the settings"}


def lens_plot(results: Results) -> Plot:
    """Returns the displacements in a tile of each camera that distorts, as arrows, with their size in the corners."""
    title = "Distortion of the lens"
    if not results.lenses:
        return left_out("lens", title, "no distortion of the lens was found or given: the tiles are used as they are.")
    cameras, said = [], []
    for camera, each in sorted(results.lenses.items()):
        places = lens.grid(each.size, ARROWS)
        arrows = each.displacement(places)
        name = f"camera {camera}" if len(results.listed["camera"].unique()) > 1 else ""
        columns = {"y": places[:, 0], "x": places[:, 1], "down": arrows[:, 0], "right": arrows[:, 1]}
        longest = float(np.linalg.norm(arrows, axis=1).max())
        cameras.append(
            {"name": name, "size": list(each.size), "scale": max(longest, LEAST_ARROW)}
            | {key: rounded(values) for key, values in columns.items()}
        )
        said.append(f"{f'{name}: ' if name else ''}{_in_corners(each)}")
    scales = ", ".join(f"{each['scale']:.2f} px" for each in cameras)
    caption = (
        "Each arrow leads from where a pixel of the specimen belongs in a tile to where the lens shows it, strongly enlarged: "
        f"the longest stands for {scales}. All tiles of a camera share it. The mosaic is free of it, and all places are those "
        "of undistorted tiles; lens.csv holds it."
    )
    described = f"{'; '.join(said)}."
    return drawn("lens", title, caption, described[0].upper() + described[1:], cameras=cameras)


def _in_corners(each: Lens) -> str:
    """Returns how far the corners are displaced, in words."""
    sizes, intervals = np.linalg.norm(each.at_corners(), axis=1), _intervals(each)
    known = " ± {:.2f}" if intervals.any() else ""
    corners = [
        f"{name} {size:.2f}{known.format(interval)} px" for name, size, interval in zip(CORNERS, sizes, intervals, strict=True)
    ]
    source = f"{HOW[each.source]}{', with 95 % intervals' if known else ''}"
    return f"the lens displaces the corners of a tile by {', '.join(corners)} ({source})"


def _intervals(each: Lens) -> Array:
    """Returns half of the 95 % intervals (4,) of the displacements of the corners, px, as if the terms erred independently."""
    terms = lens.basis(affine.corners(*each.size), each.size, each.powers)
    return np.asarray(np.sqrt((terms**2 @ each.interval**2).max(axis=1)))
