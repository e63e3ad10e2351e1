"""The affine of each pair, how sure it is, and whether it is accepted.

Every pair is registered at its nominal offset, within its search window. Whether the answer is right is judged by the NCC
of the two crops after it and by the method's own word, against what chance and the camera's pattern reach: pairs of tiles
that are no neighbours, and so cannot match, are registered in the same windows (`confidence.py`). A pair is accepted when
it is right with a probability of at least `accept`.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import logit
from scipy.stats import chi2

from dlir import affine, tables
from dlir.confidence import probability
from dlir.crops import Batch, Planes, batches, displacement
from dlir.estimate import Estimate, Method
from dlir.network import ModelError, choose_device, load
from dlir.phase import phase
from dlir.progress import progress
from dlir.settings import Register
from dlir.similarity import alignment_ncc

log = logging.getLogger(__name__)
BATCH, BATCH_GPU = 16, 128  # pairs at a time
STRANGERS = 64  # pairs that cannot match: enough for a threshold, fewer than most data sets have pairs
LINEAR = 4  # entries of an affine that are no shift
LINEAR_COLUMNS = [f"linear_{i}" for i in range(LINEAR**2)]  # their covariance, while pairs are judged
RARE = 0.01  # part of the right pairs, by their covariances, that is turned, scaled or sheared more than this
ODD = 0.6  # of the pairs beyond that, about so many are right where they are surest, on real tiles
TRIES = 4  # times as many are drawn, since some turn out to be neighbours


def register(
    tiles: Path,
    illumination: Path,
    pairs: Path,
    output: Path,
    *,
    model: Path | None = None,
    settings: Register,
    device: str = "auto",
) -> None:
    """Register all pairs and write their affines (tables.AFFINES) to `output`.

    Raises:
        ModelError: when the method is the network and no model is given, or the model cannot be read.
    """
    place = choose_device(device if settings.method == "network" else "cpu")
    if settings.method == "network" and model is None:
        raise ModelError("register.method is network, which needs a model: give --model, or choose method phase")
    method: Method = load(model, place) if settings.method == "network" and model else phase
    table, rows = tables.read(tiles, tables.TILES), tables.read(pairs, tables.PAIRS)
    planes = Planes(table, illumination)
    if rows.empty:
        tables.write(pd.DataFrame(columns=list(tables.AFFINES.columns)), tables.AFFINES, output)
        log.warning("there is no pair to register")
        return
    found = _register(rows, planes, method, place, "registering pairs")
    strangers = _register(_strangers(rows, table, settings.seed), planes, method, place, "registering pairs that cannot match")
    found = _judge(found, strangers, settings)
    tables.write(found.assign(method=settings.method), tables.AFFINES, output)
    counts = int(found["accepted"].sum()), len(found), len(strangers)
    log.info("%d of %d pairs accepted, calibrated on %d pairs that cannot match", *counts)


@torch.no_grad()
def _register(pairs: pd.DataFrame, planes: Planes, method: Method, device: torch.device, what: str) -> pd.DataFrame:
    """The pairs with affine, covariance, scores and confidence, in their own order."""
    work = progress(batches(pairs, planes, BATCH if device.type == "cpu" else BATCH_GPU, device), what)
    done = [_rows(batch, method(batch.fixed, batch.moving, batch.search, batch.centre)) for batch in work]
    return pd.concat(done).sort_index() if done else pd.DataFrame(columns=["score_after", "confidence"], dtype=float)


def _rows(batch: Batch, estimate: Estimate) -> pd.DataFrame:
    """The rows of tables.AFFINES for one batch, all but the verdict.

    The estimate takes a fixed px to a moving px of the crops, about their centres; the table's affine takes a moving px of
    the tile to a fixed px of the tile.
    """
    middle = (np.array(batch.fixed.shape[-2:]) - 1) / 2
    in_fixed = batch.rows[["fixed_y", "fixed_x"]].to_numpy() + middle
    in_moving = batch.rows[["moving_y", "moving_x"]].to_numpy() + middle
    found = estimate.affine.double().cpu().numpy()
    to_fixed = affine.compose(
        affine.translation(in_fixed), affine.compose(affine.invert(found), affine.translation(-in_moving))
    )
    shift, full = found[:, :, 2], estimate.covariance.double().cpu().numpy()
    point = _surest(full, shift, middle)
    covariance = _at(full, point)
    surest = affine.apply(found, point[:, None])[:, 0] + in_moving
    nominal = affine.translation(displacement(batch.rows))
    before = alignment_ncc(batch.fixed, batch.moving, torch.from_numpy(nominal).to(batch.fixed))
    return batch.rows[["pair", "fixed", "moving", "side"]].assign(
        **affine.to_columns(to_fixed),
        centre_y=surest[:, 0],
        centre_x=surest[:, 1],
        var_y=covariance[:, 0, 0],
        cov_yx=covariance[:, 0, 1],
        var_x=covariance[:, 1, 1],
        score_before=before.cpu().numpy(),
        score_after=alignment_ncc(batch.fixed, batch.moving, estimate.affine).cpu().numpy(),
        confidence=estimate.confidence.cpu().numpy(),
        **dict(zip(LINEAR_COLUMNS, full[:, [0, 1, 3, 4]][:, :, [0, 1, 3, 4]].reshape(-1, LINEAR**2).T, strict=True)),
        inside=np.abs(shift - np.array(batch.centre)).max(axis=1) <= batch.search + 1,
    )


def _surest(covariance: NDArray[np.float64], shift: NDArray[np.float64], middle: NDArray[np.float64]) -> NDArray[np.float64]:
    """The point (n, 2) of the overlap, px of the fixed crop about its middle, that the affines take somewhere most surely.

    It is where the content lies: an overlap whose only structure is in one corner says little of the others. The variance
    of where a point p goes is a quadratic in p, least where shift and linear part are uncorrelated.
    """
    blocks = covariance.reshape(-1, 2, 3, 2, 3)
    both = blocks[:, 0, :, 0] + blocks[:, 1, :, 1]  # of yy, yx, y0 and of xy, xx, x0
    point = -np.linalg.solve(both[:, :2, :2] + 1e-12 * np.eye(2), both[:, :2, 2:])[:, :, 0]
    return np.asarray(np.clip(point, np.maximum(-middle, -middle - shift), np.minimum(middle, middle - shift)))


def _at(covariance: NDArray[np.float64], point: NDArray[np.float64]) -> NDArray[np.float64]:
    """The covariance (n, 2, 2) of where affines with covariance (n, 6, 6) take a point (n, 2)."""
    row = np.concatenate([point, np.ones((len(point), 1))], axis=1)
    design = np.einsum("ij,nk->nijk", np.eye(2), row).reshape(-1, 2, 6)
    return np.asarray(design @ covariance @ design.swapaxes(1, 2))


def _strangers(pairs: pd.DataFrame, tiles: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Windows as in `pairs` of tiles that the stage puts apart, so that they show different places of the specimen."""
    random = np.random.default_rng(seed)
    drawn = pairs.sample(TRIES * STRANGERS, replace=True, random_state=random).reset_index(drop=True)
    drawn["fixed"], drawn["moving"] = (random.choice(tiles["tile"], len(drawn)) for _ in range(2))
    drawn = drawn.drop_duplicates(["fixed", "moving", "side"])
    place = tiles.set_index("tile")[["y", "x"]]
    between = place.loc[drawn["moving"]].to_numpy() - place.loc[drawn["fixed"]].to_numpy()
    between += drawn[["moving_y", "moving_x"]].to_numpy() - drawn[["fixed_y", "fixed_x"]].to_numpy()
    apart = (np.abs(between) - drawn[["search"]].to_numpy() > drawn[["height", "width"]].to_numpy()).any(axis=1)
    chosen: pd.DataFrame = drawn.loc[apart].head(STRANGERS)
    return chosen


def _judge(found: pd.DataFrame, strangers: pd.DataFrame, settings: Register) -> pd.DataFrame:
    """The pairs with the probability that each is right as its confidence, and the columns accepted and reason.

    A pair that is turned, scaled or sheared as no other pair is shows too little, or not the same thing, in its two tiles:
    its covariance is widened, and it is less likely to be right.
    """
    alike = probability(_cues(found), _cues(strangers))
    square = _unlike(found, alike >= settings.accept)
    right = (alike * np.clip(chi2.sf(square, LINEAR) / RARE, ODD, 1)).round(4)
    unsure, outside = right < settings.accept, ~found["inside"].to_numpy(bool)
    words = "likely wrong: tiles that are no neighbours match as well"
    reason = np.select([outside, unsure], ["outside the search window", words], default="")
    wider = {name: found[name] * np.maximum(1, square / LINEAR) for name in ("var_y", "cov_yx", "var_x")}
    found = found.drop(columns=["inside", *LINEAR_COLUMNS]).assign(**wider)
    return found.assign(confidence=right, accepted=~(unsure | outside), reason=reason)


def _unlike(found: pd.DataFrame, right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How far the linear part of each affine lies from the identity: (n,), chi square of LINEAR degrees of freedom.

    The tiles may differ by more than the pairs' covariances say: by so much that half of the right pairs lie below the
    median of chi square.
    """
    difference = found[["yy", "yx", "xy", "xx"]].to_numpy() - np.eye(2).ravel()
    covariance = found[LINEAR_COLUMNS].to_numpy().reshape(-1, LINEAR, LINEAR)

    def square(spread: float) -> NDArray[np.float64]:
        solved = np.linalg.solve(covariance + spread**2 * np.eye(LINEAR), difference[:, :, None])
        return np.asarray((difference[:, None] @ solved)[:, 0, 0])

    spreads = np.r_[0.0, np.geomspace(1e-4, 0.1, 40)]
    enough = [spread for spread in spreads if np.median(square(spread)[right]) <= chi2.median(LINEAR)] if right.any() else []
    return square(min(enough, default=spreads[-1]))


def _cues(found: pd.DataFrame) -> NDArray[np.float64]:
    """What tells right pairs from wrong ones (n, 2): Fisher's z of the NCC, and the log odds that the method gives."""
    score, odds = (found[name].to_numpy(float) for name in ("score_after", "confidence"))
    return np.asarray(np.c_[np.arctanh(score.clip(-0.99, 0.99)), logit(odds.clip(1e-6, 1 - 1e-6))])
