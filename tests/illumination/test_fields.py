"""What is written is read back, and a tile is freed of both patterns."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dlir.illumination import fields


def of_shape(*shape: int) -> pd.DataFrame:
    """The table of one tile (channels, y, x), as far as its light needs it."""
    return pd.DataFrame([shape], columns=["channels", "height", "width"])


@pytest.mark.parametrize("shape", [(1, 20, 30), (3, 20, 30), (1, 1, 30)])
def test_what_is_written_is_read_back(tmp_path: Path, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    written = fields.Fields(rng.random(shape, np.float32), rng.random(shape, np.float32))
    fields.write(written, tmp_path / "light.tif", ["a5", "0c"])
    assert fields.learnt_from(tmp_path / "light.tif") == ["a5", "0c"]
    found = fields.read(tmp_path / "light.tif", of_shape(*shape))
    assert np.array_equal(found.flat, written.flat) and np.array_equal(found.dark, written.dark)


@pytest.mark.parametrize("shape", [(1, 20, 31), (1, 21, 30), (3, 20, 30)])
def test_light_of_other_tiles_is_refused_with_the_remedy(tmp_path: Path, shape: tuple[int, ...]) -> None:
    fields.write(fields.identity((1, 20, 30)), tmp_path / "light.tif")
    with pytest.raises(fields.IlluminationError, match=r"light\.tif: .*\(1, 20, 30\).*--forcerun illumination train"):
        fields.read(tmp_path / "light.tif", of_shape(*shape))


def test_dark_is_taken_off_and_the_rest_divided_by_flat() -> None:
    pixels = np.stack([np.full((4, 5), 10), np.full((4, 5), 30)]).astype(np.uint16)
    flat = np.stack([np.full((4, 5), 0.5), np.full((4, 5), 2)]).astype(np.float32)
    corrected = fields.correct(pixels, fields.Fields(flat, np.full_like(flat, 12)))
    assert corrected.dtype == np.float32
    assert corrected[:, 0, 0].tolist() == [-4, 9]  # no unsigned number wraps around


def test_none_changes_nothing() -> None:
    pixels = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    nothing = fields.identity(pixels.shape)
    assert np.array_equal(fields.correct(pixels, nothing), pixels)
    assert "no dark-field" in fields.described(nothing)[1]


def test_words_tell_the_depth() -> None:
    flat = np.ones((1, 2, 2), np.float32)
    flat[0, 0] = [0.9, 1.1]
    assert fields.described(fields.Fields(flat, np.full_like(flat, 500))) == [
        "the flat-field is 7.1% deep (root mean square), 0.90 to 1.10; the dark-field 500 to 500 grey values"
    ]
