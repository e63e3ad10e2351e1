"""Files that reveal damage: the first line is the SHA-256 of all that follows. Caches are such files."""

import hashlib
import logging
from pathlib import Path

from dlir.core.atomic import atomically

log = logging.getLogger(__name__)


def write(content: bytes, path: Path) -> None:
    """Writes the content to a sealed file; raises OSError where it cannot."""
    with atomically(path) as partial:
        partial.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def read(path: Path) -> bytes | None:
    """Returns the content of a sealed file; None where it is missing, or damaged, of which a warning tells."""
    try:
        seal, _, content = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("%s cannot be read (%s), so what it kept is made again", path, error.strerror)
        return None
    if hashlib.sha256(content).hexdigest().encode() != seal:
        log.warning("%s is damaged, so what it kept is made again", path)
        return None
    return content
