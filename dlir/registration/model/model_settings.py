"""The settings in a model file, which is a zip archive: they are written and read without torch, which is slow to load."""

import json
import zipfile
from pathlib import Path
from typing import Any

MEMBER = "dlir.json"  # in the one folder of the archive, beside what torch writes
BEGINNING = (1980, 1, 1, 0, 0, 0)  # the date of the member, so that the same model is the same file


def add_settings(settings: dict[str, Any], path: Path) -> None:
    """Adds settings to the model file that torch has written at `path`."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(zipfile.ZipInfo(_member(archive), BEGINNING), json.dumps(settings, sort_keys=True))


def settings_of(path: Path) -> dict[str, Any]:
    """Returns the settings in a model file; none where it is of an earlier version, or no model."""
    try:
        with zipfile.ZipFile(path) as archive:
            return dict(json.loads(archive.read(_member(archive))))
    except (zipfile.BadZipFile, KeyError):
        return {}


def _member(archive: zipfile.ZipFile) -> str:
    folder = archive.namelist()[0].partition("/")[0]
    return f"{folder}/{MEMBER}"
