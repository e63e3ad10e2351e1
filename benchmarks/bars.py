"""The bars for the registration of pairs with a known truth, and the table of what is measured beside them."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

REAL = ("hubble", "coins", "gravel", "cell")  # images that no network here has seen
INFORMATIVE = 0.5  # px of the bound
WRONG, GROSS = 2.0, 3.0  # px at the corners, at the centre

Values = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Truth(NamedTuple):
    """The test pairs, in batches of one shape, and what is known of each pair."""

    batches: list[dict[str, Any]]
    group: NDArray[np.str_]
    snr: Values
    bound: Values  # px, of a specimen that is known
    unknown: Values  # px, of one that is not


class Result(NamedTuple):
    """How a method did; confidence and sigma are NaN where it gives none."""

    error: Values  # px, mean of the corners
    centre: Values  # px
    confidence: Values
    sigma: Values  # px
    wall: float  # ms a pair
    cpu: float


class Row(NamedTuple):
    """A line of the table; sense says on which side of the bar a value should be, `within` being a factor either way."""

    what: str
    value: Callable[[Result], float]
    bar: float | None = None
    sense: Literal["<=", ">=", "within"] = "<="


def percent(mask: Mask) -> float:
    """How much of it is true."""
    return 100 * float(mask.mean()) if len(mask) else math.nan


def quantile(values: Values, at: float) -> float:
    """NaN where there are none."""
    return float(np.quantile(values, at)) if len(values) else math.nan


def roc(result: Result) -> float:
    """Area under the ROC curve: how often a right pair is surer than a wrong one."""
    right = result.error <= WRONG
    good, bad = right.sum(), (~right).sum()
    if not good * bad or np.isnan(result.confidence).any():
        return math.nan
    return float((rankdata(result.confidence)[right].sum() - good * (good + 1) / 2) / (good * bad))


def surest(result: Result, part: float) -> float:
    """Wrong pairs among the surest, in percent."""
    if np.isnan(result.confidence).any():
        return math.nan
    order = np.argsort(-result.confidence, kind="stable")
    return percent(result.error[order[: int(part * len(order))]] > WRONG)


def gain(value: float, control: float) -> float:
    """How much smaller than the control's, in percent; NaN where that is nothing."""
    return 100 * (1 - value / control) if control else math.nan


def accuracy_rows(name: str, mask: Mask, control: Result, bars: tuple[float | None, ...] = (None,) * 6) -> list[Row]:
    """Errors of a part of the pairs, and the gain over the control on them; bars in the order of the rows."""

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
    """Errors over the bound by the ratio of signal to noise."""

    def over(limit: Values, mask: Mask, result: Result) -> float:
        return quantile(result.error[mask] / limit[mask], 0.5)

    parts = [("SNR 4", truth.snr == 4, 1.6), ("SNR <= 1", truth.snr <= 1, 1.4)]
    parts += [(f"SNR {snr:g}", truth.snr == snr, 1.4) for snr in (1.0, 0.5, 0.25)]
    return [
        *(Row(f"error over the bound, {name}: median", partial(over, truth.bound, mask), bar) for name, mask, bar in parts),
        *(Row(f"over that of an unknown specimen, {name}", partial(over, truth.unknown, mask)) for name, mask, _ in parts),
    ]


def table_rows(truth: Truth, control: Result) -> list[Row]:
    """Every line of the table, with its bar where it has one."""
    everything, informative = np.full(len(truth.snr), True), truth.bound < INFORMATIVE
    real = np.isin(truth.group, REAL)
    return [
        *accuracy_rows("all", everything, control, (0.30, 3.0, 9.0, 3.0, 35.0, 25.0)),
        *accuracy_rows("informative", informative, control, (0.20, None, 0.5, None, None, None)),
        *bound_rows(truth),
        Row("confidence, > 2 px: area under the ROC curve", roc, 0.97, ">="),
        Row("confidence: > 2 px among the surest 80 %, %", partial(surest, part=0.8), 1.0),
        Row("error over predicted sigma: median", lambda r: quantile(r.error / r.sigma, 0.5), 1.5, "within"),
        Row("error over predicted sigma: 95 %", lambda r: quantile(r.error / r.sigma, 0.95)),
        Row("ms a pair of 96 x 512, batch 16: wall", lambda r: r.wall, 20.0),
        Row("ms a pair of 96 x 512, batch 16: CPU", lambda r: r.cpu),
        *accuracy_rows("unseen real", real, control),
        *accuracy_rows("unseen real, informative", real & informative, control),
    ]


def verdict(row: Row, value: float) -> str:
    """Whether the value keeps to the bar; nothing where there is none."""
    if row.bar is None or math.isnan(value):
        return ""
    met = {"<=": value <= row.bar, ">=": value >= row.bar, "within": 1 / row.bar <= value <= row.bar}
    return "yes" if met[row.sense] else "**no**"


def markdown(rows: Iterable[Row], results: dict[str, Result]) -> str:
    """The table; the verdict is of the first method."""
    lines = [f"| what | bar | met | {' | '.join(results)} |", "|---" * (3 + len(results)) + "|"]
    for row in rows:
        values = [row.value(result) for result in results.values()]
        bar = "" if row.bar is None else f"{row.sense} {row.bar:g}"
        cells = ["" if math.isnan(value) else f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}" for value in values]
        lines.append(f"| {row.what} | {bar} | {verdict(row, values[0])} | {' | '.join(cells)} |")
    return "\n".join(lines)
