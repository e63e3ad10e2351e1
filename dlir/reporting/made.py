"""How a mosaic was made, for its report: the settings, the versions, and what the columns of the tables mean."""

from typing import Any

from dlir.reporting.results import Results


def made(results: Results) -> dict[str, Any]:
    """Returns settings, versions and columns_explained for the facts of the page."""
    return {"settings": {}, "versions": {}, "columns_explained": {}}
