"""The verdict on a mosaic, in words: good; good, but look here; or not to be trusted. The step `judge` writes verdict.json.

It follows from the tables alone: how far each place may be off (`expected_error.py`), and what else a user should know
(`findings.py`). The worst finding gives the grade. Where each time point is placed by itself, the verdict is that on the worst.
`verdict_file.py` reads it again.
"""

import json
import logging
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dlir.core import tables, time_points
from dlir.core.atomic import atomically
from dlir.core.lens import NO_LENSES, Lenses
from dlir.core.lens import read_for as read_lenses
from dlir.placement.overrides import read_overrides
from dlir.reporting.doubtful_pairs import (
    brightness,
    contradicting,
    copies,
    faint,
    layout,
    missed,
    other_overlap,
    repeated,
    slipped,
)
from dlir.reporting.doubtful_places import adopted, alone, distorted, groups, not_held, weak
from dlir.reporting.expected_error import clear_misfit, counted, expected_errors, stretched, sure_bodies
from dlir.reporting.findings import GRADES, SURE, Evidence, Finding, Grade, told_first

log = logging.getLogger(__name__)
WORDS: dict[Grade, str] = {"good": "Good", "look": "Good, but look here", "bad": "Not to be trusted"}
KINDS = (not_held, layout, copies, weak, contradicting, groups, alone, distorted, repeated, adopted, faint, slipped,
         other_overlap, brightness, missed)  # fmt: skip  # of findings, the worst first
LEAST_TOLD = 0.05  # px: a smaller error is told as better than that
MOST_LISTED = 200  # tiles or pairs of a finding that verdict.json lists


class Error(NamedTuple):
    """The expected error of the places, in one unit; None where nothing tells it."""

    median: float | None
    worst: float | None


class Group(NamedTuple):
    """Tiles that pairs join."""

    group: int  # as in tables.PLACEMENT
    tiles: int  # how many
    error_px: float | None  # the largest expected error of a tile


class Verdict(NamedTuple):
    """The verdict on a mosaic."""

    grade: Grade
    sentence: str  # one line
    tiles: dict[str, int]  # how many there are, how many pairs, stage, user and placement hold, and how many are unsure
    groups: list[Group]  # of two tiles and more, the largest first
    error_px: Error
    error_um: Error  # micrometres; of None where the size of a pixel is unknown
    findings: list[Finding]  # the worst first
    time: int | None = None  # the time point that it is about, where each is placed by itself

    def as_json(self) -> dict[str, Any]:
        """Returns the content of verdict.json; a finding lists the first MOST_LISTED of its tiles and pairs."""
        return {
            **self._asdict(),
            "groups": [group._asdict() for group in self.groups],
            "error_px": self.error_px._asdict(),
            "error_um": self.error_um._asdict(),
            "findings": [
                {**finding._asdict(), "tiles": [*finding.tiles[:MOST_LISTED]], "pairs": [*finding.pairs[:MOST_LISTED]]}
                for finding in self.findings
            ],
        }


def judge(
    tiles: Path,
    placement: Path,
    output: Path,
    *,
    affines: Path | None = None,
    lens: Path | None = None,
    survey: Path | None = None,
    exposure: Path | None = None,
    selfcheck: Path | None = None,
    overrides: Path | None = None,
) -> None:
    """Writes the verdict on a mosaic to `output`, verdict.json.

    Args:
        tiles, placement: the tables TILES and PLACEMENT.
        affines, lens, survey, exposure, selfcheck: the tables of these names in tables.py; None where there is none.
        overrides: the user's table, whose pairs count as right.

    Raises:
        TableError: when a table is not what its step writes.
        OverridesError, TextTableError: when the overrides have a mistake.
        LensError: when the distortion is that of other tiles.
    """
    listed = tables.read(tiles, tables.TILES)
    pairs = tables.read(affines, tables.AFFINES) if affines else None
    if pairs is not None and overrides:
        pairs = read_overrides(overrides, listed).in_pairs(pairs)
    found = verdict(
        listed,
        tables.read(placement, tables.PLACEMENT),
        pairs,
        lenses=read_lenses(lens, listed),
        survey=tables.read(survey, tables.SURVEY) if survey else None,
        exposure=tables.read(exposure, tables.EXPOSURE) if exposure else None,
        selfcheck=tables.read(selfcheck, tables.SELFCHECK) if selfcheck else None,
    )
    with atomically(output) as partial:
        partial.write_text(json.dumps(found.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    log.info("verdict: %s", found.sentence)


def verdict(
    tiles: pd.DataFrame,
    placed: pd.DataFrame,
    pairs: pd.DataFrame | None = None,
    *,
    lenses: Lenses = NO_LENSES,
    survey: pd.DataFrame | None = None,
    exposure: pd.DataFrame | None = None,
    selfcheck: pd.DataFrame | None = None,
) -> Verdict:
    """Returns the verdict on a mosaic from its tables; the worst one where each time point is placed by itself.

    Args:
        tiles, placed: tables.TILES and tables.PLACEMENT.
        pairs: tables.AFFINES; None where nothing was registered.
        lenses: those that were taken out of the tiles before.
        survey, exposure, selfcheck: tables.SURVEY, tables.EXPOSURE and tables.SELFCHECK; None where there is none.
    """
    found = []
    for time in time_points.listed(placed) or [0]:
        of_time = None if pairs is None else time_points.at(pairs, time)
        evidence = _evidence(tiles, time_points.at(placed, time), of_time, lenses, survey, exposure, selfcheck)
        found.append(_of_evidence(evidence, time if "time" in placed else None))
    return max(found, key=lambda each: (GRADES.index(each.grade), each.error_px.worst or 0.0))


def _evidence(
    tiles: pd.DataFrame,
    placed: pd.DataFrame,
    pairs: pd.DataFrame | None,
    lenses: Lenses,
    survey: pd.DataFrame | None,
    exposure: pd.DataFrame | None,
    selfcheck: pd.DataFrame | None,
) -> Evidence:
    if pairs is None or pairs.empty:
        placed = placed.assign(error=placed["deviation"], body=placed["group"])
        pairs = None if pairs is None else pairs.assign(misfit=0.0, sigmas=0.0)
        return Evidence(tiles, placed, np.zeros(len(placed)), pairs, lenses, survey, exposure, selfcheck)
    misfit, sigmas = clear_misfit(pairs, placed)
    used, stretch = counted(pairs), stretched(tiles, placed, pairs, lenses)
    body = sure_bodies(placed["tile"], used)
    placed = placed.assign(error=expected_errors(placed, used, body, stretch), body=body)
    pairs = pairs.assign(misfit=misfit, sigmas=sigmas)
    return Evidence(tiles, placed, stretch, pairs, lenses, survey, exposure, selfcheck)


def _of_evidence(evidence: Evidence, time: int | None) -> Verdict:
    """Returns the verdict on one placement."""
    placed, every = evidence.placed, [finding for kind in KINDS for finding in kind(evidence)]
    findings = sorted(every, key=lambda finding: -GRADES.index(finding.grade))
    grade = findings[0].grade if findings else "good"
    by_stage = evidence.alone
    held = {by: int(((placed["placed_by"] == by).to_numpy() & ~by_stage).sum()) for by in ("pairs", "user", "placement")}
    tiles = {"total": len(placed), **held, "stage": int(by_stage.sum()), "unsure": int((placed["error"] > SURE).sum())}
    sizes = placed.groupby("group")["error"].agg(["size", "max"])
    joined = [Group(int(n), int(size), _rounded(most)) for n, size, most in sizes.reset_index().to_numpy() if size > 1]
    error, size = placed["error"].dropna(), evidence.tiles["pixel_size"].iloc[0]
    error_px = Error(_rounded(error.median()), _rounded(error.max()))
    error_um = Error(_rounded(error.median() * size), _rounded(error.max() * size))
    sentence = _sentence(grade, tiles, joined, error_px, error_um, findings, time)
    return Verdict(grade, sentence, tiles, joined, error_px, error_um, findings, time)


def _sentence(
    grade: Grade, tiles: dict[str, int], groups: list[Group], px: Error, um: Error, findings: list[Finding], time: int | None
) -> str:
    """The verdict in one line."""
    when = "" if time is None else f"at the worst time point, {time}, "
    parts = [f"{WORDS[grade]}: {when}{_holders(tiles, groups)}"]
    if px.median is not None:
        places = "Places are known to" if tiles["total"] > 1 else "Its place is known to"
        usual, worst = _about(px.median, um.median), "" if px.worst is None else _about(px.worst, um.worst)
        parts.append(f"{places} {usual}" + ("" if worst in ("", usual) else f", the worst to {worst}"))
    return ". ".join([*parts, *told_first(grade, findings)]) + "."


def _holders(tiles: dict[str, int], groups: list[Group]) -> str:
    """What holds the tiles."""
    if tiles["total"] == 1:
        return "there is one tile, and nothing to join"
    words = {"pairs": "pairs hold", "user": "you placed", "placement": "another run placed", "stage": "the stage alone places"}
    held = [f"{verb} {'all ' if tiles[by] == tiles['total'] else ''}{tiles[by]}" for by, verb in words.items() if tiles[by]]
    of = f"{', '.join(held)} {'tiles' if len(held) == 1 else 'of ' + str(tiles['total']) + ' tiles'}"
    return of + (f", in {len(groups)} groups" if len(groups) > 1 else "")


def _about(px: float, um: float | None) -> str:
    """A length in words, with micrometres where they are known."""
    told = max(px, LEAST_TOLD)
    length = f"{told:.1f} px" if told >= 1 else f"{told:.2g} px"
    length += f" ({um * told / px:.2g} µm)" if um and px else ""
    return f"better than {length}" if px < LEAST_TOLD else f"about {length}"


def _rounded(number: float) -> float | None:
    return float(f"{number:.3g}") if np.isfinite(number) else None
