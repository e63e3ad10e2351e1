"""What the readers of all formats share: the sizes of a stack, and the error of a file that holds no tile."""

from typing import NamedTuple


class NoTileError(ValueError):
    """The file is not damaged, but holds something else than the planes of one tile; the message has the remedy."""


class Sizes(NamedTuple):
    """The lengths of a stack along its axes."""

    times: int
    depth: int
    channels: int
    height: int
    width: int
