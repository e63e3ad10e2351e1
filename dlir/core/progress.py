"""What steps log: the progress of long loops, in few enough lines to read well, and nothing where a step is only tried."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)
INTERVAL = 5.0  # seconds between two lines


def progress(
    items: Iterable[T], what: str, total: int | None = None, size: Callable[[Any], int] = lambda item: 1
) -> Iterator[T]:
    """Yields `items`, and every INTERVAL seconds logs how much is done and about how long the rest will take.

    Args:
        items: what the loop works on.
        what: names the work in the log, such as "reading tiles".
        total: the sum of the sizes of all items, where it is not `len(items)`.
        size: how much an item counts, such as `len` for batches of pairs.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    start = last = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += size(item)
        now = time.monotonic()
        if now - last >= INTERVAL and total and done:
            left = (now - start) / done * (total - done)
            log.info("%s: %d of %d (%.0f %%), about %.0f s left", what, done, total, 100 * done / total, left)
            last = now
    log.info("%s: all %d done in %.1f s", what, done, time.monotonic() - start)


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Keeps back the messages of a part of the package, such as "dlir.placement", that are no errors."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
