"""The mosaic as pictures that a browser shows: square tiles of 8 bit, for each channel and each level of the pyramid."""

from typing import Any

import zarr

from dlir.reporting.page_files import PageFiles
from dlir.reporting.results import Results


def pictures(results: Results, files: PageFiles) -> dict[str, Any]:
    """Returns how the pictures of a mosaic lie, for the viewer of the page, and adds them to its files."""
    ome: Any = zarr.open_group(results.mosaic, mode="r").attrs["ome"]
    level = zarr.open_array(results.mosaic / ome["multiscales"][0]["datasets"][0]["path"], mode="r")
    height, width = level.shape[-2:]
    return {"height": height, "width": width}
