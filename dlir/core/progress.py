"""Progress of long work as log lines, few enough to read well in a file and on a terminal."""

import logging
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)
EVERY = 5.0  # seconds between lines


def progress(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yield `items`; log how many of `total` are done and how long the rest will take, every few seconds."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    start = last = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += 1
        now = time.monotonic()
        if now - last >= EVERY and total:
            left = (now - start) / done * (total - done)
            log.info("%s: %d of %d (%.0f %%), about %.0f s left", what, done, total, 100 * done / total, left)
            last = now
    log.info("%s: all %d done in %.1f s", what, done, time.monotonic() - start)
