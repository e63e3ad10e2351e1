"""What a header of a table of positions means."""

import pytest

from dlir.reading import position_columns


@pytest.mark.parametrize(
    ("header", "kind", "unit", "factor"),
    [
        ("x", "x", "", 1), (" Y ", "y", "", 1), ("x_um", "x", "um", 1), ("X [\u00b5m]", "x", "um", 1),
        ("X [\u03bcm]", "x", "um", 1),
        ("y (um)", "y", "um", 1), ("x (px)", "x", "px", 1), ("pos_x", "x", "", 1), ("PositionX", "x", "", 1),
        ("position y (pixels)", "y", "px", 1), ("posx", "x", "", 1), ("XPosition", "x", "", 1), ("stage x", "x", "", 1),
        ("StageYUm", "y", "um", 1), ("Stage Position X [mm]", "x", "um", 1000), ("x_nm", "x", "um", 0.001),
        ("x/microns", "x", "um", 1),
        ("Z", "z", "", 1), ("path", "name", "", 1), ("File Name", "name", "", 1), ("file_name", "name", "", 1),
        ("Label", "name", "", 1),
        ("Tile", "name", "", 1), ("Row", "row", "", 1), ("r", "row", "", 1), ("C", "col", "", 1), ("Grid Column", "col", "", 1),
        ("Units", "unit", "", 1),
    ],
)  # fmt: skip
def test_a_header_is_understood(header: str, kind: str, unit: str, factor: float) -> None:
    (found,) = position_columns.columns([header])
    assert (found.kind, found.unit, found.factor) == (kind, unit, factor)


@pytest.mark.parametrize(
    "header", ["", "x error", "size x (um)", "x [inch]", "index", "x y", "um", "pixel size", "exposure", "x_um_px", "max", "xy"]
)
def test_other_headers_are_left_alone(header: str) -> None:
    assert position_columns.columns([header]) == []


def test_a_cell_may_name_a_unit() -> None:
    assert position_columns.unit("[\u00b5m]") == ("um", 1.0) and position_columns.unit("mm") == ("um", 1000.0)
    assert position_columns.unit("12") is None and position_columns.unit("") is None and position_columns.unit("a b") is None
