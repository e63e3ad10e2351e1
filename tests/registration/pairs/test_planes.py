"""The planes of tiles: corrected, and undistorted as the lens of their camera asks for."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from support.distorted import barrel, raw_tile
from support.specimens import ONE_PLANE, Specimen

from dlir.core import hashing
from dlir.illumination import fields
from dlir.registration.pairs.planes import TilePlanes


@pytest.mark.parametrize("corner", [4.0, -4.0])
def test_planes_are_undistorted(tmp_path: Path, corner: float) -> None:
    size, specimen = (90, 120), Specimen(1, shortest=10.0)
    lens, place = barrel(size, corner), np.array([[1.0, 0.0, 20.0], [0.0, 1.0, 30.0]])
    light = fields.identity((1, *size))._replace(flat=np.linspace(0.5, 1.5, 120, dtype=np.float32) * np.ones((1, 90, 1), "f4"))
    tifffile.imwrite(tmp_path / "0.tif", (raw_tile(specimen, place, lens) * light.flat[0]).astype(np.float32))
    table = pd.DataFrame({"tile": [0], "path": [str(tmp_path / "0.tif")], "sha256": [hashing.of_file(tmp_path / "0.tif")]})
    table = table.assign(height=90, width=120, channels=1, dtype="float32", **ONE_PLANE)
    found = TilePlanes(table, [light], {0: lens})
    true, inner = specimen.tile(place, *size), (slice(10, 80), slice(10, 110))
    contrast = true.std()
    np.testing.assert_allclose(found.plane(0)[inner], true[inner], atol=0.01 * contrast)
    part = slice(40, 70), slice(15, 50)
    np.testing.assert_allclose(found.plane(0, *part), true[part], atol=0.01 * contrast)
    shown = found.shown(0)
    if corner < 0:  # all that the undistorted tile sees lies in the raw one
        assert shown is None
    else:
        assert shown is not None
        assert shown[inner].all()
        assert not shown[[0, 0, -1, -1], [0, -1, 0, -1]].any()
        np.testing.assert_allclose(found.plane(0)[shown > 0], true[shown > 0], atol=0.1 * contrast)
