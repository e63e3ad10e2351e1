"""What all pairs together say about each pair: the loop between registration and placement.

    register all pairs -> compare with pairs that cannot match -> search wider, if the stage needs it
         ^                                                                       |
         |                                                                       v
    register again the pairs that disagree, where the placement expects them <- place the tiles

A pair is judged by the NCC of its two windows and by the confidence of the method. Both are compared with what pairs of
tiles that cannot match reach in the same windows (`confidence/calibration.py`). The accepted pairs place the tiles
(`placement/solver.py`). The placement predicts an affine for each pair, and a pair that was rejected, or that lies elsewhere,
is registered once more near its prediction. At last the fine registration (`fine.py`) starts from the predictions, and a pair
that the placement still overrules is marked as doubtful.
"""

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import affine
from dlir.core.tile_graph import groups
from dlir.placement.solver import Measurements, Solution, initial_stage, measurements, residuals, solve
from dlir.placement.tile_model import choose_model
from dlir.registration.confidence.calibration import linear_deviation, with_verdict
from dlir.registration.pairs.neighbours import LEAST_SEARCH, with_windows
from dlir.registration.pairs.unrelated import unrelated_pairs
from dlir.registration.settings import Register

log = logging.getLogger(__name__)
Registered = tuple[pd.DataFrame, pd.DataFrame]  # the pairs, and pairs that cannot match
Look = Callable[[pd.DataFrame], Registered]
WIDEST_SEARCH = 0.15  # fraction of a tile; a window that searches further is not widened
FULL_SEARCH = 0.7  # fraction of the search; when one pair in ten lies further out, the windows are widened
LOOKS = 3  # registrations, at most, of the pairs that disagree with the others
DISAGREEMENT = 1.5  # px from the prediction
LEAST_STAGE_ERROR = 1.0  # px, deviation
STAGE_REACH = 3.0  # deviations of the stage that a second look searches
LEAST_LINEAR_DEVIATION = 1e-3  # no grid has linear parts that agree better than this
LINEAR_MARGIN = 3.0  # times the deviation that the pairs show; a tighter prior would count the same evidence twice
TOO_FAINT = "too little contrast, and no surer pair holds either tile"
OVERRULED_WEIGHT = 0.07  # weight in the placement of a pair that is five deviations off


class Estimate(Protocol):
    """Registers pairs (tables.PAIRS), called `what` in the log, whose linear parts deviate by `linear` from the identity."""

    def __call__(self, pairs: pd.DataFrame, what: str, linear: float) -> pd.DataFrame: ...


class Refine(Protocol):
    """Replaces the affines of the accepted pairs in `found` by more exact ones, starting from `predicted` (n, 2, 3)."""

    def __call__(self, found: pd.DataFrame, predicted: affine.Array, tiles: pd.DataFrame, *, linear: float) -> None: ...


def consensus(
    pairs: pd.DataFrame, tiles: pd.DataFrame, estimate: Estimate, settings: Register, refine: Refine | None = None
) -> pd.DataFrame:
    """The affine, the confidence and the verdict of each pair (tables.AFFINES), as all pairs together support it.

    Args:
        pairs: the pairs to register (tables.PAIRS).
        tiles: their tiles (tables.TILES).
        refine: the fine registration; without it the affines of `estimate` stay as they are, and their linear parts too.
    """
    look = partial(_look, tiles=tiles, estimate=estimate, seed=settings.seed)
    registered = look(pairs)
    while (wider := _widened(pairs, found := _judged(registered, settings), tiles)) is not None:
        log.info("the stage errs by more than the search window: searching up to %.0f px", wider["search"].max())
        pairs, registered = wider, look(wider)
    found = drop_unsupported(_judged(registered, settings, _stage_error(found, pairs)), settings.accept)
    linear = _linear_prior(found) if refine else math.inf
    found = _look_again(pairs, found, tiles, partial(look, linear=linear), settings)
    if refine and found["accepted"].any():
        predicted, _, _ = _predicted(found, tiles)
        refine(found, predicted, tiles, linear=linear)
    return doubt_overruled(found, tiles, settings.accept)


def _look(pairs: pd.DataFrame, tiles: pd.DataFrame, estimate: Estimate, seed: int, linear: float = math.inf) -> Registered:
    """Register the pairs, and beside them pairs of tiles that cannot match."""
    unrelated = unrelated_pairs(pairs, tiles, seed)
    found, wrong = estimate(pairs, "pairs", linear), estimate(unrelated, "pairs that cannot match", linear)
    return _with_location(found, pairs), _with_location(wrong, unrelated)


def _judged(registered: Registered, settings: Register, expected: float | NDArray[np.float64] = math.inf) -> pd.DataFrame:
    """The registered pairs with confidence and verdict; a right pair lies within a deviation `expected` (n,), px, of its
    nominal offset."""
    found, wrong = registered
    return with_verdict(found.assign(expected=expected), wrong, settings.accept).assign(method=settings.method)


def _with_location(found: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Registered pairs with their distance from the nominal offset, px, the distance that was searched, px, and the part of
    their windows that overlaps."""
    given, error = pairs.loc[found.index], _offset_error(found, pairs)
    size = given[["height", "width"]].to_numpy()
    shift = _offset(found) - given[["fixed_y", "fixed_x"]].to_numpy() + given[["moving_y", "moving_x"]].to_numpy()
    return found.assign(
        away=np.linalg.norm(error, axis=1),
        searched=given["search"],
        inside=np.abs(error).max(axis=1) <= given["search"] + 1,
        overlap=(1 - np.abs(shift) / size).clip(min=0).prod(axis=1),
    )


def _linear_prior(found: pd.DataFrame) -> float:
    """The deviation from the identity that linear parts of right pairs may have, as the accepted pairs show it."""
    return max(LEAST_LINEAR_DEVIATION, LINEAR_MARGIN * linear_deviation(found, found["accepted"].to_numpy(bool)))


def _stage_error(found: pd.DataFrame, pairs: pd.DataFrame) -> float:
    """The root mean square distance, px on either axis, of accepted pairs from the nominal offset; infinite without any."""
    error = _offset_error(found[found["accepted"]], pairs)
    return max(LEAST_STAGE_ERROR, float(np.sqrt((error**2).mean()))) if len(error) else math.inf


def _widened(pairs: pd.DataFrame, found: pd.DataFrame, tiles: pd.DataFrame) -> pd.DataFrame | None:
    """The pairs with windows that search twice as far, when the accepted pairs hardly fit into the present ones; else None."""
    size = tiles[["height", "width"]].iloc[0].to_numpy(int)
    right = found[found["accepted"]]
    if right.empty or pairs["search"].max() > WIDEST_SEARCH * size.min():
        return None
    part = np.abs(_offset_error(right, pairs)).max(axis=1) / pairs.loc[right.index, "search"].to_numpy()
    if np.quantile(part, 0.9) < FULL_SEARCH:
        return None
    return with_windows(pairs.assign(search=2 * pairs["search"]), size)


def _look_again(pairs: pd.DataFrame, found: pd.DataFrame, tiles: pd.DataFrame, look: Look, settings: Register) -> pd.DataFrame:
    """Register the pairs that disagree with the others once more, where those predict them, until none of them is found.

    When no other pairs join the two tiles, only the stage predicts the pair. The search then covers the stage's error, and the
    pair needs a confidence of `settings.accept`, since the stage would place its tiles well without it.
    """
    size = tiles[["height", "width"]].iloc[0].to_numpy(int)
    pairs = pairs.set_index("pair").loc[found["pair"]].reset_index()
    tried: set[int] = set()
    for _ in range(LOOKS):
        affines, joined, error = _predicted(found, tiles)
        predicted = affine.offsets(affines, found[["centre_y", "centre_x"]].to_numpy())
        search = np.where(joined, LEAST_SEARCH, np.clip(pairs["search"], LEAST_SEARCH, max(STAGE_REACH * error, LEAST_SEARCH)))
        distance = np.linalg.norm(_offset(found) - predicted, axis=1)
        possible = (size - np.abs(predicted) >= LEAST_SEARCH).all(axis=1) & ~found["pair"].isin(tried).to_numpy()
        again = possible & (~found["accepted"].to_numpy(bool) | (joined & (distance > DISAGREEMENT)))
        if not again.any():
            break
        tried |= set(found.loc[again, "pair"])
        # whole px, so that the cache knows a pair whose prediction has hardly moved
        near = pairs.assign(nominal_y=predicted[:, 0].round(), nominal_x=predicted[:, 1].round(), search=np.ceil(search))[again]
        expected = np.where(joined, DISAGREEMENT, max(error, LEAST_STAGE_ERROR))
        better = _judged(look(with_windows(near, size)), settings, expected[again])
        better = better[better["accepted"] & (joined[again] | (better["confidence"] >= settings.accept))]
        if better.empty:
            break
        log.info("found %d of %d doubtful pairs where the other pairs or the stage predict them", len(better), again.sum())
        better = better.set_index("pair").assign(score_before=found.set_index("pair")["score_before"]).reset_index()
        found = pd.concat([found[~found["pair"].isin(better["pair"])], better]).sort_values("pair", ignore_index=True)
    return found


def drop_unsupported(found: pd.DataFrame, accept: float) -> pd.DataFrame:
    """Reject accepted pairs whose confidence is below `accept` when no pair above it holds either of their tiles.

    Such a pair may be some px off. The stage places these two tiles better.
    """
    accepted, sure = found["accepted"].to_numpy(bool), (found["confidence"] >= accept).to_numpy()
    ends = found[["fixed", "moving"]]
    faint = accepted & ~sure & ~ends.isin(ends[accepted & sure].to_numpy().ravel()).any(axis=1).to_numpy()
    return found.assign(accepted=accepted & ~faint, reason=found["reason"].mask(faint, TOO_FAINT))


def doubt_overruled(found: pd.DataFrame, tiles: pd.DataFrame, accept: float) -> pd.DataFrame:
    """Lower the confidence of pairs that the placement overrules to `accept`: they are wrong, or their tiles are distorted."""
    right = found.index[found["accepted"]]
    _, solution = _solved(found, tiles)
    odd = right[solution.weight < OVERRULED_WEIGHT]
    found.loc[odd, "confidence"] = found.loc[odd, "confidence"].clip(upper=accept)
    return found


def _predicted(found: pd.DataFrame, tiles: pd.DataFrame) -> tuple[affine.Array, NDArray[np.bool_], float]:
    """What a placement by the accepted pairs predicts.

    Returns:
        The affine (n, 2, 3) of each pair; whether accepted pairs join its tiles (n,); and the deviation, px, of the
        predictions of the others, which only the stage places.
    """
    every, (known, solution) = measurements(tiles, found), _solved(found, tiles)
    group = groups(known.i, known.j, len(tiles))
    linear = affine.linear(solution.linear[every.j] - solution.linear[every.i])
    offset = every.offset + residuals(every, solution.places, solution.linear)
    predicted = affine.moving(found[["centre_y", "centre_x"]].to_numpy(), offset, linear)
    error = np.sqrt(2) * float(solution.stage.error.max())
    return predicted, np.asarray(group[every.i] == group[every.j]), error


def _solved(found: pd.DataFrame, tiles: pd.DataFrame) -> tuple[Measurements, Solution]:
    """The measurements of the accepted pairs, and the placement by them."""
    known, model = choose_model(measurements(tiles, found[found["accepted"]]), len(tiles))
    return known, solve(known, initial_stage(tiles, known), model.deviations)


def _offset_error(found: pd.DataFrame, pairs: pd.DataFrame) -> NDArray[np.float64]:
    """How far (n, 2), px, registered pairs lie from the nominal offsets in `pairs`, which has the same index."""
    return np.asarray(_offset(found) - pairs.loc[found.index, ["nominal_y", "nominal_x"]].to_numpy())


def _offset(found: pd.DataFrame) -> NDArray[np.float64]:
    """How far (n, 2), px, the moving tile lies from the fixed one, at the point where the pair is surest."""
    return affine.offsets(affine.from_table(found), found[["centre_y", "centre_x"]].to_numpy())
