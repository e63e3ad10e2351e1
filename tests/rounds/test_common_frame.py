"""The common frame: pairs of turned tiles are those of tiles that are not turned."""

import numpy as np
import pytest
from support.round_graphs import Shape, make_rounds

from dlir.core import affine, tables
from dlir.core.tables import LINEAR_COVARIANCE
from dlir.rounds.common_frame import in_common_frame, numbered
from dlir.rounds.maps import turn_linear_covariance

MADE = make_rounds(Shape(rows=2, cols=3), Shape(rows=3, cols=2, turn=5.0, scale=0.96), noise=0.0)
TILES = [each.tiles.assign(tile=each.tiles["tile"] + 5) for each in MADE.rounds]
WITHIN = [each.affines.assign(fixed=each.affines["fixed"] + 5, moving=each.affines["moving"] + 5) for each in MADE.rounds]
BETWEEN = MADE.between.assign(fixed=MADE.between["fixed"] + 5, moving=MADE.between["moving"] + 5)
LINEAR = np.stack([of[0, :, :2] for of in MADE.truth])
FRAME = in_common_frame(TILES, WITHIN, numbered(BETWEEN, ["R1", "R2"], TILES), LINEAR)


def test_turned_pairs_have_no_turn_and_the_true_offsets() -> None:
    affines = affine.from_table(FRAME.pairs)
    assert affines[:, :, :2] == pytest.approx(np.broadcast_to(np.eye(2), (len(affines), 2, 2)), abs=1e-9)
    middle = np.full((1, 2), 255.5)
    places = affine.apply(np.concatenate(MADE.truth), middle)[:, 0]
    i, j = FRAME.pairs["fixed"], FRAME.pairs["moving"]
    assert affine.apply(affines, middle)[:, 0] - middle == pytest.approx(places[j] - places[i], abs=1e-6)
    assert FRAME.of_round.tolist() == 6 * [0] + 6 * [1] and FRAME.tiles["tile"].tolist() == list(range(12))


def test_covariances_are_turned_with_the_pairs() -> None:
    """Those of a pair of the second round, from many pairs with errors of that covariance."""
    rng, number = np.random.default_rng(0), len(WITHIN[0])
    spread = np.array([[0.04, 0.01], [0.01, 0.02]])
    pairs = [WITHIN[0], WITHIN[1].assign(var_y=0.04, cov_yx=0.01, var_x=0.02)]
    found = in_common_frame(TILES, pairs, numbered(BETWEEN, ["R1", "R2"], TILES), LINEAR).pairs
    errors = rng.multivariate_normal([0, 0], spread, 20000) @ LINEAR[1].T
    assert tables.shift_covariance(found)[number] == pytest.approx(np.cov(errors.T), abs=0.002)
    root = rng.normal(0, 0.01, (4, 4))
    entries = (rng.normal(0, 1, (20000, 4)) @ root).reshape(-1, 2, 2)
    seen = (LINEAR[1] @ entries @ np.linalg.inv(LINEAR[0])).reshape(-1, 4)
    turned = turn_linear_covariance((root.T @ root)[None], LINEAR[1:], LINEAR[:1])[0]
    assert turned == pytest.approx(np.cov(seen.T), abs=3e-5)
    assert len(FRAME.pairs[LINEAR_COVARIANCE].columns) == 16
