"""The page on a mosaic: overview, one seam before and after, the camera's patterns, self-check and residuals of the pairs.

The residual of a pair is the distance between the two places that the mosaic gives to the middle of the overlap: through
the moving tile, and through the fixed tile by way of the pair's own affine. The page is one file that needs no network.
"""

import logging
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import affine, tables
from dlir.core.atomic import atomically
from dlir.illumination import fields
from dlir.reading.tile_reader import TileReader
from dlir.reporting.figures import overview, patterns_of, picture, seam
from dlir.reporting.settings import Report

log = logging.getLogger(__name__)
ROWS = 50  # of a table on the page
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
    stage: Path,
    exposure: Path,
    mosaic: Path,
    selfcheck: Path,
    output: Path,
    *,
    settings: Report = Report(),
    accuracy: Path | None = None,
) -> None:
    """Write the page `output`; its title is the name of the folder that it lies in.

    Raises:
        ImageError: when a tile at the seam that is shown cannot be read any more.
    """
    listed, placed = tables.read(tiles, tables.TILES), tables.read(placement, tables.PLACEMENT)
    pairs = tables.read(affines, tables.AFFINES)
    pairs["residual"] = residuals(pairs, placed)
    patterns, exposed, stacks = fields.read(illumination, listed), tables.read(exposure, tables.EXPOSURE), TileReader(listed)
    errors = None if accuracy is None else tables.read(accuracy, tables.ACCURACY)["error"]
    accepted = pairs[pairs["accepted"]].sort_values("residual", ascending=False)
    rejected = pairs[~pairs["accepted"]].sort_values("residual", ascending=False)
    parts = [
        f"<h1>{escape(output.absolute().parent.name)}</h1>",
        _numbers(placed, pairs, errors),
        "<h2>Mosaic</h2><p>Outlines: the tiles, coloured by the root mean square residual of their pairs; grey where a "
        "tile has no pair and lies where the stage says. Numbers: the column tile of placement.csv.</p>",
        picture(overview(mosaic, placed, stacks, settings.overview), "Mosaic", "wide"),
        "<h2>A seam before and after</h2>",
        seam(listed, placed, accepted, patterns, exposed),
        f"<h2>Stage and camera</h2>{_list(_stage(tables.read(stage, tables.STAGE).iloc[0]))}",
        "<h2>Illumination</h2><p>What sits still on the camera: the dark-field was taken off each tile, the rest divided by "
        f"the flat-field.</p>{_list(fields.described(patterns))}",
        picture(patterns_of(patterns), "Illumination"),
        f"<h2>Exposure</h2>{_exposure(exposed)}",
        f"<h2>Self-check</h2>{_selfcheck(tables.read(selfcheck, tables.SELFCHECK))}",
        f"<h2>Accepted pairs, worst first</h2>{_table(accepted, affines.name)}",
        f"<h2>Rejected pairs</h2>{_table(rejected, affines.name)}",
    ]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    title = f"<title>{escape(output.absolute().parent.name)}: mosaic report</title>"
    page = f'<!doctype html>\n<html lang="en"><head>{head}{title}<style>{STYLE}</style></head>\n<body>\n'
    with atomically(output) as partial:
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
        "deviation of a tile's place: median · 95 % · largest, px": _spread(placed["deviation"]),
        "loops of 2 x 2 tiles miss by: median · 95 % · largest, px": _spread(placed["loop"].dropna()),
    }
    if errors is not None:
        numbers["error against the truth: median · 95 % · largest, px"] = _spread(errors)
    items = "".join(f"<li><b>{value}</b>{name}</li>" for name, value in numbers.items())
    return f'<ul class="numbers">{items}</ul>'


def _spread(values: "pd.Series[float]") -> str:
    if not len(values):
        return "none"
    return " · ".join(f"{value:.2f}" for value in np.percentile(values, [50, 95, 100]))


def _stage(found: "pd.Series[Any]") -> list[str]:
    """What a row of tables.STAGE says, in a few lines."""
    if found["rotation_interval"]:
        how = "95 % sure to within {:.3f}° and {:.3f} %".format(found["rotation_interval"], 100 * found["scale_interval"])
    else:
        how = "as the settings say"
    foretold = ", ".join(f"{max(found[f'foretold_{part}'], 0):.0%} of {part}" for part in tables.LINEAR_PARTS)
    lines = [
        f"The picture is turned by {found['rotation']:.3f}° against the stage and scaled by {found['scale']:.5f}: {how}.",
        f"The stage sets a tile down with an error of {found['error_y']:.2f} px along y and {found['error_x']:.2f} px along x.",
        f"The model of a tile is {found['model']}; of what a pair of tiles shows, other pairs foretell {foretold}.",
    ]
    for line in ("row", "column"):
        off = found[[f"backlash_{line}_y", f"backlash_{line}_x"]]
        if off.any():
            lines.append(f"Every second {line} lies off by {off.iloc[0]:+.2f} px along y and {off.iloc[1]:+.2f} px along x.")
    return lines


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
