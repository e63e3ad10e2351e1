"""The pictures of a report: in the page itself as long as all together are small, else in a folder beside it.

A page that is one file can be sent to a colleague. But a mosaic of gigapixels would make it slow to open, so its pictures then
lie in the folder `report_files`, and the page names them. The coarsest pictures stay in the page, which so shows something
without its folder, too.
"""

import base64
from pathlib import Path

FOLDER = "report_files"  # beside the page
THUMBNAIL = "thumbnail.jpg"  # in this folder: the mosaic, small, for the page of all datasets
KINDS = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}


class PageFiles:
    """Collects pictures by their names. They move to a folder as soon as they are too large together to be embedded.

    Attributes:
        folder: the folder; its name is in front of each picture that is not embedded.
    """

    def __init__(self, folder: Path, largest: float) -> None:
        """Makes an empty collection.

        Args:
            folder: an existing folder.
            largest: bytes, up to which all pictures are embedded.
        """
        self.folder, self._largest, self._size = folder, largest, 0
        self._kept: dict[str, bytes] = {}  # pictures that are embedded in any case
        self._waiting: dict[str, bytes] | None = {}  # the others; None as soon as they lie in the folder

    def add(self, name: str, content: bytes, *, embed: bool = False) -> str:
        """Takes a picture, and returns its name, by which the page finds it (`dlir.url(name)` in page.js).

        Args:
            name: a path relative to the folder, such as seams/12_fixed.jpg. Its ending tells the kind: .jpg, .png or .webp.
            embed: whether the picture lies in the page in any case; for few and small ones.
        """
        assert Path(name).suffix in KINDS, name
        self._size += len(content)
        if embed:
            self._kept[name] = content
        elif self._waiting is None:
            self.write(name, content)
        else:
            self._waiting[name] = content
        if self._waiting is not None and self._size > self._largest:
            for waiting, picture in self._waiting.items():
                self.write(waiting, picture)
            self._waiting = None
        return name

    def write(self, name: str, content: bytes) -> None:
        """Writes a picture to the folder that the page does not show, such as one for another page."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    @property
    def is_embedded(self) -> bool:
        """Whether the page holds all pictures."""
        return self._waiting is not None

    def embedded(self) -> dict[str, str]:
        """Returns the pictures that the page holds as data URIs, by their names."""
        return {name: _data_uri(name, content) for name, content in {**self._kept, **(self._waiting or {})}.items()}


def _data_uri(name: str, content: bytes) -> str:
    return f"data:{KINDS[Path(name).suffix]};base64,{base64.b64encode(content).decode()}"
