"""Reads the position list of Micro-Manager (.pos): JSON, in the form of version 1 or as the property map of version 2.

A position has a label, such as Pos0 or 1-Pos_000_000, which Micro-Manager writes into the names of the files or folders, and
the place of the XY stage in micrometres.

This module imports nothing heavy, since the Snakefile reads the list before any job starts.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dlir.core.text_tables import LARGEST, TextTableError
from dlir.reading.listed_places import Listed, ListedPlace, Place


def is_list(texts: Sequence[str]) -> bool:
    """Whether a table is JSON."""
    return next((text for text in texts if text.strip()), "").lstrip().startswith("{")


def read(table: Path, texts: Sequence[str]) -> Listed:
    """Returns what the list says; raises TextTableError when it is none."""
    try:
        tree = json.loads("\n".join(texts))
        positions = list(_version_1(tree) if "POSITIONS" in tree else _version_2(tree))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"is no position list of Micro-Manager ({type(error).__name__}: {error})"
        raise TextTableError(f"{table}: {what}: save the list again in Micro-Manager, or give a CSV file") from None
    rows, problems = [], []
    for number, (label, places) in enumerate(positions, 1):
        where = f"position {number}"
        usable = [place for place in places if all(abs(each) <= LARGEST for each in place)]
        if len(usable) == 1:
            rows.append(ListedPlace(where, label, usable[0]))
        else:
            what = f"{label} has {len(usable)} places of an XY stage, and needs one"
            problems.append(f"{table}, {where}: {what}: set the default XY stage in Micro-Manager, and save the list again")
    return Listed(rows, problems, "um", [f"{table}: read as a position list of Micro-Manager, in um"], by_label=True)


def _version_1(tree: dict[str, Any]) -> Iterator[tuple[str, list[Place]]]:
    """Yields the label of each position, and the places of its stages that have two axes."""
    for position in tree["POSITIONS"]:
        default = position.get("DEFAULT_XY_STAGE", "")
        stages = [
            (device.get("DEVICE", ""), (float(device["Y"]), float(device["X"])))
            for device in position["DEVICES"]
            if device.get("AXES", 2) == 2
        ]
        yield str(position["LABEL"]), _of_default(stages, default)


def _version_2(tree: dict[str, Any]) -> Iterator[tuple[str, list[Place]]]:
    """Yields the same from a property map."""
    for position in tree["map"]["StagePositions"]["array"]:
        default = position.get("DefaultXYStage", {}).get("scalar", "")
        devices = [
            (device.get("Device", {}).get("scalar", ""), [float(each) for each in device["Position_um"]["array"]])
            for device in position["DevicePositions"]["array"]
        ]
        stages = [(device, (place[1], place[0])) for device, place in devices if len(place) == 2]
        yield str(position["Label"]["scalar"]), _of_default(stages, default)


def _of_default(stages: list[tuple[str, Place]], default: str) -> list[Place]:
    """Returns the places of the default stage, where the list names one that is there; else of all."""
    named = [place for device, place in stages if device == default]
    return named or [place for _, place in stages]
