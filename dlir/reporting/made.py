"""How a mosaic was made, for its report: the settings, the versions, and what the columns of the tables mean."""

from typing import Any

from dlir.reporting.columns import columns_explained
from dlir.reporting.results import Results


def made(results: Results) -> dict[str, Any]:
    """Returns settings, versions and columns_explained for the facts of the page.

    The settings are a list of names, such as place.model, and values as they are written in a file of settings.
    """
    provenance = results.provenance
    return {
        "settings": [[name, value] for name, value in flat(provenance.get("settings", {}))],
        "versions": list(map(list, provenance.get("versions", {}).items())),
        "columns_explained": columns_explained(),
    }


def flat(settings: dict[str, Any], section: str = "") -> list[tuple[str, str]]:
    """Returns the settings of all sections one below the other, each with the name of its section in front."""
    found = []
    for key, value in settings.items():
        name = f"{section}.{key}" if section else str(key)
        found += flat(value, name) if isinstance(value, dict) and value else [(name, _written(value))]
    return found


def _written(value: Any) -> str:
    """A value as YAML has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return ", ".join(map(_written, value)) if isinstance(value, list) else str(value)
