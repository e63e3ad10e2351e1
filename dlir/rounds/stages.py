"""The stages of several rounds as the solver of the placement takes them: each has its own map, backlash and error.

The positions of a round come into the common frame by the map of the round (`maps.py`), corrected for turn, scale and backlash
of its stage as its own pairs show them. The places of all rounds show more, so what is left is fitted again to them, round by
round, as the map of one stage is (`placement/stage_model.py`). So a tile without pairs lies where the stage of its round puts
it, against the other tiles of that round.
"""

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from dlir.core.affine import Array
from dlir.placement.stage_model import Stage


class Stages(NamedTuple):
    """The stages of the rounds, whose tiles follow each other."""

    of_round: tuple[Stage, ...]  # in the common frame

    @property
    def prior(self) -> Array:
        """Where the stages put the tiles (n, 2), px, in the frame of the mosaic."""
        return np.concatenate([stage.prior for stage in self.of_round])

    @property
    def error(self) -> Array:
        """The standard deviation (n, 2), px, of the position of each tile along y and x."""
        return np.concatenate([np.broadcast_to(stage.error, stage.prior.shape) for stage in self.of_round])

    @property
    def certain(self) -> NDArray[np.bool_]:
        """The tiles (n,) whose place the user gave."""
        return np.concatenate([stage.certain for stage in self.of_round])

    def slipped(self, shift: Array) -> Self:
        """Returns the stages with all positions moved by `shift` (n, 2), px, in the frame of the mosaic."""
        group = np.zeros(len(shift), np.int64)
        return self._replace(of_round=tuple(stage.slipped(own) for stage, own, _ in self._by_round(shift, group)))

    def with_fitted_map(self, places: Array, group: NDArray[np.int64]) -> Self:
        """Returns the stages, each with its map fitted to the places (n, 2), px, of its tiles, in groups (n,)."""
        parts = self._by_round(places, group)
        return self._replace(of_round=tuple(stage.with_fitted_map(own, of) for stage, own, of in parts))

    def with_measured_error(self, places: Array, group: NDArray[np.int64]) -> Self:
        """Returns the stages, each with the error that places (n, 2), px, of its tiles in groups (n,) show."""
        parts = self._by_round(places, group)
        return self._replace(of_round=tuple(stage.with_measured_error(own, of) for stage, own, of in parts))

    def _by_round(self, values: Array, group: NDArray[np.int64]) -> list[tuple[Stage, Array, NDArray[np.int64]]]:
        """Each stage, with the values (n, 2) of its tiles, and with the numbers (n,) of their groups from 0."""
        ends = np.cumsum([len(stage.prior) for stage in self.of_round])[:-1]
        groups = [np.unique(own, return_inverse=True)[1] for own in np.split(group, ends)]
        return list(zip(self.of_round, np.split(values, ends), groups, strict=True))
