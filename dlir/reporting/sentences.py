"""What the report says in sentences, numbers and tables, each by the tables of the results."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dlir.core import tables
from dlir.illumination import fields
from dlir.placement.summary import by_stage_alone, group_sentences, slip_sentences
from dlir.reporting.facts import worst_first
from dlir.reporting.results import Results

MOST_ROWS = 50  # of the table of the time points
MOST_UNKNOWN_SKEW = 3.0  # degrees: a skew that is known no better, as from pairs in one direction, is not told
METHODS = {"network": "network", "phase": "phase correlation", "none": "no registration"}  # others keep their own name


class Table(NamedTuple):
    """A table of the page: the headings, the texts of the cells that are shown, and the number of all rows."""

    columns: list[str]
    rows: list[list[str]]
    total: int


def said(results: Results) -> dict[str, Any]:
    """Returns the sentences, numbers and tables of the page by their names in the template.

    Args:
        results: those of one time point.
    """
    pairs, stage, history = results.pairs, results.stage, results.history
    errors = None if results.accuracy is None else results.accuracy["error"]
    return {
        "numbers": _key_numbers(results.placed, pairs, errors),
        "groups": group_sentences(results.placed),
        "stage": [] if stage is None else _stage_lines(stage.iloc[0]) + slip_sentences(results.placed),
        "illumination": fields.described(results.light) + _lesson_lines(results.lessons, results.listed),
        "levels": _level_lines(results.exposure),
        "exposure": _exposure_lines(results.exposure),
        "training": [] if history is None else [f"The network was {why}." for why in history["decision"].dropna()],
        "selfcheck": None if results.selfcheck is None else _selfcheck_table(results.selfcheck),
    }


def time_table(results: Results) -> Table | None:
    """Returns a table of the time points, the worst first; None where one placement holds for all."""
    if results.pairs is None or not results.times:
        return None
    times = worst_first(results)
    lengths = {name: times[name].map("{:.2f}".format) for name in ("median", "p95", "largest", "deviation")}
    columns = ["time point", "pairs", "accepted", "tiles without a pair", "residual: median, px", "95 %, px", "largest, px",
               "largest deviation of a tile, px"]  # fmt: skip
    return _table(times.assign(**lengths).head(MOST_ROWS), columns, len(times))


def _key_numbers(placed: pd.DataFrame, pairs: pd.DataFrame | None, errors: "pd.Series[float] | None") -> dict[str, str]:
    """The numbers at the top of the page, by what they are; `pairs` is None where nothing was registered."""
    numbers = {"tiles": str(len(placed))}
    if pairs is not None:
        numbers |= {
            "of them placed by the stage alone": str(by_stage_alone(placed).sum()),
            "groups of tiles that accepted pairs join; single tiles": _groups(placed["group"]),
            "pairs of neighbours": str(len(pairs)),
            "of them accepted": str(pairs["accepted"].sum()),
            "accepted pairs that the placement overrules": str(pairs["overruled"].sum()),
            "residual of the accepted pairs: median · 95 % · largest, px": _quantiles(pairs.loc[pairs["accepted"], "residual"]),
        }
    numbers["deviation of the place of a tile: median · 95 % · largest, px"] = _quantiles(placed["deviation"].dropna())
    numbers["closing error of loops of 2 x 2 tiles: median · 95 % · largest, px"] = _quantiles(placed["loop"].dropna())
    if errors is not None:
        numbers["error against the truth: median · 95 % · largest, px"] = _quantiles(errors)
    return numbers


def _groups(group: "pd.Series[int]") -> str:
    """How many groups of two tiles and more there are, and how many tiles that no pair joins to another."""
    sizes = group.value_counts()
    return f"{(sizes > 1).sum()}; {(sizes == 1).sum()}"


def _quantiles(values: "pd.Series[float]") -> str:
    if not len(values):
        return "none"
    return " · ".join(f"{value:.2f}" for value in np.percentile(values, [50, 95, 100]))


def _stage_lines(found: "pd.Series[Any]") -> list[str]:
    """What a row of tables.STAGE says, in a few sentences."""
    turned = f"The picture is turned by {found['rotation']:.3f}° against the stage"
    scaled = f" and scaled by {found['scale']:.5f}" if np.isfinite(found["scale"]) else ""
    if found["rotation_interval"]:
        interval = f" and ± {100 * found['scale_interval']:.3f} %" if scaled else ""
        source = f"95 % {'intervals' if interval else 'interval'}: ± {found['rotation_interval']:.3f}°{interval}"
    else:
        source = "as given in the settings"
    camera = f"{turned}{scaled} ({source})."
    if not scaled:
        camera += " Its scale is not known, since no overlap is given."
    if 0 < found["skew_interval"] < MOST_UNKNOWN_SKEW:
        camera += f" Its axes are skewed by {found['skew']:.3f}° ± {found['skew_interval']:.3f}°."
    predicted = ", ".join(f"{max(found[f'foretold_{part}'], 0):.0%} of its {part}" for part in tables.LINEAR_PARTS)
    lines = [
        camera,
        f"The stage places a tile with an error of {found['error_y']:.2f} px along y and {found['error_x']:.2f} px along x.",
        f"The tile model is {found['model']}. Of what a pair shows, the other pairs predict {predicted}.",
    ]
    for line in ("row", "column"):
        offset = found[[f"backlash_{line}_y", f"backlash_{line}_x"]]
        if offset.any():
            place = f"{offset.iloc[0]:+.2f} px along y and {offset.iloc[1]:+.2f} px along x"
            lines.append(f"Backlash: every second {line} is displaced by {place}.")
    return lines


def _lesson_lines(lessons: list[fields.Lesson], listed: pd.DataFrame) -> list[str]:
    """What the illumination of each camera was learnt from; the tiles (tables.TILES) are those of all cameras."""
    several = len(lessons) > 1
    return [
        f"camera {camera}: {sentence}" if several else sentence
        for camera, lesson in enumerate(lessons)
        for sentence in lesson.described(listed[listed["camera"] == camera])
    ]


def _level_lines(levels: pd.DataFrame) -> list[str]:
    """How the grey levels of the mosaic differ from those of the tiles (tables.EXPOSURE), a sentence for each channel."""
    lines = []
    for channel, rows in levels.groupby("channel"):
        scale, pedestal, clipped = rows["scale"].iloc[0], rows["pedestal"].iloc[0], int(rows["clipped"].sum())
        kept = f"a pedestal of {pedestal:.0f} grey values is kept" if pedestal else "no pedestal is kept"
        lines.append(f"channel {channel}: grey values are scaled by {scale:.3f}; {kept}; {clipped} pixels are clipped")
    return lines


def _exposure_lines(gains: pd.DataFrame) -> list[str]:
    """The smallest and the largest gain of each channel (tables.EXPOSURE); nothing where all gains are 1."""
    if (gains["gain"] == 1).all():
        return []
    lines = []
    for channel, of_channel in gains.groupby("channel"):
        tile, gain = of_channel["tile"].to_numpy(), of_channel["gain"].to_numpy()
        least, most = gain.argmin(), gain.argmax()
        lines.append(f"channel {channel}: {gain[least]:.3f} (tile {tile[least]}) to {gain[most]:.3f} (tile {tile[most]})")
    return lines


def _selfcheck_table(found: pd.DataFrame) -> Table:
    """tables.SELFCHECK for the page."""
    shown = found.assign(
        method=[METHODS.get(name, name) for name in found["method"]],
        median=found["median"].map("{:.2f}".format),
        p95=found["p95"].map("{:.2f}".format),
        over_2px=found["over_2px"].map("{:.0%}".format),
    )
    return _table(shown, ["side", "method", "pairs", "median, px", "95 %, px", "over 2 px"])


def _table(shown: pd.DataFrame, columns: list[str], total: int | None = None) -> Table:
    rows = [list(map(str, row)) for row in shown.to_numpy(object).tolist()]
    return Table(columns, rows, len(rows) if total is None else total)
