"""The cameras of a dataset, and whether tiles of several sizes belong into one mosaic.

Tiles of one size come from one camera, and share their light, unless the names of the files tell two cameras apart. So edge
tiles that were cropped count as a camera of their own: which part of the picture they show is not known.

A file of another size beside the tiles may be a thumbnail or an overview, which would spoil the mosaic. So a tile is taken

- if both its sides are more than half and less than twice as long as those of most tiles, and, in a grid, if it is not the only
  one of its size;
- or if it lies in the first or last line of a grid, all of whose tiles are cropped to the same length;
- or if the setting `any_size` says so.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlir.core.affine import Array
from dlir.core.tables import most_frequent
from dlir.reading.filenames import Tile

LEAST_SIDE = 16  # px, of a tile: two overlaps of the least size that is registered
LEAST_RATIO, LARGEST_RATIO = 0.5, 2.0  # of a tile's side to that of most tiles
MOST_SIZES = 4  # in a line of the log
Sizes = NDArray[np.int64]  # (n, 2) height and width of tiles, px


def tile_sizes(tiles: Sequence[Tile], by_file: Mapping[Path, tuple[int, int]]) -> tuple[Sizes, list[str]]:
    """Returns the sizes (n, 2) of the tiles, px, from those of their files, and a message for each that cannot be used."""
    sizes: Sizes = np.array([by_file[tile.parts[0]] for tile in tiles], np.int64)
    problems = []
    for tile, (height, width) in zip(tiles, sizes.tolist(), strict=True):
        if min(height, width) < LEAST_SIDE:
            what = f"is {height} x {width} px, and each side needs {LEAST_SIDE} px at least"
            problems.append(f"{tile.path}: {what}: export larger tiles, or leave it out")
        for file in tile.parts:
            if by_file[file] != (height, width):
                other = "{} x {} px".format(*by_file[file])
                problems.append(
                    f"{file}: is {other}, and {tile.parts[0]} of the same tile is {height} x {width} px: export it again"
                )
    return sizes, problems


def camera_numbers(names: Sequence[str], sizes: Sizes) -> list[int]:
    """Returns the number (n,) of the camera of each tile: 0 has the most tiles, and of several such ones the largest.

    Args:
        names: (n,) of the cameras, where the names of the files tell them; else empty.
    """
    kinds = [(name, height, width) for name, (height, width) in zip(names, sizes.tolist(), strict=True)]
    counts = Counter(kinds)
    order = sorted(counts, key=lambda kind: (-counts[kind], -kind[1] * kind[2], kind))
    number = {kind: k for k, kind in enumerate(order)}
    return [number[kind] for kind in kinds]


def described(sizes: Sizes) -> str:
    """Returns a sentence that counts the sizes; empty where all tiles have one size."""
    found, counts = np.unique(sizes, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    parts = [f"{counts[k]} of {found[k, 0]} x {found[k, 1]} px" for k in order[:MOST_SIZES]]
    more = f", and {len(found) - MOST_SIZES} more" if len(found) > MOST_SIZES else ""
    return f"the tiles have {len(found)} sizes: {', '.join(parts)}{more}" if len(found) > 1 else ""


def strangers(paths: Sequence[Path], sizes: Sizes, cells: NDArray[np.int64] | None) -> list[str]:
    """Returns a message for each tile that, by its size, may be no tile of the mosaic.

    Args:
        cells: (n, 2) row and column of the tiles; None where a table gives their places.
    """
    usual, ratio = most_frequent(sizes), sizes / np.median(sizes, axis=0)
    near = ((ratio > LEAST_RATIO) & (ratio < LARGEST_RATIO)) | (sizes == usual)
    if cells is not None:
        counts = Counter(map(tuple, sizes.tolist()))
        alone = np.array([counts[height, width] == 1 for height, width in sizes.tolist()])
        first, last = _cropped(sizes, usual, cells)
        near = (near & ~alone[:, None]) | (sizes == usual) | first | last
    most = f"{usual[0]} x {usual[1]} px"
    remedy = "move it away, or make images match fewer files; if it is a tile, set any_size: true"
    return [
        f"{path}: is {height} x {width} px, and most tiles are {most}, so it may be an overview or a thumbnail: {remedy}"
        for path, (height, width), known in zip(paths, sizes.tolist(), near.all(axis=1), strict=True)
        if not known
    ]


def within_cells(sizes: Sizes, cells: NDArray[np.int64]) -> Array:
    """Returns where the first pixels of tiles lie in their cells of a grid (n, 2), px; 0 for tiles of the usual size.

    A line of tiles that is cropped at the end of the grid keeps its start, and one at its start keeps its end. Others, such as
    those of a second camera, lie in the middle of their cells.

    Args:
        cells: (n, 2) row and column of the tiles.
    """
    usual = most_frequent(sizes)
    first, last = _cropped(sizes, usual, cells)
    return np.asarray(np.where(last, 0.0, np.where(first, 1.0, 0.5)) * (usual - sizes))


def _cropped(sizes: Sizes, usual: Sizes, cells: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether tiles (n, 2) are cropped along y and x like all others of their row or column, at the start or end of a grid."""
    first, last = np.zeros(sizes.shape, bool), np.zeros(sizes.shape, bool)
    for axis in (0, 1):
        for line, cropped in ((cells[:, axis].min(), first), (cells[:, axis].max(), last)):
            inside = cells[:, axis] == line
            sides = sizes[inside, axis]
            cropped[inside, axis] = (sides == sides[0]).all() and sides[0] < usual[axis]
    return first, last
