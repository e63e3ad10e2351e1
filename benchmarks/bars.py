"""The bars for the registration of pairs with known truth, and the table with what was measured beside them."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

REAL = ("hubble", "coins", "gravel", "cell")  # images on which no network here was trained
INFORMATIVE = 0.5  # px; pairs with a lower bound are called informative
WRONG, GROSS = 2.0, 3.0  # px; a pair is wrong above this mean error of the corners, gross above this error of the centre

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Truth(NamedTuple):
    """The test pairs in batches of one shape, and the kind, noise and bounds of each pair."""

    batches: list[dict[str, Any]]
    group: NDArray[np.str_]
    snr: Values
    bound: Values  # px, for a known specimen
    unknown: Values  # px, for an unknown specimen


class Result(NamedTuple):
    """Errors and times of a method; confidence and sigma are NaN when it gives none."""

    error: Values  # px, mean of the corners
    centre: Values  # px
    confidence: Values
    sigma: Values  # px, predicted deviation of the corners
    wall: float  # ms a pair
    cpu: float


class Row(NamedTuple):
    """A row of the table; sense says on which side of the bar a value should be, `within` up to that factor either way."""

    what: str
    value: Callable[[Result], float]
    bar: float | None = None
    sense: Literal["<=", ">=", "within"] = "<="


def percent(mask: Mask) -> float:
    """The share that is true, in percent."""
    return 100 * float(mask.mean()) if len(mask) else math.nan


def quantile(values: Values, at: float) -> float:
    """A quantile; NaN when there are no values."""
    return float(np.quantile(values, at)) if len(values) else math.nan


def roc(result: Result) -> float:
    """Area under the ROC curve: how often a right pair has a higher confidence than a wrong one."""
    right = result.error <= WRONG
    good, bad = right.sum(), (~right).sum()
    if not good * bad or np.isnan(result.confidence).any():
        return math.nan
    return float((rankdata(result.confidence)[right].sum() - good * (good + 1) / 2) / (good * bad))


def wrong_among_confident(result: Result, part: float) -> float:
    """Wrong pairs in the part of highest confidence, in percent."""
    if np.isnan(result.confidence).any():
        return math.nan
    order = np.argsort(-result.confidence, kind="stable")
    return percent(result.error[order[: int(part * len(order))]] > WRONG)


def gain(value: float, control: float) -> float:
    """How much smaller the value is than that of the control, in percent; NaN when the latter is zero."""
    return 100 * (1 - value / control) if control else math.nan


def accuracy_rows(name: str, mask: Mask, control: Result, bars: tuple[float | None, ...] = (None,) * 6) -> list[Row]:
    """Rows for a part of the pairs: errors, and the gain over the control; bars are in the order of the rows."""

    def middle(result: Result) -> float:
        return quantile(result.error[mask], 0.5)

    def wrong(result: Result) -> float:
        return percent(result.error[mask] > WRONG)

    values: dict[str, Callable[[Result], float]] = {
        "median, px": middle,
        "95 %, px": lambda result: quantile(result.error[mask], 0.95),
        "> 2 px, %": wrong,
        "gross (> 3 px at the centre), %": lambda result: percent(result.centre[mask] > GROSS),
        "fewer > 2 px than Hough + MAP-GN, %": lambda result: gain(wrong(result), wrong(control)),
        "lower median than Hough + MAP-GN, %": lambda result: gain(middle(result), middle(control)),
    }
    return [
        Row(f"{name} ({mask.sum()}): {what}", value, bar, ">=" if "than" in what else "<=")
        for (what, value), bar in zip(values.items(), bars, strict=True)
    ]


def bound_rows(truth: Truth) -> list[Row]:
    """Rows for the ratio of error to bound, by signal-to-noise ratio."""

    def over(limit: Values, mask: Mask, result: Result) -> float:
        return quantile(result.error[mask] / limit[mask], 0.5)

    parts = [("SNR 4", truth.snr == 4, 1.6), ("SNR <= 1", truth.snr <= 1, 1.4)]
    parts += [(f"SNR {snr:g}", truth.snr == snr, 1.4) for snr in (1.0, 0.5, 0.25)]
    return [
        *(Row(f"error over the bound, {name}: median", partial(over, truth.bound, mask), bar) for name, mask, bar in parts),
        *(
            Row(f"error over the bound of an unknown specimen, {name}: median", partial(over, truth.unknown, mask))
            for name, mask, _ in parts
        ),
    ]


def table_rows(truth: Truth, control: Result) -> list[Row]:
    """All rows of the table, with their bars if they have one."""
    everything, informative = np.full(len(truth.snr), True), truth.bound < INFORMATIVE
    real = np.isin(truth.group, REAL)
    return [
        *accuracy_rows("all", everything, control, (0.30, 3.0, 9.0, 3.0, 35.0, 25.0)),
        *accuracy_rows("informative", informative, control, (0.20, None, 0.5, None, None, None)),
        *bound_rows(truth),
        Row("confidence, > 2 px: area under the ROC curve", roc, 0.97, ">="),
        Row("confidence: > 2 px among the 80 % with the highest, %", partial(wrong_among_confident, part=0.8), 1.0),
        Row("error over predicted sigma: median", lambda r: quantile(r.error / r.sigma, 0.5), 1.5, "within"),
        Row("error over predicted sigma: 95 %", lambda r: quantile(r.error / r.sigma, 0.95)),
        Row("ms a pair of 96 x 512, batch 16: wall", lambda r: r.wall, 20.0),
        Row("ms a pair of 96 x 512, batch 16: CPU", lambda r: r.cpu),
        *accuracy_rows("unseen real", real, control),
        *accuracy_rows("unseen real, informative", real & informative, control),
    ]


def verdict(row: Row, value: float) -> str:
    """Whether the value meets the bar; empty when there is none."""
    if row.bar is None or math.isnan(value):
        return ""
    met = {"<=": value <= row.bar, ">=": value >= row.bar, "within": 1 / row.bar <= value <= row.bar}
    return "yes" if met[row.sense] else "**no**"


def markdown(rows: Iterable[Row], results: dict[str, Result]) -> str:
    """The table; whether a bar is met is said of the first method."""
    lines = [f"| what | bar | met | {' | '.join(results)} |", "|---" * (3 + len(results)) + "|"]
    for row in rows:
        values = [row.value(result) for result in results.values()]
        bar = "" if row.bar is None else f"{row.sense} {row.bar:g}"
        cells = ["" if math.isnan(value) else f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}" for value in values]
        lines.append(f"| {row.what} | {bar} | {verdict(row, values[0])} | {' | '.join(cells)} |")
    return "\n".join(lines)
