"""The stages of several rounds as the solver of the placement takes them: each has its own map, backlash and error.

The positions of a round come into the common frame by the map of the round (`maps.py`), corrected for turn, scale and backlash
of its stage as its own pairs show them. The places of all rounds show more, so what is left is fitted again to them, as the map
of one stage is (`placement/stage_model.py`), and the positions are moved to where most of the places lie. So a tile without
pairs lies where the stage of its round puts it, against the other tiles of that round.
"""

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from dlir.core.affine import Array
from dlir.core.robust import geman_mcclure
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
        return self._replace(of_round=tuple(stage.slipped(part) for stage, (part,) in self._by_round(shift)))

    def with_fitted_map(self, places: Array, group: NDArray[np.int64]) -> Self:
        """Returns the stages, each with its map fitted to the places (n, 2), px, of its tiles, in groups (n,)."""
        parts = self._by_round(places, group)
        return self._replace(of_round=tuple(_at(stage.with_fitted_map(*part), *part) for stage, part in parts))

    def with_measured_error(self, places: Array, group: NDArray[np.int64]) -> Self:
        """Returns the stages, each with the error that places (n, 2), px, of its tiles in groups (n,) show."""
        parts = self._by_round(places, group)
        return self._replace(of_round=tuple(_at(stage.with_measured_error(*part), *part) for stage, part in parts))

    def _by_round(self, *values: NDArray[Any]) -> list[tuple[Stage, list[NDArray[Any]]]]:
        """Each stage, with the part of values (n, ...) that belongs to its tiles."""
        ends = np.cumsum([len(stage.prior) for stage in self.of_round])[:-1]
        return list(zip(self.of_round, map(list, zip(*(np.split(value, ends) for value in values), strict=True)), strict=True))


def _at(stage: Stage, places: Array, group: NDArray[np.int64]) -> Stage:
    """Returns the stage with all positions moved to where the places (n, 2), px, of its largest group (n,) lie, robustly."""
    largest = group == np.unique(group)[np.unique(group, return_counts=True)[1].argmax()]
    off = (places - stage.prior)[largest]
    middle = np.median(off, axis=0)
    weight = geman_mcclure((((off - middle) / stage.error) ** 2).sum(axis=1) / 2)
    return stage._replace(prior=stage.prior + weight @ off / weight.sum())
