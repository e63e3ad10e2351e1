"""Results are written whole or not at all, and by one process at a time."""

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
