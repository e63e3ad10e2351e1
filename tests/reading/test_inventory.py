"""`tiles.csv` lists the tiles; every problem with a file is an error that names the file and the remedy."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from dlir.core import tables
from dlir.reading.grid_layout import TileError
from dlir.reading.inventory import find_tiles, tiles
from dlir.reading.settings import Dataset

Make = Callable[..., Dataset]
Write = Callable[..., Path]


def run(folder: Path, settings: Dataset) -> pd.DataFrame:
    """Runs the step and returns the table that it writes."""
    tiles(folder / "tiles.csv", settings=settings)
    return tables.read(folder / "tiles.csv", tables.TILES)


def message(folder: Path, settings: Dataset) -> str:
    """Returns the message of the error that the step raises; it must not write a table."""
    with pytest.raises(TileError) as caught:
        tiles(folder / "tiles.csv", settings=settings)
    assert not list(folder.glob("tiles.csv*"))
    return str(caught.value)


def test_each_tile_is_a_row_with_its_nominal_place(tmp_path: Path, dataset: Make, write_tiles: Write) -> None:
    folder = write_tiles("r2c5.tif", "r2c4.tif", "r3c4.tif")
    table = run(tmp_path, dataset(folder / "r{row}c{col}.tif", overlap=(0.1, 0.3), pixel_size=0.65))
    assert table["tile"].tolist() == [0, 1, 2]
    assert table["path"].tolist() == [str(folder / name) for name in ("r2c4.tif", "r2c5.tif", "r3c4.tif")]
    assert table[["row", "col"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0]]
    np.testing.assert_allclose(table[["y", "x"]], [[0, 0], [0, 30 * 0.7], [20 * 0.9, 0]], rtol=1e-15)
    same = table[["height", "width", "channels", "dtype", "pixel_size"]].drop_duplicates().to_numpy().tolist()
    assert same == [[20, 30, 1, "uint16", 0.65]]
    assert table["sha256"].nunique() == 3


def test_the_hash_is_that_of_the_file(tmp_path: Path, dataset: Make) -> None:
    tifffile.imwrite(tmp_path / "t1.tif", np.arange(600, dtype=np.uint16).reshape(20, 30))
    expected = hashlib.sha256((tmp_path / "t1.tif").read_bytes()).hexdigest()
    images = tmp_path / "t{index}.tif"
    assert run(tmp_path, dataset(images, columns=1))["sha256"].tolist() == [expected]
    assert run(tmp_path, dataset(images, columns=1, mirrored=True))["sha256"].tolist() != [expected]


def test_files_with_the_same_bytes_are_named_once(
    tmp_path: Path, dataset: Make, write_tiles: Write, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_tiles(*(f"t{k}.tif" for k in range(8)))
    images = folder / "t{index}.tif"
    assert len(find_tiles(dataset(images, columns=8))) == 8 and "copies" not in caplog.text and "copy" not in caplog.text
    (folder / "t5.tif").write_bytes((folder / "t4.tif").read_bytes())
    assert len(find_tiles(dataset(images, columns=8))) == 8
    assert f"1 file is an exact copy: {folder / 't5.tif'} of {folder / 't4.tif'}: copy it again" in caplog.text
    caplog.clear()
    for k in (1, 2, 3):
        (folder / f"t{k}.tif").write_bytes((folder / "t0.tif").read_bytes())
    find_tiles(dataset(images, columns=8))
    (warning,) = [record.getMessage() for record in caplog.records if "exact" in record.getMessage()]
    assert warning.startswith(f"4 files are exact copies: {folder / 't1.tif'} of {folder / 't0.tif'}, ")
    assert "t4.tif" not in warning and "t3.tif" in warning and "and 1 more: copy" in warning


def test_images_of_one_file_are_no_copies(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with tifffile.TiffWriter(tmp_path / "all.ome.tif", ome=True) as file:
        for _ in range(2):
            file.write(np.zeros((20, 30), np.uint8))
    assert len(find_tiles(Dataset.checked({"images": f"{tmp_path}/all.ome.tif#{{index}}", "columns": 2}))) == 2
    assert "exact" not in caplog.text


def test_a_single_tile_is_row_0_column_0(tmp_path: Path, dataset: Make, write_tiles: Write) -> None:
    table = run(tmp_path, dataset(write_tiles("t7.tif") / "t{index}.tif", columns=4))
    assert table[["tile", "row", "col", "y", "x"]].to_numpy().tolist() == [[0, 0, 0, 0, 0]]


def test_colours_are_three_channels(tmp_path: Path, dataset: Make, write_tiles: Write) -> None:
    table = run(tmp_path, dataset(write_tiles("t1.tif", shape=(20, 30, 3), dtype="uint8") / "t{index}.tif", columns=1))
    assert table[["height", "width", "channels"]].to_numpy().tolist() == [[20, 30, 3]]


def test_files_that_positions_do_not_list_are_left_out(
    tmp_path: Path, dataset: Make, write_tiles: Write, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_tiles("a.tif", "b.tif", "c.tif", "d.tif")
    (tmp_path / "stage.csv").write_text("path,y,x\nb.tif,101,205\na.tif,100,178\nc.tif,117.5,176\n")
    with caplog.at_level(logging.WARNING):
        table = run(tmp_path, dataset(folder / "*.tif", positions=tmp_path / "stage.csv"))
    assert [Path(path).name for path in table["path"]] == ["a.tif", "b.tif", "c.tif"]
    assert table[["row", "col"]].to_numpy().tolist() == [[0, 0], [0, 1], [1, 0]]
    assert table[["y", "x"]].to_numpy().tolist() == [[100, 178], [101, 205], [117.5, 176]]
    assert "stage.csv does not list 1 of the files, which are left out: d.tif\n" in caplog.text


def test_a_position_without_a_file_is_an_error(tmp_path: Path, dataset: Make, write_tiles: Write) -> None:
    (tmp_path / "stage.csv").write_text("path,y,x\na.tif,0,0\nz.tif,0,27\n")
    words = message(tmp_path, dataset(write_tiles("a.tif") / "*.tif", positions=tmp_path / "stage.csv"))
    assert f"{tmp_path / 'stage.csv'}, line 3: z.tif is not among the files of images: add it, or delete the line" in words


def test_without_a_match_the_error_names_what_is_there(tmp_path: Path, dataset: Make, write_tiles: Write) -> None:
    words = message(tmp_path, dataset(write_tiles("a1.tif") / "b{index}.tif", columns=1))
    assert "no tile found" in words and "the folder holds a1.tif, and {index} stands for numbers: correct images" in words


def test_a_file_cut_short_is_named(tmp_path: Path, dataset: Make, write_tiles: Write) -> None:
    folder = write_tiles("t1.tif", "t2.tif")
    (folder / "t2.tif").write_bytes((folder / "t2.tif").read_bytes()[:-10])
    words = message(tmp_path, dataset(folder / "t{index}.tif", columns=2))
    assert f"{folder / 't2.tif'}: is damaged (cut short: " in words
    assert words.endswith("copy it again from the microscope") and "t1.tif" not in words


@pytest.mark.parametrize(("shape", "dtype"), [((20, 30), "uint8"), ((20, 30, 3), "uint16")])
def test_a_tile_that_differs_from_the_others_is_named(
    tmp_path: Path, dataset: Make, write_tiles: Write, shape: tuple[int, ...], dtype: str
) -> None:
    folder = write_tiles("t1.tif", "t2.tif", "t4.tif")
    write_tiles("t3.tif", shape=shape, dtype=dtype)
    words = message(tmp_path, dataset(folder / "t{index}.tif", columns=2))
    different = f"{shape[0]} x {shape[1]} px, {3 if len(shape) == 3 else 1} channels, 1 z planes, 1 time points, {dtype}"
    assert f"{folder / 't3.tif'}: is {different}, but {folder / 't1.tif'} and most tiles are 20 x 30 px, 1 channels" in words
    assert "remove it from the dataset, or make it a dataset of its own" in words and len(words.splitlines()) == 2


def test_two_files_for_one_place_are_named(tmp_path: Path, dataset: Make, write_tiles: Write) -> None:
    folder = write_tiles("r0c0_a.tif", "r0c0_b.tif")
    words = message(tmp_path, dataset(folder / "r{row}c{col}_*.tif"))
    assert f"{folder / 'r0c0_a.tif'}, {folder / 'r0c0_b.tif'} have one place in the grid" in words


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_nan_or_infinite_are_an_error(tmp_path: Path, dataset: Make, write_tiles: Write, value: float) -> None:
    folder = write_tiles("t1.tif", dtype="float32")
    pixels = np.ones((20, 30), np.float32)
    pixels[3, 4:6] = value
    tifffile.imwrite(folder / "t2.tif", pixels)
    words = message(tmp_path, dataset(folder / "t{index}.tif", columns=2))
    assert f"{folder / 't2.tif'}: 2 pixels are NaN or infinite: export it again" in words


def write_values(folder: Path, dtype: str, *values: float) -> None:
    """Writes a tile for each value, with that value in one of its pixels and 7 in the others."""
    for index, value in enumerate(values):
        pixels = np.full((20, 30), 7, np.float64 if dtype.startswith("float") else np.int64).astype(dtype)
        pixels[3, 4] = value
        tifffile.imwrite(folder / f"t{index}.tif", pixels)


@pytest.mark.parametrize(
    ("dtype", "values", "read_as", "words"),
    [
        (
            "int16",
            (0, 300),
            "uint16",
            "tiles are int16 with grey values from 0 to 300: read as uint16, which loses nothing",
        ),
        ("int16", (9, -3), "float32", "int16 with grey values from -3 to 9: read as float32, which loses nothing"),
        ("uint32", (65535, 8), "uint16", "from 7 to 65535: read as uint16"),
        ("uint32", (65536, 8), "float32", "from 7 to 65536: read as float32"),
        ("int32", (2**24, -(2**24)), "float32", "from -16777216 to 16777216: read as float32, which loses nothing"),
        ("float64", (0.5, 8), "float32", "float64 with grey values from 0.5 to 8: read as float32, which loses nothing"),
        ("float64", (0.1, 8), "float32", "read as float32, so grey values are rounded to 7 digits"),
        ("bool", (0, 1), "uint8", "the tiles are bool of 0 and 1: read as uint8, which loses nothing"),
        ("uint16", (0, 300), "uint16", ""),
    ],
)
def test_one_type_that_loses_nothing_is_chosen_for_all_tiles(
    tmp_path: Path,
    dataset: Make,
    caplog: pytest.LogCaptureFixture,
    dtype: str,
    values: tuple[float, ...],
    read_as: str,
    words: str,
) -> None:
    write_values(tmp_path, dtype, *values)
    with caplog.at_level(logging.INFO):
        table = run(tmp_path, dataset(tmp_path / "t{index}.tif", columns=2))
    assert table["dtype"].tolist() == [read_as, read_as]
    lines = [record for record in caplog.records if "read as" in record.getMessage()]
    assert [words in record.getMessage() for record in lines] == [True] * bool(words)
    assert all((record.levelno == logging.WARNING) == ("rounded" in words) for record in lines)


def test_whole_numbers_that_no_type_holds_are_an_error(tmp_path: Path, dataset: Make) -> None:
    write_values(tmp_path, "uint32", 7, 2**24 + 1)
    words = message(tmp_path, dataset(tmp_path / "t{index}.tif", columns=2))
    assert f"{tmp_path / 't1.tif'}: its grey values reach 16777217, and whole numbers are kept exactly up to 16777216" in words
    assert "scale the grey values, or save them with 16 bits" in words and "t0.tif" not in words


@pytest.mark.parametrize("shape", [(1, 1), (1, 128), (256, 4), (300, 15)])
def test_tiles_that_are_too_small_are_an_error(
    tmp_path: Path, dataset: Make, write_tiles: Write, shape: tuple[int, int]
) -> None:
    words = message(tmp_path, dataset(write_tiles("t1.tif", "t2.tif", shape=shape) / "t{index}.tif", columns=2))
    assert f"t1.tif: is {shape[0]} x {shape[1]} px, and each side needs 16 px at least: export larger tiles" in words


def test_what_is_left_out_or_not_said_is_a_warning(
    tmp_path: Path, dataset: Make, write_tiles: Write, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_tiles("t 3.tif", "t1.png")
    for number, name in enumerate(("t1.tif", "t2.tif")):
        tifffile.imwrite(folder / name, np.full((20, 30), number, np.uint16), photometric="miniswhite")
    with caplog.at_level(logging.WARNING):
        run(tmp_path, dataset(folder / "t{index}.tif", columns=2))
    darkness, others = [record.getMessage() for record in caplog.records]
    assert darkness.startswith(f"{folder / 't1.tif'}: the file states that 0 is white")
    assert others == "left out 2 other images beside the tiles, which do not match images: t 3.tif, t1.png"


def write_pages(folder: Path, **options: object) -> None:
    """Writes two tiles of three pages, of which only `options` say what they are."""
    for index in range(2):
        data = np.random.default_rng(index).integers(0, 99, (3, 20, 30)).astype(np.uint16)
        tifffile.imwrite(folder / f"t{index}.tif", data, photometric="minisblack", **{"metadata": None, **options})


def test_pages_that_the_file_does_not_name_are_asked_for(tmp_path: Path, dataset: Make) -> None:
    write_pages(tmp_path)
    words = message(tmp_path, dataset(tmp_path / "t{index}.tif", columns=2)).splitlines()
    question = (
        "has 3 pages, and nothing in it says what they are: set pages, below tiles or in the dataset, to z, channel or time"
    )
    assert words[1:] == [f"  {tmp_path / 't0.tif'}: {question}"]


@pytest.mark.parametrize(("pages", "sizes"), [("z", [1, 3, 1]), ("channel", [1, 1, 3]), ("time", [3, 1, 1])])
def test_pages_are_what_the_settings_say(tmp_path: Path, dataset: Make, pages: str, sizes: list[int]) -> None:
    write_pages(tmp_path)
    table = run(tmp_path, dataset(tmp_path / "t{index}.tif", columns=2, pages=pages))
    assert table.loc[0, ["times", "depth", "channels"]].tolist() == sizes and table["pages"].tolist() == [pages, pages]
    others = {"z": "time", "time": "channel", "channel": "z"}
    other = run(tmp_path, dataset(tmp_path / "t{index}.tif", columns=2, pages=others[pages]))
    assert not {*table["sha256"]} & {*other["sha256"]}  # what is known of the tile as it was read does not hold


def test_pages_that_the_file_names_are_what_it_says(tmp_path: Path, dataset: Make) -> None:
    write_pages(tmp_path, metadata={"axes": "ZYX"})
    tables = [run(tmp_path, dataset(tmp_path / "t{index}.tif", columns=2, pages=pages)) for pages in (None, "time")]
    for table in tables:
        assert table.loc[0, ["times", "depth", "channels"]].tolist() == [1, 3, 1] and table["pages"].isna().all()
    assert tables[0].equals(tables[1])


def test_files_that_cannot_be_read_are_named(tmp_path: Path, dataset: Make, write_tiles: Write) -> None:
    folder = write_tiles("t1.tif")
    (folder / "t2.tif").mkdir()
    (folder / "t3.tif").symlink_to(folder / "gone.tif")
    words = message(tmp_path, dataset(folder / "t{index}.tif", columns=2))
    assert f"{folder / 't2.tif'}: is a folder and not a file: move it away" in words
    assert f"{folder / 't3.tif'}: is a link to {folder / 'gone.tif'}, which does not exist: copy the file itself" in words


def test_a_tile_outside_the_grid_is_named(tmp_path: Path, dataset: Make, write_tiles: Write) -> None:
    folder = write_tiles("t1.tif", "t2.tif", "t3.tif")
    words = message(tmp_path, dataset(folder / "t{index}.tif", columns=2, rows=1))
    assert f"{folder / 't3.tif'}: lies outside the grid of 1 rows x 2 columns" in words


def test_the_error_lists_ten_problems_and_counts_the_others(tmp_path: Path, dataset: Make, write_tiles: Write) -> None:
    folder = write_tiles("t1.tif")
    for i in range(2, 16):
        (folder / f"t{i}.tif").write_text("no image")
    lines = message(tmp_path, dataset(folder / "t{index}.tif", columns=2)).splitlines()
    assert len(lines) == 12 and lines[-1] == "  ... and 4 more"
    assert all("is a text and no image" in line for line in lines[1:-1])


STACK = [f"{index}_{channel}_z{z}.tif" for index in (1, 2) for channel in ("DAPI", "GFP") for z in ("08", "09", "10")]


def test_a_tile_of_several_files_is_one_row(tmp_path: Path, dataset: Make, write_tiles: Write) -> None:
    folder = write_tiles(*STACK)
    images = folder / "{index}_{channel}_z{z}.tif"
    table = run(tmp_path, dataset(images, columns=2, reference_channel="GFP", reference_z=2))
    assert table["path"].tolist() == [str(folder / f"{index}_{{channel}}_z{{z}}.tif") for index in (1, 2)]
    same = table.drop(columns=["tile", "path", "row", "col", "y", "x", "sha256"]).drop_duplicates()
    assert same[["times", "depth", "channels", "height", "width"]].to_numpy().tolist() == [[1, 3, 2, 20, 30]]
    assert same[["z_names", "channel_names"]].to_numpy().tolist() == [["08|09|10", "DAPI|GFP"]]
    assert same["time_names"].isna().all()
    assert same[["reference_channel", "reference_z", "reference_time"]].to_numpy().tolist() == [[1, 2, 0]]
    before = table["sha256"].tolist()
    write_tiles("2_DAPI_z09.tif")
    after = run(tmp_path, dataset(images, columns=2))
    assert after["sha256"][0] == before[0] and after["sha256"][1] != before[1]
    assert after[["reference_channel", "reference_z"]].isna().all(axis=None)


def test_channel_names_that_look_like_numbers_stay_texts(tmp_path: Path, dataset: Make, write_tiles: Write) -> None:
    folder = write_tiles("1_0405.tif", "2_0405.tif")
    table = run(tmp_path, dataset(folder / "{index}_{channel}.tif", columns=2))
    assert table["channel_names"].tolist() == ["0405", "0405"]
    assert table["path"].tolist() == [str(folder / "1_0405.tif"), str(folder / "2_0405.tif")]


def test_a_missing_file_of_a_tile_is_named(tmp_path: Path, dataset: Make, write_tiles: Write) -> None:
    folder = write_tiles(*STACK)
    (folder / "1_GFP_z09.tif").unlink()
    words = message(tmp_path, dataset(folder / "{index}_{channel}_z{z}.tif", columns=2)).splitlines()
    assert words[1].startswith(f"  {folder / '1_GFP_z09.tif'}: missing; each tile needs a file") and len(words) == 2


def test_a_file_may_be_missing_from_a_tile_that_positions_leave_out(tmp_path: Path, dataset: Make, write_tiles: Write) -> None:
    folder = write_tiles(*STACK)
    (folder / "1_GFP_z09.tif").unlink()
    (tmp_path / "stage.csv").write_text("path,y,x\n2_GFP_z10.tif,5,7\n")
    table = run(tmp_path, dataset(folder / "{index}_{channel}_z{z}.tif", positions=tmp_path / "stage.csv"))
    assert table[["y", "x", "depth"]].to_numpy().tolist() == [[5, 7, 3]] and table["path"][0].endswith("2_{channel}_z{z}.tif")


def test_an_axis_both_in_names_and_in_files_is_an_error(tmp_path: Path, dataset: Make) -> None:
    for index in range(2):
        for z in range(3):
            data = np.zeros((2, 20, 30), np.uint8)
            tifffile.imwrite(tmp_path / f"t{index}_z{z}.tif", data, imagej=True, metadata={"axes": "ZYX"})
    words = message(tmp_path, dataset(tmp_path / "t{index}_z{z}.tif", columns=2))
    assert f"{{z}} has 3 values in the file names, and {tmp_path / 't0_z0.tif'} itself has 2 along this axis: export" in words


@pytest.mark.parametrize(
    ("axes", "different"), [("ZYX", "1 channels, 3 z planes, 1 time"), ("TYX", "1 z planes, 3 time points")]
)
def test_a_stack_that_differs_from_the_others_is_named(
    tmp_path: Path, dataset: Make, write_tiles: Write, axes: str, different: str
) -> None:
    folder = write_tiles("t1.tif", "t2.tif", "t4.tif")
    data = np.zeros((3, 20, 30), np.uint16)
    tifffile.imwrite(folder / "t3.tif", data, ome=True, metadata={"axes": axes}, photometric="minisblack")
    words = message(tmp_path, dataset(folder / "t{index}.tif", columns=2))
    assert f"{folder / 't3.tif'}: is 20 x 30 px, " in words and different in words.split(", but ")[0]
    assert words.endswith("1 time points, uint16: remove it from the dataset, or make it a dataset of its own")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ({"reference_channel": "Cy5"}, "reference_channel is Cy5, and there are 2 channels, called DAPI, GFP: give a name"),
        ({"reference_channel": 2}, "reference_channel is 2, and there are 2 channels, called DAPI, GFP: give a name"),
        ({"reference_z": 3}, "reference_z is 3, and there are 3 z planes: give max, or a number from 0 to 2"),
        ({"reference_time": 1}, "reference_time is 1, and there are 1 time points: give a number from 0 to 0"),
    ],
)
def test_a_reference_that_does_not_exist_is_an_error(
    tmp_path: Path, dataset: Make, write_tiles: Write, reference: dict[str, object], words: str
) -> None:
    assert words in message(tmp_path, dataset(write_tiles(*STACK) / "{index}_{channel}_z{z}.tif", columns=2, **reference))


def names_by_place(table: pd.DataFrame) -> dict[tuple[int, int], str]:
    """Returns the file name of each tile by its row and column."""
    return {(row, col): Path(path).stem for row, col, path in zip(table["row"], table["col"], table["path"], strict=True)}


def test_the_layout_of_brain(tmp_path: Path, dataset: Make, shared_data: Path) -> None:
    images = shared_data / "brain" / "C3-BrainSection{index}.tif"
    settings = dataset(images, columns=9, order="rows", start="top-right", snake=True)
    table = run(tmp_path, settings)
    name = names_by_place(table)
    assert len(table) == 63 and name[0, 8] == "C3-BrainSection0001" and name[0, 0] == "C3-BrainSection0009"
    assert [name[1, col][-2:] for col in range(9)] == [f"{i:02d}" for i in range(10, 19)]
    assert table[["row", "col"]].max().tolist() == [6, 8]
    listed = run(tmp_path, settings.model_copy(update={"positions": shared_data / "brain" / "TileConfiguration.txt"}))
    both = listed.merge(table, on="path")
    assert len(both) == 54  # the places that Fiji gives, with tiles every 460 px, not 460.8
    np.testing.assert_allclose(both[["y_x", "x_x"]], both[["y_y", "x_y"]], atol=8)
    assert (both[["row_x", "col_x"]].to_numpy() == both[["row_y", "col_y"]].to_numpy()).all()


def test_the_layout_of_lscm(tmp_path: Path, dataset: Make, shared_data: Path) -> None:
    images = shared_data / "lscm" / "x100_epr-jerem_10pct_002_A{index}_I.tif"
    table = run(tmp_path, dataset(images, columns=4, snake=True))
    assert len(table) == 12 and table[["height", "width", "channels", "dtype"]].to_numpy().tolist()[0] == [
        1024,
        1024,
        3,
        "uint8",
    ]
    assert names_by_place(table)[1, 3].endswith("A005_I")


def test_the_layout_of_micrographs(tmp_path: Path, dataset: Make, shared_data: Path) -> None:
    table = run(tmp_path, dataset(shared_data / "micrographs" / "r{row}-c{col}.png", overlap=0.115))
    assert len(table) == 12 and names_by_place(table)[3, 2] == "r3-c2"


def test_the_layout_of_grid_filename(tmp_path: Path, dataset: Make, shared_data: Path) -> None:
    images = shared_data / "grid_filename" / "stitch2d_ex[Grid@{col} {row}].jpg"
    table = run(tmp_path, dataset(images, overlap=(0.1, 0.26)))
    names = {f"stitch2d_ex[Grid@{col} {row}]" for row in range(3) for col in range(2)}
    assert set(names_by_place(table).values()) == names and names_by_place(table)[2, 1] == "stitch2d_ex[Grid@1 2]"


def test_the_layout_of_phase(tmp_path: Path, dataset: Make, shared_data: Path) -> None:
    images = shared_data / "phase" / "ImageName_t01_p{index}.tif"
    table = run(tmp_path, dataset(images, overlap=0.07, rows=5, order="columns"))
    name = names_by_place(table)
    assert [name[row, 0][-2:] for row in range(5)] == ["01", "02", "03", "04", "05"] and name[0, 1].endswith("p06")


@pytest.mark.parametrize("overlap", [0.2, "auto"])
def test_numbers_in_names_that_are_places_in_px_are_an_error(
    tmp_path: Path, dataset: Make, write_tiles: Write, overlap: object
) -> None:
    folder = write_tiles(*(f"x{x:05d}_y{y:05d}.tif" for x in (0, 24, 47) for y in (0, 16, 33)))
    words = message(tmp_path, dataset(folder / "x{col}_y{row}.tif", overlap=overlap))
    assert "the mosaic would be " in words and "times the area of all tiles together" in words
    assert "if the numbers in the names are places and do not count rows and columns, write {x} and {y} in images" in words
    assert not (tmp_path / "files.csv").exists()


def test_tiles_may_lie_as_far_apart_as_the_setting_allows(tmp_path: Path, dataset: Make, write_tiles: Write) -> None:
    folder = write_tiles("a.tif", "b.tif")
    (tmp_path / "p.csv").write_text("path,y,x\na.tif,0,0\nb.tif,0,6000\n")  # 6030 px wide, 100.5 times two tiles of 30 px
    settings = {"positions": tmp_path / "p.csv"}
    words = message(tmp_path, dataset(folder / "*.tif", **settings))
    assert f"20 x 6030 px, 100 times the area of all tiles together: correct the numbers in {tmp_path / 'p.csv'}" in words
    assert "raise largest, which is 100" in words
    assert len(run(tmp_path, dataset(folder / "*.tif", **settings, largest=101))) == 2


@pytest.mark.parametrize("far", ["1e9", "1e12"])
def test_absurd_positions_are_an_error(tmp_path: Path, dataset: Make, write_tiles: Write, far: str) -> None:
    folder = write_tiles("a.tif", "b.tif")
    (tmp_path / "p.csv").write_text(f"path,y,x\na.tif,0,0\nb.tif,-{far},{far}\n")
    settings = dataset(folder / "*.tif", positions=tmp_path / "p.csv", unit="um", pixel_size=1e-6)
    assert "correct the numbers in" in message(tmp_path, settings)


def test_a_table_in_micrometres_needs_the_size_of_a_pixel(tmp_path: Path, dataset: Make, write_tiles: Write) -> None:
    folder = write_tiles("a.tif", "b.tif")
    (tmp_path / "p.csv").write_text("name,x [mm],y [mm]\na.tif,0,0\nb.tif,0.0135,0.001\n")
    words = message(tmp_path, dataset(folder / "*.tif", positions=tmp_path / "p.csv"))
    assert f"{tmp_path / 'p.csv'}: is in micrometres, and the size of a pixel is not known: set pixel_size" in words
    table = run(tmp_path, dataset(folder / "*.tif", positions=tmp_path / "p.csv", pixel_size=0.5))
    assert table[["y", "x", "col"]].to_numpy().tolist() == [[0, 0, 0], [2, 27, 1]]


def test_a_table_of_rows_and_columns_leaves_the_overlap_open(tmp_path: Path, dataset: Make, write_tiles: Write) -> None:
    folder = write_tiles("a.tif", "b.tif")
    (tmp_path / "p.csv").write_text("name,row,col\na.tif,1,2\nb.tif,1,1\n")
    table = find_tiles(dataset(folder / "*.tif", positions=tmp_path / "p.csv", overlap="auto"))
    assert table["x"].isna().all() and table["path"].str[-5:].tolist() == ["b.tif", "a.tif"]
    table = run(tmp_path, dataset(folder / "*.tif", positions=tmp_path / "p.csv", overlap=0.1))
    assert table["x"].tolist() == [0, 27]


def test_tiles_that_call_their_channels_differently_are_told(
    tmp_path: Path, dataset: Make, caplog: pytest.LogCaptureFixture
) -> None:
    write_channels(tmp_path, ["DAPI", "GFP"], ["DAPI", "Cy3"])
    table = run(tmp_path, dataset(tmp_path / "{index}.ome.tif", columns=2))
    assert table["channel_names"].isna().all()
    assert "DAPI, GFP in" in caplog.text and f"but DAPI, Cy3 in {tmp_path / '2.ome.tif'}" in caplog.text


def test_tiles_with_their_channels_in_another_order_are_refused(tmp_path: Path, dataset: Make) -> None:
    write_channels(tmp_path, ["DAPI", "GFP"], ["GFP", "DAPI"])
    with pytest.raises(
        TileError, match=r"another order than in .*1\.ome\.tif \(DAPI, GFP\), .*2\.ome\.tif \(GFP, DAPI\): export"
    ):
        run(tmp_path, dataset(tmp_path / "{index}.ome.tif", columns=2))


def write_channels(folder: Path, *names: list[str]) -> None:
    """Writes a tile with channels of these names for each list."""
    for index, own in enumerate(names, 1):
        pixels = np.zeros((2, 20, 30), np.uint16)
        tifffile.imwrite(folder / f"{index}.ome.tif", pixels, metadata={"axes": "CYX", "Channel": {"Name": own}})
