"""A server for one user of this machine, at the address 127.0.0.1.

Its paths begin with a token, which only that user knows; so no other user of the machine can read or write, and no page of the
web can. Such a page could reach the server under a name of its own that leads to 127.0.0.1, so the header Host is checked, too.
Since others can see the command line of a browser, that gets a ticket in place of the token, which opens the page once.
"""

import json
import logging
import re
import secrets
import sys
from abc import ABC, abstractmethod
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

log = logging.getLogger(__name__)
ADDRESS = "127.0.0.1"
HOSTS = (ADDRESS, "localhost")
LARGEST_BODY = 2**24  # bytes of a request
JSON = "application/json"
HEADERS = {
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline' data: blob:; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Answer(NamedTuple):
    """What a request gets."""

    status: HTTPStatus
    kind: str  # of the content
    content: bytes
    location: str = ""  # where the browser goes on


class RefusedError(Exception):
    """A request that is refused, with the status and the reason."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class LoopbackServer(ThreadingHTTPServer, ABC):
    """Answers the user alone.

    Attributes:
        url: the address of the page, with the token.
        entrance: the address that leads there once.
    """

    daemon_threads = True

    def __init__(self, page: str, port: int = 0) -> None:
        """Takes the name of the page, and the port; a free one by default."""
        super().__init__((ADDRESS, port), Handler)
        self.token, self._ticket, self._lock = secrets.token_urlsafe(32), secrets.token_urlsafe(32), Lock()
        address = f"http://{ADDRESS}:{self.server_port}"
        self.url, self.entrance = f"{address}/{self.token}/{page}", f"{address}/{self._ticket}"

    @abstractmethod
    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """Returns what a request gets that comes from the user; raises RefusedError.

        Args:
            method: GET or POST.
            path: what is asked for, without the token.
            body: JSON, of a POST.
        """

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of a browser that closed a connection."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            log.exception("a request failed")

    def takes_ticket(self, ticket: str) -> bool:
        """Whether this is the ticket, which is used up then."""
        with self._lock:
            if not self._ticket or not _same(ticket, self._ticket):
                return False
            self._ticket = ""
            return True


class Handler(BaseHTTPRequestHandler):
    """Answers one request, if it comes from the user."""

    server: LoopbackServer
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
            token, path = self._parts()
            if method == "GET" and not path and self.server.takes_ticket(token):
                answer = Answer(HTTPStatus.SEE_OTHER, "text/html", b"", self.server.url)
            else:
                if not _same(token, self.server.token):
                    raise RefusedError(HTTPStatus.FORBIDDEN, "take the address that dlir view told, with its token")
                answer = self.server.answer(method, path, self._body() if method == "POST" else b"")
        except RefusedError as refusal:
            answer = Answer(refusal.status, JSON, json.dumps({"error": str(refusal)}).encode())
            self.close_connection = True  # the body may not have been read
        except Exception:
            log.exception("the request for %s failed", self.path)
            words = b'{"error": "dlir has a defect: see its messages"}'
            answer = Answer(HTTPStatus.INTERNAL_SERVER_ERROR, JSON, words)
            self.close_connection = True
        self.send_response(answer.status)
        headers = {**HEADERS, "Content-Type": answer.kind, "Content-Length": str(len(answer.content))}
        headers |= {"Location": answer.location} if answer.location else {}
        headers |= {"Connection": "close"} if self.close_connection else {}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.content)

    def _parts(self) -> tuple[str, str]:
        """Returns the token in the address that is asked for, and the path behind it; raises RefusedError for another host."""
        if re.sub(r":[0-9]*$", "", self.headers.get("Host", "")) not in HOSTS:
            raise RefusedError(HTTPStatus.FORBIDDEN, f"this server is reached as {ADDRESS} only")
        token, _, path = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        return token, path

    def _body(self) -> bytes:
        if self.headers.get_content_type() != "application/json":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "rows are sent as JSON")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "the length is missing")
        if int(length) > LARGEST_BODY:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {LARGEST_BODY} bytes")
        return self.rfile.read(int(length))


def _same(given: str, secret: str) -> bool:
    """Whether both are the same, in a time that does not tell where they differ."""
    return secrets.compare_digest(given.encode(), secret.encode())
