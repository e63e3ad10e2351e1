"""Reads the metadata.txt that Micro-Manager writes beside the images in a folder: JSON, with entries for each image.

Version 1.4 names the file of an image in its entry, FrameKey-0-0-0. Version 2.0 names it in the keys of two entries:
Coords-Pos0/img_channel000_position000_time000000000_z000.tif, and Metadata- with the same name, which tells the place.

This module imports nothing heavy, since the Snakefile looks for these files before any job starts.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path, PureWindowsPath
from typing import Any

from dlir.core.text_tables import TextTableError
from dlir.reading.image_facts import ImageFacts, of_micro_manager

NAME = "metadata.txt"
KEY = re.compile(r"(?:Coords|Metadata)-(?P<file>.+)", re.DOTALL)


def beside(files: Iterable[Path]) -> list[Path]:
    """Returns the metadata.txt in the folders of these files, sorted."""
    return sorted(table for folder in {file.parent for file in files} if (table := folder / NAME).is_file())


def read(table: Path) -> dict[str, ImageFacts]:
    """Returns what a metadata.txt says of each image, by the name of its file; raises TextTableError when it is damaged."""
    try:
        tree = json.loads(table.read_bytes().decode("utf-8-sig", errors="replace"), strict=False)
    except OSError as error:
        raise TextTableError(f"{table}: cannot be read ({error.strerror}): correct who may read the file") from None
    except (ValueError, RecursionError) as error:
        raise _damaged(table, f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "") from None
    if not isinstance(tree, dict):
        raise _damaged(table)
    told: dict[str, dict[str, Any]] = {}
    for key, entry in tree.items():
        if isinstance(entry, dict) and (name := _name(key, entry)):
            told[name] = {**told.get(name, {}), **entry}
    return {name: of_micro_manager(entry) for name, entry in told.items()}


def _name(key: str, entry: dict[str, Any]) -> str:
    """Returns the name of the file that an entry is about, without its folder; empty where it is about none."""
    found = KEY.fullmatch(key)
    return PureWindowsPath(found["file"] if found else str(entry.get("FileName") or "")).name  # takes / and \ alike


def _damaged(table: Path, where: str = "") -> TextTableError:
    what = "is cut short, damaged, or not the one of Micro-Manager"
    return TextTableError(f"{table}{where}: {what}: copy it again from the microscope, or give positions, a table")
