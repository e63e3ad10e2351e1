"""The loop between registration and placement: how all pairs together support or contradict each pair.

    register all pairs, and pairs that cannot match  <---+
                       |                                 |  windows twice as wide, while the stage errs by more
    give each pair a confidence and a verdict  ----------+
                       |
    register pairs that stay unsure in less pooled windows
                       |
    look in the whole tiles for pairs that no others explain
                       |
    place the tiles by the accepted pairs  <-------------+
                       |                                 |
    predict the affine of each pair                      |  LOOKS times at most, while further pairs are found
                       |                                 |
    register rejected and disagreeing pairs again  ------+
                       |
    refine the affines of the accepted pairs
                       |
    lower the confidence of pairs that the others contradict
                       |
    accept pairs by the setting register.accept, and tell which of them are overruled

Up to the last step a pair is accepted that is more probably right than wrong, whatever register.accept says; so the affines and
the confidences do not depend on that setting.

The verdict compares the NCC of the two windows, and the confidence that the method reports, with what pairs of tiles that
cannot match reach in the same windows (`confidence/calibration.py`). The tiles are placed by the solver of the placement
(`placement/solver.py`). Pairs are registered again in small windows around their predictions, and the fine registration
(`fine.py`) starts at the predictions. Pairs that no others explain, since they lie far from their nominal offset, are looked
for in the whole tiles (`global_search.py`). This module decides which pairs are registered when and where; it reads no pixels.
"""

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.core.tables import BOW
from dlir.placement.least_squares import residuals
from dlir.placement.measurements import measurements
from dlir.placement.solver import Solution, initial_stage, solve
from dlir.placement.stage_model import Stage
from dlir.placement.tile_model import choose_model
from dlir.registration.confidence.calibration import (
    AMBIGUOUS,
    OUTSIDE,
    RIGHT,
    exactness,
    linear_deviation,
    with_acceptance,
    with_verdict,
)
from dlir.registration.inference.ties import Ties, with_ties
from dlir.registration.pairs.neighbours import LEAST_SEARCH, overlaps, with_windows
from dlir.registration.pairs.unrelated import unrelated_pairs
from dlir.registration.pairs.windows import COARSEST, pooling
from dlir.registration.settings import Register

log = logging.getLogger(__name__)
WIDEST_SEARCH = 0.15  # fraction of a tile's shorter side: windows that search further than this are not widened
FULL_SEARCH = 0.7  # fraction of the search distance: the windows are widened when one accepted pair in ten lies further out
LOOKS = 3  # rounds, at most, in which pairs that disagree with the placement are registered again
NEARLY = 0.8  # times as well, in Fisher's z of the NCC, an accepted pair has to match where it is moved to
DISAGREEMENT = 1.5  # px: a pair that lies further from its prediction is registered again
LEAST_STAGE_ERROR = 1.0  # px: standard deviation of stage positions, which is never taken to be smaller
STAGE_REACH = 3.0  # standard deviations of the stage that the search covers where the stage alone predicts a pair
LEAST_LINEAR_DEVIATION = 1e-3  # standard deviation of linear parts, which is never taken to be smaller
LINEAR_MARGIN = 3.0  # times the deviation that the pairs show; a tighter prior would use the same evidence twice
TOO_FAINT = "too little contrast, and neither tile has a more certain pair"  # texts of the column `reason`
DOUBTFUL = "accepted although doubtful: loops with other pairs do not close"
OVERRULED = "overruled: the other pairs, or the stage, contradict it"


class EstimatePairs(Protocol):
    """Registers pairs (tables.PAIRS), which the log calls `what`; their linear parts deviate from the identity by `linear`.

    Large windows are pooled by `coarsest` px at most.
    """

    def __call__(self, pairs: pd.DataFrame, what: str, linear: float, coarsest: int) -> pd.DataFrame: ...


class RefinePairs(Protocol):
    """Replaces the affines of the accepted pairs in `found` by more exact ones, starting from `predicted` (n, 2, 3)."""

    def __call__(self, found: pd.DataFrame, predicted: Array, tiles: pd.DataFrame, *, linear: float) -> None: ...


class Search(Protocol):
    """Looks for pairs (tables.PAIRS) in the whole tiles: their offsets (n, 2), px, NaN where none is certain; how exact, px."""

    def __call__(self, pairs: pd.DataFrame) -> tuple[Array, float]: ...


class Registered(NamedTuple):
    """Registered pairs, and beside them pairs of tiles that cannot match, registered in the same windows; without verdict."""

    pairs: pd.DataFrame
    unrelated: pd.DataFrame


class Prediction(NamedTuple):
    """What the placement by the accepted pairs predicts for n pairs."""

    affines: Array  # (n, 2, 3) a moving px to a fixed px
    offset: Array  # (n, 2) px, of the moving tile from the fixed one, at the centre of the pair
    joined: NDArray[np.bool_]  # (n,) whether accepted pairs join the two tiles; if not, the stage alone predicts the pair
    stage_deviation: float  # px, standard deviation of an offset that the stage alone predicts, on the worse axis


def consensus(
    pairs: pd.DataFrame,
    tiles: pd.DataFrame,
    estimate: EstimatePairs,
    settings: Register,
    refine: RefinePairs | None = None,
    search: Search | None = None,
    ties: Ties | None = None,
) -> pd.DataFrame:
    """Returns the affine, the confidence and the verdict of each pair (tables.AFFINES), as all pairs together support it.

    Args:
        pairs: the pairs to register (tables.PAIRS).
        tiles: their tiles (tables.TILES).
        estimate: registers pairs in their windows.
        refine: the fine registration; without it the affines of `estimate` are final, and their linear parts have no prior.
        search: the global search; without it no pair is found far from its nominal offset.
        ties: decides where the specimen repeats itself; None where it does not.
    """
    register = partial(_register, tiles=tiles, estimate=estimate, seed=settings.seed, ties=ties)
    registered = register(pairs)
    found = _with_verdict(registered, settings)
    while (wider := _with_wider_windows(pairs, found, tiles)) is not None:
        log.info("many pairs lie near the edge of their search windows: searching up to %.0f px", wider["search"].max())
        pairs, registered = wider, register(wider)
        found = _with_verdict(registered, settings)
    # found with certainty beyond the windows; what repeats itself would match there as well as anywhere
    beyond = _evidence(found) & ~found["accepted"].to_numpy(bool) & (ties is None)
    # The accepted pairs show how far the stage errs. From here on a pair near its nominal offset is more probably right.
    found = drop_unsupported(_with_verdict(registered, settings, _stage_error(found, pairs)), RIGHT)
    linear = _linear_prior(found) if refine else math.inf
    pairs = pairs.set_index("pair").loc[found["pair"]].reset_index()  # in the order of `found`
    found, coarsest = _finer(pairs, found, partial(register, linear=linear), settings)
    again = partial(register, linear=linear, coarsest=coarsest)
    found = _confirm(pairs[beyond], _offset(found)[beyond], LEAST_SEARCH, found, tiles, again, settings)
    unexplained = _unexplained(found, tiles)
    if search and unexplained.any():
        offset, exact = search(pairs[unexplained])
        found = _confirm(pairs[unexplained], offset, max(LEAST_SEARCH, exact), found, tiles, again, settings)
    found = _register_again(pairs, found, tiles, again, settings)
    found = found.assign(**dict.fromkeys(BOW, np.nan))
    if refine and found["accepted"].any():
        before = exactness(found)
        refine(found, _predict(found, tiles).affines, tiles, linear=linear)
        # the predictions come from the other pairs, so to agree with them makes no pair more probable
        found["confidence"] *= np.minimum(exactness(found) / before, 1)
    found["confidence"] = found["confidence"].round(4)
    doubted = doubt_contradicted(_accepted_at(found, RIGHT), tiles)
    found = tell_overruled(_accepted_at(found, settings.accept), tiles)
    doubtful = found["accepted"] & ~found["overruled"] & (doubted < np.minimum(found["confidence"], RIGHT))
    found = found.assign(confidence=doubted, reason=found["reason"].mask(doubtful, DOUBTFUL))
    return found.drop(columns="match")


def _register(
    pairs: pd.DataFrame,
    tiles: pd.DataFrame,
    estimate: EstimatePairs,
    seed: int,
    ties: Ties | None,
    what: str = "pairs",
    linear: float = math.inf,
    coarsest: int = COARSEST,
    deviation: NDArray[np.float64] | None = None,
) -> Registered:
    """Registers the pairs, which the log calls `what`, and as a control pairs of tiles that cannot match.

    Args:
        deviation: (n,) px, how exact the nominal offsets are, for ties; None for those of the stage.
    """
    unrelated = unrelated_pairs(pairs, tiles, seed)
    found = estimate(pairs, what, linear, coarsest)
    control = estimate(unrelated, "unrelated pairs for comparison", linear, coarsest)
    found = ties.settle(found, pairs, deviation) if ties else found.assign(tie=np.nan)
    return Registered(_with_location(found, pairs), _with_location(control, unrelated))


def _finer(
    pairs: pd.DataFrame, found: pd.DataFrame, register: Callable[..., Registered], settings: Register
) -> tuple[pd.DataFrame, int]:
    """Registers pairs that are rejected in pooled windows again, where these were pooled less: pooling hides fine structure.

    Returns:
        all pairs, and by how many px the windows of these tiles are pooled at most from then on.
    """
    coarsest = finer = COARSEST
    while finer > 1:
        finer //= 2
        unsure = ~found["accepted"].to_numpy(bool) & (pooling(pairs) > pooling(pairs, finer))
        if not unsure.any():
            continue
        better = _with_verdict(register(pairs[unsure], what="unsure pairs with finer pixels", coarsest=finer), settings)
        better = better[better["accepted"] & (better["confidence"] >= RIGHT)]
        if len(better):
            log.info("found %d of %d unsure pairs with finer pixels", len(better), unsure.sum())
            found, coarsest = _replace(found, better), finer
    return found, coarsest


def _with_location(found: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Adds to registered pairs their distance from the nominal offset, px; how far was searched, px; whether they lie inside
    of that; and the fraction of their windows that overlaps."""
    nominal, error = pairs.loc[found.index], _offset_error(found, pairs)
    size = nominal[["height", "width"]].to_numpy()
    shift = _offset(found) - nominal[["fixed_y", "fixed_x"]].to_numpy() + nominal[["moving_y", "moving_x"]].to_numpy()
    return found.assign(
        distance=np.linalg.norm(error, axis=1),
        searched=nominal["search"],
        # along an edge a pair may slide out of the window, and still know the shift across the edge
        inside=(np.abs(error) - np.sqrt(found[["var_y", "var_x"]].to_numpy())).max(axis=1) <= nominal["search"] + 1,
        overlap=(1 - np.abs(shift) / size).clip(min=0).prod(axis=1),
    )


def _with_verdict(
    registered: Registered, settings: Register, deviation: float | NDArray[np.float64] = math.inf
) -> pd.DataFrame:
    """Returns the registered pairs with confidence and verdict (tables.AFFINES, and the column `match` of `with_verdict`).

    Args:
        deviation: how far, px, right pairs lie from their nominal offset on either axis, one number or one for each pair (n,);
            where it is infinite, it does not matter where a pair was found.
    """
    pairs = registered.pairs.assign(expected_deviation=deviation)
    return with_ties(with_verdict(pairs, registered.unrelated, RIGHT)).assign(method=settings.method)


def _with_wider_windows(pairs: pd.DataFrame, found: pd.DataFrame, tiles: pd.DataFrame) -> pd.DataFrame | None:
    """Returns the pairs with windows that search twice as far; None where the pairs that are found do not need them."""
    certain = found[_evidence(found)]
    if certain.empty or pairs["search"].max() > WIDEST_SEARCH * tables.usual_size(tiles).min():
        return None
    fraction = np.abs(_offset_error(certain, pairs)).max(axis=1) / pairs.loc[certain.index, "search"].to_numpy()
    if np.quantile(fraction, 0.9) < FULL_SEARCH:
        return None
    return with_windows(pairs.assign(search=2 * pairs["search"]), tiles)


def _evidence(found: pd.DataFrame) -> NDArray[np.bool_]:
    """Which pairs (n,) are accepted, or would be if they did not lie beyond their windows."""
    return np.asarray(found["accepted"] | ((found["reason"] == OUTSIDE) & (found["confidence"] >= RIGHT)))


def _stage_error(found: pd.DataFrame, pairs: pd.DataFrame) -> float:
    """The root mean square, px on either axis, of how far accepted pairs lie from the nominal offset; infinite without any."""
    error = _offset_error(found[found["accepted"]], pairs)
    return max(LEAST_STAGE_ERROR, float(np.sqrt((error**2).mean()))) if len(error) else math.inf


def _linear_prior(found: pd.DataFrame) -> float:
    """The standard deviation from the identity to assume for linear parts, from that of the accepted pairs."""
    return max(LEAST_LINEAR_DEVIATION, LINEAR_MARGIN * linear_deviation(found, found["accepted"].to_numpy(bool)))


def _confirm(
    pairs: pd.DataFrame,
    offset: Array,
    search: float,
    found: pd.DataFrame,
    tiles: pd.DataFrame,
    register: Callable[..., Registered],
    settings: Register,
) -> pd.DataFrame:
    """Registers pairs in small windows around offsets far from the nominal ones; returns all pairs, those that match replaced.

    How far the stage errs does not count, since it may have slipped. So a pair needs a confidence of RIGHT by its cues alone.

    Args:
        pairs: those that are registered (tables.PAIRS).
        offset: (n, 2) px, of the moving tile from the fixed one; NaN where nothing is known.
        search: px around the offset.
        found: all pairs.
    """
    known = np.isfinite(offset).all(axis=1)
    if not known.any():
        return found
    y, x = offset[known].round().T
    windows = with_windows(pairs[known].assign(nominal_y=y, nominal_x=x, search=np.ceil(search)), tiles)
    better = _with_verdict(register(windows, what="pairs far from their nominal offset"), settings)
    better = better[better["accepted"] & (better["confidence"] >= RIGHT)]
    log.info("confirmed %d of %d pairs that seem to lie far from their nominal offset", len(better), known.sum())
    return found if better.empty else _replace(found, better)


def _unexplained(found: pd.DataFrame, tiles: pd.DataFrame) -> NDArray[np.bool_]:
    """Which pairs (n,) are rejected although no other pairs join their tiles, and so say where they lie."""
    rejected = ~found["accepted"].to_numpy(bool)
    return rejected & ~_predict(found, tiles).joined if rejected.any() else rejected


def _register_again(
    pairs: pd.DataFrame,
    found: pd.DataFrame,
    tiles: pd.DataFrame,
    register: Callable[..., Registered],
    settings: Register,
) -> pd.DataFrame:
    """Registers pairs that disagree with the others again, where the placement predicts them, until no more are found.

    Each pair is registered again once at most. Where accepted pairs join its two tiles, these predict it well, and the search
    is small. Otherwise the stage alone predicts it: the search then covers the error of the stage, and the pair needs a
    confidence of RIGHT, since without it the stage would place the tiles well enough.
    """
    tried: set[int] = set()
    for _ in range(LOOKS):
        # where one pair alone says that the stage slipped, the pair is looked for where the stage says, too
        predicted = _predict(found, tiles, slip_by_one_pair=False)
        again = _disagree(found, predicted, tiles) & ~found["pair"].isin(tried).to_numpy()
        if not again.any():
            break
        tried |= set(found.loc[again, "pair"])
        windows = _windows_at(predicted, pairs, tiles, again)
        deviation = np.where(predicted.joined, DISAGREEMENT, max(predicted.stage_deviation, LEAST_STAGE_ERROR))[again]
        exact = np.where(predicted.joined, DISAGREEMENT, math.inf)[again]  # the stage has been asked before
        better = _with_verdict(register(windows, what="doubtful pairs", deviation=exact), settings, deviation)
        better = better[better["accepted"] & (predicted.joined[again] | (better["confidence"] >= RIGHT))]
        better = better[_matches_nearly_as_well(better, found)]
        if better.empty:
            break
        log.info("found %d of %d doubtful pairs near where the other pairs or the stage predict them", len(better), again.sum())
        found = _replace(found, better)
    return found


def _disagree(found: pd.DataFrame, predicted: Prediction, tiles: pd.DataFrame) -> NDArray[np.bool_]:
    """Which pairs (n,) were rejected or lie away from where other pairs predict them, and should overlap by the prediction."""
    distance = np.linalg.norm(_offset(found) - predicted.offset, axis=1)
    overlap = overlaps(predicted.offset, *(tables.sizes(tiles, found[end]) for end in ("fixed", "moving")))
    overlapping = (overlap >= LEAST_SEARCH).all(axis=1)
    rejected = ~found["accepted"].to_numpy(bool) & (predicted.joined | (found["reason"] != AMBIGUOUS).to_numpy())
    away = found["accepted"].to_numpy(bool) & (distance > DISAGREEMENT)
    return np.asarray(overlapping & (rejected | away))


def _windows_at(predicted: Prediction, pairs: pd.DataFrame, tiles: pd.DataFrame, chosen: NDArray[np.bool_]) -> pd.DataFrame:
    """Returns the chosen pairs with windows around their predicted offsets, and with how far to search around these."""
    farthest = max(STAGE_REACH * predicted.stage_deviation, LEAST_SEARCH)
    search = np.where(predicted.joined, LEAST_SEARCH, np.clip(pairs["search"], LEAST_SEARCH, farthest))
    # whole px, so that the estimate cache recognises a pair whose prediction has hardly moved
    y, x = predicted.offset.round().T
    return with_windows(pairs.assign(nominal_y=y, nominal_x=x, search=np.ceil(search))[chosen], tiles)


def _matches_nearly_as_well(better: pd.DataFrame, found: pd.DataFrame) -> NDArray[np.bool_]:
    """Which pairs (n,) match about as well as before; all that were rejected before do.

    The placement may be wrong. A pair that matches far better elsewhere is not to be moved to where the placement expects it.
    """
    before = found.set_index("pair").loc[better["pair"]]
    now, then = (np.arctanh(each["score_after"].to_numpy().clip(-0.99, 0.99)) for each in (better, before))
    return np.asarray((now >= NEARLY * then) | ~before["accepted"].to_numpy(bool))


def _replace(found: pd.DataFrame, better: pd.DataFrame) -> pd.DataFrame:
    """Returns the pairs with those in `better` in place of the old ones; the NCC at the nominal offset stays the old one."""
    better = better.set_index("pair").assign(score_before=found.set_index("pair")["score_before"]).reset_index()
    return pd.concat([found[~found["pair"].isin(better["pair"])], better]).sort_values("pair", ignore_index=True)


def drop_unsupported(found: pd.DataFrame, accept: float) -> pd.DataFrame:
    """Rejects accepted pairs whose confidence is below `accept`, unless one of their tiles has an accepted pair above it.

    Such a pair shows the same place, but may be some px off. Where nothing else joins its tiles, the stage places them better.
    """
    accepted, certain = found["accepted"].to_numpy(bool), (found["confidence"] >= accept).to_numpy()
    ends = found[["fixed", "moving"]]
    supported = ends.isin(ends[accepted & certain].to_numpy().ravel()).any(axis=1).to_numpy()
    faint = accepted & ~certain & ~supported
    return found.assign(accepted=accepted & ~faint, reason=found["reason"].mask(faint, TOO_FAINT))


def _accepted_at(found: pd.DataFrame, accept: float) -> pd.DataFrame:
    """Returns the pairs with the verdict by `accept`. Pairs that were too faint before, and were not found again, stay so."""
    faint, found = found["reason"] == TOO_FAINT, with_acceptance(found, accept)
    found = found.assign(accepted=found["accepted"] & ~faint, reason=found["reason"].mask(faint, TOO_FAINT))
    return drop_unsupported(found, accept)


def doubt_contradicted(found: pd.DataFrame, tiles: pd.DataFrame) -> pd.Series:
    """Returns the confidence of each pair, lower where its loops with other accepted pairs do not close (`placement/loops.py`),
    or where the placement overrules it.

    Loops that close do not raise it: what moves in the specimen may pretend the same in all pairs around a corner.
    """
    confidence, solution = found["confidence"].copy(), _place(found, tiles)
    accepted = confidence[found["accepted"]]
    confidence[found["accepted"]] = np.minimum(accepted, solution.probability).round(4)
    return confidence


def tell_overruled(found: pd.DataFrame, tiles: pd.DataFrame) -> pd.DataFrame:
    """Adds the column `overruled` to the pairs, and says so in the column `reason`."""
    solution = _place(found, tiles)
    overruled = found["accepted"].copy()
    overruled[found["accepted"]] = solution.overruled
    return found.assign(overruled=overruled, reason=found["reason"].mask(overruled, OVERRULED))


def _predict(found: pd.DataFrame, tiles: pd.DataFrame, slip_by_one_pair: bool = True) -> Prediction:
    """Places the tiles by the accepted pairs, and predicts all pairs, rejected ones too, from where their tiles then lie."""
    every, solution = measurements(tiles, found), _place(found, tiles, slip_by_one_pair)
    linear = affine.linear(solution.linear[every.j] - solution.linear[every.i])
    centre = found[["centre_y", "centre_x"]].to_numpy()
    middle = (tables.sizes(tiles) - 1) / 2
    offset = every.offset + residuals(every, solution.places, solution.linear) + (middle[every.i] - middle[every.j])
    affines = affine.moving(centre, offset, linear)
    joined = np.asarray(solution.group[every.i] == solution.group[every.j])
    return Prediction(affines, affine.offsets(affines, centre), joined, np.sqrt(2) * float(solution.stage.error.max()))


def _place(found: pd.DataFrame, tiles: pd.DataFrame, slip_by_one_pair: bool = True) -> Solution[Stage]:
    """Places the tiles by the accepted pairs."""
    accepted, model = choose_model(measurements(tiles, found[found["accepted"]]), len(tiles))
    stage = initial_stage(tiles, accepted)
    return solve(accepted, stage, model.deviations, slip_by_one_pair=slip_by_one_pair)


def _offset_error(found: pd.DataFrame, pairs: pd.DataFrame) -> NDArray[np.float64]:
    """How far (n, 2), px, registered pairs lie from the nominal offsets in `pairs`, whose index has that of `found`."""
    return np.asarray(_offset(found) - pairs.loc[found.index, ["nominal_y", "nominal_x"]].to_numpy())


def _offset(found: pd.DataFrame) -> NDArray[np.float64]:
    """How far (n, 2), px, the moving tile lies from the fixed one, at the point where the pair is most certain."""
    return affine.offsets(affine.from_table(found), found[["centre_y", "centre_x"]].to_numpy())
