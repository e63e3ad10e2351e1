"""Sealed files: they give back what was written, and nothing once they are damaged."""

import logging
from pathlib import Path

import pytest

from dlir.core import sealed

CONTENT = b"first line\nsecond \x00\xff line\n"


def test_the_content_comes_back(tmp_path: Path) -> None:
    sealed.write(CONTENT, tmp_path / "folder" / "kept")
    assert sealed.read(tmp_path / "folder" / "kept") == CONTENT


def test_a_missing_file_has_no_content(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert sealed.read(tmp_path / "kept") is None and not caplog.text


def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "kept"
    sealed.write(CONTENT, path)
    whole = path.read_bytes()
    with caplog.at_level(logging.WARNING):
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
            assert sealed.read(path) is None
            path.write_bytes(whole[:place])
            assert sealed.read(path) is None
    assert f"{path} is damaged, so what it kept is made again" in caplog.text


def test_a_folder_in_its_place_is_no_content(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    assert sealed.read(tmp_path / "kept") is None
