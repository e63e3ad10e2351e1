"""Reuses the shards of the last mosaic that would come out the same, so that only the others are fused.

A shard depends on the tiles that touch it: their content, their places and their gains; and on the illumination, the settings
and the code. Every new solution of the placement moves all tiles by thousandths of a pixel, so places count as the same within
a tolerance. The place of a tile is always compared with the place at which the shard was fused, so small changes cannot add up.
A block of a higher level is reused when all blocks under it are.

The cache holds a table, shards.json, and hard links to the files of the store, which take no space of their own.
"""

import json
import logging
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from dlir import steps
from dlir.core import affine, hashing
from dlir.core.affine import Array
from dlir.core.atomic import atomically, link_or_copy
from dlir.fusion.plan import MosaicPlan
from dlir.fusion.pyramid import Block, Pyramid, block_region

log = logging.getLogger(__name__)
FOLDER, TABLE = "shards", "shards.json"  # in the cache, and in this folder
SAME_PLACE = 0.05  # px, at the corners of a tile; invisible, and most tiles move far less when the placement is solved again
SAME_GAIN = 1e-3  # relative difference of two gains; half the smallest deviation of a pair
ShardInputs = dict[str, list[list[Any]]]  # for each shard "y/x" of level 0, each tile that touches it: SHA-256, affine, gains


def reuse_shards(plan: MosaicPlan, pyramid: Pyramid, roots: list[Block], store: Path, cache: Path | None) -> ShardInputs:
    """Links the shards that would come out the same from the cache into a new store, and marks their blocks as done.

    Args:
        plan: the mosaic that is fused.
        pyramid: of the new store; its `done` is extended.
        roots: blocks that, with all blocks under them, are to be written.
        store: the folder of the new store.
        cache: the folder of the cache; None for no cache.

    Returns:
        The inputs of all shards under `roots`: for a reused shard those that it was fused from, for another the present ones.
    """
    leaves = [leaf for root in roots for leaf in pyramid.leaves(root, 0)]
    inputs = _shard_inputs(plan, pyramid, leaves)
    last_run = _read_last_run(cache / FOLDER / TABLE, _common_inputs(plan)) if cache else None
    if cache and last_run:
        comparison = _Comparison(plan, pyramid, cache / FOLDER, last_run)
        pyramid.done |= {block for root in roots for block in comparison.same_blocks(root, inputs)}
        for block in pyramid.done:
            for file in comparison.files[block]:
                link_or_copy(cache / FOLDER / file, store / file)
        inputs |= {name: last_run["shards"][name] for leaf in leaves if leaf in pyramid.done for name in [_name(leaf)]}
    reused = sum(leaf in pyramid.done for leaf in leaves)
    log.info("fusing %d of %d shards; %d are as before", len(leaves) - reused, len(leaves), reused)
    return inputs


def keep_shards(plan: MosaicPlan, pyramid: Pyramid, inputs: ShardInputs, store: Path, cache: Path) -> None:
    """Keeps the shards of a finished store in the cache, for the next run. Where that fails, it only logs a warning.

    Args:
        plan, pyramid: of the store.
        inputs: what each shard of level 0 was fused from.
        store: the folder of the store.
        cache: the folder of the cache.
    """
    try:
        with atomically(cache / FOLDER) as partial:
            files = {}
            for shard in (path for path in store.glob("*/c/**/*") if path.is_file()):
                name = str(shard.relative_to(store))
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                os.link(shard, partial / name)
                files[name] = _size_and_time(shard)
            sizes = [array.shape[-2:] for array in pyramid.arrays]
            table = {"basis": _common_inputs(plan), "sizes": sizes, "shards": inputs, "files": files}
            (partial / TABLE).write_text(json.dumps(table))
    except OSError as error:  # such as a file system without hard links
        log.warning("the shards are not kept, so the next run fuses all of them again: %s", error)


def write_inputs(inputs: ShardInputs, band: Path) -> None:
    """Writes the inputs of the shards of a band into the store of the band, for the step `mosaic`."""
    (band / TABLE).write_text(json.dumps(inputs))


def read_inputs(bands: Iterable[Path]) -> ShardInputs:
    """Reads the inputs of the shards of all bands from their stores."""
    return {name: tiles for band in bands for name, tiles in json.loads((band / TABLE).read_text()).items()}


class _Comparison:
    """Compares the blocks of a pyramid with those in the cache."""

    def __init__(self, plan: MosaicPlan, pyramid: Pyramid, folder: Path, last_run: dict[str, Any]) -> None:
        self.pyramid, self.last_run = pyramid, last_run
        self.corners = affine.corners(*plan.illumination.flat.shape[1:])
        self.files: defaultdict[Block, list[str]] = defaultdict(list)
        self.damaged: set[Block] = set()  # blocks with a file that was removed or written to since it was kept
        for name, size_and_time in last_run["files"].items():
            level, *_, y, x = name.split("/")
            block = Block(int(level), int(y), int(x))
            self.files[block].append(name)
            if not (folder / name).exists() or _size_and_time(folder / name) != size_and_time:
                self.damaged.add(block)

    def same_blocks(self, block: Block, inputs: ShardInputs) -> set[Block]:
        """Returns those that can be reused of a block and all blocks under it."""
        below = self.pyramid.below(block)
        same = {each for child in below for each in self.same_blocks(child, inputs)}
        if below:
            same_pixels = set(below) <= same
        else:
            same_pixels = self._same_inputs(inputs[_name(block)], self.last_run["shards"].get(_name(block)))
        return same | {block} if same_pixels and self._same_region(block) and block not in self.damaged else same

    def _same_region(self, block: Block) -> bool:
        """Returns whether a block covers the same region as in the last run; the size of the mosaic may have changed."""
        sizes, region = self.last_run["sizes"], self.pyramid.region(block)
        return block.level < len(sizes) and block_region(block, sizes[block.level], self.pyramid.shard) == region

    def _same_inputs(self, now: list[list[Any]], before: list[list[Any]] | None) -> bool:
        """Returns whether the same tiles touch a shard, at the same places and with the same gains, within the tolerances."""
        if before is None or [tile[0] for tile in now] != [tile[0] for tile in before]:
            return False
        places = [affine.apply(_column(tiles, 1).reshape(-1, 2, 3), self.corners) for tiles in (now, before)]
        gains = [_column(tiles, 2) for tiles in (now, before)]
        same_places = (np.abs(places[0] - places[1]) <= SAME_PLACE).all()
        return bool(same_places and np.allclose(gains[0], gains[1], rtol=SAME_GAIN, atol=0))


def _column(tiles: list[list[Any]], column: int) -> Array:
    """Returns one column of the inputs of a shard: 1 the affines (n, 6), 2 the gains (n, channels)."""
    return np.array([tile[column] for tile in tiles], float)


def _name(block: Block) -> str:
    """Returns the name of a block of level 0 in the table."""
    return f"{block.y}/{block.x}"


def _size_and_time(file: Path) -> list[int]:
    """Returns the size, bytes, and the time of the last change, ns, of a file; both reveal that it was written to."""
    state = file.stat()
    return [state.st_size, state.st_mtime_ns]


def _shard_inputs(plan: MosaicPlan, pyramid: Pyramid, leaves: list[Block]) -> ShardInputs:
    """Returns the inputs of the shards `leaves` of level 0."""
    corners = affine.apply(plan.affines, affine.corners(*plan.illumination.flat.shape[1:]))
    first, last = corners.min(axis=1) - 1, corners.max(axis=1) + 1  # px: a tile reaches half a pixel beyond its corner pixels
    inputs = {}
    for leaf in leaves:
        region = pyramid.region(leaf)
        start, end = (region.y, region.x), (region.y + region.height, region.x + region.width)
        touching = ((first < end) & (last > start)).all(axis=1)
        rows = zip(plan.affines[touching].reshape(-1, 6).tolist(), plan.gains[touching].tolist(), strict=True)
        contents = [plan.contents[tile] for tile in np.flatnonzero(touching)]
        inputs[_name(leaf)] = [[content, *row] for content, row in zip(contents, rows, strict=True)]
    return inputs


def _common_inputs(plan: MosaicPlan) -> str:
    """Returns the hash of what all shards depend on: the code, the settings, the kind of the tiles, and the illumination."""
    settings, reader = plan.settings.model_dump_json(exclude={"bands"}), plan.reader
    tiles = (*plan.pedestal.tolist(), reader.times, reader.depth, reader.channels, reader.size, reader.values, plan.dtype)
    return hashing.of(steps.code("mosaic"), settings, *tiles, *(hashing.of(field.tobytes()) for field in plan.illumination))


def _read_last_run(table: Path, common_inputs: str) -> dict[str, Any] | None:
    """Reads the table of the cache; None where there is none, it is damaged, or its shards have other common inputs."""
    try:
        content = json.loads(table.read_text())
        usable: bool = {"sizes", "shards", "files"} <= content.keys() and content["basis"] == common_inputs
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, AttributeError) as error:
        log.warning("%s is damaged, so all shards are fused again: %s", table, error)
        return None
    return content if usable else None
