"""The command `dlir view`: shows the report of a folder of results in a browser, where the placement can be mended by hand.

A small server (`loopback.py`) answers the user alone, at addresses that begin with a token:

    GET  report.html, report_files/...   files in the folder, and none outside it
    GET  tile/7.jpg                      tile 7 of tiles.csv
    GET  edit                            the rows of the table of overrides as it is (`mend.start`)
    POST solve, save                     rows of overrides (`mend.solve`, `mend.save`)
"""

import json
import logging
import mimetypes
import os
import re
import sys
import webbrowser
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from threading import Lock
from typing import Any

from dlir.core.tables import TableError
from dlir.core.text_tables import LARGEST, TextTableError
from dlir.placement.overrides_table import COLUMNS, OverridesError
from dlir.reading.image_files import ImageError
from dlir.reporting import finished_run, mend
from dlir.reporting.finished_run import FinishedRunError
from dlir.reporting.loopback import JSON, Answer, LoopbackServer, RefusedError
from dlir.reporting.mend import MendError
from dlir.reporting.tile_jpeg import TileJpegs

log = logging.getLogger(__name__)
PAGE = "report.html"
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".json": JSON, ".csv": "text/csv; charset=utf-8", ".tsv": "text/tab-separated-values; charset=utf-8",
         ".log": "text/plain; charset=utf-8", ".yaml": "text/plain; charset=utf-8"}  # fmt: skip


class ViewError(ValueError):
    """There is nothing to show; the message has the remedy."""


def view(results: Path, port: int = 0) -> None:
    """Shows a folder of results until Ctrl-C.

    Args:
        port: of the server; a free one by default.

    Raises:
        ViewError: when the folder has no report.
        OSError: when the port is in use.
    """
    if not (results / PAGE).is_file():
        raise ViewError(f"{results}: has no {PAGE}: give the folder results/NAME of a run that is finished")
    with Server(results, port) as server:
        os.chdir(finished_run.working_directory(server.results))  # where the paths in tiles.csv start
        logging.getLogger("dlir.placement").setLevel(logging.ERROR)  # what the solve says is on the page
        log.info("the report is at %s for this user and machine; Ctrl-C ends it", server.url)
        if _has_screen():
            webbrowser.open(server.entrance)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            log.info("ended; what was saved stays")


def _has_screen() -> bool:
    """Whether a browser can open a window; without that, one in the terminal would open."""
    return sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


class Server(LoopbackServer):
    """Serves one folder of results.

    Attributes:
        results: the folder, absolute, as the user names it.
    """

    def __init__(self, results: Path, port: int = 0) -> None:
        super().__init__(PAGE, port)
        self.results, self._root = results.absolute(), results.resolve()
        self._one_at_a_time = Lock()
        self._jpegs: TileJpegs | None = None

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """Returns what a request gets; see `LoopbackServer.answer`."""
        if method == "POST":
            return self._edited(path, body)
        if path == "edit":
            return self._begun()
        if tile := re.fullmatch(r"tile/([0-9]{1,9})\.jpg", path):
            return Answer(HTTPStatus.OK, "image/jpeg", self._tile(int(tile[1])))
        file = self._file(path)
        kind = TYPES.get(file.suffix.lower()) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        return Answer(HTTPStatus.OK, kind, file.read_bytes())

    def _begun(self) -> Answer:
        """Returns what `mend.start` does; where the placement cannot be mended, why, which is no failure of the request."""
        try:
            return self._json(lambda: mend.start(finished_run.read(self.results)))
        except RefusedError as refusal:
            return Answer(HTTPStatus.OK, JSON, json.dumps({"error": str(refusal)}).encode())

    def _edited(self, path: str, body: bytes) -> Answer:
        rows, state, time = _rows_in(body)
        if path == "solve":
            return self._json(lambda: mend.solve(finished_run.read(self.results), rows, state, time))
        if path == "save":
            return self._json(lambda: mend.save(finished_run.read(self.results), rows, state)._asdict())
        raise RefusedError(HTTPStatus.NOT_FOUND, "nothing is written there")

    def _json(self, function: Callable[[], dict[str, Any]]) -> Answer:
        """Returns what a function returns; only one runs at a time."""
        with self._one_at_a_time:
            try:
                return Answer(HTTPStatus.OK, JSON, json.dumps(function()).encode())
            except (MendError, FinishedRunError) as error:
                raise RefusedError(HTTPStatus.CONFLICT, str(error)) from None
            except (OverridesError, TextTableError) as error:
                raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
            except (TableError, FileNotFoundError) as error:
                what = f"{error.filename}: is missing" if isinstance(error, FileNotFoundError) else str(error)
                raise RefusedError(HTTPStatus.CONFLICT, f"{what}: run the workflow again, which makes it") from None

    def _tile(self, number: int) -> bytes:
        with self._one_at_a_time:
            try:
                if self._jpegs is None:
                    self._jpegs = TileJpegs(self._root)
                return self._jpegs.jpeg(number)
            except KeyError:
                raise RefusedError(HTTPStatus.NOT_FOUND, f"there is no tile {number}") from None
            except (ImageError, TableError, OSError) as error:
                raise RefusedError(HTTPStatus.NOT_FOUND, str(error)) from None

    def _file(self, path: str) -> Path:
        """Returns a file in the folder, also where links in the folder lead to it; raises RefusedError for any other."""
        try:
            file = (self._root / path).resolve(strict=True)
        except (OSError, ValueError):
            raise RefusedError(HTTPStatus.NOT_FOUND, "there is no such file") from None
        if not file.is_relative_to(self._root) or not file.is_file():
            raise RefusedError(HTTPStatus.NOT_FOUND, "there is no such file")
        return file


def _rows_in(body: bytes) -> tuple[list[mend.Row], str, int | None]:
    """Returns the rows of overrides, the state and the time point in the body of a request; raises RefusedError where it has
    none."""
    try:
        sent = json.loads(body)
        rows = [{name: row[name] for name in COLUMNS} for row in sent["rows"]]
        state, time = sent["state"], sent.get("time")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "the request has no rows with fixed, moving, y and x") from None
    if not (isinstance(state, str) and isinstance(time, int | None) and all(map(_is_row, rows))):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "fixed and moving are numbers of tiles; y and x are numbers, or both null")
    return rows, state, time


def _is_row(row: mend.Row) -> bool:
    ends = isinstance(row["moving"], int) and isinstance(row["fixed"], int | None)
    numbers = [row["y"], row["x"]]
    place = numbers == [None, None] or all(isinstance(n, int | float) and abs(n) <= LARGEST for n in numbers)
    return ends and place and not any(isinstance(value, bool) for value in row.values())
