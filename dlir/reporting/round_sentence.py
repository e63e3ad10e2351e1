"""The verdict on a specimen with rounds in one line (`round_verdict.py`)."""

from dlir.reporting.findings import Finding, Grade, told_first
from dlir.reporting.round_results import Specimen
from dlir.reporting.verdict import LEAST_TOLD, WORDS
from dlir.rounds.groups import in_words


def sentence(
    grade: Grade,
    specimen: Specimen,
    apart: list[str],
    between: tuple[float | None, float | None],
    within: float | None,
    findings: list[Finding],
) -> str:
    """Returns the verdict in one line.

    Args:
        apart: the rounds outside of the largest group that the pixels join.
        between: how well the rounds agree, px: the median and the 95 % quantile; None where too little was measured.
        within: to how many px places within a round are known; None where no verdict states it.
        findings: in their order.
    """
    count, lost = len(specimen.rounds), sum(each.found["found"] == "stage" for each in specimen.rounds)
    joined = f"{f'{count - lost} of {count}' if lost else f'all {count}'} rounds are found"
    if count == 1:
        joined = "there is one round, and nothing to compare it with"
    elif len(apart) == count - 1:
        joined = "no round matches another one, and only the stage says how they lie"
    elif apart:
        how = f"how {in_words(apart)} {'lies' if len(apart) == 1 else 'lie'} to them"
        joined = f"{count - len(apart)} of {count} rounds match each other, and only the stage says {how}"
    parts, (median, p95) = [f"{WORDS[grade]}: {joined}"], between
    if median is not None and p95 is not None:
        they = "Those that match" if apart else "They"
        parts.append(f"{they} agree to {_bound(median)}, 95 % of the specimen to {_bound(p95)}")
    elif count > 1:
        parts.append("How well they agree could not be measured")
    if within is not None:
        parts.append(f"Within {'each of these' if apart else 'a round'}, places are known to {_about(within)}")
    return ". ".join([*parts, *told_first(grade, findings)]) + "."


def _bound(px: float) -> str:
    """A length in words that is smaller in truth, since it holds the noise of the measurement."""
    return _about(px) if px < LEAST_TOLD else f"{_about(px)} or better"


def _about(px: float) -> str:
    """A length in words."""
    return f"better than {LEAST_TOLD} px" if px < LEAST_TOLD else f"{px:.1f} px" if px >= 1 else f"{px:.2g} px"
