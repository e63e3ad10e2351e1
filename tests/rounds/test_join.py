"""The mosaics of all rounds as one image: each channel as its round shows it, without a copy of a pixel."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr
from ome_zarr_models import v05
from support.specimens import ONE_PLANE

from dlir.core import tables
from dlir.fusion.mosaic import OutputError
from dlir.fusion.ome_tiff import ome_tiff
from dlir.fusion.ome_zarr_metadata import shown_by_pixels, write_metadata
from dlir.fusion.pyramid import Block, Pyramid
from dlir.fusion.settings import Mosaic
from dlir.reading.contents import MOSAIC, Contents, Identity
from dlir.rounds import join
from dlir.rounds.join import JoinError, join_rounds
from dlir.rounds.names import NamesError
from dlir.rounds.settings import Rounds

SIZE = (700, 130)  # two levels of 12 x 3 and 6 x 2 files
NAMES = {"R1": ["DAPI", "CD3"], "R2": ["DAPI", "Ki67", "CD8"], "R3": [""]}


def write_round(folder: Path, names: list[str], *, depth: int = 1, dtype: str = "uint16", size: tuple[int, int] = SIZE) -> None:
    """Writes the mosaic of a round, of noise, with its sums and its tiles.csv; an empty part of it has no files."""
    folder.mkdir(parents=True)
    pyramid = Pyramid(folder / join.STORE, (1, len(names), depth, *size), dtype, Mosaic(chunk=32, shard=64))
    pixels = np.random.default_rng(len(names)).integers(1, 250, (depth, len(names), *size)).astype(dtype)
    pixels[..., :64] = 0

    def cut(z: int, block: Block) -> np.ndarray:
        region = pyramid.region(block)
        return pixels[z][:, *region.slices]

    for z in range(depth):
        pyramid.build(pyramid.band_blocks(0, 1), 0, lambda block, z=z: cut(z, block), 0, z, 1)
    write_metadata(folder / join.STORE, pyramid, "mosaic", 0.5, shown_by_pixels(pyramid, names))
    files = [path for path in sorted((folder / join.STORE).rglob("*")) if path.is_file()]
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files]
    (folder / join.SUMS).write_text("".join(sums))
    tile = {
        "tile": 0,
        "path": f"{folder.name}.tif",
        "row": 0,
        "col": 0,
        "y": 0.0,
        "x": 0.0,
        "camera": 0,
        "height": 9,
        "width": 9,
    }
    row = {**tile, **ONE_PLANE, "channels": len(names), "depth": depth, "dtype": dtype, "sha256": "0", "pixel_size": 0.5}
    reference = {"reference_channel": 0, "channel_names": "|".join(names)}
    tables.write(pd.DataFrame([{**row, **reference}]), tables.TILES, folder / "tiles.csv")


def written(folder: Path, names: dict[str, list[str]] = NAMES, **options: Any) -> list[Path]:
    """The folders of rounds with channels of these names."""
    for name, own in names.items():
        write_round(folder / name, own, **options)
    return [folder / name for name in names]


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders of three rounds, which no test changes."""
    return written(tmp_path_factory.mktemp("rounds"))


def levels(store: Path) -> list[np.ndarray]:
    return [np.asarray(zarr.open_array(store / str(level), mode="r")[...]) for level in range(2)]


def shown(store: Path) -> list[dict[str, Any]]:
    return zarr.open_group(store, mode="r").attrs["ome"]["omero"]["channels"]


@pytest.mark.parametrize("depth", [1, 2])
def test_each_channel_is_that_of_its_round_and_no_pixel_is_copied(tmp_path: Path, depth: int) -> None:
    rounds = written(tmp_path, depth=depth)
    join_rounds(rounds, tmp_path / join.STORE, sums=tmp_path / join.SUMS)
    shape = (1, depth, *SIZE)[depth == 1 :] if depth > 1 else (1, *SIZE)
    parts = [levels(folder / join.STORE) for folder in rounds]
    for level, found in enumerate(levels(tmp_path / join.STORE)):
        expected = [part[level] if part[level].ndim == len(shape) else part[level][None] for part in parts]
        assert np.array_equal(found, np.concatenate(expected))
    assert [channel["label"] for channel in shown(tmp_path / join.STORE)] == [
        "R1/DAPI", "R1/CD3", "R2/DAPI", "R2/Ki67", "R2/CD8", "R3",
    ]  # fmt: skip
    image = v05.Image.from_zarr(zarr.open_group(tmp_path / join.STORE, mode="r"))
    multiscale = image.ome_attributes.multiscales[0]
    assert "".join(str(axis.name) for axis in multiscale.axes) == ("czyx" if depth > 1 else "cyx")
    assert multiscale.datasets[0].coordinateTransformations[0].scale[-2:] == [0.5, 0.5]
    place = "0/c/2/0/5/1" if depth > 1 else "0/c/2/5/1"
    own = "0/c/0/0/5/1" if depth > 1 else "0/c/0/5/1"
    assert (tmp_path / join.STORE / place).stat().st_ino == (tmp_path / "R2" / join.STORE / own).stat().st_ino


def test_the_sums_are_those_of_all_files(rounds: list[Path], tmp_path: Path) -> None:
    join_rounds(rounds, tmp_path / join.STORE, sums=tmp_path / join.SUMS)
    listed = dict(line.split("  ", 1)[::-1] for line in (tmp_path / join.SUMS).read_text().splitlines())
    files = [path for path in (tmp_path / join.STORE).rglob("*") if path.is_file()]
    assert listed == {str(path.relative_to(tmp_path)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_next_run_knows_all_linked_files_without_reading_them(tmp_path: Path) -> None:
    rounds = written(tmp_path)
    for folder in rounds:
        files = [path for path in (folder / join.STORE).glob("*/c/**/*") if path.is_file()]
        identities = {str(path): (Identity.at(str(path)), path.name) for path in files}  # the name stands for the SHA-256
        changed = folder.name == "R3"
        contents = Contents()
        contents.known = {
            path: (known._replace(size=1) if changed else known, name) for path, (known, name) in identities.items()
        }
        contents.write(folder / "cache" / MOSAIC)
    for _ in range(2):  # the second time, the old store goes
        join_rounds(rounds, tmp_path / join.STORE, cache=tmp_path / "cache")
    for folder, channels in ((tmp_path, range(5)), (rounds[0], range(2)), (rounds[1], range(3))):
        files = {str(path): path for path in (folder / join.STORE).glob("*/c/**/*") if path.is_file()}
        known = Contents.read(folder / "cache" / MOSAIC).known
        expected = {path: (Identity.at(path), file.name) for path, file in files.items() if int(file.parts[-3]) in channels}
        assert known == expected


def test_viewers_show_nuclei_in_blue_and_grey_values_by_round(rounds: list[Path], tmp_path: Path) -> None:
    join_rounds(rounds, tmp_path / join.STORE)
    channels = shown(tmp_path / join.STORE)
    assert [channel["color"] == "0000FF" for channel in channels] == [True, False, True, False, False, False]
    assert len({channel["color"] for channel in channels}) == 5
    windows = [channel["window"] for folder in rounds for channel in shown(folder / join.STORE)]
    assert [channel["window"] for channel in channels] == windows


def test_the_shared_stain_is_there_once_where_that_is_wanted(rounds: list[Path], tmp_path: Path) -> None:
    join_rounds(rounds, tmp_path / join.STORE, settings=Rounds(shared="once"))
    labels = [channel["label"] for channel in shown(tmp_path / join.STORE)]
    assert labels == ["R1/DAPI", "R1/CD3", "R2/Ki67", "R2/CD8"]
    assert np.array_equal(levels(tmp_path / join.STORE)[0][2:], levels(rounds[1] / join.STORE)[0][1:])


def test_a_name_for_a_channel_that_is_left_out_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rounds, table = written(tmp_path), tmp_path / "names.csv"
    table.write_text("round,channel,name\nR1,DAPI,nuclei\nR2,DAPI,nuclei again\n")
    join_rounds(rounds, tmp_path / join.STORE, settings=Rounds(shared="once", names=table))
    assert (
        "names.csv, line 3: the mosaic has no channel nuclei again, since shared: once takes DAPI from R1 alone" in caplog.text
    )
    caplog.clear()
    join_rounds(rounds, tmp_path / join.STORE, settings=Rounds(names=table))
    assert "nuclei again, since" not in caplog.text


def test_one_round_of_one_channel_has_no_axis_of_channels(tmp_path: Path) -> None:
    rounds = written(tmp_path, {"R1": ["DAPI"]})
    join_rounds(rounds, tmp_path / join.STORE)
    assert np.array_equal(levels(tmp_path / join.STORE)[1], levels(tmp_path / "R1" / join.STORE)[1])


def test_a_table_names_channels(rounds: list[Path], tmp_path: Path) -> None:
    table = tmp_path / "names.csv"
    table.write_text("round;channel;name\nR2;Ki67;proliferation\nR3;0;nuclei at last\nX;0;of another specimen\n")
    join_rounds(rounds, tmp_path / join.STORE, settings=Rounds(names=table))
    labels = [channel["label"] for channel in shown(tmp_path / join.STORE)]
    assert labels == ["R1/DAPI", "R1/CD3", "R2/DAPI", "proliferation", "R2/CD8", "nuclei at last"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (
            "R2,CD4,x",
            "line 2: R2 has no channel CD4, but 3, called DAPI, Ki67, CD8: give the name of one, or its number from 0",
        ),
        ("R1,2,x", "line 2: R1 has no channel 2, but 2"),
        ("R1,CD3,R2/CD8", "the mosaic would have two channels R2/CD8"),
        ("R1,CD3,", "line 2: the cell of name is empty: fill it"),
        ("R1,0,a\nR1,CD3,a", "line 3: the name a is in line 2, too"),
        ("R1,0,a\nR1,0,b", "line 3: the channel 0 of R1 is in line 2, too"),
    ],
)
def test_a_wrong_table_of_names_is_an_error(rounds: list[Path], tmp_path: Path, row: str, words: str) -> None:
    table = tmp_path / "names.csv"
    table.write_text(f"round,channel,name\n{row}\n")
    with pytest.raises(NamesError, match=words):
        join_rounds(rounds, tmp_path / join.STORE, settings=Rounds(names=table))
    assert not (tmp_path / join.STORE).exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dtype": "uint8"}, "the pixels of R2 are uint8, and those of R1 uint16: export all rounds with one type"),
        ({"depth": 2}, "R2 has 2 z planes, and R1 has 1: export as many of each round"),
        ({"size": (700, 131)}, "the mosaics of R1 and R2 differ in their size"),
    ],
)
def test_rounds_of_unlike_mosaics_are_an_error_that_leaves_the_old_store(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    rounds = written(tmp_path, {"R1": ["DAPI"]})
    join_rounds(rounds, tmp_path / join.STORE)
    before = levels(tmp_path / join.STORE)[0]
    with pytest.raises(JoinError, match=words):
        join_rounds([*rounds, *written(tmp_path, {"R2": ["DAPI"]}, **options)], tmp_path / join.STORE)
    assert np.array_equal(levels(tmp_path / join.STORE)[0], before)


def test_what_is_no_store_is_not_replaced(tmp_path: Path) -> None:
    rounds = written(tmp_path, {"R1": ["DAPI"]})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(OutputError, match="exists and is no Zarr store"):
        join_rounds(rounds, tmp_path / "mine")


def test_the_whole_becomes_an_ome_tiff(rounds: list[Path], tmp_path: Path) -> None:
    import tifffile

    join_rounds(rounds, tmp_path / join.STORE)
    ome_tiff(tmp_path / join.STORE, tmp_path / "mosaic.ome.tif")
    with tifffile.TiffFile(tmp_path / "mosaic.ome.tif") as file:
        assert np.array_equal(file.asarray(), levels(tmp_path / join.STORE)[0])
        assert 'Name="R2/Ki67"' in file.ome_metadata
