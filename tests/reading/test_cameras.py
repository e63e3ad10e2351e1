"""Tiles of several sizes: their cameras, their places in a grid, and which sizes are refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from dlir.reading import cameras
from dlir.reading.filenames import Tile
from dlir.reading.grid_layout import TileError
from dlir.reading.inventory import find_tiles
from dlir.reading.settings import Dataset

Make = Callable[..., Dataset]


def write(folder: Path, sizes: dict[str, tuple[int, int]]) -> None:
    for name, size in sizes.items():
        tifffile.imwrite(folder / name, np.random.default_rng(1).integers(0, 200, size).astype(np.uint8))


def cropped(rows: int, columns: int, last_row: int = 40, last_column: int = 50) -> dict[str, tuple[int, int]]:
    """The sizes of tiles of 64 x 80 px whose last row and column are cropped, by their names."""
    return {
        f"r{row}c{column}.tif": (last_row if row == rows - 1 else 64, last_column if column == columns - 1 else 80)
        for row in range(rows)
        for column in range(columns)
    }


def test_a_cropped_last_row_and_column_lie_where_the_usual_size_puts_them(
    tmp_path: Path, dataset: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    write(tmp_path, cropped(3, 4, last_row=20, last_column=17))  # even far smaller ones
    table = find_tiles(dataset(tmp_path / "r{row}c{col}.tif", overlap=0.25))
    assert table["y"].tolist() == [48.0 * row for row in table["row"]]
    assert table["x"].tolist() == [60.0 * col for col in table["col"]]
    assert table.groupby(["height", "width"])["camera"].first().to_dict() == {
        (64, 80): 0,
        (20, 80): 1,
        (64, 17): 2,
        (20, 17): 3,
    }
    assert "the tiles have 4 sizes: 6 of 64 x 80 px, 3 of 20 x 80 px, 2 of 64 x 17 px, 1 of 20 x 17 px" in caplog.text


def test_a_cropped_first_row_keeps_its_end_and_another_camera_its_middle(tmp_path: Path, dataset: Make) -> None:
    sizes = {f"r{r}c{c}.tif": (24 if r == 0 else 64, 80) for r in range(4) for c in range(3)}
    write(tmp_path, sizes | dict.fromkeys(("r1c1.tif", "r2c0.tif"), (60, 100)))
    table = find_tiles(dataset(tmp_path / "r{row}c{col}.tif", overlap=0.25)).set_index(["row", "col"])
    assert table.loc[(0, 2), ["y", "x"]].tolist() == [40, 120]
    assert table.loc[(1, 1), ["y", "x"]].tolist() == [50, 50] and table.loc[(2, 0), ["y", "x"]].tolist() == [98, -10]
    assert table.loc[(3, 2), ["y", "x"]].tolist() == [144, 120]


@pytest.mark.parametrize("size", [(16, 20), (300, 400), (70, 90)])
def test_one_file_of_another_size_in_a_grid_is_taken_for_a_thumbnail(
    tmp_path: Path, dataset: Make, size: tuple[int, int]
) -> None:
    write(tmp_path, {f"t{index}.tif": (64, 80) for index in range(1, 9)} | {"t0.tif": size})
    with pytest.raises(TileError) as error:
        find_tiles(dataset(tmp_path / "t{index}.tif", columns=3))
    words = f"{tmp_path / 't0.tif'}: is {size[0]} x {size[1]} px, and most tiles are 64 x 80 px, so it may be an overview"
    assert words in str(error.value) and "set any_size: true" in str(error.value)
    assert len(find_tiles(dataset(tmp_path / "t{index}.tif", columns=3, any_size=True))) == 9


def test_tiles_of_a_table_may_have_any_size_up_to_twice_the_others(tmp_path: Path, dataset: Make) -> None:
    sizes = {f"t{index}.tif": (60 + 7 * index, 110 - 5 * index) for index in range(6)}
    write(tmp_path, sizes)
    lines = [f"{name},{100 * index},0" for index, name in enumerate(sizes)]
    (tmp_path / "places.csv").write_text("\n".join(["path,y,x", *lines]))
    found = dataset(tmp_path / "t*.tif", positions=tmp_path / "places.csv")
    assert sorted(find_tiles(found)["camera"]) == list(range(6)) and find_tiles(found)["y"].tolist() == list(range(0, 600, 100))
    write(tmp_path, {"t3.tif": (30, 40)})
    with pytest.raises(TileError, match=r"t3\.tif: is 30 x 40 px"):
        find_tiles(found)


def test_files_of_one_tile_have_one_size(tmp_path: Path, dataset: Make) -> None:
    write(tmp_path, {f"t{index}_{name}.tif": (64, 80) for index in (1, 2) for name in ("a", "b")} | {"t2_b.tif": (64, 70)})
    with pytest.raises(TileError, match=r"t2_b\.tif: is 64 x 70 px, and .*t2_a\.tif of the same tile is 64 x 80 px"):
        find_tiles(dataset(tmp_path / "t{index}_{channel}.tif", columns=2))


def test_names_tell_cameras_of_one_size_apart() -> None:
    sizes = np.array([(64, 80)] * 5 + [(64, 90)])
    assert cameras.camera_numbers(["b", "b", "b", "a", "a", "a"], sizes) == [0, 0, 0, 1, 1, 2]
    tiles = [Tile(Path(f"{k}.tif"), [Path(f"{k}.tif")], {}) for k in range(6)]
    assert cameras.tile_sizes(tiles, {tile.path: (64, 80) for tile in tiles})[1] == []
