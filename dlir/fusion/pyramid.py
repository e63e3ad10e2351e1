"""An OME-Zarr store with its pyramid, written in one pass over the pixels and in little memory.

Each level of the pyramid has half the resolution of the level below; level 0 is the full resolution. A block is a square of one
level, as large as a shard, and covers four blocks of the level below. So the blocks form a tree. It is walked depth first, so
that at most four blocks of each level are in memory, however large the image is:

    block(level, y, x) = joined halves of block(level - 1, 2 y .. 2 y + 1, 2 x .. 2 x + 1)

Worker threads make the blocks of the lowest level ahead of the walk. A walk may start above level 0, where other jobs have
written the levels below. Each level is the mean of the level below as it is stored, so the result does not depend on which job
wrote it.
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

SMALLEST = 512  # px; the top level is the first whose longest side is at most this long
AHEAD = 2  # blocks that each worker makes ahead of the walk


class Block(NamedTuple):
    """A block of a level, by its number along y and x. It is one shard of each channel, at each time point and z."""

    level: int
    y: int
    x: int


class Pyramid:
    """The arrays of a store, and the blocks that they are written in.

    Attributes:
        axes: the axes of the arrays in order, such as "cyx": of t, c, z, y and x those that are longer than 1, and y and x.
        arrays: the array of each level, full resolution first.
        channels: number of channels.
        shard: px, side of a block.
        dtype: of the pixels.
        done: blocks that are in the store already, with all blocks under them; they are not made again.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: str, settings: Mosaic) -> None:
        """Makes an empty store in a folder for an image of this shape (t, c, z, y, x)."""
        self.axes = "".join(axis for axis, length in zip("tczyx", shape, strict=True) if length > 1 or axis in "yx")
        self.channels, self.shard, self.dtype = shape[1], settings.shard, np.dtype(dtype)
        self.done: set[Block] = set()
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

    def band_level(self, bands: int) -> int:
        """Returns the highest level with at least one row of blocks for each band; 0 if there are more bands than rows."""
        return max((level for level in range(len(self.arrays)) if self.block_counts(level)[0] >= bands), default=0)

    def band_blocks(self, number: int, bands: int) -> list[Block]:
        """Returns the blocks of `band_level` in a band, counted from 0 at the top. All blocks under them belong to it."""
        level = self.band_level(bands)
        rows, columns = self.block_counts(level)
        rows_of_band = range(number * rows // bands, (number + 1) * rows // bands)
        return [Block(level, y, x) for y in rows_of_band for x in range(columns)]

    def region(self, block: Block) -> Region:
        """Returns the region of its level that a block covers."""
        return block_region(block, self.arrays[block.level].shape[-2:], self.shard)

    def block_counts(self, level: int) -> tuple[int, int]:
        """Returns the number of blocks (y, x) of a level."""
        height, width = self.arrays[level].shape[-2:]
        return -(-height // self.shard), -(-width // self.shard)

    def below(self, block: Block) -> list[Block]:
        """Returns the up to four blocks that a block is the mean of; none at level 0."""
        if block.level == 0:
            return []
        rows, columns = self.block_counts(block.level - 1)
        places = [(2 * block.y + i, 2 * block.x + j) for i in (0, 1) for j in (0, 1)]
        return [Block(block.level - 1, y, x) for y, x in places if y < rows and x < columns]

    def leaves(self, block: Block, lowest: int) -> Iterator[Block]:
        """Yields the blocks at which a walk from this block ends, in its order: those of level `lowest`, and those `done`."""
        if block.level == lowest or block in self.done:
            yield block
            return
        for below in self.below(block):
            yield from self.leaves(below, lowest)

    def read(self, time: int, z: int, block: Block) -> Image:
        """Returns the pixels (channels, y, x) of a block from the store."""
        pixels = np.asarray(self.arrays[block.level][self._key(block, time, z)])
        return pixels if pixels.ndim == 3 else pixels[None]

    def build(self, roots: list[Block], lowest: int, make: Callable[[Block], Image], time: int, z: int, threads: int) -> None:
        """Writes these blocks and all blocks under them, at one time point and z.

        Args:
            roots: the uppermost blocks that are written.
            lowest: the level at which the walk ends. Level 0 is written too; a higher level must be in the store already.
            make: returns the pixels (channels, y, x) of a block of the lowest level; called by several threads.
            threads: number of workers that call it.
        """
        roots = [root for root in roots if root not in self.done]
        leaves = progress([leaf for root in roots for leaf in self.leaves(root, lowest)], "writing blocks")

        def half_of_leaf(block: Block) -> Image:
            if block in self.done:
                return halve(self.read(time, z, block))
            pixels = make(block)
            if lowest == 0:
                self._write(block, pixels, time, z)
            return halve(pixels)

        with ThreadPoolExecutor(threads) as pool:
            waiting: deque[Future[Image]] = deque()

            def half_of(block: Block) -> Image:
                if block.level == lowest or block in self.done:
                    while len(waiting) <= AHEAD * threads and (leaf := next(leaves, None)) is not None:
                        waiting.append(pool.submit(half_of_leaf, leaf))
                    return waiting.popleft().result()
                region = self.region(block)
                pixels = np.empty((self.channels, region.height, region.width), self.dtype)
                for below in self.below(block):
                    y, x = (self.shard // 2 * (number % 2) for number in (below.y, below.x))
                    half = half_of(below)
                    pixels[:, y : y + half.shape[1], x : x + half.shape[2]] = half
                self._write(block, pixels, time, z)
                return halve(pixels)

            try:
                for root in roots:
                    half_of(root)
            finally:
                pool.shutdown(cancel_futures=True)

    def _write(self, block: Block, pixels: Image, time: int, z: int) -> None:
        """Writes the pixels (channels, y, x) of a block to the store."""
        self.arrays[block.level][self._key(block, time, z)] = pixels if "c" in self.axes else pixels[0]

    def _key(self, block: Block, time: int, z: int) -> tuple[int | slice, ...]:
        """Returns the indices of a block in the array of its level."""
        indices: dict[str, int | slice] = {"t": time, "c": slice(None), "z": z}
        return (*(indices[axis] for axis in self.axes[:-2]), *self.region(block).slices)


def block_region(block: Block, size: Sequence[int], shard: int) -> Region:
    """Returns the region that a block covers of a level of this size (y, x), in blocks of the side `shard`, all in px."""
    top, left = block.y * shard, block.x * shard
    return Region(top, left, min(shard, size[0] - top), min(shard, size[1] - left))


def halve(pixels: Image) -> Image:
    """Returns the means (channels, ceil(y / 2), ceil(x / 2)) of 2 x 2 pixels; an odd last row or column counts twice."""
    _, height, width = pixels.shape
    if height % 2 or width % 2:
        pixels = np.pad(pixels, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    pairs: Plane = np.add(pixels[:, ::2], pixels[:, 1::2], dtype=np.float32)
    means: Plane = (pairs[..., ::2] + pairs[..., 1::2]) * np.float32(0.25)
    return to_dtype(means, pixels.dtype)


def to_dtype(values: Plane, dtype: DTypeLike) -> Image:
    """Returns the values as `dtype`. For integers they are rounded, halves to even to avoid a bias, and clipped, in place."""
    if np.issubdtype(dtype, np.floating):
        return values.astype(dtype, copy=False)
    top = np.iinfo(np.dtype(dtype)).max
    return np.rint(values, out=values).clip(0, top, out=values).astype(dtype)
