"""The estimate cache: the estimates of pairs are kept from run to run, so that only pairs that changed are registered again.

The estimate of a pair follows from the pixels of both tiles, their windows, the illumination, the model and the code. It does
not depend on the other pairs (`windows.batches`), except where an argument of the method is taken from all of them, as the
deviation of the linear parts. The hash of all these is the key of the estimate, so an outdated estimate is never found. The
verdict on a pair is not kept, since it follows from all pairs together.
"""

import io
import logging
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir import steps
from dlir.core import affine, hashing, sealed
from dlir.registration.pairs.neighbours import WINDOW
from dlir.registration.pairs.windows import expected_shift

log = logging.getLogger(__name__)
IDENTITY = ["pair", "fixed", "moving", "side"]  # columns that name a pair; all others of tables.AFFINES are its estimate
SEARCHED = ("nominal_y", "nominal_x", "search")  # where the windows of a pair are looked at
DECIMALS = 6  # of px: added tiles change the places of the others by rounding errors, from which no estimate may start
# The modules that make an estimate; the verdict, and so the placement, is not among them
ESTIMATES = (
    "dlir.registration.inference.estimate_batch",
    "dlir.registration.inference.fine",
    "dlir.registration.model.methods",
)


class EstimateCache:
    """The estimates of pairs that were registered before, in a file or, where `file` is None, in memory alone."""

    def __init__(self, file: Path | None, tiles: pd.DataFrame, *inputs: object) -> None:
        """Reads the estimates in `file`, if there is one.

        Args:
            tiles: the tiles of the dataset (tables.TILES).
            inputs: everything else that all estimates follow from, such as hashes of files.
        """
        self.file = file
        self.content = (tiles["sha256"] + " " + tiles["camera"].astype(str)).set_axis(tiles["tile"])
        planes = tiles.iloc[0].loc["times":"reference_time"]  # which planes of the tiles are read
        self.inputs = hashing.of(steps.code_of(*ESTIMATES), planes.to_json(), *inputs)
        self.columns, self.estimates = _read(file) if file else ([], {})
        self.used: set[str] = set()

    def with_input(self, more: object) -> Self:
        """Returns this cache for estimates that follow from something else, too; both are one when they are written."""
        other = copy(self)
        other.inputs = hashing.of(self.inputs, more)
        return other

    def complete(
        self, pairs: pd.DataFrame, what: str, *inputs: object, estimate: Callable[[pd.DataFrame, str], pd.DataFrame]
    ) -> pd.DataFrame:
        """Returns the pairs (columns IDENTITY) with their estimates, from the cache or else from `estimate`.

        Args:
            pairs: tables.PAIRS, and the columns of an affine where the method starts from one.
            what: what the log calls the pairs.
            inputs: what these estimates follow from and others in this cache do not.
            estimate: registers the pairs that are not in the cache, in any order.
        """
        columns = [name for name in (*SEARCHED, *affine.COLUMNS) if name in pairs]
        pairs = pairs.assign(**{name: pairs[name].astype(float).round(DECIMALS) + 0.0 for name in columns})  # no -0
        keys = self._keys(pairs, inputs)
        new = np.array([key not in self.estimates for key in keys], bool)
        log.info("registering %d of %d %s; %d are in the cache", new.sum(), len(new), what, (~new).sum())
        if new.any():
            found = estimate(pairs[new], what).loc[pairs.index[new]]
            self.columns[:] = [
                name for name in found.columns if name not in IDENTITY
            ]  # in place, as all else that copies share
            self.estimates |= zip(np.array(keys)[new].tolist(), found[self.columns].to_numpy(float), strict=True)
        self.used |= set(keys)
        values = np.array([self.estimates[key] for key in keys]).reshape(len(keys), len(self.columns))
        return pairs[IDENTITY].join(pd.DataFrame(values, pairs.index, self.columns))

    def write(self) -> None:
        """Writes the estimates that this run used to the file, and drops all others."""
        if self.file is None or not self.used:
            return
        keys, content = sorted(self.used), io.BytesIO()
        values = np.array([self.estimates[key] for key in keys])
        np.savez(content, keys=np.array(keys, "S"), columns=np.array(self.columns, "S"), values=values)
        sealed.write(content.getvalue(), self.file)

    def _keys(self, pairs: pd.DataFrame, inputs: tuple[object, ...]) -> list[str]:
        """The key of each pair: the hash of everything that its estimate follows from."""
        content = pd.DataFrame({end: self.content.reindex(pairs[end]).to_numpy() for end in ("fixed", "moving")})
        windows = pairs[["side"]].reset_index(drop=True).join(pairs[WINDOW].astype(int).reset_index(drop=True))
        searched = pd.DataFrame(np.c_[expected_shift(pairs), pairs["search"].to_numpy(float)])
        start = pairs[[name for name in affine.COLUMNS if name in pairs]].reset_index(drop=True)
        table = pd.concat([content, windows, searched, start], axis=1)
        return [hashing.of(self.inputs, *inputs, *row) for row in table.itertuples(index=False)]


def _read(file: Path) -> tuple[list[str], dict[str, NDArray[np.float64]]]:
    """Returns the columns and the estimates in a file; none where it is missing or damaged."""
    content = sealed.read(file)
    if content is None:
        return [], {}
    with np.load(io.BytesIO(content)) as arrays:
        keys, columns, values = (arrays[name] for name in ("keys", "columns", "values"))
    return columns.astype(str).tolist(), dict(zip(keys.astype(str).tolist(), values, strict=True))
