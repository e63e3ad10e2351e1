"""The numbers that the plots of the report show."""

from typing import Any

from dlir.reporting.page_files import PageFiles
from dlir.reporting.results import Results


def plots(results: Results, files: PageFiles) -> dict[str, Any]:
    """Returns what each plot of the page shows, by its name, and adds their pictures to its files."""
    return {}
