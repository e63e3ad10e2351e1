"""The command `dlir view`: shows the report of a folder of results in a browser, where the placement can be mended by hand.

A small server gives the files of the folder to this machine alone, at 127.0.0.1. Its paths begin with a token, which
only the user who started the command knows; so no other user of the machine can read or write, and no page of the web can:

    GET  /TOKEN/report.html, /TOKEN/report_files/...   files in the folder, and none outside it
    GET  /TOKEN/tile/7.jpg                             tile 7 of tiles.csv
    GET  /TOKEN/edit                                   what the table of overrides has now (`mend.start`)
    POST /TOKEN/solve, /TOKEN/save                     rows of overrides (`mend.solve`, `mend.save`)

A page of the web could reach the server under a name of its own that leads to 127.0.0.1, so the header Host is checked, too.
"""

import json
import logging
import math
import mimetypes
import os
import re
import secrets
import sys
import webbrowser
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import unquote, urlsplit

from dlir.core.text_tables import TextTableError
from dlir.placement.overrides_table import COLUMNS, OverridesError
from dlir.reading.image_files import ImageError
from dlir.reporting import finished_run, mend
from dlir.reporting.finished_run import FinishedRunError
from dlir.reporting.mend import MendError
from dlir.reporting.tile_jpeg import TileJpegs

log = logging.getLogger(__name__)
ADDRESS = "127.0.0.1"
HOSTS = (ADDRESS, "localhost")
PAGE = "report.html"
LARGEST_BODY = 2**24  # bytes of a request
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".json": "application/json", ".csv": "text/csv; charset=utf-8", ".tsv": "text/tab-separated-values; charset=utf-8",
         ".log": "text/plain; charset=utf-8", ".yaml": "text/plain; charset=utf-8"}  # fmt: skip
HEADERS = {
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline' data: blob:; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
Answer = tuple[HTTPStatus, str, bytes]  # with the type of the content


class ViewError(ValueError):
    """There is nothing to show; the message has the remedy."""


class RefusedError(Exception):
    """A request that is refused, with the status and the reason."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


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
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            log.info("ended; what was saved stays")


def _has_screen() -> bool:
    """Whether a browser can open a window; without that, one in the terminal would open."""
    return sys.platform == "darwin" or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


class Server(ThreadingHTTPServer):
    """Serves one folder of results.

    Attributes:
        results: the folder, absolute, as the user names it.
        url: the address of the page.
    """

    daemon_threads = True

    def __init__(self, results: Path, port: int = 0) -> None:
        super().__init__((ADDRESS, port), Handler)
        self.results, self.root = results.absolute(), results.resolve()
        self.token = secrets.token_urlsafe(32)
        self.url = f"http://{ADDRESS}:{self.server_port}/{self.token}/{PAGE}"
        self._one_at_a_time = Lock()
        self._jpegs: TileJpegs | None = None

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """Returns what a request gets whose path is given without the token; raises RefusedError."""
        if method == "POST":
            return self._edited(path, body)
        if path == "edit":
            return self._json(lambda: mend.start(finished_run.read(self.results)))
        if tile := re.fullmatch(r"tile/([0-9]{1,9})\.jpg", path):
            return HTTPStatus.OK, "image/jpeg", self._tile(int(tile[1]))
        file = self._file(path)
        kind = TYPES.get(file.suffix.lower()) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        return HTTPStatus.OK, kind, file.read_bytes()

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
                return HTTPStatus.OK, TYPES[".json"], json.dumps(function()).encode()
            except (MendError, FinishedRunError) as error:
                raise RefusedError(HTTPStatus.CONFLICT, str(error)) from None
            except (OverridesError, TextTableError) as error:
                raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None

    def _tile(self, number: int) -> bytes:
        with self._one_at_a_time:
            try:
                if self._jpegs is None:
                    self._jpegs = TileJpegs(self.root)
                return self._jpegs.jpeg(number)
            except KeyError:
                raise RefusedError(HTTPStatus.NOT_FOUND, f"there is no tile {number}") from None
            except (ImageError, OSError) as error:
                raise RefusedError(HTTPStatus.NOT_FOUND, str(error)) from None

    def _file(self, path: str) -> Path:
        """Returns a file in the folder, also where links in the folder lead to it; raises RefusedError for any other."""
        try:
            file = (self.root / path).resolve(strict=True)
        except (OSError, ValueError):
            raise RefusedError(HTTPStatus.NOT_FOUND, "there is no such file") from None
        if not file.is_relative_to(self.root) or not file.is_file():
            raise RefusedError(HTTPStatus.NOT_FOUND, "there is no such file")
        return file


class Handler(BaseHTTPRequestHandler):
    """Answers one request, if it comes from the user."""

    server: Server
    server_version, sys_version = "dlir", ""
    protocol_version = "HTTP/1.1"
    timeout = 60  # s, after which a connection without a request is closed

    def do_GET(self) -> None:  # the name that http.server asks for
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing of ordinary requests."""

    def _answer(self, method: str) -> None:
        try:
            path = self._checked_path()
            answer = self.server.answer(method, path, self._body() if method == "POST" else b"")
        except RefusedError as refusal:
            answer = refusal.status, TYPES[".json"], json.dumps({"error": str(refusal)}).encode()
            self.close_connection = True  # the body may not have been read
        except Exception:
            log.exception("the request for %s failed", self.path)
            answer = HTTPStatus.INTERNAL_SERVER_ERROR, TYPES[".json"], b'{"error": "dlir has a defect: see its messages"}'
            self.close_connection = True
        status, kind, content = answer
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def _checked_path(self) -> str:
        """Returns the path that is asked for, without the token; raises RefusedError for whoever does not know that."""
        if re.sub(r":[0-9]*$", "", self.headers.get("Host", "")) not in HOSTS:
            raise RefusedError(HTTPStatus.FORBIDDEN, f"this server is reached as {ADDRESS} only")
        token, _, path = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        if not secrets.compare_digest(token.encode(), self.server.token.encode()):
            raise RefusedError(HTTPStatus.FORBIDDEN, "take the address that dlir view told, with its token")
        return path

    def _body(self) -> bytes:
        if self.headers.get_content_type() != "application/json":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "rows are sent as JSON")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "the length is missing")
        if int(length) > LARGEST_BODY:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {LARGEST_BODY} bytes")
        return self.rfile.read(int(length))


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
    place = numbers == [None, None] or all(isinstance(n, int | float) and math.isfinite(n) for n in numbers)
    return ends and place and not any(isinstance(value, bool) for value in row.values())
