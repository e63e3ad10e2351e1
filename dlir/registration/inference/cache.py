"""The estimates of pairs, kept from run to run, so that a pair is registered again only where something of it has changed.

An estimate follows from the content of both tiles, their windows, the light, the model and the code, and not from the other
pairs (`crops.batches`), but for what is said of them all as the basis of a look: how far the tiles are turned. The hash of all
these is the key under which it is kept, so that nothing that is found there can be out of date. Only estimates are kept, no
verdicts: those follow from all pairs together.
"""

import logging
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir import steps
from dlir.core import affine, hashing
from dlir.core.atomic import atomically
from dlir.registration.pairs.neighbours import WINDOW
from dlir.registration.pairs.windows import expected_shift

log = logging.getLogger(__name__)
NAMES = ["pair", "fixed", "moving", "side"]  # which pair it is; all other columns are the estimate
EXACT = 6  # decimals of a px: places of the stage differ by rounding errors where tiles are added


class EstimateCache:
    """Pairs that were registered before; in memory alone where `file` is None."""

    def __init__(self, file: Path | None, tiles: pd.DataFrame, *basis: object) -> None:
        """The estimates in `file`, if there are any, of tiles (tables.TILES); `basis` is all else that they follow from."""
        self.file, self.content = file, tiles.set_index("tile")["sha256"]
        planes = tiles.iloc[0].loc["times":"reference_time"]  # how the tiles are to be read
        self.basis = hashing.of(steps.code("register"), planes.to_json(), *basis)
        self.columns, self.known = _read(file) if file else ([], {})
        self.used: set[str] = set()

    def complete(
        self, pairs: pd.DataFrame, what: str, *basis: object, estimate: Callable[[pd.DataFrame, str], pd.DataFrame]
    ) -> pd.DataFrame:
        """The pairs (tables.PAIRS, with affines where these are known about), called `what`, with what `estimate` says of them:
        it is asked of those that are new.

        `basis` is what these estimates follow from and others do not."""
        keys = self._keys(pairs, basis)
        new = np.array([key not in self.known for key in keys], bool)
        log.info("registering %d of %d %s; %d are as before", new.sum(), len(new), what, (~new).sum())
        if new.any():
            found = estimate(pairs[new], what).loc[pairs.index[new]]
            self.columns = [name for name in found.columns if name not in NAMES]
            self.known |= zip(np.array(keys)[new].tolist(), found[self.columns].to_numpy(float), strict=True)
        self.used |= set(keys)
        values = np.array([self.known[key] for key in keys]).reshape(len(keys), len(self.columns))
        return pairs[NAMES].join(pd.DataFrame(values, pairs.index, self.columns))

    def write(self) -> None:
        """Keep the estimates that were used, and no others."""
        if self.file is None or not self.used:
            return
        keys = sorted(self.used)
        with atomically(self.file) as partial, partial.open("wb") as file:
            values = np.array([self.known[key] for key in keys])
            np.savez(file, keys=np.array(keys, "S"), columns=np.array(self.columns, "S"), values=values)

    def _keys(self, pairs: pd.DataFrame, basis: tuple[object, ...]) -> list[str]:
        content = pd.DataFrame({end: self.content.reindex(pairs[end]).to_numpy() for end in ("fixed", "moving")})
        windows = pairs[["side"]].reset_index(drop=True).join(pairs[WINDOW].astype(int).reset_index(drop=True))
        searched = pd.DataFrame(np.c_[expected_shift(pairs), pairs["search"].to_numpy(float)]).round(EXACT) + 0.0  # no -0
        start = pairs[[name for name in affine.COLUMNS if name in pairs]].round(EXACT).reset_index(drop=True) + 0.0
        table = pd.concat([content, windows, searched, start], axis=1)
        return [hashing.of(self.basis, *basis, *row) for row in table.itertuples(index=False)]


def _read(file: Path) -> tuple[list[str], dict[str, NDArray[np.float64]]]:
    """The columns and the estimates in a file; none where there is none, or where it is damaged."""
    try:
        with file.open("rb") as opened, np.load(opened) as content:
            keys, columns, values = (content[name] for name in ("keys", "columns", "values"))
        if values.shape != (len(keys), len(columns)):
            raise ValueError("its tables do not fit each other")
        return columns.astype(str).tolist(), dict(zip(keys.astype(str).tolist(), values, strict=True))
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        log.warning("%s is damaged (%s), and all pairs are registered again", file, error)
    return [], {}
