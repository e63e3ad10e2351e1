"""Runs the steps of a workflow in processes that have imported everything already, so that tests do not wait for imports.

A server imports all steps once and forks a process for each command; the client, which stands for `python3 -P` in a copy of the
workflow, hands it the command, its folder, its environment and its output, and ends as the process does.
"""

import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from pathlib import Path

CLIENT = """
import json, os, signal, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[1])
request = {"arguments": sys.argv[2:], "folder": os.getcwd(), "environment": dict(os.environ)}
socket.send_fds(connection, [json.dumps(request).encode() + b"\\n"], [0, 1, 2])
answers = connection.makefile()
process = int(answers.readline())
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: os.kill(process, number))
status = answers.readline()
sys.exit(int(status) if status else 137)
"""


def use(repository: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Starts a server for a copy of the code, whose rules then use it; the caller stops it."""
    address, client = folder / "server", folder / "client.py"
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


def serve(address: str) -> None:
    """Answers clients until it is stopped."""
    from dlir.steps import STEPS

    for module in {step.module for step in STEPS.values()} - {"dlir.registration.training.pretrain"}:
        importlib.import_module(module)
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
                _run(connection)
            connection.close()


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
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv[:] = request["arguments"]
    status = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        status = int(end.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    connection.sendall(f"{status}\n".encode())
    os._exit(status)


if __name__ == "__main__":
    serve(sys.argv[1])
