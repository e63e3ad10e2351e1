"""Whether a round that was not found shows the first one in a mirror, or turned by 90 or 180 degrees.

Nothing is placed by that: no stage makes it from round to round, so it is told, with what would mend it.
"""

from itertools import product

import numpy as np

from dlir.rounds.coarse import coarse_map
from dlir.rounds.pictures import Picture

LONGEST = 256  # px, of the pictures that are compared
SEEN = "only if seen"  # what the words of `remedy` hold, and those of no other
TURNS = ("", "turned by 90 degrees counterclockwise", "turned by 180 degrees", "turned by 90 degrees clockwise")


def orientation(fixed: Picture, moving: Picture, scale: float) -> str:
    """Returns how a round has to be seen to match another one, in words; empty where no way matches.

    Args:
        fixed, moving: pictures with one step.
        scale: px of the fixed round in one px of the moving one.
    """
    by = -(-max(*fixed.image.shape, *moving.image.shape) // LONGEST)
    small, other = fixed.pooled(by), moving.pooled(by)
    if not (small.prepared().image.any() and other.prepared().image.any()):
        return ""
    for mirrored, quarters in list(product((False, True), range(4)))[1:]:
        if coarse_map(small, _seen(other, mirrored, quarters), scale).found:
            return " and ".join(filter(None, ("in a mirror" if mirrored else "", TURNS[quarters])))
    return ""


def remedy(rounds: str, one: bool, first: str, how: str) -> str:
    """Returns what to say of rounds that match the first one when they are seen otherwise.

    Args:
        rounds: their names, in words.
        one: whether it is one.
        how: as `orientation` returns it.
    """
    their = "its" if one else "their"
    what = (
        f"{rounds} {'matches' if one else 'match'} {first} {SEEN} {how}: dlir finds turns of up to 10 degrees, and no mirror."
    )
    if "mirror" not in how:
        return f"{what} Turn {their} images and the grid alike"
    verb = "Mirror" if how == "in a mirror" else "Mirror and turn"
    camera = (
        f"Where {their} camera sees the specimen in a mirror, mirrored: true mirrors the images, and start: top-right the grid"
    )
    return f"{what} {verb} {their} images and the grid alike. {camera}"


def is_told(advice: object) -> bool:
    """Whether the advice on a round (tables.ROUNDS) is of `remedy`."""
    return isinstance(advice, str) and f" {SEEN} " in advice


def _seen(picture: Picture, mirrored: bool, quarters: int) -> Picture:
    """The picture in a mirror, left and right exchanged, or as it is, and then turned counterclockwise."""
    chosen = slice(None, None, -1 if mirrored else 1)
    image, covered = np.rot90(picture.image[:, chosen], quarters), np.rot90(picture.covered[:, chosen], quarters)
    return picture._replace(image=image.copy(), covered=covered.copy())
