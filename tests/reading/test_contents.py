"""What files hold: read once, and again only where the file may have changed."""

import hashlib
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from dlir.core import hashing
from dlir.reading import contents
from dlir.reading.contents import Contents, Identity


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read, one after the other."""
    found: list[str] = []
    original = hashing.of_open_file
    monkeypatch.setattr(hashing, "of_open_file", lambda file: found.append(Path(file.name).name) or original(file))
    monkeypatch.setattr(contents, "SETTLED", -(10**12))  # as if the files had been there for long
    return found


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_file_is_read_once_also_by_a_later_run(tmp_path: Path, reads: list[str]) -> None:
    (tmp_path / "a").write_text("A")
    known = Contents()
    assert known.sha256(str(tmp_path / "a"))[0] == known.sha256(str(tmp_path / "a"))[0] == sha256("A")
    known.write(tmp_path / "kept")
    assert Contents.read(tmp_path / "kept").sha256(str(tmp_path / "a"))[0] == sha256("A")
    assert reads == ["a"]


@pytest.mark.parametrize("change", ["written to", "written to, times kept", "swapped", "replaced by an older file"])
def test_a_file_that_may_have_changed_is_read_again(tmp_path: Path, reads: list[str], change: str) -> None:
    path, other, known = tmp_path / "a", tmp_path / "b", Contents()
    path.write_text("A")
    known.sha256(str(path))
    state = path.stat()
    if change.startswith("written to"):
        path.write_text("B")
        if change.endswith("kept"):
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    else:
        other.write_text("B")
        os.utime(other, ns=(0, 0) if change.endswith("older file") else (state.st_atime_ns, state.st_mtime_ns))
        other.replace(path)
    assert known.unknown(contents.identities([str(path)])) == [str(path)]
    assert known.sha256(str(path))[0] == sha256("B")
    assert reads == ["a", "a"]


def test_a_copy_of_equal_bytes_is_the_same_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("A")
    known = Contents()
    first = known.sha256(str(tmp_path / "a"))[0]
    (tmp_path / "b").write_text("A")
    (tmp_path / "b").replace(tmp_path / "a")
    assert known.sha256(str(tmp_path / "a"))[0] == first


def test_a_file_that_changed_just_now_is_not_taken_as_known(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("A")
    known = Contents()
    known.sha256(str(tmp_path / "a"))
    assert known.identity(str(tmp_path / "a")) is None


def test_what_cannot_be_read_has_the_reason_as_its_sum(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("A")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    paths = [str(tmp_path / name) for name in ("a", "pipe", "link")]
    assert list(Contents().sums(paths).values()) == [sha256("A"), "it is no plain file", "No such file or directory"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A Zarr store with two chunks."""
    for name in ("0/c/0", "0/c/1", "zarr.json"):
        (tmp_path / "s.zarr" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "s.zarr" / name).write_text(name)
    return tmp_path / "s.zarr"


def test_a_store_is_read_once_also_by_a_later_run(tmp_path: Path, store: Path, reads: list[str]) -> None:
    known = Contents()
    first = known.sums([str(store)])
    known.write(tmp_path / "kept")
    later = Contents.read(tmp_path / "kept")
    assert later.sums([str(store)]) == first and later.unknown(contents.identities([str(store)])) == []
    assert sorted(reads) == ["0", "1", "zarr.json"]


@pytest.mark.parametrize(
    "change", ["a byte", "a byte, times kept", "a new file", "a file less", "an empty file", "names swapped"]
)
def test_any_change_in_a_store_is_another_content(store: Path, reads: list[str], change: str) -> None:
    chunk, other, known = store / "0" / "c" / "0", store / "0" / "c" / "1", Contents()
    state, before = chunk.stat(), known.sha256(str(store))
    if change.startswith("a byte"):
        chunk.write_text("0/c/2")
        if change.endswith("kept"):
            os.utime(chunk, ns=(state.st_atime_ns, state.st_mtime_ns))
    elif change == "a file less":
        chunk.unlink()
    elif change == "names swapped":
        chunk.rename(store / "kept")
        other.rename(chunk)
        (store / "kept").rename(other)
    else:
        (store / "0" / "c" / "2").write_text("A" if change == "a new file" else "")
    assert known.unknown(contents.identities([str(store)])) == [str(store)]
    after = known.sha256(str(store))
    assert after[0] != before[0] and after[1] != before[1]


def test_a_copy_of_a_store_is_the_same_content(store: Path) -> None:
    shutil.copytree(store, store.with_name("t.zarr"))
    assert Contents().sha256(str(store))[0] == Contents().sha256(str(store.with_name("t.zarr")))[0]


def test_a_store_that_changes_while_it_is_read_has_no_sum(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = hashing.of_open_file
    monkeypatch.setattr(hashing, "of_open_file", lambda file: (store / "new").write_text("A") and original(file))
    assert Contents().sums([str(store)]) == {str(store): "it changed while it was read"}


def test_what_cannot_be_read_in_a_store_is_the_reason(store: Path) -> None:
    (store / "0" / "more").symlink_to(store)
    assert Contents().sums([str(store)]) == {str(store): "its folder more is a link; copy the folder itself"}
    (store / "0" / "more").unlink()
    (store / "0" / "more").symlink_to(store / "nowhere")
    assert Contents().sums([str(store)]) == {str(store): "No such file or directory"}


def test_a_store_grows_by_a_chunk(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "WATCH", 0.0)
    monkeypatch.setattr(time, "sleep", lambda _: (store / "0" / "c" / "2").write_text("A"))
    assert contents.growing([str(store), str(store / "zarr.json")]) == {str(store)}


def test_a_file_that_grows_is_told_from_one_at_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "WATCH", 0.3)
    resting, growing, old = (tmp_path / name for name in ("resting", "growing", "old"))
    for path in (resting, growing, old):
        path.write_text("A")
    os.utime(old, (1, 1))

    def grow() -> None:
        time.sleep(0.1)
        with growing.open("a") as file:
            file.write("A")

    writer = threading.Thread(target=grow)
    writer.start()
    assert contents.growing([str(resting), str(growing), str(old), str(tmp_path / "missing")]) == {str(growing)}
    writer.join()


def test_the_hash_of_a_tile_depends_on_its_files_and_on_the_mirror() -> None:
    assert contents.of_tile(["a"], False) == "a"
    assert len({contents.of_tile(["a"], False, "", image) for image in (None, 0, 1)}) == 3
    assert len({contents.of_tile(*each) for each in ((["a"], True), (["a", "b"], False), (["b", "a"], False))}) == 3


def test_an_identity_has_all_that_the_file_system_tells(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("AB")
    state = (tmp_path / "a").stat()
    assert Identity.of(state) == (2, state.st_ino, state.st_mtime_ns, state.st_ctime_ns)
