"""The plots of the microscope and of the computer: stage, light, exposure, and the time and the memory of each step."""

from typing import Any

import imagecodecs
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import affine, tables
from dlir.reading.image_files import Plane
from dlir.reporting.facts import stage_places
from dlir.reporting.page_files import PageFiles
from dlir.reporting.page_plot import Plot, drawn, in_words, left_out, rounded
from dlir.reporting.results import Results

FEWEST = 4  # tiles from which the stage's errors can be told from its turn and its scale
PICTURE_SIDE = 256  # px, longest side of the picture of a field
QUALITY = 80  # of the JPEG pictures
ORANGE = (224, 128, 48)  # of blind pixels
EVEN = 1e-4  # relative difference below which gains count as equal


def stage_plot(results: Results) -> Plot:
    """Returns the error of the stage along y and x, by the row and by the column of the tile."""
    title = "Error of the stage by row and by column"
    if len(results.placed) < FEWEST:
        return left_out("stage", title, f"this needs at least {FEWEST} tiles.")
    error = affine.from_table(results.placed)[:, :, 2] - stage_places(results)
    listed = results.listed.set_index("tile").loc[results.placed["tile"]]
    lines: list[dict[str, Any]] = []
    for line, column in (("row", "row"), ("column", "col")):
        for axis, name in enumerate("yx"):
            errors = pd.DataFrame({"number": listed[column].to_numpy(), "error": error[:, axis]})
            for number, of_line in errors.groupby("number")["error"]:
                low, median, high = rounded(np.percentile(of_line, [25, 50, 75]))
                place = {"line": line, "number": number, "axis": name}
                lines.append({**place, "low": low, "median": median, "high": high})
    caption = (
        "How far the tiles lie from where the stage puts them, after shift, turn and scale of the whole grid are taken off: "
        "the median of each row and column, and the middle half of its tiles. A zigzag from row to row is backlash; a slope "
        "or a jump is a stage that drifts or slips."
    )
    described = f"Along y: {in_words(np.abs(error[:, 0]), 'px')}. Along x: {in_words(np.abs(error[:, 1]), 'px')}."
    return drawn("stage", title, caption, described, lines=lines)


def light_plot(results: Results, files: PageFiles) -> Plot:
    """Returns the flat-field and the dark-field of each camera and channel as pictures."""
    fields = []
    several = len(results.light) > 1 or len(results.light[0].flat) > 1
    for camera, light in enumerate(results.light):
        for channel, (flat, dark) in enumerate(zip(light.flat, light.dark, strict=True)):
            for kind, field in (("flat-field", flat), ("dark-field", dark)):
                if field.min() == field.max() and not (light.blind.any() and kind == "flat-field"):
                    continue
                low, high = rounded(np.percentile(field[~light.blind], [0.5, 99.5]))
                file = files.add(f"light/{camera}_{channel}_{kind}.jpg", _picture(field, light.blind, low, high), embed=True)
                name = f"{kind}, camera {camera}, channel {channel}" if several else kind
                fields.append({"name": name, "file": file, "low": low, "high": high})
    title = "Light of the microscope"
    if not fields:
        return left_out(
            "light", title, "no flat-field and no dark-field is taken: the tiles were evenly lit, or left as they are."
        )
    caption = (
        "The flat-field is the relative brightness of each pixel of the camera, by which the tiles were divided; the "
        "dark-field is what it reads without light. Both are the same in all tiles. Orange pixels show no image."
    )
    described = "; ".join(f"{each['name']}: {each['low']:g} to {each['high']:g}" for each in fields)
    return drawn("light", title, caption, f"{described}.", fields=fields)


def exposure_plot(results: Results) -> Plot:
    """Returns the gain of each tile, by its place in the mosaic."""
    title = "Exposure of the tiles"
    gains = results.exposure
    if (gains["gain"] - 1).abs().max() < EVEN:
        return left_out("exposure", title, "the brightness of the tiles was left as it is (setting exposure.correct).")
    placed = affine.from_table(results.placed)
    middles = affine.apply(placed, ((tables.sizes(results.listed, results.placed["tile"]) - 1) / 2)[:, None])[:, 0]
    place = pd.DataFrame(middles, results.placed["tile"], ["y", "x"])
    of_tile = gains[gains["tile"].isin(place.index)]
    ends = [
        f"channel {channel}: {of['gain'].min():.3f} to {of['gain'].max():.3f}" for channel, of in of_tile.groupby("channel")
    ]
    caption = "How bright each tile was exposed against the mean of its channel; the tiles were divided by it."
    numbers = {
        "tile": of_tile["tile"].tolist(), "channel": of_tile["channel"].tolist(), "gain": rounded(of_tile["gain"]),
        "y": rounded(place.loc[of_tile["tile"], "y"]), "x": rounded(place.loc[of_tile["tile"], "x"]),
        "side": float(tables.usual_size(results.listed).min()),
    }  # fmt: skip
    return drawn("exposure", title, caption, f"{len(place)} tiles. {'; '.join(ends)}.", **numbers)


def cost_plot(results: Results) -> Plot:
    """Returns the time and the memory that each step took, as Snakemake measured them."""
    title = "Time and memory of each step"
    measured = {step: cost for step, cost in results.provenance.get("stages", {}).items() if cost["seconds"] is not None}
    if not measured:
        return left_out("cost", title, "Snakemake measured no step, as in a run from Python.")
    steps = [
        {"step": step, "seconds": cost["seconds"], "cpu": cost["cpu_seconds"], "memory": cost["peak_memory_mb"]}
        for step, cost in measured.items()
    ]
    caption = (
        "The time that passed (bars), the time of all processor cores together (crosses), and the largest memory of each step, "
        "when it last ran. A step that was not needed in the last run keeps its numbers. This page is not among them."
    )
    described = "; ".join(f"{each['step']}: {each['seconds']:.0f} s, {each['memory'] or 0:.0f} MB" for each in steps)
    return drawn("cost", title, caption, f"{described}.", steps=steps)


def _picture(field: Plane, blind: NDArray[np.bool_], low: float, high: float) -> bytes:
    """A field (y, x) as a small JPEG; blind pixels are orange."""
    step = -(-max(field.shape) // PICTURE_SIDE)
    grey = ((field[::step, ::step] - low) / max(high - low, 1e-6) * 255).clip(0, 255).astype(np.uint8)
    picture = np.repeat(grey[..., None], 3, axis=-1)
    picture[blind[::step, ::step]] = ORANGE
    return bytes(imagecodecs.jpeg8_encode(picture, level=QUALITY))
