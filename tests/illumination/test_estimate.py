"""The illumination: found where tiles show one, not invented where they show none, or taken from the user's own images."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from scipy import ndimage
from support.specimens import ONE_PLANE

from dlir.core import hashing, tables
from dlir.illumination import estimate, fields
from dlir.illumination.estimate import estimate_fields, illumination
from dlir.illumination.settings import Illumination
from dlir.reading import image_files

SIZE = 128


def tissue(count: int, seed: int = 0) -> np.ndarray:
    """Tiles (n, y, x) of dense structure, which differs from tile to tile; positive."""
    noise = np.random.default_rng(seed).standard_normal((count, SIZE, SIZE))
    parts = [ndimage.gaussian_filter(noise, (0, sigma, sigma)) for sigma in (1.0, 4.0)]
    return np.clip(1 + sum(0.2 * part / part.std() for part in parts), 0.05, None)


def flat_field(dust: float) -> np.ndarray:
    """A flat-field (y, x), mean 1, with shading around a point off the centre, and specks of dust of this depth."""
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    specks = np.zeros((SIZE, SIZE))
    specks[tuple(np.random.default_rng(5).integers(0, SIZE, (2, 40)))] = 1
    specks = ndimage.gaussian_filter(specks, 2.0)
    flat = (1 - 0.4 * ((y - 0.1) ** 2 + (x + 0.2) ** 2) / 2) * (1 - dust * specks / specks.max())
    return flat / flat.mean()


def as_tiles(specimens: np.ndarray) -> np.ndarray:
    """Tiles (n, 1, y, x) of 16 bit, in which a brightness of 1 is the grey value 1000."""
    return np.rint(1000 * specimens).astype(np.uint16)[:, None]


def test_shading_is_found() -> None:
    flat = flat_field(dust=0)
    found = estimate_fields(as_tiles(tissue(40) * flat)).flat[0]
    assert np.std(found / flat) < 0.03
    assert np.std(1 / flat) > 0.1


def test_dust_is_found_in_empty_tiles() -> None:
    flat = flat_field(dust=0.3)
    empty = 1 + 0.02 * np.random.default_rng(1).standard_normal((40, SIZE, SIZE))
    found = estimate_fields(as_tiles(empty * flat)).flat[0]
    assert np.std(found / flat) < 0.012


@pytest.mark.parametrize("count", [6, 30])
def test_structure_of_the_specimen_is_not_taken_for_illumination(count: int) -> None:
    found = estimate_fields(as_tiles(tissue(count)))
    assert found.flat.std() < 0.02 and not found.dark.any()


def test_each_channel_has_its_own_flat_field() -> None:
    flat = flat_field(dust=0)
    tiles = np.stack([tissue(30) * flat, tissue(30, seed=9)], 1)
    found = estimate_fields(np.rint(1000 * tiles).astype(np.uint16)).flat
    assert np.std(found[0] / flat) < 0.04 and found[1].std() < 0.02
    assert found.mean((1, 2)) == pytest.approx([1, 1], abs=1e-3)


def test_black_tiles_give_finite_fields() -> None:
    assert np.isfinite(estimate_fields(np.zeros((5, 1, 32, 32), np.uint16)).flat).all()


def test_one_bright_tile_among_black_tiles_gives_finite_fields() -> None:
    tiles = np.concatenate([as_tiles(tissue(1)), np.zeros((9, 1, SIZE, SIZE), np.uint16)])
    assert np.isfinite(np.stack(estimate_fields(tiles)[:2])).all()


def cells(count: int, gains: np.ndarray, seed: int = 0) -> np.ndarray:
    """Tiles (n, y, x) of few bright cells on a dim background, each exposed with its own gain (n,)."""
    rng = np.random.default_rng(seed)
    seeds = (rng.random((count, SIZE, SIZE)) < 0.0005) * rng.uniform(0.2, 1, (count, SIZE, SIZE))
    spots = ndimage.gaussian_filter(seeds, (0, 4, 4))
    return (1 + 20 * spots / spots.max()) * gains[:, None, None]


def error(found: np.ndarray, flat: np.ndarray) -> float:
    """Root mean square of the difference, both of mean 1."""
    return float(np.sqrt(np.mean((found / found.mean() - flat / flat.mean()) ** 2)))


def test_tiles_of_different_exposure_show_the_offset_of_the_camera() -> None:
    flat = flat_field(dust=0)
    gains = np.random.default_rng(3).uniform(0.8, 1.2, 30)
    tiles = 500 + 1000 * cells(30, gains) * flat
    tiles += 20 * np.random.default_rng(4).standard_normal(tiles.shape)
    found = estimate_fields(np.rint(tiles).astype(np.uint16)[:, None])
    assert error(found.flat[0], flat) < 0.01
    assert found.dark == pytest.approx(500, abs=30)


def test_tiles_of_equal_exposure_give_no_offset() -> None:
    tiles = 500 + 1000 * cells(30, np.ones(30)) * flat_field(dust=0)
    found = estimate_fields(np.rint(tiles).astype(np.uint16)[:, None])
    assert not found.dark.any()


def test_a_dark_field_with_its_own_shape_is_found_from_dim_and_bright_tiles() -> None:
    flat = flat_field(dust=0)
    dark = 600 + 300 * np.linspace(-1, 1, SIZE)[None] * np.ones((SIZE, 1))
    level = np.where(np.arange(48) < 24, 0.1, np.random.default_rng(5).uniform(3, 6, 48))[:, None, None]
    specimen = level * np.concatenate([1 + 0.02 * (tissue(24) - 1), 1 + 0.3 * (tissue(24, seed=1) - 1)])
    tiles = np.rint(dark + 1000 * flat * specimen).astype(np.uint16)[:, None]
    found = estimate_fields(tiles)
    assert error(found.flat[0], flat) < 0.01
    corrected = fields.correct(tiles[0], found)[0]  # an empty tile, uneven by 600 grey values until corrected
    assert np.ptp(ndimage.gaussian_filter(corrected, 8)) < 20
    assert found.dark.min() >= 0


def test_each_channel_has_its_own_offset() -> None:
    flat, gains = flat_field(dust=0), np.random.default_rng(3).uniform(0.8, 1.2, 30)
    tiles = [np.stack([1000 * one * flat, 400 + 1000 * one * flat[::-1]]) for one in cells(30, gains)]
    found = estimate_fields(np.rint(np.stack(tiles)).astype(np.uint16))
    assert error(found.flat[0], flat) < 0.01 and error(found.flat[1], flat[::-1]) < 0.01
    assert found.dark.mean((1, 2)) == pytest.approx([0, 400], abs=30)


def test_four_tiles_are_enough_for_the_shading() -> None:
    flat = flat_field(dust=0)
    found = estimate_fields(as_tiles((1 + 0.1 * (tissue(4) - 1)) * flat))
    assert error(found.flat[0], flat) < 0.02
    assert not found.dark.any()


def test_blank_tiles_do_not_disturb_the_shading() -> None:
    flat, specimen = flat_field(dust=0), tissue(30)
    specimen[::3] = 0.3
    noise = 0.01 * np.random.default_rng(6).standard_normal(specimen.shape)
    assert error(estimate_fields(as_tiles(specimen * flat + noise)).flat[0], flat) < 0.012


def write_tiles(folder: Path, tiles: np.ndarray) -> Path:
    rows = []
    for index, tile in enumerate(tiles):
        path = folder / f"{index}.tif"
        tifffile.imwrite(path, tile[0])
        rows.append({"tile": index, "path": str(path), "row": 0, "col": index, "y": 0.0, "x": 0.0, "height": SIZE,
                     "width": SIZE, "channels": 1, "dtype": tile.dtype.name, "pixel_size": None,
                     "sha256": hashing.of_file(path), **ONE_PLANE})  # fmt: skip
    tables.write(pd.DataFrame(rows), tables.TILES, folder / "tiles.csv")
    return folder / "tiles.csv"


@pytest.mark.parametrize(("correct", "count"), [(False, 12), (True, 2)])
def test_without_correction_or_with_too_few_tiles_the_fields_change_nothing(tmp_path: Path, correct: bool, count: int) -> None:
    table = write_tiles(tmp_path, as_tiles(tissue(count) * flat_field(dust=0)))
    illumination(table, tmp_path / "illumination.tif", settings=Illumination(correct=correct))
    (found,) = fields.read(tmp_path / "illumination.tif", tables.read(table, tables.TILES))
    assert (found.flat == 1).all() and not found.dark.any()
    assert list(fields.lessons(tmp_path / "illumination.tif")[0].tiles) == (
        list(tables.read(table, tables.TILES)["sha256"]) if correct else []
    )


@pytest.mark.parametrize(("zero", "estimated"), [(0, True), (-20, True), (-600, False), (-1000, False), (-3000, False)])
def test_no_flat_field_is_estimated_where_0_is_not_what_the_camera_gives_without_light(
    tmp_path: Path, zero: int, estimated: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The tiles are around 1000 grey values bright. A few below 0 are the noise of a background that was subtracted."""
    flat, tiles = flat_field(dust=0), as_tiles(tissue(12) * flat_field(dust=0)).astype(np.float32)
    tiles[:, :, :2, :20] = 0
    table = write_tiles(tmp_path, tiles + np.float32(zero))
    illumination(table, tmp_path / "illumination.tif", settings=Illumination(correct=True))
    (found,) = fields.read(tmp_path / "illumination.tif", tables.read(table, tables.TILES))
    assert error(found.flat[0], flat) < 0.05 if estimated else (found.flat == 1).all()
    assert ("0 is not what the camera gives without light: give dark" in caplog.text) != estimated
    tifffile.imwrite(tmp_path / "dark.tif", np.full((SIZE, SIZE), zero, np.float32))
    illumination(table, tmp_path / "own.tif", settings=Illumination(correct=True), dark=tmp_path / "dark.tif")
    (found,) = fields.read(tmp_path / "own.tif", tables.read(table, tables.TILES))
    assert error(found.flat[0], flat) < 0.05 and (found.dark == zero).all()


def test_given_images_replace_the_estimate(tmp_path: Path) -> None:
    table = write_tiles(tmp_path, as_tiles(tissue(6)))
    flat, dark = 300 * flat_field(dust=0.3), np.full((SIZE, SIZE), 90.0)
    for name, pixels in (("flat", flat), ("dark", dark)):
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels.astype(np.float32))
    own = {"flat": tmp_path / "flat.tif", "dark": tmp_path / "dark.tif"}
    illumination(table, tmp_path / "illumination.tif", settings=Illumination(correct=True), **own)
    (found,) = fields.read(tmp_path / "illumination.tif", tables.read(table, tables.TILES))
    assert found.flat[0] == pytest.approx(flat / flat.mean(), abs=1e-5)
    assert (found.dark == 90).all()


def test_a_given_dark_field_is_subtracted_before_the_flat_field_is_estimated(tmp_path: Path) -> None:
    flat = flat_field(dust=0)
    tifffile.imwrite(tmp_path / "dark.tif", np.full((SIZE, SIZE), 500, np.uint16))
    empty = 1 + 0.02 * np.random.default_rng(1).standard_normal((12, SIZE, SIZE))
    table = write_tiles(tmp_path, as_tiles(empty * flat) + np.uint16(500))
    illumination(table, tmp_path / "illumination.tif", settings=Illumination(correct=True), dark=tmp_path / "dark.tif")
    (found,) = fields.read(tmp_path / "illumination.tif", tables.read(table, tables.TILES))
    assert error(found.flat[0], flat) < 0.005
    assert (found.dark == 500).all()
    assert list(fields.lessons(tmp_path / "illumination.tif")[0].tiles) == list(tables.read(table, tables.TILES)["sha256"])


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.ones((SIZE, SIZE + 1)), r"flat\.tif: has the shape \(1, 128, 129\), but .*0\.tif has \(1, 128, 128\)"),
        (np.full((SIZE, SIZE), np.nan), r"flat\.tif: has pixels that are not finite numbers"),
        (np.zeros((SIZE, SIZE)), r"flat\.tif: its smallest pixel is 0: give a flat-field that is positive everywhere"),
    ],
)
def test_an_unusable_own_image_is_refused_by_name(tmp_path: Path, pixels: np.ndarray, message: str) -> None:
    table = write_tiles(tmp_path, as_tiles(tissue(6)))
    tifffile.imwrite(tmp_path / "flat.tif", pixels.astype(np.float32))
    with pytest.raises(image_files.ImageError, match=message):
        illumination(table, tmp_path / "illumination.tif", settings=Illumination(correct=True), flat=tmp_path / "flat.tif")
    assert not (tmp_path / "illumination.tif").exists()


@pytest.mark.parametrize("period", [8, 20, 32])
def test_a_periodic_specimen_in_register_with_the_stage_is_not_divided_out(period: int) -> None:
    rng, (y, x) = np.random.default_rng(7), np.mgrid[:SIZE, :SIZE]
    shifts = rng.uniform(-2, 2, (20, 2))  # px, the errors of the stage, which moves by whole periods
    waves = [np.sin(2 * np.pi * (y + dy) / period) + np.sin(2 * np.pi * (x + dx) / period) for dy, dx in shifts]
    specimen = 1 + 0.2 * np.stack(waves) + 0.2 * (tissue(20) - 1)
    flat = flat_field(dust=0)
    assert estimate_fields(as_tiles(specimen)).flat.std() < 0.05  # 0.2 where it is divided out
    assert error(estimate_fields(as_tiles(specimen * flat)).flat[0], flat) < 0.05


def learnt(tmp_path: Path, tiles: np.ndarray, key: str = "key", again: bool = False, **columns: object) -> tuple[bytes, int]:
    """The illumination of the tiles, by a cache in the folder, and how many tiles it was learnt from."""
    table = write_tiles(tmp_path, tiles)
    tables.write(tables.read(table, tables.TILES).assign(**columns), tables.TILES, table)
    illumination(table, tmp_path / "out.tif", key=key, cache=tmp_path / "cache", again=again)
    return (tmp_path / "out.tif").read_bytes(), len(fields.lessons(tmp_path / "out.tif")[0].tiles)


def test_what_was_learnt_is_kept_while_half_of_the_tiles_are_those(tmp_path: Path) -> None:
    tiles = as_tiles(tissue(40) * flat_field(dust=0))
    first, count = learnt(tmp_path, tiles[:18])
    assert count == 18
    assert learnt(tmp_path, tiles[:18], again=True)[0] == first
    assert learnt(tmp_path, tiles[:19]) == (first, 18)
    assert learnt(tmp_path, tiles[2:18]) == (first, 18)
    assert learnt(tmp_path, tiles[:36]) == (first, 18)
    assert learnt(tmp_path, tiles[:37])[1] == 37
    assert learnt(tmp_path, tiles[:18])[1] == 37


@pytest.mark.parametrize("change", [{"key": "another"}, {"again": True}, {"reference_z": 0}])
def test_it_is_learnt_again_where_settings_or_planes_changed(tmp_path: Path, change: dict[str, object]) -> None:
    tiles = as_tiles(tissue(20) * flat_field(dust=0))
    learnt(tmp_path, tiles[:18])
    assert learnt(tmp_path, tiles, **change)[1] == 20


def test_what_was_learnt_from_few_tiles_or_others_is_learnt_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tiles = as_tiles(tissue(40) * flat_field(dust=0))
    assert learnt(tmp_path, tiles[:3])[1] == 3
    assert learnt(tmp_path, tiles[:4])[1] == 4
    assert learnt(tmp_path, tiles[:18])[1] == 18
    assert learnt(tmp_path, tiles[12:30])[1] == 18 and (tmp_path / "cache" / "illumination").exists()
    with caplog.at_level("INFO"):
        learnt(tmp_path, tiles[12:31])
    assert "learnt from 18 tiles, of which 18 are among the 19 tiles of the mosaic" in caplog.text


def test_a_damaged_cache_is_learnt_again(tmp_path: Path) -> None:
    tiles = as_tiles(tissue(18) * flat_field(dust=0))
    first, _ = learnt(tmp_path, tiles)
    kept = tmp_path / "cache" / "illumination"
    content = bytearray(kept.read_bytes())
    content[-100] ^= 1
    kept.write_bytes(content)
    assert learnt(tmp_path, tiles)[0] == first


def test_a_dark_field_brighter_than_the_tiles_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "dark.tif", np.full((SIZE, SIZE), 65535, np.uint16))
    table = write_tiles(tmp_path, as_tiles(tissue(4)))
    with pytest.raises(image_files.ImageError, match=r"dark\.tif: is as bright as the brightest tile"):
        illumination(table, tmp_path / "illumination.tif", dark=tmp_path / "dark.tif")


def two_sizes(folder: Path, few: int = 2) -> tuple[Path, np.ndarray, np.ndarray]:
    """Tiles of two cameras, and `few` tiles of a third one, whose sizes and lights differ."""
    flats = flat_field(dust=0), flat_field(dust=0)[::-1, :96]
    tiles = [*as_tiles(tissue(16) * flats[0]), *as_tiles(tissue(16, seed=1)[..., :96] * flats[1])]
    tiles += [*as_tiles(tissue(few, seed=2)[:, :70])]
    table = write_tiles(folder, tiles)
    camera = [0] * 16 + [1] * 16 + [2] * few
    sizes = {"height": [len(tile[0]) for tile in tiles], "width": [tile.shape[-1] for tile in tiles]}
    tables.write(tables.read(table, tables.TILES).assign(camera=camera, **sizes), tables.TILES, table)
    return table, flats[0], flats[1] / flats[1].mean()


def test_each_camera_has_its_own_light_and_a_new_one_leaves_that_of_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table, *flats = two_sizes(tmp_path)
    illumination(table, tmp_path / "out.tif", key="key", cache=tmp_path / "cache")
    found = fields.read(tmp_path / "out.tif", tables.read(table, tables.TILES))
    assert all(error(each.flat[0], flat) < 0.02 for each, flat in zip(found, flats, strict=False))
    assert (found[2].flat == 1).all() and "fewer than 4 tiles (camera 2, 70 x 128 px)" in caplog.text
    assert [len(lesson.tiles) for lesson in fields.lessons(tmp_path / "out.tif")] == [16, 16, 2]
    before = (tmp_path / "out.tif").read_bytes()
    illumination(table, tmp_path / "out.tif", key="key", cache=tmp_path / "cache")
    assert (tmp_path / "out.tif").read_bytes() == before
    caplog.clear()
    caplog.set_level("INFO")
    illumination(two_sizes(tmp_path, few=5)[0], tmp_path / "out.tif", key="key", cache=tmp_path / "cache")
    after = fields.read_all(tmp_path / "out.tif")
    assert caplog.text.count("kept as it was learnt (camera") == 2
    assert all((one.flat == other.flat).all() for one, other in zip(found[:2], after[:2], strict=True))


def test_a_given_flat_field_is_used_for_tiles_of_its_size(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table, *_ = two_sizes(tmp_path)
    given = np.linspace(1, 3, 96 * SIZE).reshape(SIZE, 96).astype(np.float32)
    tifffile.imwrite(tmp_path / "flat.tif", given)
    illumination(table, tmp_path / "out.tif", flat=tmp_path / "flat.tif")
    found = fields.read_all(tmp_path / "out.tif")
    assert found[1].flat[0] == pytest.approx(given / given.mean(), abs=1e-5) and found[0].flat.std() > 0.05
    assert "flat.tif: has another size than the tiles (camera 0, 128 x 128 px), and is not used for them" in caplog.text
    tifffile.imwrite(tmp_path / "flat.tif", given[:50])
    with pytest.raises(image_files.ImageError, match=r"flat\.tif: has the shape \(1, 50, 96\)"):
        illumination(table, tmp_path / "out.tif", flat=tmp_path / "flat.tif")


def test_a_very_large_camera_is_estimated_from_pooled_tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "MOST_PIXELS", SIZE * SIZE // 2)  # so that tiles of SIZE px are halved
    flat, tiles = flat_field(dust=0.3), as_tiles(1 + 0.02 * np.random.default_rng(1).standard_normal((30, SIZE, SIZE)))
    tiles = np.rint(tiles * flat).astype(np.uint16)
    tiles[:, :, :, 0] = 0  # a frame that is one px wide
    learnt(tmp_path, tiles)
    (found,) = fields.read_all(tmp_path / "out.tif")
    assert found.flat.shape == (1, SIZE, SIZE) and (found.blind == (np.arange(SIZE) == 0)).all()
    assert np.std((found.flat[0] / flat)[:, 2:]) < 0.02 < 0.04 < np.std(1 / flat)
