"""One plot of the report: its words and its numbers. The script plots.js draws it.

A plot without data is left out, and says why.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Plot = dict[str, Any]
MOST_BARS = 30  # of a histogram
SHARE_SHOWN = 0.99  # of the values, to which a histogram reaches; the last bar counts all above it


def drawn(name: str, title: str, caption: str, described: str, **numbers: Any) -> Plot:
    """Returns a plot for the facts of the page.

    Args:
        name: what plots.js draws.
        title, caption: a few words above it; what is seen in it, below.
        described: what the plot shows, in words and numbers, for those who do not see it.
        numbers: what is drawn; only what JSON knows.
    """
    return {"name": name, "title": title, "caption": caption, "described": described, "missing": None, **numbers}


def left_out(name: str, title: str, why: str) -> Plot:
    """Returns a plot that is left out, with a sentence that says why."""
    return {"name": name, "title": title, "missing": why}


def histogram(values: NDArray[np.float64], least: float) -> dict[str, list[float]]:
    """Returns the edges and the counts of the bars of a histogram of values that are not negative.

    Args:
        values: (n,) finite ones.
        least: the last edge is not smaller.
    """
    last = max(float(np.quantile(values, SHARE_SHOWN)), least)
    counts, edges = np.histogram(values.clip(max=last), MOST_BARS, (0.0, last))
    return {"edges": rounded(edges), "counts": counts.tolist()}


def rounded(values: "NDArray[np.float64] | Sequence[float] | pd.Series[float]") -> list[float]:
    """Returns the values with four significant digits."""
    return [float(f"{value:.4g}") for value in np.asarray(values).tolist()]


def in_words(values: NDArray[np.float64], unit: str) -> str:
    """Returns the median, the 95 % quantile and the largest of the values (n,), in words."""
    median, p95, largest = (float(each) for each in np.percentile(values, [50, 95, 100]))
    return f"median {median:.2f} {unit}, 95 % below {p95:.2f} {unit}, largest {largest:.2f} {unit}"
