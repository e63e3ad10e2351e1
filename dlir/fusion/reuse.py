"""The shards of the last mosaic that would come out the same: the next one takes them over, so that only the others are fused.

A shard follows from the tiles that touch it: their content, their places and their gains; and from the light, the settings and
the code. Every solve moves all tiles by thousandths of a pixel, hence places count as the same within a tolerance, always
against where a tile lay when the shard was fused, so that nothing can drift. A block of a higher level is as before where all
blocks under it are. What is kept are further names of the store's files, which take no room of their own, and a table.
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
from dlir.fusion.pyramid import Node, Pyramid, covered

log = logging.getLogger(__name__)
FOLDER, TABLE = "shards", "shards.json"
SAME_PLACE = 0.05  # px at the corners of a tile: no eye sees it, and a new solve moves most tiles by far less
SAME_GAIN = 1e-3  # of a gain, half of what the best pair says of it
ShardInputs = dict[str, list[list[Any]]]  # y/x of a shard of level 0: content, affine and gains of each tile that touches it


def reuse_shards(image: MosaicPlan, pyramid: Pyramid, roots: list[Node], store: Path, cache: Path | None) -> ShardInputs:
    """Give the new store, that of the pyramid, what of the blocks `roots` and all under them is as it was; what the shards
    are made of."""
    leaves = [leaf for root in roots for leaf in pyramid.leaves(root, 0)]
    made = _made_of(image, pyramid, leaves)
    before = _read(cache / FOLDER / TABLE, _basis(image)) if cache else None
    if cache and before:
        same = _Same(image, pyramid, cache / FOLDER, before)
        pyramid.done |= {node for root in roots for node in same.under(root, made)}
        for node in pyramid.done:
            for file in same.files[node]:
                link_or_copy(cache / FOLDER / file, store / file)
        made |= {name: before["shards"][name] for leaf in leaves if leaf in pyramid.done for name in [_name(leaf)]}
    kept = sum(leaf in pyramid.done for leaf in leaves)
    log.info("fusing %d of %d shards; %d are as before", len(leaves) - kept, len(leaves), kept)
    return made


def keep_shards(image: MosaicPlan, pyramid: Pyramid, made: ShardInputs, store: Path, cache: Path) -> None:
    """Keep the shards of a finished store for the next one."""
    try:
        with atomically(cache / FOLDER) as partial:
            files = {}
            for shard in (path for path in store.glob("*/c/**/*") if path.is_file()):
                name = str(shard.relative_to(store))
                (partial / name).parent.mkdir(parents=True, exist_ok=True)
                os.link(shard, partial / name)
                files[name] = _state(shard)
            sizes = [array.shape[-2:] for array in pyramid.arrays]
            table = {"basis": _basis(image), "sizes": sizes, "shards": made, "files": files}
            (partial / TABLE).write_text(json.dumps(table))
    except OSError as error:
        log.warning("the shards are not kept for the next run: %s", error)  # such as a disk without hard links


def write_inputs(made: ShardInputs, band: Path) -> None:
    """Hand on what the shards of a band are made of."""
    (band / TABLE).write_text(json.dumps(made))


def read_inputs(bands: Iterable[Path]) -> ShardInputs:
    """What the shards of all bands are made of."""
    return {name: tiles for band in bands for name, tiles in json.loads((band / TABLE).read_text()).items()}


class _Same:
    """Which blocks of a pyramid are as they were in the store that was kept."""

    def __init__(self, image: MosaicPlan, pyramid: Pyramid, folder: Path, before: dict[str, Any]) -> None:
        self.pyramid, self.before = pyramid, before
        self.corners = affine.corners(*image.fields.flat.shape[1:])
        self.files: defaultdict[Node, list[str]] = defaultdict(list)
        self.changed: set[Node] = set()  # behind our back
        for name, state in before["files"].items():
            level, *_, y, x = name.split("/")
            node = Node(int(level), int(y), int(x))
            self.files[node].append(name)
            if not (folder / name).exists() or _state(folder / name) != state:
                self.changed.add(node)

    def under(self, node: Node, made: ShardInputs) -> set[Node]:
        """The blocks that are as they were, of this one and all under it."""
        below = self.pyramid.below(node)
        same = {block for child in below for block in self.under(child, made)}
        alike = set(below) <= same if below else self._alike(made[_name(node)], self.before["shards"].get(_name(node)))
        return same | {node} if alike and self._covers_the_same(node) and node not in self.changed else same

    def _covers_the_same(self, node: Node) -> bool:
        sizes = self.before["sizes"]
        return node.level < len(sizes) and covered(node, sizes[node.level], self.pyramid.shard) == self.pyramid.region(node)

    def _alike(self, now: list[list[Any]], then: list[list[Any]] | None) -> bool:
        """Whether the tiles of a shard are the same, and where and as bright as they were."""
        if then is None or [tile[0] for tile in now] != [tile[0] for tile in then]:
            return False
        places = [affine.apply(_numbers(tiles, 1).reshape(-1, 2, 3), self.corners) for tiles in (now, then)]
        gains = [_numbers(tiles, 2) for tiles in (now, then)]
        still = (np.abs(places[0] - places[1]) <= SAME_PLACE).all()
        return bool(still and np.allclose(gains[0], gains[1], rtol=SAME_GAIN, atol=0))


def _numbers(tiles: list[list[Any]], column: int) -> Array:
    return np.array([tile[column] for tile in tiles], float)


def _name(node: Node) -> str:
    return f"{node.y}/{node.x}"


def _state(file: Path) -> list[int]:
    """Size and time of a file, which tell that it was written to."""
    state = file.stat()
    return [state.st_size, state.st_mtime_ns]


def _made_of(image: MosaicPlan, pyramid: Pyramid, leaves: list[Node]) -> ShardInputs:
    ends = affine.apply(image.affines, affine.corners(*image.fields.flat.shape[1:]))
    first, last = ends.min(axis=1) - 1, ends.max(axis=1) + 1  # px: a tile reaches half a pixel beyond its corners
    made = {}
    for leaf in leaves:
        region = pyramid.region(leaf)
        start, end = (region.y, region.x), (region.y + region.height, region.x + region.width)
        touching = ((first < end) & (last > start)).all(axis=1)
        rows = zip(image.affines[touching].reshape(-1, 6).tolist(), image.gains[touching].tolist(), strict=True)
        contents = [image.contents[tile] for tile in np.flatnonzero(touching)]
        made[_name(leaf)] = [[content, *row] for content, row in zip(contents, rows, strict=True)]
    return made


def _basis(image: MosaicPlan) -> str:
    """The hash of all that every shard follows from."""
    settings, stacks, light = image.settings.model_dump_json(exclude={"bands"}), image.reader, image.fields
    tiles = (stacks.times, stacks.depth, stacks.channels, stacks.size, stacks.values, image.dtype)
    return hashing.of(steps.code("mosaic"), settings, *tiles, *(hashing.of(pattern.tobytes()) for pattern in light))


def _read(table: Path, basis: str) -> dict[str, Any] | None:
    """The table of the shards that were kept; none where there is none, of the same basis, that can be read."""
    try:
        content = json.loads(table.read_text())
        fits: bool = {"sizes", "shards", "files"} <= content.keys() and content["basis"] == basis
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, AttributeError) as error:
        log.warning("%s is damaged (%s), and all shards are fused again", table, error)
        return None
    return content if fits else None
