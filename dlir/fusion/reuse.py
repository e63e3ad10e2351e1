"""Reuses the shards of the last mosaic that would come out the same, so that only the others are fused.

A shard depends on the tiles that touch it: their content, their places and their gains; and on the illumination, the
distortion, the settings and the code. It is reused where all of these are equal and its file is intact, so the mosaic is that
of a run from scratch. Every new solution of the placement moves all tiles by thousandths of a pixel. Whoever does not want to
fuse a large mosaic again for that may allow a tolerance (`mosaic.tolerance`). The place of a tile is then compared with the
place at which the shard was fused, so small changes cannot add up. A block of a higher level is reused when all blocks under it
are.

The cache holds a table, shards; the shards themselves are those of the last mosaic, which stands until the new one takes
its place.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from dlir import steps
from dlir.core import affine, hashing, sealed
from dlir.core.affine import Array
from dlir.core.atomic import link_or_copy
from dlir.core.lens import Lens
from dlir.fusion.blend import borders
from dlir.fusion.plan import MosaicPlan
from dlir.fusion.pyramid import Block, Pyramid, block_region
from dlir.illumination.fields import Fields
from dlir.reading.contents import Sums

log = logging.getLogger(__name__)
TABLE = "shards"  # in the cache
DIGITS = 16  # of the hash of the fields and the lens of a camera, which stands beside each tile
SAME_GAIN = 1e-3  # relative difference of two gains that a tolerance allows; half the smallest deviation of a pair
# For each shard "y/x" of level 0, each tile that touches it: SHA-256 of the tile and of its camera's light, affine, gains
ShardInputs = dict[str, list[list[Any]]]


def reuse_shards(
    plan: MosaicPlan, pyramid: Pyramid, roots: list[Block], store: Path, last: Path, cache: Path | None
) -> ShardInputs:
    """Links the shards that would come out the same from the last store into a new one, and marks their blocks as done.

    Args:
        plan: the mosaic that is fused.
        pyramid: of the new store; its `done` is extended.
        roots: blocks that, with all blocks under them, are to be written.
        store, last: the folders of the new store and of the last one, which may be missing.
        cache: the folder of the cache; None for no cache.

    Returns:
        The inputs of all shards under `roots`: for a reused shard those that it was fused from, for another the present ones.
    """
    leaves = [leaf for root in roots for leaf in pyramid.leaves(root, 0)]
    inputs = _shard_inputs(plan, pyramid, leaves)
    last_run = _read_last_run(cache / TABLE, _common_inputs(plan)) if cache else None
    if last_run:
        comparison = _Comparison(plan, pyramid, last, last_run)
        pyramid.done |= {block for root in roots for block in comparison.same_blocks(root, inputs)}
        for block in pyramid.done:
            for file in comparison.files[block]:
                link_or_copy(last / file, store / file)
        inputs |= {name: last_run["shards"][name] for leaf in leaves if leaf in pyramid.done for name in [_name(leaf)]}
    reused = sum(leaf in pyramid.done for leaf in leaves)
    log.info("fusing %d of %d shards; %d are as before", len(leaves) - reused, len(leaves), reused)
    return inputs


def keep_inputs(plan: MosaicPlan, pyramid: Pyramid, inputs: ShardInputs, sums: Sums, cache: Path) -> None:
    """Keeps in the cache what the shards of a finished store were fused from.

    Args:
        plan, pyramid: of the store.
        inputs: what each shard of level 0 was fused from.
        sums: the SHA-256 of each file of the store, by its path in the store.
        cache: the folder of the cache.
    """
    sizes = [array.shape[-2:] for array in pyramid.arrays]
    table = {"basis": _common_inputs(plan), "sizes": sizes, "shards": inputs, "files": {**sums}}
    sealed.write(json.dumps(table).encode(), cache / TABLE)


def write_inputs(inputs: ShardInputs, band: Path) -> None:
    """Writes the inputs of the shards of a band into the store of the band, for the step `mosaic`."""
    (band / TABLE).write_text(json.dumps(inputs))


def read_inputs(bands: Iterable[Path]) -> ShardInputs:
    """Reads the inputs of the shards of all bands from their stores."""
    return {name: tiles for band in bands for name, tiles in json.loads((band / TABLE).read_text()).items()}


class _Comparison:
    """Compares the blocks of a pyramid with those in the cache."""

    def __init__(self, plan: MosaicPlan, pyramid: Pyramid, last: Path, last_run: dict[str, Any]) -> None:
        self.pyramid, self.last, self.last_run, self.tolerance = pyramid, last, last_run, plan.settings.tolerance
        self.corners = affine.corners(*np.max([illumination.size for illumination in plan.light], axis=0))
        self.files: defaultdict[Block, list[str]] = defaultdict(list)
        for name in last_run["files"]:
            level, *parts = name.split("/")
            if parts[:1] == ["c"]:
                self.files[Block(int(level), int(parts[-2]), int(parts[-1]))].append(name)

    def same_blocks(self, block: Block, inputs: ShardInputs) -> set[Block]:
        """Returns those that can be reused of a block and all blocks under it."""
        below = self.pyramid.below(block)
        same = {each for child in below for each in self.same_blocks(child, inputs)}
        if below:
            same_pixels = set(below) <= same
        else:
            same_pixels = self._same_inputs(inputs[_name(block)], self.last_run["shards"].get(_name(block)))
        return same | {block} if same_pixels and self._same_region(block) and self._intact(block) else same

    def _intact(self, block: Block) -> bool:
        """Returns whether the files of a block hold what was written."""
        return all(
            (self.last / name).is_file() and hashing.of_file(self.last / name) == self.last_run["files"][name]
            for name in self.files[block]
        )

    def _same_region(self, block: Block) -> bool:
        """Returns whether a block covers the same region as in the last run; the size of the mosaic may have changed."""
        sizes, region = self.last_run["sizes"], self.pyramid.region(block)
        return block.level < len(sizes) and block_region(block, sizes[block.level], self.pyramid.shard) == region

    def _same_inputs(self, now: list[list[Any]], before: list[list[Any]] | None) -> bool:
        """Returns whether the same tiles touch a shard, at the same places and with the same gains, within the tolerance."""
        if before is None or not self.tolerance or [tile[0] for tile in now] != [tile[0] for tile in before]:
            return now == before
        places = [affine.apply(_column(tiles, 1).reshape(-1, 2, 3), self.corners) for tiles in (now, before)]
        gains = [_column(tiles, 2) for tiles in (now, before)]
        same_places = (np.abs(places[0] - places[1]) <= self.tolerance).all()
        return bool(same_places and np.allclose(gains[0], gains[1], rtol=SAME_GAIN, atol=0))


def _column(tiles: list[list[Any]], column: int) -> Array:
    """Returns one column of the inputs of a shard: 1 the affines (n, 6), 2 the gains (n, channels)."""
    return np.array([tile[column] for tile in tiles], float)


def _name(block: Block) -> str:
    """Returns the name of a block of level 0 in the table."""
    return f"{block.y}/{block.x}"


def _shard_inputs(plan: MosaicPlan, pyramid: Pyramid, leaves: list[Block]) -> ShardInputs:
    """Returns the inputs of the shards `leaves` of level 0."""
    corners = affine.apply(plan.affines, borders(plan.light, plan.cameras, plan.lenses))
    first, last = corners.min(axis=1) - 1, corners.max(axis=1) + 1
    inputs, light, lenses = {}, [_digest(illumination) for illumination in plan.light], list(map(_terms, plan.lenses))
    for leaf in leaves:
        region = pyramid.region(leaf)
        start, end = (region.y, region.x), (region.y + region.height, region.x + region.width)
        touching = ((first < end) & (last > start)).all(axis=1)
        rows = zip(plan.affines[touching].reshape(-1, 6).tolist(), plan.gains[touching].tolist(), strict=True)
        contents = [
            f"{plan.contents[tile]} {light[plan.cameras[tile]]}{lenses[tile]} {plan.times[tile]}"
            for tile in np.flatnonzero(touching)
        ]
        inputs[_name(leaf)] = [[content, *row] for content, row in zip(contents, rows, strict=True)]
    return inputs


def _digest(illumination: Fields) -> str:
    """Returns a hash of the fields of a camera."""
    return hashing.of(*(f"{field.shape} {hashing.of(field.tobytes())}" for field in illumination))[:DIGITS]


def _terms(lens: Lens | None) -> str:
    """Returns a hash of the lens of a tile; nothing without one."""
    return "" if lens is None else hashing.of(lens.powers.tolist(), lens.coefficients.tolist())[:DIGITS]


def _common_inputs(plan: MosaicPlan) -> str:
    """Returns the hash of what all shards depend on: the code, the settings, and the kind of the tiles."""
    settings, reader = plan.settings.model_dump_json(exclude={"bands", "tolerance"}), plan.reader
    tiles = (*plan.pedestal.tolist(), reader.times, reader.depth, reader.channels, reader.values, plan.dtype)
    return hashing.of(steps.code("mosaic"), settings, *tiles)


def _read_last_run(table: Path, common_inputs: str) -> dict[str, Any] | None:
    """Reads the table of the cache; None where there is none, it is damaged, or its shards have other common inputs."""
    content: dict[str, Any] = json.loads(sealed.read(table) or "{}")
    return content if content.get("basis") == common_inputs else None
