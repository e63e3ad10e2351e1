"""A tile is found by the path of any of its files, by the end of that path, and where nothing else fits by the bare name."""

import time
from pathlib import Path

import pytest

from dlir.reading.named_tiles import NamedTiles

TILES = [["in/r0/c0_{channel}.tif", "in/r0/c0_a.tif", "in/r0/c0_b.tif"], [Path("in/r1/c0_a.tif")], ["../in/x.tif"]]


@pytest.mark.parametrize(
    ("text", "tiles"),
    [
        ("in/r0/c0_a.tif", [0]),
        ("r1/c0_a.tif", [1]),
        ("./r1//c0_a.tif", [1]),
        ("r0/../r1/c0_a.tif", [1]),
        ("in\\r1\\c0_a.tif", [1]),
        (f"{Path.cwd()}/in/r0/c0_b.tif", [0]),
        (f"{Path.cwd().parent}/in/x.tif", [2]),
        ("../in/x.tif", [2]),
        ("c0_a.tif", [0, 1]),
        ("c0_{channel}.tif", [0]),
        ("0/c0_a.tif", []),
        ("r2/c0_a.tif", []),
        ("/in/r0/c0_a.tif", []),
        ("../r0/c0_a.tif", []),
        ("tif", []),
        ("", []),
        ("..", []),
        ("/", []),
    ],
)
def test_a_path_finds_the_tiles_whose_paths_end_like_it(text: str, tiles: list[int]) -> None:
    assert list(NamedTiles(TILES).at(text)) == tiles


@pytest.mark.parametrize(
    ("text", "tiles"), [("r1/c0_a.tif", [1]), ("C:\\old\\c0_a.tif", [0, 1]), ("old/c0_b.tif", [0]), ("", [])]
)
def test_a_path_of_elsewhere_finds_the_tiles_by_the_name(text: str, tiles: list[int]) -> None:
    assert list(NamedTiles(TILES).named(text)) == tiles


def test_many_tiles_of_one_name_are_found_fast() -> None:
    named = NamedTiles([[f"in/{number}/tile.tif"] for number in range(20_000)])
    start = time.process_time()
    assert [list(named.at(f"{number}/tile.tif")) for number in range(20_000)] == [[number] for number in range(20_000)]
    assert time.process_time() - start < 2
