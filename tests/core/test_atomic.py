"""Results are written whole or not at all, and by one process at a time."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dlir.core.atomic import atomically


def test_a_new_file_or_folder_replaces_the_old_one(tmp_path: Path) -> None:
    for name, is_folder in (("table.csv", False), ("store.zarr", True)):
        for text in ("first", "second"):
            with atomically(tmp_path / "new" / name) as partial:
                if is_folder:
                    partial.mkdir()
                    (partial / text).write_text(text)
                else:
                    partial.write_text(text)
    assert (tmp_path / "new/table.csv").read_text() == "second"
    assert [path.name for path in (tmp_path / "new/store.zarr").iterdir()] == ["second"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["store.zarr", "table.csv"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_the_old_file_stays_and_nothing_of_the_new_one(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(error), atomically(path) as partial:
        partial.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_run_left_is_replaced(tmp_path: Path) -> None:
    left = tmp_path / "store.zarr.part" / "store.zarr"
    left.mkdir(parents=True)
    (left / "chunk").write_text("half")
    with atomically(tmp_path / "store.zarr") as partial:
        partial.mkdir()
    assert not list((tmp_path / "store.zarr").iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["store.zarr"]


def test_two_processes_never_write_the_same_result(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    code = f"""
import sys
from pathlib import Path
from dlir.core.atomic import atomically
try:
    with atomically(Path({str(path)!r})) as partial:
        partial.write_text("second")
except BlockingIOError as error:
    print(error)
"""
    for free in (False, True):
        with atomically(tmp_path / "other.csv" if free else path) as partial:
            partial.write_text("first")
            message = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert ("is being written by another process" in message and str(path) in message) != free
        assert path.read_text() == ("second" if free else "first")


KILLED = """
import os
import signal
import sys
from pathlib import Path

from dlir.core import atomic

path, last, when, exchanges = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
done = []


def deadly(change):
    def changed(*arguments, **options):
        done.append(arguments)
        if len(done) == last and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        try:
            return change(*arguments, **options)
        finally:
            if len(done) == last:
                os.kill(os.getpid(), signal.SIGKILL)

    return changed


for name in ("rename", "replace", "remove", "unlink", "rmdir"):
    setattr(os, name, deadly(getattr(os, name)))
atomic.exchange = deadly(atomic.exchange) if exchanges == "True" else lambda first, second: False
with atomic.atomically(path) as partial:
    partial.mkdir()
    for part in ("a", "b"):
        (partial / part).write_text("new")
"""


@pytest.mark.parametrize("exchanges", [True, False])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_anywhere_while_a_folder_is_replaced(tmp_path: Path, exchanges: bool, when: str) -> None:
    """The path holds the whole old or the whole new folder; without exchange, it may miss until the next run brings it back."""
    found = []
    for last in range(1, 100):
        path = tmp_path / str(last) / "store.zarr"
        path.mkdir(parents=True)
        for part in ("a", "b", "c"):
            (path / part).write_text("old")
        command = [sys.executable, "-c", KILLED, str(path), str(last), when, str(exchanges)]
        status = subprocess.run(command, check=False).returncode
        if status == 0:
            break
        assert status == -signal.SIGKILL
        found.append("none" if not path.exists() else _whole(path))
        with pytest.raises(ValueError), atomically(path):  # the next run begins, and does not get far
            assert _whole(path) == found[-1] or found[-1] == "none"
            raise ValueError
        assert _whole(path) in ("old", "new")
        assert [each.name for each in path.parent.iterdir()] == ["store.zarr"]
        with atomically(path) as partial:
            partial.mkdir()
            for part in ("a", "b"):
                (partial / part).write_text("new")
        assert _whole(path) == "new"
        assert [each.name for each in path.parent.iterdir()] == ["store.zarr"]
    assert len(found) > 5, "hardly a call was found"
    assert (found[0], found[-1]) == ("old", "new")
    assert ("none" in found) != exchanges


def _whole(folder: Path) -> str:
    """Which of the two folders it is, with all of its files."""
    files = {path.name: path.read_text() for path in folder.iterdir()}
    kind = files["a"]
    assert files == dict.fromkeys("abc" if kind == "old" else "ab", kind)
    return kind
