"""The pictures of a page: in it as long as all are small together, else in a folder beside it."""

import base64
from pathlib import Path

from dlir.reporting.page_files import PageFiles


def lying(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_small_pictures_are_embedded(tmp_path: Path) -> None:
    files = PageFiles(tmp_path, 10)
    assert files.add("seams/1.jpg", b"12345") == "seams/1.jpg"
    files.add("2.png", b"12345")
    assert files.is_embedded and lying(tmp_path) == {}
    jpeg, png = (f"data:image/{kind};base64,{base64.b64encode(b'12345').decode()}" for kind in ("jpeg", "png"))
    assert files.embedded() == {"seams/1.jpg": jpeg, "2.png": png}


def test_all_move_to_the_folder_when_they_are_too_large_together(tmp_path: Path) -> None:
    files = PageFiles(tmp_path, 10)
    files.add("first.jpg", b"1" * 5)
    files.add("coarse.jpg", b"2" * 3, embed=True)
    files.add("tiles/0/second.jpg", b"3" * 3)
    files.add("third.jpg", b"4")
    assert not files.is_embedded and set(files.embedded()) == {"coarse.jpg"}
    assert lying(tmp_path) == {"first.jpg": b"1" * 5, "tiles/0/second.jpg": b"3" * 3, "third.jpg": b"4"}


def test_a_picture_for_another_page_lies_in_the_folder_alone(tmp_path: Path) -> None:
    files = PageFiles(tmp_path, 10)
    files.write("thumbnail.jpg", b"1" * 50)
    assert files.is_embedded and files.embedded() == {} and lying(tmp_path) == {"thumbnail.jpg": b"1" * 50}
