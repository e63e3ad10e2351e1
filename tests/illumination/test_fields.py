"""The fields of the camera: written and read back, and used to correct a tile."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from dlir.illumination import fields


def tiles_of(*shape: int) -> pd.DataFrame:
    """The table of one tile of this shape (channels, y, x), with the columns that `fields.read` needs."""
    return pd.DataFrame([shape], columns=["channels", "height", "width"]).assign(dtype="uint8", camera=0)


@pytest.mark.parametrize("shape", [(1, 20, 30), (3, 20, 30), (1, 1, 30)])
def test_written_fields_are_read_back(tmp_path: Path, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    blind = rng.random(shape[1:]) < 0.1
    written = fields.Fields(
        rng.random(shape, np.float32), rng.random(shape, np.float32), blind, ~blind & (rng.random(shape[1:]) < 0.1)
    )
    fields.write([written], tmp_path / "illumination.tif", [fields.Lesson(("a5", "0c"), 2, "uint8", "", "key")])
    assert fields.lessons(tmp_path / "illumination.tif") == [fields.Lesson(("a5", "0c"), 2, "uint8", "", "key")]
    (found,) = fields.read(tmp_path / "illumination.tif", tiles_of(*shape))
    assert all(np.array_equal(one, other) for one, other in zip(found, written, strict=True))


def test_a_field_of_one_value_takes_no_memory(tmp_path: Path) -> None:
    flat = np.random.default_rng(0).random((2, 20, 30), np.float32)
    fields.write(
        [fields.identity((2, 20, 30))._replace(flat=flat)], tmp_path / "illumination.tif", [fields.Lesson(dtype="uint8")]
    )
    (found,) = fields.read(tmp_path / "illumination.tif", tiles_of(2, 20, 30))
    assert not any(found.dark.strides) and not found.dark.any() and np.array_equal(found.flat, flat)


def test_several_cameras_have_a_series_each_and_one_has_the_layout_of_a_plain_tiff(tmp_path: Path) -> None:
    shapes = [(2, 20, 30), (2, 12, 30), (2, 20, 30)]
    light = [fields.identity(shape)._replace(flat=np.full(shape, k + 1, np.float32)) for k, shape in enumerate(shapes)]
    lessons = [fields.Lesson((f"a{k}",), k, "uint8") for k in range(3)]
    fields.write(light, tmp_path / "several.tif", lessons)
    tiles = pd.concat([tiles_of(*shape).assign(camera=k) for k, shape in enumerate(shapes)])
    found = fields.read(tmp_path / "several.tif", tiles)
    assert [each.flat.max() for each in found] == [1, 2, 3] and [each.size for each in found] == [(20, 30), (12, 30), (20, 30)]
    assert fields.lessons(tmp_path / "several.tif") == lessons
    with pytest.raises(fields.IlluminationError, match=r"several\.tif: was learnt from .*\(2, 12, 30\)"):
        fields.read(tmp_path / "several.tif", tiles[:1])
    assert [line.split(",")[0] for line in fields.described(light)[::2]] == [f"camera {k}" for k in range(3)]
    fields.write(light[:1], tmp_path / "one.tif", lessons[:1])
    metadata = {"axes": "QCYX", "learnt_from": lessons[0]._asdict()}
    planes = np.stack([light[0].flat, light[0].dark, np.ones(shapes[0], np.float32)])
    tifffile.imwrite(tmp_path / "plain.tif", planes, photometric="minisblack", compression="zlib", metadata=metadata)
    assert (tmp_path / "one.tif").read_bytes() == (tmp_path / "plain.tif").read_bytes()


@pytest.mark.parametrize(
    ("shape", "dtype"), [((1, 20, 31), "uint8"), ((1, 21, 30), "uint8"), ((3, 20, 30), "uint8"), ((1, 20, 30), "uint16")]
)
def test_fields_from_other_tiles_are_refused_with_the_remedy(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    fields.write([fields.identity((1, 20, 30))], tmp_path / "illumination.tif", [fields.Lesson(dtype=dtype)])
    with pytest.raises(fields.IlluminationError, match=r"illumination\.tif: .*\(1, 20, 30\).*--forcerun illumination"):
        fields.read(tmp_path / "illumination.tif", tiles_of(*shape))


def test_dark_is_subtracted_and_the_rest_divided_by_flat() -> None:
    pixels = np.stack([np.full((4, 5), 10), np.full((4, 5), 30)]).astype(np.uint16)
    flat = np.stack([np.full((4, 5), 0.5), np.full((4, 5), 2)]).astype(np.float32)
    corrected = fields.correct(pixels, fields.Fields(flat, np.full_like(flat, 12), *np.zeros((2, 4, 5), bool)))
    assert corrected.dtype == np.float32
    assert corrected[:, 0, 0].tolist() == [-4, 9]  # no unsigned number wraps around


def test_the_identity_changes_nothing() -> None:
    pixels = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    nothing = fields.identity(pixels.shape)
    assert np.array_equal(fields.correct(pixels, nothing), pixels)
    assert "no dark-field is taken" in fields.described([nothing])[1] and len(fields.described([nothing])) == 2


def test_the_description_gives_depth_and_range() -> None:
    flat = np.ones((1, 2, 2), np.float32)
    flat[0, 0] = [0.9, 1.1]
    blind = np.array([[True, False], [False, False]])
    shading, pixels = fields.described([fields.Fields(flat, np.full_like(flat, 500), blind, ~blind)])
    assert shading.startswith("channel 0: the flat-field varies by 7.1% (root mean square), from 0.90 to 1.10; ")
    assert shading.endswith("the dark-field is 500 to 500 grey values")
    assert pixels.startswith("1 of 4 pixels of the camera show no image")
