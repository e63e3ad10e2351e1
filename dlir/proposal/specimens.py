"""Whether words in the names stand for channels of one specimen: its structures lie at the same places in all channels."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dlir.proposal.names import NamePattern
from dlir.reading import image_files, patterns
from dlir.reading.image_files import ImageError, Plane
from dlir.survey.thumbnails import factor, shrunk, whitened

MOST_PLACES = 16  # whose images are compared
LEAST_ALIKE = 0.05  # correlation of two channels at one place
CLEAR = 4.0  # standard errors, by which it exceeds that of two places


def is_one(folder: Path, names: NamePattern) -> bool:
    """Whether the images of the first two channels show the same structures; False where the pixels do not tell.

    Args:
        names: a pattern with {channel}.
    """
    places: dict[tuple[str, ...], list[Path]] = defaultdict(list)
    for path, match in patterns.matches(map(Path, names.files), names.images).items():
        found = match.groupdict()
        places[tuple(text for name, text in found.items() if name != "channel")].append(path)
    pairs = [files[:2] for files in list(places.values())[:MOST_PLACES] if len(files) > 1]
    try:
        first, second = ([_small(folder / pair[k]) for pair in pairs] for k in (0, 1))
    except ImageError:
        return False
    if len(pairs) < 3 or len({small.shape for small in [*first, *second]}) > 1:
        return False
    return _alike(first, second)


def _alike(first: Sequence[Plane], second: Sequence[Plane]) -> bool:
    """Whether images (y, x) correlate with those at the same places more than with those at the next ones."""
    count = len(first)
    flat = whitened([*first, *second], [0] * count + [1] * count).images.reshape(2 * count, -1)
    correlation = np.atleast_2d(np.corrcoef(flat))[:count, count:]
    same, other = np.abs(np.diag(correlation)), np.abs(np.diag(np.roll(correlation, 1, axis=1)))
    error = float(np.hypot(same.std(), other.std()) / np.sqrt(count))
    return bool(same.mean() - other.mean() > max(LEAST_ALIKE, CLEAR * error))


def _small(path: Path) -> Plane:
    """Returns a small picture (y, x) of an image."""
    with image_files.opened(path) as stack:
        plane = image_files.channel_mean(stack.read(0, stack.sizes.depth // 2))
    return shrunk(plane, factor(plane.shape))
