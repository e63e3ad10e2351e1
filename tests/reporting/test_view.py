"""The server of `dlir view`: only its user gets an answer; nothing outside the results is read, or written without a token."""

import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image as Picture
from support import ROOT, finished_runs, two_groups

from dlir.reporting import view
from dlir.reporting.view import Server, ViewError

OFFSET = two_groups.true_places()[2] - two_groups.true_places()[1]
JOINED = {"fixed": 1, "moving": 2, "y": float(OFFSET[0]), "x": float(OFFSET[1])}


class Reply(NamedTuple):
    """What the server answers."""

    status: int
    headers: http.client.HTTPMessage
    content: bytes


class Client:
    """Asks a server."""

    def __init__(self, server: Server) -> None:
        self.port, self.token, self.results = server.server_port, server.token, server.results
        self.url, self.entrance = server.url, server.entrance

    def __call__(self, method: str, path: str, body: Any = None, token: str | None = None, **headers: str) -> Reply:
        """Sends a path as it is, behind the token; `body` is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        given = {"Host": f"127.0.0.1:{self.port}", "Content-Type": "application/json", **headers}
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        connection.request(method, f"/{self.token if token is None else token}/{path}", content, given)
        answer = connection.getresponse()
        reply = Reply(answer.status, answer.msg, answer.read())
        connection.close()
        return reply

    def state(self) -> str:
        found: str = json.loads(self("GET", "edit").content)["state"]
        return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of a run."""
    return finished_runs.make(tmp_path_factory.mktemp("finished")).parents[1]


@pytest.fixture
def ask(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)  # where the tiles lie
    with Server(tmp_path / "results" / "two") as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield Client(server)
        server.shutdown()
        thread.join()


def test_the_page_and_its_files_have_the_types_that_a_browser_needs(ask: Client) -> None:
    (ask.results / "report_files").mkdir()
    for name in ("a.jpg", "b.js", "c.json", "d.csv", "e.svg"):
        (ask.results / "report_files" / name).write_bytes(name.encode())
    page = ask("GET", "report.html")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page.content == (ask.results / "report.html").read_bytes()
    found = {name: ask("GET", f"report_files/{name}") for name in ("a.jpg", "b.js", "c.json", "d.csv", "e.svg")}
    assert {name: reply.content.decode() for name, reply in found.items()} == {name: name for name in found}
    kinds = [reply.headers["Content-Type"].split(";")[0] for reply in found.values()]
    assert kinds == ["image/jpeg", "text/javascript", "application/json", "text/csv", "image/svg+xml"]
    assert all(reply.headers["X-Content-Type-Options"] == "nosniff" for reply in found.values())


@pytest.mark.parametrize("token", ["", "x" * 43, "report.html", "%C3%A9"])
@pytest.mark.parametrize(("method", "path"), [("GET", "report.html"), ("GET", "edit"), ("GET", "tile/0.jpg"), ("POST", "save")])
def test_nothing_is_told_or_written_without_the_token(ask: Client, token: str, method: str, path: str) -> None:
    body = {"rows": [JOINED], "state": ask.state()}
    reply = ask(method, path, body if method == "POST" else None, token=token)
    assert reply.status == 403
    assert ask.token.encode() not in reply.content
    assert not (ask.results / "overrides.csv").exists()


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1", 200), ("localhost:8080", 200), ("evil.example", 403), ("127.0.0.1.evil.example:80", 403), ("", 403)],
)  # fmt: skip
def test_a_name_of_the_web_that_leads_here_is_refused(ask: Client, host: str, status: int) -> None:
    assert ask("GET", "report.html", Host=host).status == status
    body = {"rows": [JOINED], "state": ask.state()}
    assert ask("POST", "save", body, Host=host).status == status
    assert (ask.results / "overrides.csv").exists() == (status == 200)


@pytest.mark.parametrize(
    "path",
    [
        "../../mine.yaml", "report_files/../../../mine.yaml", "%2e%2e/%2e%2e/mine.yaml", "..%2f..%2fmine.yaml", "/etc/passwd",
        "%2fetc%2fpasswd", "report.html%00", "no.html", "tile/../../../mine.yaml", "tile/..%2f..%2f..%2fmine.yaml", "%ff",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_results(ask: Client, path: str) -> None:
    (ask.results / "report_files").mkdir()
    assert ask("GET", path).status == 404


def test_a_link_out_of_the_results_is_refused(ask: Client, tmp_path: Path) -> None:
    (ask.results / "out.yaml").symlink_to(tmp_path / "mine.yaml")
    (ask.results / "folder").symlink_to(tmp_path)
    (ask.results / "in.html").symlink_to(ask.results / "report.html")
    os.mkfifo(ask.results / "pipe")
    statuses = [ask("GET", path).status for path in ("out.yaml", "folder/mine.yaml", "pipe", "in.html")]
    assert statuses == [404, 404, 404, 200]


@pytest.mark.parametrize("path", ["", "cache", "cache/", "."])
def test_no_folder_is_listed(ask: Client, path: str) -> None:
    (ask.results / "cache").mkdir()
    (ask.results / "cache" / "secret-name").touch()
    reply = ask("GET", path)
    assert reply.status == 404
    assert b"secret-name" not in reply.content


def test_the_ticket_of_the_browser_leads_to_the_page_once(ask: Client) -> None:
    ticket = ask.entrance.rpartition("/")[2]
    assert [ask("GET", "report.html", token=ticket).status, ask("POST", "save", {}, token=ticket).status] == [403, 403]
    first = ask("GET", "", token=ticket)
    assert (first.status, first.headers["Location"]) == (303, ask.url)
    assert ask.token not in ask.entrance
    assert [ask("GET", "", token=token).status for token in (ticket, "", "/")] == [403, 403, 403]


def test_only_this_machine_reaches_the_server(ask: Client) -> None:
    listening = Path("/proc/net/tcp").read_text().splitlines()[1:]
    addresses = {line.split()[1].split(":")[0] for line in listening if line.split()[1].endswith(f":{ask.port:04X}")}
    assert addresses == {"0100007F"}  # 127.0.0.1, and not 0.0.0.0
    with pytest.raises(OSError), socket.create_connection(("::1", ask.port), timeout=2):
        pass


def test_a_tile_is_shown_as_it_was_registered(ask: Client) -> None:
    shown = np.asarray(Picture.open(io.BytesIO(ask("GET", "tile/3.jpg").content)), float)
    tile = two_groups.pixels()[3].astype(float)
    assert shown.shape == tile.shape
    assert np.corrcoef(shown.ravel(), tile.ravel())[0, 1] > 0.98
    assert ask("GET", "tile/8.jpg").status == 404


def test_a_tile_that_was_replaced_is_not_shown(ask: Client, tmp_path: Path) -> None:
    ask("GET", "tile/0.jpg")
    (tmp_path / "tiles" / "0_3.tif").unlink()
    reply = ask("GET", "tile/3.jpg")
    assert (reply.status, "0_3.tif" in json.loads(reply.content)["error"]) == (404, True)


def test_rows_are_solved_and_saved(ask: Client) -> None:
    sent = {"rows": [JOINED], "state": ask.state(), "time": None}
    solved = json.loads(ask("POST", "solve", sent).content)
    assert finished_runs.errors(solved["tiles"]).max() < 0.1
    assert not (ask.results / "overrides.csv").exists()
    saved = json.loads(ask("POST", "save", sent).content)
    assert (saved["added"], saved["table"]) == (1, str(ask.results / "overrides.csv"))
    assert (ask.results / "overrides.csv").read_text() == "fixed,moving,y,x\ntiles/0_1.tif,tiles/0_2.tif,9.0,118.0\n"
    again = ask("POST", "save", {**sent, "rows": []})
    assert (again.status, "load it again" in json.loads(again.content)["error"]) == (409, True)


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b"null", b'{"rows": [], "state": 1}', b'{"rows": 1, "state": ""}', b'{"rows": [{}], "state": ""}',
        json.dumps({"rows": [{**JOINED, "y": None}], "state": ""}).encode(),
        json.dumps({"rows": [{**JOINED, "y": float("nan")}], "state": ""}).encode(),
        json.dumps({"rows": [{**JOINED, "y": 10**400}], "state": ""}).encode(),
        json.dumps({"rows": [{**JOINED, "x": "1"}], "state": ""}).encode(),
        json.dumps({"rows": [{**JOINED, "moving": None}], "state": ""}).encode(),
        json.dumps({"rows": [{**JOINED, "fixed": True}], "state": ""}).encode(),
        json.dumps({"rows": [], "state": "", "time": "now"}).encode(), b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_are_no_rows_is_refused(ask: Client, body: bytes) -> None:
    assert ask("POST", "save", body).status == 400
    assert not (ask.results / "overrides.csv").exists()


def test_requests_that_a_foreign_page_could_send_are_refused(ask: Client) -> None:
    body = {"rows": [JOINED], "state": ask.state()}
    assert ask("POST", "save", body, **{"Content-Type": "text/plain"}).status == 415
    assert ask("POST", "save", b"", **{"Content-Length": str(2**40)}).status == 413
    assert ask("POST", "report.html", body).status == 404
    assert ask("PUT", "overrides.csv", b"fixed,moving,y,x").status == 501
    assert not (ask.results / "overrides.csv").exists()


def test_a_wrong_row_is_told_to_the_page(ask: Client) -> None:
    reply = ask("POST", "solve", {"rows": [{**JOINED, "y": 1e6}], "state": ask.state()})
    assert (reply.status, "far outside the mosaic" in json.loads(reply.content)["error"]) == (422, True)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("overrides.csv", "fixed,moving,y,x\nno.tif,0_1.tif,1,1\n", "overrides.csv, line 2: fixed is no.tif, which is no tile"),
        ("provenance.json", "{", "provenance.json: is missing or damaged"),
        ("provenance.json", "{}", "provenance.json: is missing or damaged"),
        ("affines.csv", "garbage", "affines.csv: the table does not fit its schema"),
        ("affines.csv", None, "affines.csv: is missing: run the workflow again"),
    ],
)
def test_the_page_is_told_why_nothing_can_be_mended(ask: Client, file: str, text: str | None, words: str) -> None:
    if text is None:
        (ask.results / file).unlink()
    else:
        (ask.results / file).write_text(text)
    reply = ask("GET", "edit")
    assert (reply.status, words in json.loads(reply.content)["error"]) == (200, True)


def test_results_without_a_report_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ViewError, match=r"has no report\.html: give the folder results/NAME"):
        view.view(tmp_path)


def test_ctrl_c_ends_the_command(tmp_path: Path) -> None:
    results = finished_runs.make(tmp_path)
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    command = [sys.executable, "-m", "dlir", "view", str(results)]
    environment["PYTHONPATH"] = str(ROOT)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        url = re.search(r"http://127\.0\.0\.1:(\d+)/([\w-]{43})/report\.html", process.stderr.readline())
        assert url
        connection = http.client.HTTPConnection("127.0.0.1", int(url[1]), timeout=30)
        connection.request("GET", f"/{url[2]}/tile/0.jpg")  # from another folder than that of the run
        assert connection.getresponse().read(2) == b"\xff\xd8"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert "what was saved stays" in process.stderr.read()
        connection.close()
