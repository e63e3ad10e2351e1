"""Whether training can win anything on a dataset, and whether a trained network may take the place of the one before.

**Before training.** On synthetic pairs of the user's tiles (`pairs/synthetic.py`) the network *misses* a pair where it errs by
more than RIGHT_PX although the windows match better at the true affine than where it found them: there the pixels tell what the
network does not see. A pair that errs with a better match than the truth has is lost in noise, which no training can mend. So
training is worth its time only where a good share of the pairs is missed.

**After training.** To be better on synthetic pairs is not to be better on the real ones. So the trained network has to be no
worse than the other one in all of these:

* how well loops of four real pairs close,
* how well real pairs match where it aligns them. Both networks see the windows with some noise more, m, and the match is
  measured on the windows with that noise less, -m; of noise as strong as that of the tiles, the two are independent (data
  fission; Leiner et al. 2023, arXiv 2112.11079). So a network gains nothing by aligning the noise,
* how true its confidence is on synthetic pairs (Brier 1950), and how many wrong pairs it is sure of.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dlir.core import affine
from dlir.core.affine import Array
from dlir.registration.model.checkpoint import Network
from dlir.registration.model.estimate import RIGHT_PX
from dlir.registration.model.noise_filter import above_noise, alignment_ncc
from dlir.registration.model.warping import corner_error
from dlir.registration.pairs.synthetic import Shape, SyntheticPairs, noise_variance
from dlir.registration.pairs.windows import WindowBatch, affine_columns

WORTHWHILE = 0.1  # share of synthetic pairs that are missed, from which on the network is trained
SURE = 0.9  # confidence of a pair that should not be wrong
LONGEST_GAP = 10.0  # px: loops that close worse count as this, since some of their pairs show nothing
LOOSER, LOOSER_PX = 1.05, 0.02  # times, and px, by which loops may close worse, and be no worse
LEAST_GAIN = -0.01  # of Fisher's z of the match, on average over the real pairs
LESS_TRUE = 0.005  # by which the Brier score may rise


class OnSynthetic(NamedTuple):
    """What a network finds in synthetic pairs."""

    error: Tensor  # (n,) px
    confidence: Tensor  # (n,)
    missed: Tensor  # (n,) whether the pixels match better at the truth


class OnReal(NamedTuple):
    """What a network finds in real pairs."""

    match: Tensor  # (n,) Fisher's z of the NCC, against noise that the network has not seen
    gaps: Array  # (loops,) px, by which loops of four pairs do not close


Synthetic = Sequence[tuple[Shape, SyntheticPairs]]


@torch.no_grad()
def on_synthetic(model: Network, checks: Synthetic) -> OnSynthetic:
    """Returns what a network finds in synthetic pairs."""
    model.eval()
    errors, confidences, missed = [], [], []
    for shape, pairs in checks:
        found = model(pairs.fixed, pairs.moving, shape.search, shape.centre)
        error = corner_error(found.affine, pairs.affine, shape.height, shape.width).nan_to_num(torch.inf)
        clear = found.clear or above_noise(pairs.fixed, pairs.moving)
        here, truly = alignment_ncc(*clear, found.affine, pairs.affine)
        errors.append(error.cpu())
        confidences.append(found.confidence.cpu())
        missed.append(((error > RIGHT_PX) & (truly > here)).cpu())
    return OnSynthetic(torch.cat(errors), torch.cat(confidences), torch.cat(missed))


@torch.no_grad()
def on_real(model: Network, batches: Iterable[WindowBatch], seed: int) -> OnReal:
    """Returns what a network finds in real pairs; the seed decides on the noise that is added."""
    model.eval()
    generator, matches, rows = torch.Generator().manual_seed(seed), [], []
    for batch in batches:
        (fixed, other_fixed), (moving, other_moving) = (_split(part, generator) for part in (batch.fixed, batch.moving))
        found = model(fixed, moving, batch.search, batch.centre, shown=batch.shown)
        (match,) = alignment_ncc(*above_noise(other_fixed, other_moving), found.affine, shown=batch.shown)
        matches.append(torch.atanh(match.clamp(-0.99, 0.99)).cpu())
        columns = affine_columns(found.affine, found.covariance, batch)
        rows.append(batch.rows[["fixed", "moving", "side"]].assign(**columns))
    return OnReal(torch.cat(matches), _gaps(pd.concat(rows)))


def _split(windows: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Windows (b, 1, h, w) with noise as strong as their own, added once and subtracted once."""
    variances = [noise_variance(window[0]) for window in windows.cpu().numpy()]
    level = torch.tensor([max(offset, 0.0) for offset, _ in variances]).sqrt().to(windows).view(-1, 1, 1, 1)
    noise = level * torch.randn(windows.shape, generator=generator).to(windows)
    return windows + noise, windows - noise


def _gaps(found: pd.DataFrame) -> Array:
    """By how many px (loops,) the loops of four pairs (fixed, moving, side, and the columns of an affine) do not close."""
    offset = affine.offsets(affine.from_table(found), np.zeros((len(found), 2)))
    steps = {
        (side, fixed): (moving, along)
        for side, fixed, moving, along in zip(found["side"], found["fixed"], found["moving"], offset, strict=True)
    }
    gaps = []
    for (side, tile), (right, first) in steps.items():
        if side == "right" and ("down", tile) in steps and ("down", right) in steps:
            below, second = steps["down", tile]
            corner, third = steps["down", right]
            last, fourth = steps.get(("right", below), (None, None))
            if last == corner:
                gaps.append(np.linalg.norm(first + third - second - fourth))
    return np.asarray(gaps, float)


def worse(trained: OnSynthetic, before: OnSynthetic, trained_real: OnReal, before_real: OnReal) -> str:
    """Returns in what a trained network is worse than the one before, in words; empty where it is in nothing."""
    gaps = [_median_gap(each) for each in (trained_real, before_real)]
    if gaps[0] > LOOSER * gaps[1] + LOOSER_PX:
        return f"loops of real pairs close worse, {gaps[0]:.2f} px instead of {gaps[1]:.2f} px"
    if float((trained_real.match - before_real.match).mean()) < LEAST_GAIN:
        return "real pairs match worse"
    sure = [int(((each.confidence >= SURE) & (each.error > RIGHT_PX)).sum()) for each in (trained, before)]
    if sure[0] > sure[1]:
        return f"it is sure of {sure[0]} wrong pairs instead of {sure[1]}"
    brier = [float(((each.confidence - (each.error <= RIGHT_PX).float()) ** 2).mean()) for each in (trained, before)]
    return "its confidence is less true" if brier[0] > brier[1] + LESS_TRUE else ""


def _median_gap(found: OnReal) -> float:
    return float(np.median(found.gaps.clip(max=LONGEST_GAP))) if len(found.gaps) else 0.0
