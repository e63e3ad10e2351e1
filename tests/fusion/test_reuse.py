"""Shards that are reused from the last mosaic: those that would come out the same, and no others."""

import os
import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import zarr
from support.mosaics import SIDE, MosaicInputs, cut_tile, grid

AFFINES = grid(0.9, rows=7)  # 577 x 337 px: 10 x 6 shards of 64 px, and 5 x 3 on the level above
ALL_SHARDS = 60  # of level 0


def noisy(affines: np.ndarray, channels: int = 1) -> list[np.ndarray]:
    """The tiles (channels, y, x) at these places, with noise, so that no two are equal."""
    random = np.random.default_rng(0)
    exact = [np.concatenate([cut_tile(matrix)] * channels) for matrix in affines]
    return [np.rint(tile + random.normal(0, 9, tile.shape)).astype(np.uint16) for tile in exact]


class Runs:
    """Runs of the step `mosaic` with one cache, of which the last can be compared with one from scratch, without a cache."""

    scratch: Callable[[], Path]  # fuses what the last run fused, at the first call

    def __init__(self, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.folder, self.caplog = folder, caplog
        self.cache = folder / "cache"
        caplog.set_level("INFO")

    def __call__(self, tiles: list, affines: np.ndarray, gains: object = None, flat=None, **options: object) -> int:
        """Runs the step with the cache, and returns how many shards were fused."""
        self.caplog.clear()
        self._fuse("now", tiles, affines, gains, flat, cache=self.cache, **options)
        self.scratch = cache(partial(self._fuse, "scratch", list(tiles), affines, gains, flat, **options))
        counts = re.findall(r"fusing (\d+) of (\d+) shards; (\d+) are as before", self.caplog.text)
        assert all(int(fused) + int(reused) == int(total) for fused, total, reused in counts)
        return sum(int(fused) for fused, *_ in counts)

    def _fuse(self, name: str, tiles: list, affines: np.ndarray, gains: object, flat: object, **options: object) -> Path:
        """Runs the step in the folder of this name, and returns the store."""
        (self.folder / name).mkdir(exist_ok=True)
        inputs = MosaicInputs(self.folder / name, tiles, affines, flat)
        inputs.expose(np.ones((len(tiles), len(tiles[0]))) if gains is None else np.array(gains)[:, None])
        inputs.run(**options)
        return self.folder / name / "mosaic.ome.zarr"

    def off_scratch(self) -> float:
        """By how many grey values a pixel of the last run differs from that from scratch, at most."""
        now, scratch = (
            np.asarray(zarr.open_group(store, mode="r")["0"][...]).astype(float)
            for store in (self.folder / "now" / "mosaic.ome.zarr", self.scratch())
        )
        return float(np.abs(now - scratch).max())

    def equals_scratch(self) -> bool:
        """Whether all shards of the store are byte-identical to those from scratch."""
        found, expected = (
            {path.relative_to(store): path.read_bytes() for path in store.glob("*/c/**/*") if path.is_file()}
            for store in (self.folder / "now" / "mosaic.ome.zarr", self.scratch())
        )
        return len(found) > 0 and found == expected


@pytest.fixture
def runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Runs:
    return Runs(tmp_path, caplog)


@pytest.fixture
def fused(runs: Runs) -> Runs:
    """The runs after a first one, which filled the cache."""
    assert runs(noisy(AFFINES), AFFINES) == ALL_SHARDS
    return runs


def test_unchanged_shards_are_not_fused_again(fused: Runs) -> None:
    shard = fused.folder / "now/mosaic.ome.zarr/0/c/3/3"
    first = shard.stat().st_ino
    assert fused(noisy(AFFINES), AFFINES) == 0
    assert fused.equals_scratch()
    assert shard.stat().st_ino == first


@pytest.mark.parametrize("bands", [1, 3])
def test_only_the_shards_under_a_changed_tile_are_fused_again(fused: Runs, bands: int) -> None:
    tiles = noisy(AFFINES)
    tiles[6] = tiles[6] + np.uint16(50)  # at (80, 160) to (177, 257): shards 1 and 2 by 2 to 4
    assert fused(tiles, AFFINES, bands=bands) == 6
    assert fused.equals_scratch()
    assert fused(tiles, AFFINES) == 0  # also when jobs of bands wrote the last mosaic
    assert fused.equals_scratch()


@pytest.mark.parametrize("channels", [1, 2])
def test_only_the_shards_under_an_added_tile_are_fused(runs: Runs, channels: int) -> None:
    affines = grid(0.9, rows=1, columns=8)  # 657 px wide with all
    tiles = noisy(affines, channels=channels)
    assert runs(tiles[:-1], affines[:-1]) == 2 * 10  # 577 px wide, 97 high
    assert runs(tiles, affines) == 2 * 3  # from px 560 on: shard 8, shard 9, which was narrower, and shard 10, which is new
    assert runs.equals_scratch()
    assert runs(tiles[:-1], affines[:-1]) == 2 * 2
    assert runs.equals_scratch()


def test_the_least_move_fuses_a_shard_again(fused: Runs) -> None:
    assert fused(noisy(AFFINES), AFFINES + shift_all_but_first(1e-9)) == ALL_SHARDS - 1
    assert fused.equals_scratch()


def test_small_moves_of_the_tiles_do_not_add_up(fused: Runs) -> None:
    tiles = noisy(AFFINES)
    counts = []
    for step in range(1, 4):
        moved = AFFINES + shift_all_but_first(0.02 * step)
        counts.append(fused(tiles, moved, tolerance=0.05))
        assert fused.off_scratch() <= 6  # grey values; the noise is 9
    assert counts == [0, 0, ALL_SHARDS - 1]  # at 0.06 px all shards but the one that only the first tile covers
    assert fused.equals_scratch()


def shift_all_but_first(shift: float) -> np.ndarray:
    """What is added to the affines to move all tiles but the first, which stays at the corner of the mosaic."""
    moves = np.zeros((len(AFFINES), 2, 3))
    moves[1:, :, 2] = shift
    return moves


def test_the_move_of_a_turned_tile_is_measured_at_its_corners(fused: Runs) -> None:
    turned = AFFINES.copy()
    turned[9, 0, 1], turned[9, 1, 0] = 0.002, -0.002  # 0.19 px at the far corners, none at the near one
    assert 4 <= fused(noisy(AFFINES), turned, tolerance=0.05) <= 9
    assert fused.off_scratch() <= 1


def test_changed_gains_and_illumination_fuse_shards_again(fused: Runs) -> None:
    tiles, gains = noisy(AFFINES), np.ones(len(AFFINES))
    gains[6] = 1.0005
    assert fused(tiles, AFFINES, gains, tolerance=0.05) == 0
    assert fused(tiles, AFFINES, gains) == 6
    gains[6] = 1.01
    assert fused(tiles, AFFINES, gains, tolerance=0.05) == 6
    assert fused.equals_scratch()
    flat = np.ones((1, SIDE, SIDE), np.float32)
    flat[0, 0, 0] = 1.1
    assert fused(tiles, AFFINES, gains, flat=flat) == ALL_SHARDS


def test_changed_settings_and_code_fuse_all_shards_again(fused: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = noisy(AFFINES)
    assert fused(tiles, AFFINES, blend="average") == ALL_SHARDS
    monkeypatch.setattr("dlir.steps.code", lambda step: f"{step}, edited")
    assert fused(tiles, AFFINES, blend="average") == ALL_SHARDS


@pytest.mark.parametrize("times", ["kept", "new"])
def test_a_shard_that_was_removed_or_damaged_is_fused_again(fused: Runs, times: str) -> None:
    folder = fused.folder / "now" / "mosaic.ome.zarr"
    (folder / "0/c/5/2").unlink()
    shard = folder / "0/c/8/1"
    state, content = shard.stat(), bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    if times == "kept":
        os.utime(shard, ns=(state.st_atime_ns, state.st_mtime_ns))
    (folder / "1/c/0/0").unlink()
    assert fused(noisy(AFFINES), AFFINES) == 2
    assert fused.equals_scratch()


@pytest.mark.parametrize("fault", ["cut", "flipped", "empty"])
def test_with_a_damaged_table_all_shards_are_fused_again(fused: Runs, fault: str) -> None:
    table = fused.cache / "shards"
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    table.write_bytes({"cut": content[:-9], "flipped": content, "empty": b""}[fault])
    assert fused(noisy(AFFINES), AFFINES) == ALL_SHARDS
    assert fused.equals_scratch()
    assert "is damaged" in fused.caplog.text


def test_without_hard_links_the_shards_are_copied(fused: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def refuse(path: Path, target: Path) -> None:
        if Path(path).suffix != ".partial":  # zarr links these itself
            raise OSError(1, "Operation not permitted")
        link(path, target)

    monkeypatch.setattr("os.link", refuse)
    assert fused(noisy(AFFINES), AFFINES) == 0
    assert fused.equals_scratch()


def test_a_mosaic_that_grows_elsewhere_ends_as_from_scratch(fused: Runs) -> None:
    """One more tile in the last row: the mosaic grows beside all rows, also where no tile is added."""
    corner = AFFINES[-1] + np.array([[0, 0, 0.0], [0, 0, 80.0]])
    affines = np.concatenate([AFFINES, corner[None]])
    assert 0 < fused(noisy(affines), affines) < ALL_SHARDS / 2
    assert fused.equals_scratch()


def test_only_what_a_tile_of_another_size_touches_is_fused_again(runs: Runs) -> None:
    tiles = noisy(AFFINES)
    tiles[0] = tiles[0][:, :90]
    assert runs(tiles, AFFINES) == ALL_SHARDS
    assert runs(tiles, AFFINES) == 0
    tiles[0] = tiles[0][:, :, :90]
    assert 0 < runs(tiles, AFFINES) < ALL_SHARDS
    assert runs.equals_scratch()


@pytest.mark.parametrize(
    ("canvas", "fused"),
    [((640, 384), 10 + 6 - 1), ((700, 384), 10 + 6 - 1 + 6)],  # shards at the old border, and those that are new
)
def test_on_another_canvas_only_shards_at_its_border_are_fused_again(runs: Runs, canvas: tuple[int, int], fused: int) -> None:
    assert runs(noisy(AFFINES), AFFINES) == ALL_SHARDS
    assert runs(noisy(AFFINES), AFFINES, canvas=canvas) == fused
    assert runs.equals_scratch()
    assert runs(noisy(AFFINES), AFFINES, canvas=canvas) == 0
