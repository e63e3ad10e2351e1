"""The plate holds the mosaic of each well, where every viewer of plates looks for it."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from ome_zarr_models.v05.hcs import HCS
from support.mosaics import MosaicInputs, cut_tile, grid

from dlir.fusion.plate import PlateError, plate


@pytest.fixture(scope="module")
def mosaics(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two mosaics of different pixels."""
    stores = []
    for number in (1, 2):
        folder = tmp_path_factory.mktemp("well")
        affines = grid(0, rows=1, columns=number)
        inputs = MosaicInputs(folder, [cut_tile(matrix) for matrix in affines], affines, pixel_size=0.5)
        inputs.run()
        stores.append(folder / "mosaic.ome.zarr")
    return stores


def test_a_plate_holds_the_pixels_of_each_well(tmp_path: Path, mosaics: list[Path]) -> None:
    plate(mosaics, tmp_path / "screen" / "plate.ome.zarr", wells=["r02c02", "AA11"])
    group = zarr.open_group(tmp_path / "screen" / "plate.ome.zarr", mode="r")
    found = HCS.from_zarr(group).ome_attributes.plate
    assert found.name == "screen" and found.field_count == 1
    assert [well.path for well in found.wells] == ["B/2", "AA/11"]
    assert [found.rows[well.rowIndex].name for well in found.wells] == ["B", "AA"]
    assert [found.columns[well.columnIndex].name for well in found.wells] == ["2", "11"]
    for place, mosaic in zip(("B/2", "AA/11"), mosaics, strict=True):
        one, other = (
            zarr.open_array(path / "0", mode="r")[:] for path in (tmp_path / "screen/plate.ome.zarr" / place / "0", mosaic)
        )
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("wells", "words"), [(["B2", "b02"], "B2 and b02 are one well, B2"), (["B2", "west"], "west is no name")]
)
def test_names_that_are_no_wells_of_one_plate_are_an_error(
    tmp_path: Path, mosaics: list[Path], wells: list[str], words: str
) -> None:
    with pytest.raises(PlateError, match=words):
        plate(mosaics, tmp_path / "plate.ome.zarr", wells=wells)
    assert not (tmp_path / "plate.ome.zarr").exists()
