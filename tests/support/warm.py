"""Runs Snakemake and the steps in processes that have imported everything already: tests wait for work and not for imports.

A server imports all steps and Snakemake once and forks a process for each command. `Process` starts Snakemake in this way. The
client, which stands for `python3 -P` in a copy of the workflow, hands the server the command of a step, its folder, its
environment, its umask and its output, and ends as the process does.
"""

import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import IO

CLIENT = """
import json, os, signal, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
os.umask(mask := os.umask(0))
request = {"arguments": sys.argv[2:], "folder": os.getcwd(), "environment": dict(os.environ), "umask": mask}
socket.send_fds(connection, [json.dumps(request).encode() + b"\\n"], [0, 1, 2])
answers = connection.makefile()
process = int(answers.readline())
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: os.kill(process, number))
status = answers.readline()
sys.exit(int(status) if status else 137)
"""
LATER = [  # imported by Snakemake and the steps when they are needed
    "snakemake.cli", "snakemake.api", "snakemake.workflow", "snakemake.report.html_reporter", "snakemake_storage_plugin_s3",
    "dlir.config", "dlir.dataset_files", "requests", "smart_open", "argparse_dataclass", "platformdirs", "cyclopts._convert",
    "imagecodecs._shared", "imagecodecs._deflate",
    "PIL.JpegImagePlugin",
]  # fmt: skip


def use(repository: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Starts a server for a copy of the code, whose rules then use it; the caller stops it."""
    address, client = address_of(repository), folder / "client.py"
    client.write_text(CLIENT)
    rules = repository / "workflow" / "rules" / "common.smk"
    command = f"{sys.executable} -I -S {client} {address} {{MAIN}}"
    text = rules.read_text()
    assert text.count('f"python3 -P {MAIN}"') == 1
    rules.write_text(text.replace('f"python3 -P {MAIN}"', f'f"{command}"'))
    server = subprocess.Popen(
        [sys.executable, "-P", __file__, str(address)],
        env={**os.environ, "PYTHONPATH": str(repository), "OMP_WAIT_POLICY": "PASSIVE", "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert server.stdout and server.stdout.readline() == b"ready\n"
    return server


def address_of(repository: Path) -> Path:
    """Returns where the server of a copy of the code listens, if there is one."""
    return repository.parent / "server"


class Process:
    """A process that the server of a copy of the code has forked, such as Snakemake; used like that of `subprocess`."""

    def __init__(self, repository: Path, command: list[str], folder: Path, stdout: IO[str], stderr: IO[str]) -> None:
        self.returncode: int | None = None
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(str(address_of(repository)))
        os.umask(mask := os.umask(0))
        request = {"arguments": command, "folder": str(folder), "environment": dict(os.environ), "umask": mask}
        message = json.dumps(request).encode() + b"\n"
        with Path(os.devnull).open() as stdin:
            streams = [stream.fileno() for stream in (stdin, stdout, stderr)]
            socket.send_fds(self._connection, [message], streams)
        self._answers = self._connection.makefile()
        self.pid = int(self._answers.readline())

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0.001)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("snakemake", timeout or 0)
            status = self._answers.read()  # until the process has gone
            self.returncode = int(status) if status else -signal.SIGKILL
            self._answers.close()
            self._connection.close()
        return self.returncode

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def serve(address: str) -> None:
    """Answers clients until it is stopped."""
    from dlir import steps

    for module in {step.module for step in steps.STEPS.values()} - {"dlir.registration.training.pretrain"}:
        importlib.import_module(module)
    for module in LATER:
        with suppress(ImportError):  # some are extras
            importlib.import_module(module)
    code = _programs(steps.PACKAGE)
    for step in steps.STEPS:
        steps.code(step)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # ended processes leave nothing behind
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                if _programs(steps.PACKAGE) != code:  # a test has edited it
                    for function in (steps.code, steps.code_of, steps._imported, steps._facts):
                        function.cache_clear()
                _run(connection)
            connection.close()


def _programs(package: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in package.rglob("*.py")}


def _run(connection: socket.socket) -> None:
    """Runs the command that a client sends, and ends this process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, streams, *_ = socket.recv_fds(connection, 2**20, 3)
    while not message.endswith(b"\n"):
        message += connection.recv(2**20)
    request = json.loads(message)
    connection.sendall(f"{os.getpid()}\n".encode())
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.umask(request["umask"])
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv[:] = request["arguments"]
    status = 0
    try:
        if sys.argv[0] == "snakemake":
            sys.path.insert(0, request["folder"])
            runpy.run_module("snakemake", run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(f"{status}\n".encode())
    os._exit(status)


if __name__ == "__main__":
    serve(sys.argv[1])
