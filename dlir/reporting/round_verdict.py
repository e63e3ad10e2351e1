"""The verdict on a specimen with rounds: the worst of what is said of its rounds, and of how they lie to each other.

It never is better than the verdict on any round. How rounds agree is measured in their pixels (`round_agreement.py`), where the
pairs that place them have no say. What a finding is, and the limits, are those of a single mosaic (`findings.py`).
"""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dlir.reporting.findings import GRADES, MOST_NAMES, SEAM, SURE, Finding, Grade, in_px, number_of
from dlir.reporting.round_agreement import Agreement, quantiles
from dlir.reporting.round_results import RoundResults, Specimen, accepted_by_tile, of_others
from dlir.reporting.round_sentence import sentence
from dlir.reporting.verdict import Error, Verdict
from dlir.rounds.groups import in_words
from dlir.rounds.orientation import is_told

LEAST_MATCHING = 0.3  # share of the patches with content that should match
LEAST_PATCHES = 5  # that have to be measured for a round to be checked
HELPS = 0.5  # px, 95 % quantile of the smooth field, from which on a local refinement is worth it
COMPARE = "lay the round and the first one over each other in two colours, in report.html"


class Between(NamedTuple):
    """How well a round agrees with the one that it is compared with, px; None where too little was measured."""

    median: float | None
    p95: float | None
    largest: float | None  # of the shifts of its tiles


def verdict(specimen: Specimen, agreement: Agreement) -> dict[str, Any]:
    """Returns the content of verdict.json: that of a single mosaic, and `between_px` and `rounds` beside it.

    The tiles of a finding are numbers of rows of placement.csv, from 0.
    """
    findings = [finding for each in specimen.rounds for finding in _of_one(specimen, each, agreement)]
    findings.sort(key=lambda finding: (-GRADES.index(finding.grade), finding.kind != "round"))
    grade: Grade = findings[0].grade if findings else "good"
    between = {each.name: _between(agreement, each.name) for each in specimen.rounds}
    known = [name for name, each in between.items() if each.median is not None]
    patches, tiles = (table[table["round"].isin(known)] for table in (agreement.patches, agreement.tiles))
    median, p95 = quantiles(patches[patches["state"] == "measured"], 0.5, 0.95)
    worst = tiles.loc[tiles["measured"] > 1, "offset"].max()
    total = Between(_known(median), _known(p95), _known(worst))
    within = _errors(specimen.rounds)
    error = Error(_largest([total.median, *(each["median"] for each in within)]),
                  _largest([total.largest, *(each["worst"] for each in within)]))  # fmt: skip
    in_um = Error(*(_known(each * specimen.pixel_size) if each else None for each in error))
    apart = _apart_from_most(specimen, agreement)
    near = [each for each in specimen.rounds if each.name not in apart]
    known_to = _largest([error["median"] for error in _errors(near)])
    words = sentence(grade, specimen, apart, (total.median, total.p95), known_to, findings)
    found = Verdict(grade, words, _tiles(specimen), [], error, in_um, findings)
    rounds = [
        {"round": each.name, "found": each.found["found"], "compared_with": _compared_with(specimen, each),
         "grade": each.verdict["grade"], "sentence": each.verdict["sentence"], "between_px": between[each.name]._asdict()}
        for each in specimen.rounds
    ]  # fmt: skip
    return {**found.as_json(), "between_px": total._asdict(), "rounds": rounds}


def stretched_tiles(agreement: Agreement, name: str) -> "pd.Series[int]":
    """Returns the tiles of a round in which a local refinement would help, the worst first."""
    tiles = agreement.tiles[(agreement.tiles["round"] == name) & (agreement.tiles["bend"] > HELPS)]
    found: pd.Series[int] = tiles.sort_values("bend", ascending=False)["tile"]
    return found


def named(tiles: "pd.Series[int]") -> str:
    """Returns the numbers of the first tiles, and how many more there are."""
    numbers = tiles.tolist()
    more = f" and {len(numbers) - MOST_NAMES} more" if len(numbers) > MOST_NAMES else ""
    return ", ".join(map(str, numbers[:MOST_NAMES])) + more


def _of_one(specimen: Specimen, each: RoundResults, agreement: Agreement) -> list[Finding]:
    """The findings on a round; what follows from that it was not found is not said again."""
    kinds = (_not_found, _not_held, _apart, _unlike, _stretched, _by_map, _of_round)
    found = [finding for kind in kinds for finding in kind(specimen, each, agreement)]
    lost = any(finding.kind == "round" and finding.grade == "bad" for finding in found)
    return [finding for finding in found if not (lost and finding.kind in ("unheld", "unchecked"))]


def _not_found(specimen: Specimen, each: RoundResults, agreement: Agreement) -> list[Finding]:
    """The pixels do not show how the round lies to the first."""
    if each.found["found"] != "stage":
        return []
    first, median = specimen.rounds[0].name, _between(agreement, each.name).median
    advice, group = each.found["advice"], next(names for names in specimen.groups() if each.name in names)
    remedy = advice if isinstance(advice, str) and advice else "check its positions, and that both rounds show one stain"
    what = f"{each.name} was not found: its pixels do not show how it lies to {first}"
    if is_told(advice):
        what, _, remedy = str(advice).partition(": ")
    elif len(group) > 1:
        what = f"{in_words(group)} match each other, but only the stage says how they lie to {first}: the pixels do not show it"
    if median is not None and median <= SURE:
        what = f"{each.name} was not found at low resolution, only by the stage; its tiles agree with {first} all the same"
        return [Finding("round", "look", what, remedy)]
    return [Finding("round", "bad", what, remedy)]


def _not_held(specimen: Specimen, each: RoundResults, agreement: Agreement) -> list[Finding]:
    """No pair that counts joins the round to another one."""
    pairs = of_others(specimen.pairs, each.name)
    if each is specimen.rounds[0] or (pairs["accepted"] & ~pairs["overruled"]).any():
        return []
    median = _between(agreement, each.name).median
    grade: Grade = "look" if median is not None and median <= SURE else "bad"
    what = f"no tile of {each.name} is registered with a tile of another round, so only its rough place is known"
    return [Finding("unheld", grade, what, "another reference_channel, of a stain that all rounds share")]


def _apart(specimen: Specimen, each: RoundResults, agreement: Agreement) -> list[Finding]:
    """The pixels of the round lie elsewhere than those of the one that it is compared with."""
    between, first = _between(agreement, each.name), specimen.compared_with(each).name
    tiles = agreement.tiles[agreement.tiles["round"] == each.name]
    if between.median is None:
        return []
    off = tiles[(tiles["offset"] > SURE) & (tiles["measured"] > 1)].sort_values("offset", ascending=False)
    if between.median > SEAM:
        what = f"{each.name} lies {in_px(between.median)} from {first}, in the median of its pixels"
        return [Finding("apart", "bad", what, COMPARE, _rows(specimen, each.name, off["tile"]))]
    if off.empty:
        return []
    nearest, farthest = f"{off['offset'].min():.1f}", in_px(off["offset"].max())
    if len(off) == 1:
        what = f"tile {off['tile'].iloc[0]} of {each.name} lies {farthest} from {first}"
    else:
        what = f"{len(off)} tiles of {each.name} lie {nearest} to {farthest} from {first}: {named(off['tile'])}"
    return [Finding("apart", "look", what, COMPARE, _rows(specimen, each.name, off["tile"]))]


def _unlike(specimen: Specimen, each: RoundResults, agreement: Agreement) -> list[Finding]:
    """The round, or tiles of it, show something that does not match the round that it is compared with there."""
    if each is specimen.rounds[0]:
        return []
    first, tiles = specimen.compared_with(each).name, agreement.tiles[agreement.tiles["round"] == each.name]
    measured, content = int(tiles["measured"].sum()), int((tiles["measured"] + tiles["unmatched"]).sum())
    remedy = "a reference_channel that all rounds share, and exposures that show it in each"
    if measured < LEAST_PATCHES:
        what = f"{each.name} shows too little that {first} shows as well, so nobody knows how well they agree"
        return [Finding("unchecked", "look", what, remedy)]
    if measured < LEAST_MATCHING * content:
        what = f"only {measured} of {content} places of {each.name} that show something look like {first}"
        return [Finding("unlike", "look", what, remedy)]
    held = accepted_by_tile(specimen.pairs, each.name).index  # these match somewhere, so debris may hide it elsewhere
    lost = tiles[(tiles["measured"] == 0) & (tiles["unmatched"] > 1) & ~tiles["tile"].isin(held)]
    if lost.empty:
        return []
    what = (
        f"{number_of(len(lost), 'tile')} of {each.name} {'shows' if len(lost) == 1 else 'show'} something else than {first} "
        f"at the same place: {named(lost['tile'])}"
    )
    return [Finding("unlike", "look", what, COMPARE, _rows(specimen, each.name, lost["tile"]))]


def _stretched(specimen: Specimen, each: RoundResults, agreement: Agreement) -> list[Finding]:
    """The tissue bends within tiles, which no rigid tile can mend."""
    found = agreement.rounds[agreement.rounds["round"] == each.name]
    if found.empty or not found["bend_p95"].iloc[0] > HELPS:
        return []
    worst = stretched_tiles(agreement, each.name)
    where = f", most in {'tile' if len(worst) == 1 else 'tiles'} {named(worst)}" if len(worst) else ""
    other = specimen.compared_with(each).name
    bend, most = (in_px(found[name].iloc[0]) for name in ("bend", "bend_p95"))
    what = (
        f"the tissue of {each.name} is stretched against {other} by {bend}, and by more than {most} in 5 % "
        f"of the places{where}; no rigid tile can mend that"
    )
    remedy = "rounds: {local: 3}, or a larger number, which bends the tiles of this round by up to so many px"
    return [Finding("stretched", "look", what, remedy, _rows(specimen, each.name, worst))]


def _by_map(specimen: Specimen, each: RoundResults, agreement: Agreement) -> list[Finding]:
    """Tiles that no pair holds, within the round or to another one."""
    tiles = each.placed.loc[each.placed["placed_by"] == "stage", "tile"]
    if tiles.empty or len(tiles) == len(each.placed):
        return []
    verb, they = ("lies", "it") if len(tiles) == 1 else ("lie", "them")
    what = (
        f"{number_of(len(tiles), 'tile')} of {each.name} {verb} where the map of the round puts {they}, since no pair holds "
        f"{they}: {named(tiles)}"
    )
    return [Finding("map", "good", what, "", _rows(specimen, each.name, tiles))]


def _of_round(specimen: Specimen, each: RoundResults, agreement: Agreement) -> list[Finding]:
    """What the verdict on the round alone says, where it is not good."""
    grade: Grade = each.verdict["grade"]
    if grade == "good":
        return []
    worst = [finding["sentence"] for finding in each.verdict["findings"] if finding["grade"] == grade]
    why = f": {worst[0]}" if worst else ""
    trusted = "is not to be trusted" if grade == "bad" else "deserves a look"
    return [Finding("within", grade, f"the mosaic of {each.name} itself {trusted}{why}", f"see the report of {each.name}")]


def _errors(rounds: list[RoundResults]) -> list[dict[str, Any]]:
    """The errors that the verdicts on these rounds by themselves state, px, of those that state some."""
    return [each.verdict["error_px"] for each in rounds if isinstance(each.verdict.get("error_px"), dict)]


def _compared_with(specimen: Specimen, each: RoundResults) -> str | None:
    """The round with which this one is compared; None for the first."""
    return None if each is specimen.rounds[0] else specimen.compared_with(each).name


def _apart_from_most(specimen: Specimen, agreement: Agreement) -> list[str]:
    """The rounds outside of the largest group that the pixels join, be it at low resolution or in patches as they lie."""
    first, *others = specimen.groups()
    for names in list(others):
        median = _between(agreement, names[0]).median
        if median is not None and median <= SURE:
            first += names
            others.remove(names)
    largest = max((first, *others), key=len)
    return [each.name for each in specimen.rounds if each.name not in largest]


def _between(agreement: Agreement, name: str) -> Between:
    found = agreement.rounds[agreement.rounds["round"] == name]
    if found.empty or found["measured"].iloc[0] < LEAST_PATCHES:
        return Between(None, None, None)
    tiles = agreement.tiles[(agreement.tiles["round"] == name) & (agreement.tiles["measured"] > 1)]
    return Between(_known(found["median"].iloc[0]), _known(found["p95"].iloc[0]), _known(tiles["offset"].max()))


def _tiles(specimen: Specimen) -> dict[str, int]:
    """How many tiles there are, and what holds them."""
    by = specimen.placed["placed_by"].value_counts()
    return {"total": len(specimen.placed), **{name: int(by.get(name, 0)) for name in ("pairs", "user", "stage")}}


def _rows(specimen: Specimen, name: str, tiles: "pd.Series[int]") -> list[int]:
    """The rows of placement.csv of these tiles of a round, in their order."""
    of_round = specimen.placed[specimen.placed["round"] == name]
    rows = pd.Series(of_round.index, index=of_round["tile"])
    return [int(row) for row in rows.loc[tiles.tolist()]]


def _known(value: Any) -> float | None:
    return float(f"{value:.3g}") if value is not None and np.isfinite(value) else None


def _largest(values: list[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
