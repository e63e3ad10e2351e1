"""The step `report`: one HTML page that shows a mosaic and how well its tiles fit.

The page shows the mosaic with its tiles, one seam before and after registration, the illumination, the self-check, and the
residual of each pair. The residual of a pair is the distance between two places in the mosaic, both of the middle of the
overlap: one follows from the placement of the moving tile, the other from the placement of the fixed tile and the affine of the
pair. The page is one file that needs no network. It is made from the template `report.html.j2`.
"""

import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import affine, tables, time_points
from dlir.core.atomic import atomically
from dlir.illumination import fields
from dlir.illumination.fields import Lesson
from dlir.placement.summary import group_sentences, slip_sentences
from dlir.reading.tile_reader import TileReader, read_table
from dlir.reporting.figures import illumination_figure, overview_figure, png, worst_seam
from dlir.reporting.pages import page
from dlir.reporting.settings import Report

log = logging.getLogger(__name__)
MOST_ROWS = 50  # pairs in a table of the page
MOST_UNKNOWN_SKEW = 3.0  # degrees: a skew that is known no better, as from pairs in one direction, is not told
METHODS = {"network": "network", "phase": "phase correlation", "none": "no registration"}  # others keep their own name
PAIR_COLUMNS = {
    "pair": "pair", "fixed": "fixed", "moving": "moving", "side": "side", "residual": "residual, px",
    "score_before": "NCC before", "score_after": "NCC after", "confidence": "confidence", "reason": "reason",
}  # fmt: skip


class Table(NamedTuple):
    """A table of the page: the headings, the texts of the cells that are shown, and the number of all rows."""

    columns: list[str]
    rows: list[list[str]]
    total: int


def report(
    tiles: Path,
    illumination: Path,
    placement: Path,
    exposure: Path,
    mosaic: Path,
    output: Path,
    *,
    affines: Path | None = None,
    stage: Path | None = None,
    selfcheck: Path | None = None,
    training: Path | None = None,
    adopted: str = "",
    settings: Report = Report(),
    accuracy: Path | None = None,
) -> None:
    """Write the page `output`. Its title is the name of the folder that it lies in.

    Args:
        affines, stage, selfcheck: the tables AFFINES, STAGE and SELFCHECK; None where nothing was registered.
        training: the table HISTORY; None where no network was trained on the tiles.
        adopted: the placement of another run that was taken over then.
        accuracy: the error of each tile (tables.ACCURACY), where a truth is known.

    Raises:
        ImageError: when a tile at the seam that is shown can no longer be read.
    """
    listed, placed = read_table(tiles), tables.read(placement, tables.PLACEMENT)
    stages = tables.read(stage, tables.STAGE) if stage else None
    pairs = _pairs(affines, placed) if affines else None
    times = _by_time(placed, pairs) if pairs is not None and "time" in placed else None
    if times is not None and pairs is not None and stages is not None:
        worst = int(times["time"].iloc[0])
        listed = listed.assign(reference_time=worst)
        placed, pairs, stages = (time_points.at(table, worst) for table in (placed, pairs, stages))
    light, gains, reader = fields.read(illumination, listed), tables.read(exposure, tables.EXPOSURE), TileReader(listed)
    errors = None if accuracy is None else tables.read(accuracy, tables.ACCURACY)["error"]
    accepted = None if pairs is None else pairs[pairs["accepted"]]
    content = {
        "dataset": output.absolute().parent.name,
        "adopted": adopted,
        "times": None if times is None else _time_table(times),
        "affines": affines.name if affines else "",
        "numbers": _key_numbers(placed, pairs, errors),
        "overview": png(overview_figure(mosaic, placed, reader, settings.overview)),
        "seam": None if accepted is None else worst_seam(listed, placed, accepted[~accepted["overruled"]], light, gains),
        "groups": group_sentences(placed),
        "stage": [] if stages is None else _stage_lines(stages.iloc[0]) + slip_sentences(placed),
        "illumination": fields.described(light) + _lesson_lines(fields.lessons(illumination), listed),
        "fields": [png(illumination_figure(of_camera)) for of_camera in light],
        "levels": _level_lines(gains),
        "exposure": _exposure_lines(gains),
        "training": _decisions(training) if training else [],
        "selfcheck": _selfcheck_table(tables.read(selfcheck, tables.SELFCHECK)) if selfcheck else None,
        "accepted": None if accepted is None else _pair_table(accepted),
        "rejected": None if pairs is None else _pair_table(pairs[~pairs["accepted"]]),
    }
    with atomically(output) as partial:
        partial.write_text(page("report.html.j2").render(content), encoding="utf-8")
    of_pairs = "" if pairs is None else f", {pairs['accepted'].sum()} of {len(pairs)} pairs accepted"
    log.info("wrote %s: %d tiles%s", output, len(placed), of_pairs)


def _pairs(affines: Path, placed: pd.DataFrame) -> pd.DataFrame:
    """The pairs (tables.AFFINES) with their residuals, the largest first."""
    pairs = tables.read(affines, tables.AFFINES)
    by_time = [(time_points.at(pairs, time), time_points.at(placed, time)) for time in time_points.listed(placed) or [0]]
    found = pd.concat([of_time.assign(residual=residuals(of_time, there)) for of_time, there in by_time], ignore_index=True)
    return found.sort_values("residual", ascending=False)


def _by_time(placed: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """What is known of each time point, the worst one first: that with the most tiles that no pair holds, then the largest
    residuals."""
    rows = []
    for time in time_points.listed(placed):
        tiles, of_time = time_points.at(placed, time), time_points.at(pairs, time)
        residual = of_time.loc[of_time["accepted"], "residual"]
        rows.append({"time": time, "pairs": len(of_time), "accepted": len(residual), "alone": int((tiles["pairs"] == 0).sum()),
                     "median": residual.median(), "p95": residual.quantile(0.95), "largest": residual.max(),
                     "deviation": tiles["deviation"].max()})  # fmt: skip
    return pd.DataFrame(rows).sort_values(["alone", "p95"], ascending=False, ignore_index=True)


def _time_table(times: pd.DataFrame) -> Table:
    """The time points (`_by_time`) for the page."""
    lengths = {name: times[name].map("{:.2f}".format) for name in ("median", "p95", "largest", "deviation")}
    columns = ["time point", "pairs", "accepted", "tiles without a pair", "residual: median, px", "95 %, px", "largest, px",
               "largest deviation of a tile, px"]  # fmt: skip
    return _table(times.assign(**lengths).head(MOST_ROWS), columns, len(times))


def residuals(pairs: pd.DataFrame, placed: pd.DataFrame) -> NDArray[np.float64]:
    """The residual (n,), px, of each pair (tables.AFFINES) in a placement (tables.PLACEMENT)."""
    centres = pairs[["centre_y", "centre_x"]].to_numpy()[:, None]  # (n, 1, 2)
    by_tile = placed.set_index("tile")
    fixed, moving = (affine.from_table(by_tile.loc[pairs[side]]) for side in ("fixed", "moving"))
    through_pair = affine.apply(fixed, affine.apply(affine.from_table(pairs), centres))
    lengths: NDArray[np.float64] = np.linalg.norm(through_pair - affine.apply(moving, centres), axis=-1)[:, 0]
    return lengths


def _key_numbers(placed: pd.DataFrame, pairs: pd.DataFrame | None, errors: "pd.Series[float] | None") -> dict[str, str]:
    """The numbers at the top of the page, by what they are; `pairs` is None where nothing was registered."""
    numbers = {"tiles": str(len(placed))}
    if pairs is not None:
        numbers |= {
            "of them placed by the stage alone": str((placed["pairs"] == 0).sum()),
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


def _lesson_lines(lessons: list[Lesson], listed: pd.DataFrame) -> list[str]:
    """What the illumination of each camera was learnt from; the tiles (tables.TILES) are those of all cameras."""
    several = len(lessons) > 1
    return [
        f"camera {camera}: {sentence}" if several else sentence
        for camera, lesson in enumerate(lessons)
        for sentence in lesson.described(listed[listed["camera"] == camera])
    ]


def _decisions(training: Path) -> list[str]:
    """Why the network was or was not trained, and kept, by the history of its training (tables.HISTORY)."""
    return [f"The network was {decision}." for decision in tables.read(training, tables.HISTORY)["decision"].dropna()]


def _selfcheck_table(found: pd.DataFrame) -> Table:
    """tables.SELFCHECK for the page."""
    shown = found.assign(
        method=[METHODS.get(name, name) for name in found["method"]],
        median=found["median"].map("{:.2f}".format),
        p95=found["p95"].map("{:.2f}".format),
        over_2px=found["over_2px"].map("{:.0%}".format),
    )
    return _table(shown, ["side", "method", "pairs", "median, px", "95 %, px", "over 2 px"])


def _pair_table(pairs: pd.DataFrame) -> Table:
    """The first rows of the pairs (tables.AFFINES, with residuals) for the page."""
    shown = pairs[list(PAIR_COLUMNS)].head(MOST_ROWS)
    decimals = {name: shown[name].map("{:.3f}".format) for name in ("residual", "score_before", "score_after", "confidence")}
    return _table(shown.assign(reason=shown["reason"].fillna(""), **decimals), list(PAIR_COLUMNS.values()), len(pairs))


def _table(shown: pd.DataFrame, columns: list[str], total: int | None = None) -> Table:
    rows = [list(map(str, row)) for row in shown.to_numpy(object).tolist()]
    return Table(columns, rows, len(rows) if total is None else total)


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
