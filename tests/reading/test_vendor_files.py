"""LIF and ND2 files without the libraries that read them; `test_leica.py` and `test_nikon.py` have the libraries."""

import importlib
from pathlib import Path

import pytest

from dlir.reading import image_files
from dlir.reading.image_files import ImageError

HEADS = {"a.lif": b"\x70\0\0\0\x10\0\0\0*", "a.nd2": b"\xda\xce\xbe\x0a" + bytes(20)}


@pytest.mark.parametrize("name", HEADS)
def test_without_the_library_the_message_names_the_extra(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).write_bytes(HEADS[name])

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImageError, match=r"is a \w+ \w+ file: install its reader with pip install 'dlir\[vendor\]'"):
        image_files.read(tmp_path / name)
