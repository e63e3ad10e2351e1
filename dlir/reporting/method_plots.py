"""The plots of the registration method: its stated probability against the truth, its errors, and its training."""

import numpy as np
import pandas as pd
from scipy.special import ndtri

from dlir.reporting.page_plot import Plot, drawn, left_out, rounded
from dlir.reporting.results import Results

RIGHT_PX = 2.0  # px, corner error below which a known pair counts as right
EDGES = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)  # of the classes of the stated probability
LEAST_ERROR = 0.01  # px, at which smaller errors are drawn
NETWORK, PHASE, NONE = "network", "phase", "none"
WORDS = {NETWORK: "the network", PHASE: "phase correlation"}  # others keep their own name
NOT_MEASURED = "the self-check measured no known pairs, since no overlap has a size that can be cut from a tile."


def calibration_plot(results: Results) -> Plot:
    """Returns how often known pairs are right, by the probability that the method states."""
    title = "Stated probability against the truth"
    known = results.known_pairs
    if known is None or known.empty:
        return left_out("calibration", title, NOT_MEASURED)
    method = _own_method(known)
    if method == PHASE:
        return left_out("calibration", title, "phase correlation states no probability of its own.")
    of_method = known[known["method"] == method]
    right = of_method["error"].to_numpy() < RIGHT_PX
    stated = of_method["confidence"].to_numpy()
    classes = np.digitize(stated, EDGES[1:-1])
    found = [(stated[classes == each].mean(), right[classes == each]) for each in np.unique(classes)]
    share = [float(each.mean()) for _, each in found]
    low, high = zip(*(wilson(int(each.sum()), len(each)) for _, each in found), strict=True)
    caption = (
        f"Pairs of crops from your own tiles under a known affine: how many of them {WORDS.get(method, method)} registered "
        f"to within {RIGHT_PX:g} px, against the probability that it stated. Above the line it is too modest, below it is "
        "too sure. The bars are 95 % intervals. The probability of a real pair also counts how well unrelated tiles match."
    )
    counts = [len(each) for _, each in found]
    described = "; ".join(
        f"stated {mean:.2f}: {part:.0%} of {count} right" for (mean, _), part, count in zip(found, share, counts, strict=True)
    )
    numbers = {
        "stated": rounded([mean for mean, _ in found]),
        "share": rounded(share),
        "low": rounded(low),
        "high": rounded(high),
    }
    return drawn("calibration", title, caption, f"{described}.", **numbers, count=counts)


def methods_plot(results: Results) -> Plot:
    """Returns the error of the method against that of phase correlation, on the same known pairs."""
    title = "The network against phase correlation, on your own tiles"
    known = results.known_pairs
    if known is None or known.empty:
        return left_out("methods", title, NOT_MEASURED)
    method = _own_method(known)
    if method == PHASE:
        return left_out("methods", title, "the pairs were registered by phase correlation itself.")
    by_pair = known.pivot_table(index=["side", "pair"], columns="method", values="error").reset_index()
    own, phase = (by_pair[name].to_numpy() for name in (method, PHASE))
    words = WORDS.get(method, method)
    caption = (
        f"The error of {words} and of phase correlation on the same known pairs. Below the line, {words} is the better one. "
        "It is the error of the first registration; the fine one that follows makes real pairs more exact."
    )
    described = (
        f"{len(own)} known pairs: median error {np.median(own):.2f} px with {words}, {np.median(phase):.2f} px with phase "
        f"correlation, {by_pair[NONE].median():.2f} px without registration; {words} is better in {np.mean(own < phase):.0%}."
    )
    numbers = {"own": rounded(own.clip(min=LEAST_ERROR)), "phase": rounded(phase.clip(min=LEAST_ERROR))}
    return drawn("methods", title, caption, described, **numbers, side=by_pair["side"].tolist(), label=words)


def training_plot(results: Results) -> Plot:
    """Returns the history of the training: its checks on tiles that were held out, and on the real pairs."""
    title = "Training of the network"
    history = results.history
    if history is None or history.empty:
        return left_out("training", title, "no network was trained on these tiles.")
    decisions = [f"The network was {decision}." for decision in history["decision"].dropna()]
    if history["step"].max() == 0:
        return left_out("training", title, f"there was no training. {' '.join(decisions)}")
    caption = (
        "The median of each check during the training: the corner error of known pairs from tiles that were held out, and "
        f"one less the NCC of the real pairs. Both should fall. {' '.join(decisions)}"
    )
    ends = [
        f"{measure}: from {of['median'].iloc[0]:.3f} to {of['median'].iloc[-1]:.3f}"
        for measure, of in history.groupby("measure")
    ]
    numbers = {"step": history["step"].tolist(), "median": rounded(history["median"]), "measure": history["measure"].tolist()}
    described = f"{int(history['step'].max())} training steps. {'; '.join(ends)}."
    return drawn("training", title, caption, described, **numbers)


def wilson(right: int, count: int) -> tuple[float, float]:
    """Returns the 95 % interval of a share of which `right` of `count` cases were seen (Wilson, JASA 22, 1927)."""
    z = float(ndtri(0.975))
    share, scale = right / count, 1 + z**2 / count
    middle, reach = share + z**2 / (2 * count), z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return max(0.0, float((middle - reach) / scale)), min(1.0, float((middle + reach) / scale))


def _own_method(known: pd.DataFrame) -> str:
    """The method with which the pairs were registered."""
    return next((method for method in known["method"].unique() if method not in (PHASE, NONE)), PHASE)
