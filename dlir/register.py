"""The affine of each pair, how sure it is, and whether it is accepted.

Every pair is registered at its nominal offset, within its search window. Whether the answer is right is judged by the NCC
of the two crops after it and by the method's own word, against what chance and the camera's pattern reach: pairs of tiles
that are no neighbours, and so cannot match, are registered in the same windows (`confidence.py`). A pair is accepted when
it shows the same place with a probability of at least `accept`. Its affine and its covariance are then those of an
exact look at the overlap (`overlaps.py`).
"""

import logging
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from dlir import affine, digest, tables
from dlir.confidence import judge, linear_spread
from dlir.correlation_network import CorrelationNetwork
from dlir.crops import Batch, Planes, displacement, in_batches, to_columns
from dlir.estimate import Method
from dlir.graph import joined
from dlir.models import modelled
from dlir.network import ModelError, choose_device, load
from dlir.overlaps import in_overlaps
from dlir.pairs import LEAST_SEARCH, with_windows
from dlir.phase import phase
from dlir.recall import NAMES, Recall
from dlir.settings import Register
from dlir.solve import Measured, Solution, measured, residuals, solve, starting
from dlir.spectrum import above_noise, alignment_ncc
from dlir.strangers import strangers

log = logging.getLogger(__name__)
Seen = tuple[pd.DataFrame, pd.DataFrame]  # registered: pairs, and pairs that cannot match
Look = Callable[[pd.DataFrame], Seen]
WIDEST = 0.15  # of a tile: windows that search further are not widened
ROOM = 0.7  # of the search, that nine of ten pairs should need at most
LOOKS = 3  # at most, at pairs that disagree with the others
DISAGREES = 1.5  # px
LEAST_ERROR = 1.0  # px, of the stage
REACH = 3.0  # deviations of the stage
LEAST_LINEAR = 1e-3  # deviation of the linear parts of pairs: so exactly they are alike in no grid
LOOSE = 3.0  # times the deviation that the pairs show: what holds a pair here would count once more in the placement
FAINT = "too faint, and nothing surer holds either tile"
UNBELIEVED = 0.07  # weight of a pair in the placement, five deviations off


def register(
    tiles: Path,
    illumination: Path,
    pairs: Path,
    output: Path,
    *,
    model: Path | None = None,
    settings: Register,
    device: str = "auto",
    cache: Path | None = None,
) -> None:
    """Register all pairs and write their affines (tables.AFFINES) to `output`.

    Args:
        cache: a folder where estimates are kept: only pairs that differ from those of the last run are registered again.

    Raises:
        ModelError: when the method is the network and no model is given, or the model cannot be read.
    """
    place = choose_device(device if settings.method == "network" else "cpu")
    if settings.method == "network" and model is None:
        raise ModelError("register.method is network, which needs a model: give --model, or choose method phase")
    network = load(model, place) if settings.method == "network" and model else None
    own = network if isinstance(network, CorrelationNetwork) else None  # the others are as their authors describe them
    table, rows = tables.read(tiles, tables.TILES), tables.read(pairs, tables.PAIRS)
    planes = Planes(table, illumination)
    if rows.empty:
        tables.write(pd.DataFrame(columns=list(tables.AFFINES.columns)), tables.AFFINES, output)
        log.warning("there is no pair to register")
        return
    lit, learnt = (digest.of_file(path) if path else None for path in (illumination, model))
    recall = Recall(cache / "affines.npz" if cache else None, table, settings.method, lit, learnt)
    exact = Recall(cache / "overlaps.npz" if cache else None, table, lit)

    def estimate(pairs: pd.DataFrame, what: str, linear: float) -> pd.DataFrame:
        method: Method = partial(own, linear=linear) if own else network or phase
        return recall.complete(
            pairs, what, linear, estimate=partial(in_batches, planes=planes, device=place, work=partial(_rows, method=method))
        )

    look = partial(_look, tiles=table, estimate=estimate, seed=settings.seed)
    seen = look(rows)
    while (wider := _widened(rows, found := _judged(seen, settings), table)) is not None:
        log.info("the stage is off by more than the windows allow: searching up to %.0f px", wider["search"].max())
        rows, seen = wider, look(wider)
    found = _held(_judged(seen, settings, _error(found, rows)), settings.accept)
    linear = _linear(found) if own else math.inf
    found = _look_again(rows, found, table, partial(look, linear=linear), settings)
    if own and found["accepted"].any():
        told, _, _ = _told(found, table)
        in_overlaps(found, told, table, exact, linear=linear, planes=planes, device=place)
    found = _agreed(found, table, settings.accept)
    tables.write(found, tables.AFFINES, output)
    recall.write()
    exact.write()
    log.info("%d of %d pairs accepted", int(found["accepted"].sum()), len(found))


def _look(
    pairs: pd.DataFrame,
    tiles: pd.DataFrame,
    estimate: Callable[[pd.DataFrame, str, float], pd.DataFrame],
    seed: int,
    linear: float = math.inf,
) -> Seen:
    """The pairs registered, with what is known of their linear parts, and beside them pairs that cannot match."""
    apart = strangers(pairs, tiles, seed)
    found, wrong = estimate(pairs, "pairs", linear), estimate(apart, "pairs that cannot match", linear)
    return _located(found, pairs), _located(wrong, apart)


def _judged(seen: Seen, settings: Register, expected: float | NDArray[np.float64] = math.inf) -> pd.DataFrame:
    """Registered pairs judged against those that cannot match, and by where they were found, if right ones should be off by no
    more than a deviation (n,), px."""
    found, wrong = seen
    return judge(found.assign(expected=expected), wrong, settings.accept).assign(method=settings.method)


def _located(found: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Registered pairs with what their offsets say: how far they are from the nominal ones, px, how far these were searched,
    px, and how much of their windows overlaps."""
    given, away = pairs.loc[found.index], _away(found, pairs)
    size = given[["height", "width"]].to_numpy()
    shift = _offset(found) - given[["fixed_y", "fixed_x"]].to_numpy() + given[["moving_y", "moving_x"]].to_numpy()
    return found.assign(
        away=np.linalg.norm(away, axis=1),
        searched=given["search"],
        inside=np.abs(away).max(axis=1) <= given["search"] + 1,
        overlap=(1 - np.abs(shift) / size).clip(min=0).prod(axis=1),
    )


def _linear(found: pd.DataFrame) -> float:
    """How far the linear parts of pairs may lie from the identity, as those show that are right: a deviation."""
    return max(LEAST_LINEAR, LOOSE * linear_spread(found, found["accepted"].to_numpy(bool)))


def _error(found: pd.DataFrame, pairs: pd.DataFrame) -> float:
    """How far accepted pairs lie from the nominal offset: a deviation on either axis, px; without any, infinite."""
    away = _away(found[found["accepted"]], pairs)
    return max(LEAST_ERROR, float(np.sqrt((away**2).mean()))) if len(away) else math.inf


def _widened(pairs: pd.DataFrame, found: pd.DataFrame, tiles: pd.DataFrame) -> pd.DataFrame | None:
    """The pairs with windows that search twice as far, where the stage's error hardly fits into those that they have."""
    size = tiles[["height", "width"]].iloc[0].to_numpy(int)
    right = found[found["accepted"]]
    if right.empty or pairs["search"].max() > WIDEST * size.min():
        return None
    part = np.abs(_away(right, pairs)).max(axis=1) / pairs.loc[right.index, "search"].to_numpy()
    if np.quantile(part, 0.9) < ROOM:
        return None
    return with_windows(pairs.assign(search=2 * pairs["search"]), size)


def _look_again(pairs: pd.DataFrame, found: pd.DataFrame, tiles: pd.DataFrame, look: Look, settings: Register) -> pd.DataFrame:
    """Register pairs that disagree with the others once more, near where those put them, until none is found.

    How far the tiles are turned and scaled against each other is known by now, which holds pairs that show little.
    A pair whose tiles no others join is searched as far as the stage errs, where that is less than before, and has to be right
    with a probability of at least `settings.accept`: where it shows little, the stage says more.
    """
    size = tiles[["height", "width"]].iloc[0].to_numpy(int)
    pairs = pairs.set_index("pair").loc[found["pair"]].reset_index()
    tried: set[int] = set()
    for _ in range(LOOKS):
        affines, joined, error = _told(found, tiles)
        told = affine.offsets(affines, found[["centre_y", "centre_x"]].to_numpy())
        search = np.where(joined, LEAST_SEARCH, np.clip(pairs["search"], LEAST_SEARCH, max(REACH * error, LEAST_SEARCH)))
        apart = np.linalg.norm(_offset(found) - told, axis=1)
        seen = (size - np.abs(told) >= LEAST_SEARCH).all(axis=1) & ~found["pair"].isin(tried).to_numpy()
        again = seen & (~found["accepted"].to_numpy(bool) | (joined & (apart > DISAGREES)))
        if not again.any():
            break
        tried |= set(found.loc[again, "pair"])
        # in whole px, so that these are pairs that were registered before where the tiles have hardly moved
        near = pairs.assign(nominal_y=told[:, 0].round(), nominal_x=told[:, 1].round(), search=np.ceil(search))[again]
        expected = np.where(joined, DISAGREES, max(error, LEAST_ERROR))
        better = _judged(look(with_windows(near, size)), settings, expected[again])
        better = better[better["accepted"] & (joined[again] | (better["confidence"] >= settings.accept))]
        if better.empty:
            break
        log.info("%d of %d pairs that disagreed found where the others or the stage put them", len(better), again.sum())
        better = better.set_index("pair").assign(score_before=found.set_index("pair")["score_before"]).reset_index()
        found = pd.concat([found[~found["pair"].isin(better["pair"])], better]).sort_values("pair", ignore_index=True)
    return found


def _held(found: pd.DataFrame, accept: float) -> pd.DataFrame:
    """The pairs, of which those that may well be more than RIGHT off are rejected where neither tile has one that is surer: of
    such tiles the stage says more."""
    accepted, sure = found["accepted"].to_numpy(bool), (found["confidence"] >= accept).to_numpy()
    ends = found[["fixed", "moving"]]
    faint = accepted & ~sure & ~ends.isin(ends[accepted & sure].to_numpy().ravel()).any(axis=1).to_numpy()
    return found.assign(accepted=accepted & ~faint, reason=found["reason"].mask(faint, FAINT))


def _agreed(found: pd.DataFrame, tiles: pd.DataFrame, accept: float) -> pd.DataFrame:
    """The pairs, of which those that a placement by all does not believe are just accepted: they may be wrong, or right in
    tiles that are distorted."""
    right = found.index[found["accepted"]]
    _, solution = _solved(found, tiles)
    odd = right[solution.weight < UNBELIEVED]
    found.loc[odd, "confidence"] = found.loc[odd, "confidence"].clip(upper=accept)
    return found


def _told(found: pd.DataFrame, tiles: pd.DataFrame) -> tuple[affine.Array, NDArray[np.bool_], float]:
    """The affine (n, 2, 3) of each pair by a placement from all accepted ones; which of their tiles those join, so that it is
    exact; and how far, px, the others are from it, since the stage tells them: a deviation."""
    every, (known, solution) = measured(tiles, found), _solved(found, tiles)
    group = joined(known.i, known.j, len(tiles))
    linear = affine.linear(solution.linear[every.j] - solution.linear[every.i])
    offset = every.offset + residuals(every, solution.places, solution.linear)
    told = affine.moving(found[["centre_y", "centre_x"]].to_numpy(), offset, linear)
    error = np.sqrt(2) * float(solution.stage.error.max())
    return told, np.asarray(group[every.i] == group[every.j]), error


def _solved(found: pd.DataFrame, tiles: pd.DataFrame) -> tuple[Measured, Solution]:
    """What the accepted pairs measured, and the placement by them."""
    known, model = modelled(measured(tiles, found[found["accepted"]]), len(tiles))
    return known, solve(known, starting(tiles, known), model.spread)


def _away(found: pd.DataFrame, pairs: pd.DataFrame) -> NDArray[np.float64]:
    """How far (n, 2), px, registered pairs lie from the nominal offsets in `pairs`, which have the same index."""
    return np.asarray(_offset(found) - pairs.loc[found.index, ["nominal_y", "nominal_x"]].to_numpy())


def _offset(found: pd.DataFrame) -> NDArray[np.float64]:
    """How far (n, 2), px, the moving tile lies from the fixed one, where the pair is surest."""
    return affine.offsets(affine.from_table(found), found[["centre_y", "centre_x"]].to_numpy())


def _rows(batch: Batch, method: Method) -> pd.DataFrame:
    """The rows of tables.AFFINES for one batch, all but the verdict."""
    estimate = method(batch.fixed, batch.moving, batch.search, batch.centre)
    nominal = torch.from_numpy(affine.translation(displacement(batch.rows)))
    clear = estimate.clear or above_noise(batch.fixed, batch.moving)
    before, after = alignment_ncc(*clear, nominal.to(clear[0]), estimate.affine)
    return batch.rows[NAMES].assign(
        **to_columns(estimate.affine, estimate.covariance, batch),
        score_before=before.cpu().numpy(),
        score_after=after.cpu().numpy(),
        confidence=estimate.confidence.cpu().numpy(),
    )
