"""The step `index`: one HTML page that shows the mosaics of many datasets beside each other, such as the wells of a plate.

Each mosaic has a row with a small picture, its verdict, its numbers and a link to its report; a click on the head of a column
sorts the rows. Wells are also shown as they lie in their plate. The page is one file that needs no network; it is made from the
template `index.html.j2`.
"""

import base64
import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from dlir.core import tables, time_points
from dlir.core.atomic import atomically
from dlir.fusion.plate import place_of
from dlir.reading import patterns
from dlir.reporting.page_files import FOLDER, THUMBNAIL
from dlir.reporting.pages import page

log = logging.getLogger(__name__)
GRADES = {"bad": "not to be trusted", "look": "look here", "good": "good", "": "none"}  # of a verdict, the worst first


class Entry(NamedTuple):
    """A dataset on the page. Numbers that nobody knows are None."""

    name: str
    link: str  # to its report
    picture: str  # JPEG, base64
    grade: str  # of its verdict, a key of GRADES
    sentence: str  # of its verdict
    tiles: int
    groups: int  # of two tiles and more that pairs join
    error: float | None  # px, what the verdict expects: of the worst tile
    residual: float | None  # px, median of the tiles
    seconds: float | None  # that all steps took
    place: tuple[int, int]  # row and column in the plate, from 1; (0, 0) for datasets that are no wells

    @property
    def time(self) -> str:
        """The time in hours, minutes and seconds; empty where it is not known."""
        if self.seconds is None:
            return ""
        minutes, seconds = divmod(round(self.seconds), 60)
        return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {seconds} s"


def index(results: list[Path], output: Path, *, wells: list[str] | None = None) -> None:
    """Writes the page `output`.

    Args:
        results: the folders of the results of the datasets and of specimens, whose rounds lie in folders below theirs; the
            links are relative to the folder of `output`.
        wells: the names of the wells, such as B02, in the same order; None for datasets that are no wells.
    """
    entries = [_entry(folder, output.parent, well) for folder, well in zip(results, wells or [""] * len(results), strict=True)]
    first_row, first_column = (min(entry.place[axis] for entry in entries) - 1 for axis in (0, 1))
    placed = [entry._replace(place=(entry.place[0] - first_row, entry.place[1] - first_column)) for entry in entries]
    grades = Counter(entry.grade for entry in entries)
    parts = {Path(entry.link).parent.parent for entry in entries} - {Path()}
    counts = [f"{word}: {grades[grade]}" for grade, word in GRADES.items() if grades[grade] and grade]
    content = {
        "name": output.absolute().parent.name,
        "entries": placed,
        "plate": bool(wells),
        "grades": GRADES,
        "counts": counts,
        "parts": sorted(part.as_posix() for part in parts),
    }
    with atomically(output) as partial:
        partial.write_text(page("index.html.j2").render(content), encoding="utf-8")
    log.info("wrote %s: %d datasets; verdicts: %s", output, len(entries), ", ".join(counts) or "none")


def _entry(folder: Path, beside: Path, well: str) -> Entry:
    of_rounds = (folder / "rounds.csv").is_file()
    placed = tables.read(folder / "placement.csv", tables.ROUND_PLACEMENT if of_rounds else tables.PLACEMENT)
    verdict = _read_json(folder / "verdict.json")
    expected = verdict.get("error_px")
    provenance = [folder / "provenance.json", *(folder.glob("*/provenance.json") if of_rounds else ())]
    made = [_read_json(file).get("stages", {}) for file in provenance]
    seconds = [step["seconds"] for each in made for step in each.values() if step["seconds"] is not None]
    row, column = place_of(well) if well else ("", "0")
    name = folder.resolve().relative_to(beside.resolve()).as_posix()
    return Entry(
        name=well or name,
        link=f"{name}/report.html",
        picture=base64.b64encode((folder / FOLDER / THUMBNAIL).read_bytes()).decode(),
        grade=verdict.get("grade", ""),
        sentence=verdict.get("sentence", ""),
        tiles=placed["path"].nunique(),
        groups=max(
            int(time_points.at(placed, time)["group"].value_counts().gt(1).sum()) for time in time_points.listed(placed) or [0]
        ),
        error=expected.get("worst") if isinstance(expected, dict) else expected,
        residual=None if placed["residual"].isna().all() else float(placed["residual"].median()),
        seconds=sum(seconds) if seconds else None,
        place=(int(patterns.number("row", row)), int(column)) if row else (0, 0),
    )


def _read_json(file: Path) -> dict[str, Any]:
    """Returns the content of a file; nothing where there is none."""
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return content
