"""An OME-Zarr store, written in one pass over its pixels and in little memory.

The levels of the pyramid are a tree: a block, one shard, of a level covers four blocks of the level below. The tree is
walked depth first, so that of each level at most four blocks are in memory, however large the image is:

    build(level, y, x) = halve(join of build(level - 1, 2 y .. 2 y + 1, 2 x .. 2 x + 1))

Blocks of the lowest level are made by `threads` workers ahead of the walk. A walk may start above level 0, where other jobs
have written the levels below: each level is the mean of the one below as it is stored, so nothing depends on who wrote it.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import zarr
from numpy.typing import DTypeLike
from zarr.codecs import BloscCodec

from dlir.core.progress import progress
from dlir.fusion.blend import Region
from dlir.fusion.settings import Mosaic
from dlir.reading.image_files import Image, Plane

SMALLEST = 512  # px; the pyramid ends with the first level whose longest side is not longer
AHEAD = 2  # blocks made ahead by each worker


class Node(NamedTuple):
    """A block of a level, by its number along y and x."""

    level: int
    y: int
    x: int


class Pyramid:
    """The arrays of a store, full resolution first, and the blocks that they are written in.

    Of the axes t, c, z, y, x those of length one are left out, all but the last two. Blocks that are `done` are there, with all
    that lies under them, and are not made again.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: str, settings: Mosaic) -> None:
        """An empty store of that shape (t, c, z, y, x)."""
        self.axes = "".join(axis for axis, length in zip("tczyx", shape, strict=True) if length > 1 or axis in "yx")
        self.channels, self.shard, self.dtype = shape[1], settings.shard, np.dtype(dtype)
        self.done: set[Node] = set()
        sizes = [shape[3:]]
        while max(sizes[-1]) > SMALLEST:
            sizes.append(tuple(-(-length // 2) for length in sizes[-1]))
        group = zarr.open_group(folder, mode="w", zarr_format=3)
        ones = (1,) * (len(self.axes) - 2)
        others = tuple(length for axis, length in zip("tcz", shape, strict=False) if axis in self.axes)
        self.arrays = [
            group.create_array(
                str(level), shape=(*others, *size), dtype=dtype, fill_value=0, dimension_names=list(self.axes),
                chunks=(*ones, settings.chunk, settings.chunk), shards=(*ones, settings.shard, settings.shard),
                compressors=BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
            )
            for level, size in enumerate(sizes)
        ]  # fmt: skip

    def split(self, parts: int) -> int:
        """The highest level with a row of blocks for each of so many parts; 0 if there are more parts than rows."""
        return max((level for level in range(len(self.arrays)) if self.blocks(level)[0] >= parts), default=0)

    def part(self, number: int, parts: int) -> list[Node]:
        """The blocks of level `split(parts)` that are the part of that number, from the top; whatever lies under them, too."""
        level = self.split(parts)
        rows, columns = self.blocks(level)
        mine = range(number * rows // parts, (number + 1) * rows // parts)
        return [Node(level, y, x) for y in mine for x in range(columns)]

    def region(self, node: Node) -> Region:
        """The px of its level that a block covers."""
        return covered(node, self.arrays[node.level].shape[-2:], self.shard)

    def blocks(self, level: int) -> tuple[int, int]:
        """How many blocks (y, x) a level has."""
        height, width = self.arrays[level].shape[-2:]
        return -(-height // self.shard), -(-width // self.shard)

    def below(self, node: Node) -> list[Node]:
        """The blocks that a block is the mean of, or none."""
        if node.level == 0:
            return []
        rows, columns = self.blocks(node.level - 1)
        inside = [(2 * node.y + i, 2 * node.x + j) for i in (0, 1) for j in (0, 1)]
        return [Node(node.level - 1, y, x) for y, x in inside if y < rows and x < columns]

    def leaves(self, node: Node, floor: int) -> Iterator[Node]:
        """The blocks of level `floor` under a block, or those above that are done, in the order of the walk."""
        if node.level == floor or node in self.done:
            yield node
            return
        for below in self.below(node):
            yield from self.leaves(below, floor)

    def read(self, time: int, z: int, node: Node) -> Image:
        """The pixels (channels, y, x) of a block as they are stored."""
        pixels = np.asarray(self.arrays[node.level][self._key(node, time, z)])
        return pixels if pixels.ndim == 3 else pixels[None]

    def build(self, roots: list[Node], floor: int, make: Callable[[Node], Image], time: int, z: int, threads: int) -> None:
        """Write these blocks and all that lie under them, down to `floor`, of which `make` gives the pixels (channels, y, x).

        Blocks of level 0 are made to be written; those of a higher floor have been written before.
        """
        roots = [root for root in roots if root not in self.done]
        leaves = progress([leaf for root in roots for leaf in self.leaves(root, floor)], "writing blocks")

        def leaf(node: Node) -> Image:
            if node in self.done:
                return halve(self.read(time, z, node))
            pixels = make(node)
            if floor == 0:
                self._write(node, pixels, time, z)
            return halve(pixels)

        with ThreadPoolExecutor(threads) as pool:
            waiting: deque[Future[Image]] = deque()

            def walk(node: Node) -> Image:
                if node.level == floor or node in self.done:
                    while len(waiting) <= AHEAD * threads and (following := next(leaves, None)) is not None:
                        waiting.append(pool.submit(leaf, following))
                    return waiting.popleft().result()
                region = self.region(node)
                pixels = np.empty((self.channels, region.height, region.width), self.dtype)
                for below in self.below(node):
                    y, x = (self.shard // 2 * (number % 2) for number in (below.y, below.x))
                    half = walk(below)
                    pixels[:, y : y + half.shape[1], x : x + half.shape[2]] = half
                self._write(node, pixels, time, z)
                return halve(pixels)

            try:
                for root in roots:
                    walk(root)
            finally:
                pool.shutdown(cancel_futures=True)

    def _write(self, node: Node, pixels: Image, time: int, z: int) -> None:
        self.arrays[node.level][self._key(node, time, z)] = pixels if "c" in self.axes else pixels[0]

    def _key(self, node: Node, time: int, z: int) -> tuple[int | slice, ...]:
        at: dict[str, int | slice] = {"t": time, "c": slice(None), "z": z}
        return (*(at[axis] for axis in self.axes[:-2]), *self.region(node).slices)


def covered(node: Node, size: Sequence[int], shard: int) -> Region:
    """The px that a block covers of a level of that size (y, x)."""
    top, left = node.y * shard, node.x * shard
    return Region(top, left, min(shard, size[0] - top), min(shard, size[1] - left))


def halve(pixels: Image) -> Image:
    """The means (channels, ceil(y / 2), ceil(x / 2)) of 2 x 2 pixels; an odd last row or column counts twice."""
    _, height, width = pixels.shape
    if height % 2 or width % 2:
        pixels = np.pad(pixels, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    pairs: Plane = np.add(pixels[:, ::2], pixels[:, 1::2], dtype=np.float32)
    means: Plane = (pairs[..., ::2] + pairs[..., 1::2]) * np.float32(0.25)
    return to_dtype(means, pixels.dtype)


def to_dtype(values: Plane, dtype: DTypeLike) -> Image:
    """The values in a dtype: to an integer they are rounded, half to even so that no bias arises, and clipped."""
    if np.issubdtype(dtype, np.floating):
        return values.astype(dtype, copy=False)
    top = np.iinfo(np.dtype(dtype)).max
    return np.rint(values, out=values).clip(0, top, out=values).astype(dtype)
