"""Shards that are taken over from the last mosaic: those that would come out the same, and no others."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import zarr
from support.mosaics import SIDE, MosaicInputs, cut_tile, grid

AFFINES = grid(0.9, rows=7)  # 577 x 337 px: 10 x 6 shards of 64 px, and 5 x 3 on the level above
EVERY = 60


def noisy(affines: np.ndarray, seed: int = 0, channels: int = 1) -> list[np.ndarray]:
    """The tiles that lie there, with noise, so that no two are alike."""
    random = np.random.default_rng(seed)
    taken = [np.concatenate([cut_tile(matrix)] * channels) for matrix in affines]
    return [np.rint(tile + random.normal(0, 9, tile.shape)).astype(np.uint16) for tile in taken]


class Runs:
    """The stage with a cache, run after run, each beside one from scratch."""

    def __init__(self, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.folder, self.caplog = folder, caplog
        self.cache = folder / "cache"
        caplog.set_level("INFO")

    def __call__(self, tiles: list, affines: np.ndarray, gains: object = None, flat=None, **options: object) -> int:
        """How many shards were fused."""
        self.caplog.clear()
        for name, cache in (("scratch", None), ("now", self.cache)):
            (self.folder / name).mkdir(exist_ok=True)
            inputs = MosaicInputs(self.folder / name, tiles, affines, flat)
            inputs.expose(np.ones((len(tiles), len(tiles[0]))) if gains is None else np.asarray(gains)[:, None])
            if cache:
                self.caplog.clear()
            inputs.run(cache=cache, **options)
        said = re.findall(r"fusing (\d+) of (\d+) shards; (\d+) are as before", self.caplog.text)
        assert all(int(new) + int(kept) == int(every) for new, every, kept in said)
        return sum(int(new) for new, *_ in said)

    def pixels(self, name: str, level: int = 0) -> np.ndarray:
        array = zarr.open_group(self.folder / name / "mosaic.ome.zarr", mode="r")[str(level)]
        return np.asarray(array[...]).astype(float)

    def same(self) -> bool:
        """Whether the store is that from scratch, to the byte, in all its shards."""
        found, expected = (
            {path.relative_to(store): path.read_bytes() for path in store.glob("*/c/**/*") if path.is_file()}
            for store in (self.folder / name / "mosaic.ome.zarr" for name in ("now", "scratch"))
        )
        return found == expected


@pytest.fixture
def runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Runs:
    return Runs(tmp_path, caplog)


@pytest.fixture
def fused(runs: Runs) -> Runs:
    """After a first run."""
    assert runs(noisy(AFFINES), AFFINES) == EVERY
    return runs


def test_what_has_not_changed_is_not_fused_again(fused: Runs) -> None:
    shard = fused.folder / "now/mosaic.ome.zarr/0/c/3/3"
    first = shard.stat().st_ino
    assert fused(noisy(AFFINES), AFFINES) == 0
    assert fused.same()
    assert shard.stat().st_ino == first


@pytest.mark.parametrize("bands", [1, 3])
def test_a_tile_that_changed_is_fused_again_where_it_lies(fused: Runs, bands: int) -> None:
    tiles = noisy(AFFINES)
    tiles[6] = tiles[6] + np.uint16(50)  # at (80, 160) to (177, 257): shards 1 and 2 by 2 to 4
    assert fused(tiles, AFFINES, bands=bands) == 6
    assert fused.same()
    assert fused(tiles, AFFINES) == 0  # whoever has written them
    assert fused.same()


@pytest.mark.parametrize("channels", [1, 2])
def test_a_tile_more_is_fused_where_it_lies(runs: Runs, channels: int) -> None:
    affines = grid(0.9, rows=1, columns=8)  # 657 px wide with all
    tiles = noisy(affines, channels=channels)
    assert runs(tiles[:-1], affines[:-1]) == 2 * 10  # 577 px wide, 97 high
    assert runs(tiles, affines) == 2 * 3  # from px 560 on: shards 8, 9, which was narrower, and 10, which was not there
    assert runs.same()
    assert runs(tiles[:-1], affines[:-1]) == 2 * 2
    assert runs.same()


def test_tiles_may_creep_so_far_and_no_further(fused: Runs) -> None:
    tiles = noisy(AFFINES)
    counts = []
    for step in range(1, 4):
        moved = AFFINES + affine_of(0.02 * step)
        counts.append(fused(tiles, moved))
        assert np.abs(fused.pixels("now") - fused.pixels("scratch")).max() <= 6  # grey values; the noise is 9
    assert counts == [0, 0, EVERY - 1]  # 0.06 px from where they were fused, all but what the first tile alone covers
    assert fused.same()


def affine_of(shift: float) -> np.ndarray:
    """What moves all tiles but the first, which stays at the corner."""
    moves = np.zeros((len(AFFINES), 2, 3))
    moves[1:, :, 2] = shift
    return moves


def test_a_turned_tile_is_judged_at_its_corners(fused: Runs) -> None:
    turned = AFFINES.copy()
    turned[9, 0, 1], turned[9, 1, 0] = 0.002, -0.002  # 0.19 px at the far corners, none at the near one
    assert 4 <= fused(noisy(AFFINES), turned) <= 9
    assert np.abs(fused.pixels("now") - fused.pixels("scratch")).max() <= 1


def test_gains_and_light_count(fused: Runs) -> None:
    tiles, gains = noisy(AFFINES), np.ones(len(AFFINES))
    gains[6] = 1.0005
    assert fused(tiles, AFFINES, gains) == 0
    gains[6] = 1.01
    assert fused(tiles, AFFINES, gains) == 6
    assert fused.same()
    flat = np.ones((1, SIDE, SIDE), np.float32)
    flat[0, 0, 0] = 1.1
    assert fused(tiles, AFFINES, gains, flat=flat) == EVERY


def test_settings_and_code_count(fused: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = noisy(AFFINES)
    assert fused(tiles, AFFINES, blend="average") == EVERY
    monkeypatch.setattr("dlir.steps.code", lambda step: f"{step}, edited")
    assert fused(tiles, AFFINES, blend="average") == EVERY


def test_a_shard_that_was_lost_or_written_to_is_fused_again(fused: Runs) -> None:
    folder = fused.cache / "shards"
    (folder / "0/c/5/2").unlink()
    with (folder / "0/c/8/1").open("r+b") as shard:  # in place, as no store is written, hence in the mosaic too
        shard.write(b"????")
    (folder / "1/c/0/0").unlink()
    assert fused(noisy(AFFINES), AFFINES) == 2
    assert fused.same()


@pytest.mark.parametrize("content", ['{"basis": ', "[]", "{}", '{"basis": 1, "sizes": []}'])
def test_a_damaged_table_is_not_believed(fused: Runs, content: str) -> None:
    (fused.cache / "shards" / "shards.json").write_text(content)
    assert fused(noisy(AFFINES), AFFINES) == EVERY
    assert fused.same()
    assert ("is damaged" in fused.caplog.text) == (content in ('{"basis": ', "[]"))


def test_where_nothing_can_be_linked_everything_is_fused(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def refuse(path: Path, target: Path) -> None:
        if Path(path).suffix != ".partial":  # zarr's own
            raise OSError(1, "Operation not permitted")
        link(path, target)

    monkeypatch.setattr("os.link", refuse)
    tiles = noisy(AFFINES)
    assert runs(tiles, AFFINES) == EVERY
    assert "not kept" in runs.caplog.text
    assert runs(tiles, AFFINES) == EVERY
    assert runs.same()
    assert not list(runs.folder.glob("cache/*"))
