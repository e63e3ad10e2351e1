"""Position lists of Micro-Manager."""

import json
from pathlib import Path
from typing import Any

import pytest

from dlir.core.text_tables import TextTableError
from dlir.reading import micro_manager_list
from dlir.reading.listed_places import Listed


def old(label: str, y: float, x: float, default: str = "XY") -> dict[str, Any]:
    """A position as Micro-Manager 1.4 writes it."""
    devices = [{"DEVICE": "XY", "AXES": 2, "X": x, "Y": y, "Z": 0}, {"DEVICE": "Z", "AXES": 1, "X": 77, "Y": 0, "Z": 0}]
    return {"LABEL": label, "GRID_ROW": 0, "GRID_COL": 0, "DEFAULT_XY_STAGE": default, "DEVICES": devices}


def new(label: str, y: float, x: float, default: str = "XY") -> dict[str, Any]:
    """A position as Micro-Manager 2 writes it."""
    devices = {"Z": [77.0], "XY": [x, y]}
    rows = [{"Device": {"scalar": name}, "Position_um": {"type": "DOUBLE", "array": place}} for name, place in devices.items()]
    return {
        "DefaultXYStage": {"type": "STRING", "scalar": default}, "DevicePositions": {"type": "PROPERTY_MAP", "array": rows},
        "GridRow": {"type": "INTEGER", "scalar": 0}, "Label": {"type": "STRING", "scalar": label},
    }  # fmt: skip


def as_list(*positions: dict[str, Any]) -> dict[str, Any]:
    """The list of positions in either form."""
    if "LABEL" in positions[0]:
        return {"VERSION": 3, "ID": "Micro-Manager XY-position list", "POSITIONS": list(positions)}
    head = {"encoding": "UTF-8", "format": "Micro-Manager Property Map", "major_version": 2, "minor_version": 0}
    return {**head, "map": {"StagePositions": {"type": "PROPERTY_MAP", "array": list(positions)}}}


def read(tree: Any) -> Listed:
    texts = json.dumps(tree, indent=2).splitlines()
    assert micro_manager_list.is_list(texts)
    return micro_manager_list.read(Path("p.pos"), texts)


@pytest.mark.parametrize("make", [old, new])
@pytest.mark.parametrize("default", ["XY", "", "gone"])
def test_the_xy_stage_is_read_in_micrometres(make: Any, default: str) -> None:
    found = read(as_list(make("Pos0", -1.5, 20, default), make("Pos1", 3, 4, default)))
    assert [(row.name, row.place) for row in found.rows] == [("Pos0", (-1.5, 20)), ("Pos1", (3, 4))]
    assert found.unit == "um" and found.by_label and found.problems == []


def test_a_position_without_one_xy_stage_is_named() -> None:
    without, two = old("Pos0", 0, 0), old("Pos1", 0, 0, default="")
    del without["DEVICES"][0]
    two["DEVICES"][1]["AXES"] = 2
    problems = read(as_list(without, two)).problems
    assert "p.pos, position 1: Pos0 has 0 places of an XY stage, and needs one" in problems[0]
    assert "p.pos, position 2: Pos1 has 2 places of an XY stage, and needs one: set the default XY stage" in problems[1]


@pytest.mark.parametrize("tree", [{"a": 1}, {"POSITIONS": 3}, {"POSITIONS": [{"LABEL": "a"}]}, {"map": {"StagePositions": []}}])
def test_other_json_is_refused(tree: Any) -> None:
    with pytest.raises(TextTableError, match=r"p\.pos: is no position list of Micro-Manager .* save the list again"):
        read(tree)
