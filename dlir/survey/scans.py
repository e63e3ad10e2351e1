"""Whether numbered tiles lie as the settings say: the order in which a stage scans lines, against the pixels of the tiles.

A scan takes lines of `length` tiles one after the other, every second line backwards where it is a snake; some of its
first tiles may be missing. Where a line runs to, and where the next line lies, are two free vectors; so the corner of the
start and whether lines are rows or columns need no trial, the vectors show them.

First those pairs of tiles are matched that would overlap by the scan that the settings state, by the same with or without the
snake, and the tiles that follow each other. A certain match that the stated scan does not explain contradicts it. Only where
several do, or where few neighbours along the lines or across them match, all pairs among numbers near to each other are
matched, and all scans are compared on these matches. So a scan is also tried that puts all tiles into a single line.
"""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlir.core.affine import Array
from dlir.survey.correlation import Correlator, Match, Scores, matches

Pair = tuple[int, int]

TOLERANCE = 0.2  # of a tile, by which a match may lie from where a scan expects it: stages may err so far
MOST_STATED = 96  # pairs that are matched to check the stated scan
MOST_ENDS = 24  # of these, at line ends
BLOCK = 26  # tiles that follow each other, of which all pairs are matched
MOST_FAR = 300  # pairs that are matched for lines longer than a block
SEEN = 0.25  # weight of matches for each pair of neighbours, from which on a direction of the scan is seen
CONTRADICTED = 1.5  # weight of matches, from which on they contradict the stated scan; a certain match weighs 1
MANY_CONTRADICTED = 2.5  # from which on the layout is in doubt, even if no other scan explains the tiles
FEW = 0.04  # of the weight of all matches: so many may be contradicted by chance
BETTER = 1.5  # by how much more weight another scan explains, at least
LEAST_FOUND = 2.0  # weight of matches that a scan must explain which nothing else speaks for
MOST_BELOW = 24  # pairs across the lines that are matched for each scan of which nothing is stated
CLEARLY_BETTER = 1.0  # than the scan that explains the next most


class Scan(NamedTuple):
    """An order of tiles."""

    length: int  # tiles of a line
    snake: bool
    missing: int = 0  # first tiles that are missing; negative: the numbers start later than from 0

    def cells(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the line and the place in the line (n, 2) of tiles numbered from 0."""
        line, place = np.divmod(numbers + self.missing, self.length)
        return np.stack([line, np.where((line % 2 == 1) & self.snake, self.length - 1 - place, place)], axis=1)


class Explained(NamedTuple):
    """How well a scan explains the matches."""

    scan: Scan
    steps: Array  # (2, 2) px, from a line to the next, and from a place to the next; NaN where no match shows it
    good: float  # weight of the matches that it explains
    bad: float  # weight of the others
    silent: int  # neighbours without a match
    seen: bool  # whether neighbours across the lines, and along them, match as the scan says

    @property
    def worth(self) -> float:
        return self.good - self.bad


class Verdict(NamedTuple):
    """What the pixels say of a layout."""

    layout: Literal["fits", "other", "unclear"]
    best: Explained  # the stated scan, or the one that explains the tiles where the stated one does not


def check_scan(
    correlator: Correlator, numbers: NDArray[np.int64], stated: Scan, unrelated: list[Scores], missing: Iterable[int]
) -> Verdict:
    """Returns whether the stated scan explains the tiles, and if not, which one does.

    Args:
        numbers: (n,) of the thumbnails of the correlator, from 0.
        missing: how many first tiles may be missing, beside 0; negative where the stated first number is too low.
        unrelated: as in `correlation.matches`.
    """
    pairs = _stated_pairs(numbers, stated)
    found = dict(zip(pairs, matches(correlator, pairs, unrelated), strict=True))
    explained = _explained(stated, numbers, found, correlator)
    if explained.bad < CONTRADICTED and explained.seen:
        return Verdict("fits", explained)
    more = [pair for pair in _near_pairs(numbers, stated, found) if pair not in found]
    found |= dict(zip(more, matches(correlator, more, unrelated), strict=True))
    every = [_explained(scan, numbers, found, correlator) for scan in _scans(numbers, stated, {0, *missing})]
    every.sort(key=lambda each: each.bad - each.good + 0.1 * each.silent + 0.5 * _changes(each.scan, stated))
    return _verdict(every, stated, len(numbers), correlator.size)


def find_scan(
    correlator: Correlator, numbers: NDArray[np.int64], unrelated: list[Scores], missing: Iterable[int]
) -> Explained | None:
    """Returns the scan that explains numbered tiles of which nothing is stated; None where several do, or none.

    Args:
        numbers, unrelated, missing: as in `check_scan`.
    """
    firsts = sorted({0, *missing})
    lengths = range(2, len(numbers))
    scans = [Scan(length, snake, first) for length in lengths for snake in (False, True) for first in firsts if first < length]
    index = {int(number): k for k, number in enumerate(numbers)}
    pairs = {_ordered(k, index[number + 1]) for number, k in index.items() if number + 1 in index}
    for scan in scans:
        where = {(int(cell[0]), int(cell[1])): k for k, cell in enumerate(scan.cells(numbers))}
        below = sorted(_ordered(k, where[y + 1, x]) for (y, x), k in where.items() if (y + 1, x) in where)
        chosen = np.linspace(0, len(below) - 1, min(len(below), MOST_BELOW)).round().astype(int)
        pairs |= {below[k] for k in chosen}
    found = dict(zip(sorted(pairs), matches(correlator, sorted(pairs), unrelated), strict=True))
    every = [_explained(scan, numbers, found, correlator) for scan in scans]
    able = [each for each in every if _sound(each.steps, correlator.size)]
    able = [each for each in able if len(numbers) + each.scan.missing > 1.5 * each.scan.length]
    able.sort(key=lambda each: 0.1 * each.silent - each.worth + _oddness(each.scan, len(numbers)))
    if not able or able[0].good < LEAST_FOUND or able[0].bad > 0.25 * able[0].good:
        return None
    best = able[0]
    rivals = [each for each in able[1:] if each.scan[:2] != best.scan[:2]]
    return best if not rivals or best.worth - rivals[0].worth >= CLEARLY_BETTER else None


def _oddness(scan: Scan, count: int) -> float:
    """How much more weight a scan of so many tiles has to explain: it lacks first tiles, or its last line is not finished."""
    return 0.5 * bool(scan.missing) + 0.3 * ((count + scan.missing) % scan.length > 0)


def _stated_pairs(numbers: NDArray[np.int64], stated: Scan) -> list[Pair]:
    """The pairs of thumbnails that show whether the stated scan is right; a sample where they are many."""
    index = {int(number): k for k, number in enumerate(numbers)}
    pairs = {_ordered(k, index[number + 1]) for number, k in index.items() if number + 1 in index}
    for scan in (stated, stated._replace(snake=not stated.snake)):
        where = {(int(cell[0]), int(cell[1])): k for k, cell in enumerate(scan.cells(numbers))}
        for (y, x), k in where.items():
            beside = ((y, x + 1), (y + 1, x))
            pairs |= {_ordered(k, where[cell]) for cell in beside if cell in where}
    listed = sorted(pairs)
    if len(listed) <= MOST_STATED:
        return listed
    # all line ends, since only they show that the first tile is missing or that a line is longer
    line = stated.cells(numbers)[:, 0]
    ends = [(i, j) for i, j in listed if abs(numbers[j] - numbers[i]) == 1 and line[i] != line[j]][:MOST_ENDS]
    others = np.random.default_rng(0).choice(len(listed), MOST_STATED - len(ends), replace=False)
    return sorted({*ends, *(listed[k] for k in others)})


def _near_pairs(numbers: NDArray[np.int64], stated: Scan, found: dict[Pair, Match]) -> list[Pair]:
    """All pairs among BLOCK tiles that follow each other, where most of them match; for long lines, pairs further apart too."""
    order = np.argsort(numbers)
    size = min(len(order), BLOCK)
    blocks = [set(order[start : start + size].tolist()) for start in range(0, len(order) - size + 1, 4)]
    certain = [pair for pair, match in found.items() if match.weight]
    block = sorted(max(blocks, key=lambda block: sum(i in block and j in block for i, j in certain)))
    pairs = {(i, j) for at, i in enumerate(block) for j in block[at + 1 :]}
    if stated.length > BLOCK / 2:
        index = {int(number): k for k, number in enumerate(numbers)}
        starts = [int(number) for number in sorted(numbers)[: len(numbers) // 2]]
        apart = range(2, int(2.2 * min(stated.length, len(numbers))))
        wanted = [(start, start + step) for step in apart for start in starts[:: max(1, len(starts) * len(apart) // MOST_FAR)]]
        pairs |= {_ordered(index[i], index[j]) for i, j in wanted if i in index and j in index}
    return sorted(pairs)


def _ordered(i: int, j: int) -> Pair:
    return min(i, j), max(i, j)


def _scans(numbers: NDArray[np.int64], stated: Scan, missing: set[int]) -> Iterable[Scan]:
    longest = min(int(numbers.max()), max(BLOCK, 2 * stated.length) + 1)
    scans = {stated}
    for length in range(2, longest):
        scans |= {Scan(length, snake, first) for snake in (False, True) for first in missing if first < length}
    return sorted(scans)


def _changes(scan: Scan, stated: Scan) -> int:
    return sum(one != other for one, other in zip(scan, stated, strict=True))


def _explained(scan: Scan, numbers: NDArray[np.int64], found: dict[Pair, Match], correlator: Correlator) -> Explained:
    pairs, cells = list(found), scan.cells(numbers)
    ends = np.array(pairs, int).reshape(-1, 2)
    weight = np.array([match.weight for match in found.values()])
    shift = np.array([match.shift for match in found.values()]).reshape(-1, 2)
    apart, certain = cells[ends[:, 1]] - cells[ends[:, 0]], weight > 0
    near = TOLERANCE * correlator.size
    steps = np.full((2, 2), np.nan)
    neighbours = (np.abs(apart) == [[[1, 0]], [[0, 1]]]).all(axis=2)  # (2, n): across the lines, and along them
    for axis in (0, 1):
        unit = certain & neighbours[axis]
        each = shift[unit] * apart[unit, axis, None]
        if len(each):
            agree = (np.abs(each[:, None] - each) < near).all(axis=2)
            steps[axis] = np.median(each[agree[agree.sum(axis=1).argmax()]], axis=0)
    expected = np.where(apart[:, :, None] == 0, 0.0, apart[:, :, None] * steps).sum(axis=1)
    fits = (np.abs(shift - expected) < near).all(axis=1)  # not where a step is unknown
    silent = int((~certain & neighbours.any(axis=0)).sum())
    seen = bool((neighbours @ (weight * fits) > SEEN * neighbours.sum(axis=1)).all())
    return Explained(scan, steps, float(weight[fits].sum()), float(weight[~fits].sum()), silent, seen)


def _sound(steps: Array, size: NDArray[np.int64]) -> bool:
    """Whether two steps can be those of a scan: both are known, of about a tile's size, and not parallel."""
    lengths = np.linalg.norm(steps / size, axis=1)
    return bool((lengths > 0.2).all() and (lengths < 1.4).all() and abs(np.linalg.det(steps / size)) > 0.3 * lengths.prod())


def _verdict(every: list[Explained], stated: Scan, count: int, size: NDArray[np.int64]) -> Verdict:
    """Which of the scans, the best first, explains the tiles: the stated one, another one, or none clearly."""
    as_stated = next(each for each in every if each.scan == stated)
    if as_stated.bad < max(CONTRADICTED, FEW * as_stated.good):
        return Verdict("fits", as_stated)
    doubt = as_stated.bad >= max(MANY_CONTRADICTED, 0.5 * as_stated.good)
    otherwise = Verdict("unclear" if doubt else "fits", as_stated)
    able = [each for each in every if _sound(each.steps, size) and count + each.scan.missing > 1.5 * each.scan.length]
    if not able or able[0] is as_stated:
        return otherwise
    same = [each for each in able if each.scan[:2] == able[0].scan[:2]]
    # no first tile is missing, unless that explains clearly more
    whole = next((each for each in same if not each.scan.missing and each is not as_stated), able[0])
    best = able[0] if able[0].worth - whole.worth >= CLEARLY_BETTER else whole
    rivals = [each for each in able if each not in same or (best.scan.missing and each is not best)]
    clear = not rivals or best.worth - rivals[0].worth + 0.2 * (rivals[0].silent - best.silent) >= CLEARLY_BETTER
    less_bad = best.bad <= min(as_stated.bad - BETTER, 0.25 * as_stated.bad + 0.5)
    return Verdict("other", best) if clear and less_bad and best.good >= as_stated.good + BETTER else otherwise
