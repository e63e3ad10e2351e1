"""The plots of the pairs: their residuals, the loops that they close, and the residuals by their place in the tile."""

import numpy as np
import pandas as pd

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.core.tables import BOW
from dlir.reporting.page_plot import Plot, drawn, histogram, in_words, left_out, rounded
from dlir.reporting.results import Results, residuals

LEAST_REACH = 0.5  # px, that a histogram of residuals shows at least
FEWEST = 8  # pairs from which the residuals in a tile are told
CELLS = 7  # along each side of a tile, of which the median residual is shown


def residual_plot(results: Results) -> Plot:
    """Returns the histogram of the residuals of the accepted pairs."""
    title = "Residuals of the accepted pairs"
    values = results.pairs.loc[results.pairs["accepted"], "residual"].to_numpy() if results.pairs is not None else np.empty(0)
    if not len(values):
        return left_out("residuals", title, "no pair was accepted.")
    assert results.pairs is not None
    overruled = int(results.pairs["overruled"].sum())
    caption = (
        "How far the pairs lie from the placement. A good mosaic has one peak near zero; a second one, or a long tail, means "
        f"that pairs contradict each other. The last bar counts all larger ones. {overruled} of the pairs were overruled."
    )
    described = f"{len(values)} accepted pairs: {in_words(values, 'px')}."
    return drawn("residuals", title, caption, described, **histogram(values, LEAST_REACH), label="residual, px", unit="pairs")


def loop_plot(results: Results) -> Plot:
    """Returns the histogram of the closing errors of loops of 2 x 2 tiles."""
    title = "Closing errors of loops"
    values = results.placed["loop"].dropna().to_numpy()
    if not len(values):
        return left_out("loops", title, "no 2 x 2 tiles have all four pairs accepted.")
    caption = (
        "The offsets of the four pairs around 2 x 2 tiles add up to zero if all four are right. What is left is the closing "
        "error. The placement does not change it, so it tests the pairs alone."
    )
    described = f"{len(values)} loops: {in_words(values, 'px')}."
    return drawn("loops", title, caption, described, **histogram(values, LEAST_REACH), label="closing error, px", unit="loops")


def place_in_tile_plot(results: Results) -> Plot:
    """Returns the median residuals by their place in a tile, as arrows: a distortion of the camera shows in them."""
    title = "Residuals by their place in the tile"
    pairs = results.pairs if results.pairs is not None else pd.DataFrame({"accepted": [], "overruled": []})
    used = pairs[pairs["accepted"].astype(bool) & ~pairs["overruled"].astype(bool)]
    if len(used) < FEWEST:
        return left_out("in-tile", title, f"this needs at least {FEWEST} accepted pairs.")
    place, arrow = tile_residuals(used, results)
    size = tables.usual_size(results.listed)
    cell = np.clip(place * CELLS // size, 0, CELLS - 1).astype(int) @ (CELLS, 1)
    usual = pd.DataFrame(np.c_[place, arrow], columns=["y", "x", "down", "right"]).groupby(cell).median()
    count = np.bincount(cell)[usual.index]
    longest = float(np.hypot(usual["down"], usual["right"]).max())
    caption = (
        "Each arrow leads from where the placement puts this part of a tile to where its neighbour shows it, in the median of "
        f"all tiles and strongly enlarged: the longest one stands for {longest:.2f} px. Arrows that all point inwards or "
        "outwards, or around the middle, mean that the camera distorts all tiles alike; short arrows in all directions are "
        "chance."
    )
    described = f"{len(usual)} parts of the tile, {len(used)} pairs; the median residual of a part is at most {longest:.2f} px."
    arrows = {name: rounded(usual[name]) for name in ("y", "x", "down", "right")}
    return drawn("in-tile", title, caption, described, **arrows, count=count.tolist(), longest=longest, size=size.tolist())


def tile_residuals(pairs: pd.DataFrame, results: Results) -> tuple[Array, Array]:
    """Returns places in tiles (n, 2), px, and the residuals there (n, 2), px of the mosaic.

    Each pair gives three of them for its moving tile, in the middle and at both ends of the overlap, and the opposite ones for
    its fixed tile. The bow of the pair counts at the ends; a pair without one gives its middle alone.
    """
    affines, middle = affine.from_table(pairs), pairs[["centre_y", "centre_x"]].to_numpy()
    offset = affine.offsets(affines, middle)
    fixed, moving = (tables.sizes(results.listed, pairs[end]) for end in ("fixed", "moving"))
    low, high = np.maximum(0, -offset), np.minimum(moving, fixed - offset) - 1
    along = np.eye(2)[(high - low).argmax(axis=1)].astype(bool)
    places, arrows = [], []
    for end in (-1, 0, 1):
        at = np.where(along & (end != 0), high if end > 0 else low, (low + high) / 2)
        bow = pairs[list(BOW)].to_numpy(float) if end else np.zeros_like(at)
        there = pairs.assign(centre_y=at[:, 0], centre_x=at[:, 1])
        arrow = residuals(there, results.placed) - bow
        known = np.isfinite(arrow).all(axis=1)
        places += [at[known], affine.apply(affines, at[:, None])[known, 0]]
        arrows += [arrow[known], -arrow[known]]
    return np.concatenate(places), np.concatenate(arrows)
