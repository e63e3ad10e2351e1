"""What pairs measure of the tiles, as the solver takes it (`solver.py` has the equations)."""

from typing import NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import logit

from dlir.core import affine, tables
from dlir.core.affine import BASIS, Array
from dlir.core.tables import LINEAR_COVARIANCE
from dlir.placement.loops import LEAST_CONFIDENCE, MOST_CONFIDENCE, WRONG_AREA
from dlir.placement.stage_model import LEAST_DEVIATION


class Measurements(NamedTuple):
    """What n pairs measure of the tiles i (fixed) and j (moving)."""

    i: NDArray[np.int64]  # (n,) index of the fixed tile
    j: NDArray[np.int64]  # (n,) index of the moving tile
    at_i: Array  # (n, 2) p, px: the point at which the pair is most certain, in tile i about its centre
    at_j: Array  # (n, 2) q, px: the same point in tile j
    covariance: Array  # (n, 2, 2) px^2, of the offset at_i - at_j
    linear: Array  # (n, 4) l, along BASIS
    linear_covariance: Array  # (n, 4, 4)
    confidence: Array  # (n,) probability that the pair is right
    certain: NDArray[np.bool_]  # (n,) pairs that the user gave: they always have their full weight
    of_rounds: NDArray[np.bool_]  # (n,) pairs of tiles of two rounds, which fit less exactly than neighbours in one
    loss_bound: Array  # (n,) the bound of rho, that is what it costs to overrule a pair; one for the median pair

    @property
    def offset(self) -> Array:
        """d (n, 2), px: how far tile j lies from tile i where neither is turned."""
        return self.at_i - self.at_j

    def subset(self, chosen: NDArray[np.bool_]) -> Self:
        """Returns the measurements of the chosen pairs (n,)."""
        return self._replace(**{name: values[chosen] for name, values in self._asdict().items()})

    def more_exact_than(self, deviation: float | Array) -> NDArray[np.bool_]:
        """Which pairs (n,) know the offset in every direction to this standard deviation, px, or to their own (n,).

        Only these show how far the stage errs: along an edge that fills its overlap, a pair knows less than the stage.
        """
        return np.asarray(np.linalg.eigvalsh(self.covariance)[:, 1] < deviation**2)

    def shrunk(self, residual: Array) -> Array:
        """The lengths (n,) of residuals (n, 2), px, where each axis of a covariance is made as short as its shortest."""
        shortest = np.linalg.eigvalsh(self.covariance)[:, 0]
        solved = np.linalg.solve(self.covariance, residual[:, :, None])[:, :, 0]
        return np.asarray(np.sqrt(shortest * (residual * solved).sum(axis=1)))

    def with_known_linear_parts(self, free: int) -> Self:
        """Returns the measurements conditioned on that all linear parts but the first `free` are zero.

        In a narrow overlap a turn looks nearly like a shear, so the errors of both are correlated. Where the shear is known to
        be zero, the measured shear corrects the turn.
        """
        linear, covariance = self.linear.copy(), self.linear_covariance.copy()
        cross = self.linear_covariance[:, :free, free:]
        gain = np.linalg.solve(self.linear_covariance[:, free:, free:], cross.mT).mT
        linear[:, :free] -= np.einsum("nab,nb->na", gain, self.linear[:, free:])
        covariance[:, :free, :free] -= gain @ cross.mT
        return self._replace(linear=linear, linear_covariance=covariance)


def nominal_middles(tiles: pd.DataFrame, usual_size: NDArray[np.int64]) -> Array:
    """Returns where the stage puts the middles of the tiles (n, 2), px, less the middle of a tile of the usual size (2,)."""
    return np.asarray(tiles[["y", "x"]].to_numpy(float) + (tables.sizes(tiles) - usual_size) / 2)


def measurements(tiles: pd.DataFrame, pairs: pd.DataFrame) -> Measurements:
    """Returns what pairs (tables.AFFINES) measure of the tiles (tables.TILES)."""
    index = pd.Index(tiles["tile"])
    i, j = (np.asarray(index.get_indexer(pairs[end]), np.int64) for end in ("fixed", "moving"))
    middle = (tables.sizes(tiles) - 1) / 2
    in_moving, affines = pairs[["centre_y", "centre_x"]].to_numpy(), affine.from_table(pairs)
    in_fixed = affine.apply(affines, in_moving[:, None])[:, 0]
    confidence = pairs["confidence"].clip(lower=LEAST_CONFIDENCE).to_numpy()
    covariance = tables.shift_covariance(pairs) + LEAST_DEVIATION**2 * np.eye(2)
    basis = BASIS.reshape(4, 4)
    to_parts = basis / (basis**2).sum(axis=1, keepdims=True)  # from the entries of a matrix to its parts along BASIS
    linear = (affines[:, :, :2] - np.eye(2)).reshape(-1, 4) @ to_parts.T
    linear_covariance = to_parts @ pairs[LINEAR_COVARIANCE].to_numpy().reshape(-1, 4, 4) @ to_parts.T
    # the density of a right pair at its peak, over that of a wrong one
    density_ratio = WRONG_AREA / (2 * np.pi * np.sqrt(np.linalg.det(covariance)))
    log_odds = (logit(confidence.clip(max=MOST_CONFIDENCE)) + np.log(density_ratio)).clip(1)
    return Measurements(
        i,
        j,
        in_fixed - middle[i],
        in_moving - middle[j],
        covariance / confidence[:, None, None],
        linear,
        linear_covariance / confidence[:, None, None],
        confidence,
        certain=(pairs["method"] == "user").to_numpy(),
        of_rounds=(pairs["side"] == "round").to_numpy(),
        loss_bound=log_odds / np.median(log_odds) if len(log_odds) else log_odds,
    )
