"""What the readers of all formats share: sizes of a stack, what its pages are, and the error of a file that holds no tile."""

from typing import Literal, NamedTuple

Pages = Literal["z", "channel", "time"]  # what the pages of a file are that says nothing of them

MOST_PLANES = 10**6  # in a file; more are a damaged header


class NoTileError(ValueError):
    """The file is not damaged, but holds something else than the planes of one tile; the message has the remedy."""


def image_number(number: int | None, count: int) -> int:
    """Returns the number, from 0, of the image that is meant, in a file of `count` images.

    Args:
        number: as it is asked for; None where the file has to hold one image.

    Raises:
        NoTileError: when the file has several images where one is meant, or none of this number.
    """
    if number is None and count > 1:
        ways = "positions: metadata, where the file tells their places, or #{index} after the name in images, with columns"
        raise NoTileError(f"holds {count} images, and a tile is one: set {ways}; or export each image to its own file")
    if (number or 0) >= count:
        raise NoTileError(f"has {count} images, numbered from 0, and no image {number}: correct the number after #")
    return number or 0


class Sizes(NamedTuple):
    """The lengths of a stack along its axes."""

    times: int
    depth: int
    channels: int
    height: int
    width: int


def with_pages(page: Sizes, count: int, pages: Pages) -> Sizes:
    """Returns the sizes of a stack of so many pages, each of which has the sizes `page`."""
    times, depth, channels = (count if pages == name else 1 for name in ("time", "z", "channel"))
    return page._replace(times=page.times * times, depth=page.depth * depth, channels=page.channels * channels)
