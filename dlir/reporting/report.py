"""The step `report`: one HTML page that shows a mosaic and how well its tiles fit.

The page has a verdict, the mosaic to its full resolution, seams, plots, tables, and how the mosaic was made. Scripts draw it
from the facts, one JSON text in the page, and from pictures. It opens from a disk and needs no network. Where the pictures are
too large for one file, they lie in the folder `report_files` beside it. The page is made from the template `report.html.j2`.
"""

import logging
from pathlib import Path
from typing import Any

import dlir
from dlir.core.atomic import atomically
from dlir.reporting import made, picture_tiles, plots, results, seams, sentences
from dlir.reporting.facts import pair_table, tile_table, worst_first
from dlir.reporting.page_files import FOLDER, PageFiles
from dlir.reporting.pages import page
from dlir.reporting.results import Results
from dlir.reporting.settings import Report

log = logging.getLogger(__name__)


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
    known_pairs: Path | None = None,
    training: Path | None = None,
    adopted: str = "",
    accuracy: Path | None = None,
    lens: Path | None = None,
    provenance: Path | None = None,
    verdict: Path | None = None,
    settings: Report = Report(),
) -> None:
    """Write the page `output` and the folder `report_files` beside it. The title is the name of the folder of `output`.

    Args:
        affines, stage, selfcheck, known_pairs: the tables AFFINES, STAGE, SELFCHECK and KNOWN_PAIRS; None where nothing was
            registered.
        training: the table HISTORY; None where no network was trained on the tiles.
        adopted: the placement of another run that was taken over then.
        accuracy: the error of each tile (tables.ACCURACY), where a truth is known.
        lens: the table LENS; None for no distortion.
        provenance: provenance.json, for the settings, the versions, and the time of each step.
        verdict: verdict.json.
        settings: section `report` of config.yaml.

    Raises:
        ImageError: when a tile at a seam that is shown can no longer be read.
    """
    found = results.read(
        output.absolute().parent.name, tiles, illumination, placement, exposure, mosaic, affines=affines, stage=stage,
        selfcheck=selfcheck, known_pairs=known_pairs, training=training, accuracy=accuracy, lens=lens,
        provenance=provenance, verdict=verdict,
    )  # fmt: skip
    times = sentences.time_table(found)
    shown = found if times is None else found.at(_worst_time(found))
    with atomically(output.parent / FOLDER) as folder, atomically(output) as partial:
        folder.mkdir()
        files = PageFiles(folder, 1e6 * settings.embed)
        facts = _facts(found, shown, files)
        content = {
            "dataset": found.dataset,
            "adopted": adopted,
            "affines": affines.name if affines else "",
            "times": times,
            "verdict": found.verdict,
            "pair_names": _pair_names(shown),
            "tile_names": {},  # a tile is named by its number
            "facts": facts,
            **sentences.said(shown),
        }
        partial.write_text(page("report.html.j2").render(content), encoding="utf-8")
    of_pairs = "" if shown.pairs is None else f", {shown.pairs['accepted'].sum()} of {len(shown.pairs)} pairs accepted"
    log.info("wrote %s: %d tiles%s", output, len(shown.placed), of_pairs)


def _worst_time(found: Results) -> int:
    """The time point that the page is about: that of the verdict, else the one with the largest residuals."""
    told = (found.verdict or {}).get("time")
    return int(worst_first(found)["time"].iloc[0]) if told is None else int(told)


def _pair_names(shown: Results) -> dict[int, str]:
    """The two tiles of each pair, such as 3-4, by its number."""
    if shown.pairs is None:
        return {}
    columns = (shown.pairs[name].tolist() for name in ("pair", "fixed", "moving"))
    return {pair: f"{fixed}-{moving}" for pair, fixed, moving in zip(*columns, strict=True)}


def _facts(found: Results, shown: Results, files: PageFiles) -> dict[str, Any]:
    """All that the scripts of the page know; the pictures go into the files.

    Args:
        found: the results of all time points.
        shown: those of the time point that the page is about, or the same.
    """
    pictures = picture_tiles.pictures(found.mosaic, shown.listed, files)
    size = found.listed["pixel_size"].iloc[0]
    return {
        "dataset": found.dataset,
        "version": dlir.__version__,
        "pixel_size": float(size) if size > 0 else None,
        "shape": [pictures["height"], pictures["width"]],
        "time": int(shown.listed["reference_time"].iloc[0]) if found.times else None,
        "verdict": found.verdict,
        "tiles": tile_table(found),
        "pairs": pair_table(found),
        "pictures": pictures,
        "seams": seams.seams(shown, files),
        "plots": plots.plots(shown, files),
        **made.made(found),
        "provenance": "provenance.json",
        "files": files.embedded(),  # last, when all pictures are there
        "folder": "" if files.is_embedded else FOLDER,
    }
