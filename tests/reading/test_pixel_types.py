"""Pixels of every type keep their values, and what no type of the tables holds is named."""

import numpy as np
import pytest

from dlir.reading import pixel_types
from dlir.reading.pixel_types import GreyRange

EXTREMES = {
    "bool": (False, True), "int8": (-128, 127), "int16": (-32768, 32767), "int32": (-(2**24), 2**24), "uint32": (0, 2**24),
    "int64": (-(2**24), 2**24), "uint64": (0, 2**24), "float16": (-65504.0, 65504.0), "float64": (-0.5, 2.0**40),
    "uint8": (0, 255), "uint16": (0, 65535), "float32": (-1.5, 1e10),
}  # fmt: skip


@pytest.mark.parametrize("dtype", EXTREMES)
@pytest.mark.parametrize("negative", [True, False])
def test_the_chosen_type_holds_the_values(dtype: str, negative: bool) -> None:
    pixels = np.array([EXTREMES[dtype][0] if negative else 0, 1, EXTREMES[dtype][1]]).astype(dtype)
    found = pixel_types.grey_range(pixels)
    chosen = pixel_types.in_tables(dtype, found)
    assert chosen in pixel_types.TABLE and found.exact and not pixel_types.wrong(pixels)
    np.testing.assert_array_equal(pixels.astype(chosen).astype(dtype), pixels)
    assert bool(pixel_types.described(dtype, found)) == (dtype not in pixel_types.TABLE)


def test_one_file_with_negative_values_decides_for_all() -> None:
    found = GreyRange(0, 200).joined(GreyRange(-1, 100))
    assert found == (-1, 200, True) and pixel_types.in_tables("int8", found) == "float32"
    assert pixel_types.in_tables("int8", GreyRange(0, 100)) == "uint8"
    assert not GreyRange().joined(GreyRange(0, 1, False)).exact


@pytest.mark.parametrize(
    ("value", "dtype", "words"),
    [
        (np.nan, "float32", "2 pixels are NaN or infinite: export it again"),
        (-np.inf, "float16", "2 pixels are NaN or infinite: export it again"),
        (-2e38, "float32", "its grey values reach 2e+38, which is too large for sums over pixels: scale the grey values"),
        (1e300, "float64", "its grey values reach 1e+300, which is too large for sums over pixels: scale the grey values"),
        (1e14, "float32", ""),
        (2**24 + 1, "int32", "its grey values reach 16777217, and whole numbers are kept exactly up to 16777216 only: scale"),
        (-(2**63), "int64", "its grey values reach 9223372036854775808, and whole numbers are kept"),
        (65535, "uint16", ""),
    ],
)
def test_values_that_cannot_be_used_are_wrong(value: float, dtype: str, words: str) -> None:
    pixels = np.ones((1, 20, 30), dtype)
    pixels[0, 3, 4:6] = value
    assert pixel_types.wrong(pixels).startswith(words) and bool(pixel_types.wrong(pixels)) == bool(words)


def test_values_that_float32_takes_for_zero_are_wrong() -> None:
    assert pixel_types.wrong(np.full((1, 20, 30), 1e-50)).startswith("its grey values reach only 1e-50, which float32 does not")
    assert not pixel_types.wrong(np.zeros((1, 20, 30)))
