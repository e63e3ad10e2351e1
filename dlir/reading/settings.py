"""The settings of reading: where the tiles lie, and what of them is registered."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from dlir.core.settings import Fraction, Section


class Layout(Section):
    """What the stage says of the places of the tiles, and what of them is registered; each dataset may override any key."""

    overlap: Fraction | tuple[Fraction, Fraction] = 0.1
    rows: Annotated[int, Field(ge=1)] | None = None
    columns: Annotated[int, Field(ge=1)] | None = None
    start: Literal["top-left", "top-right", "bottom-left", "bottom-right"] = "top-left"
    order: Literal["rows", "columns"] = "rows"
    snake: bool = False
    pixel_size: Annotated[float, Field(gt=0)] | None = None
    reference_channel: Annotated[int, Field(ge=0)] | str | None = None
    reference_z: Annotated[int, Field(ge=0)] | Literal["max"] = "max"
    reference_time: Annotated[int, Field(ge=0)] = 0


class Dataset(Layout):
    """Where the tiles of one dataset lie.

    `images` is a path in which `{row}` and `{col}`, or `{index}`, stand for the numbers in the file names, `{channel}`, `{z}`
    and `{time}` for what tells the files of one tile apart, and `*` for anything. `positions` is a table with the nominal
    places, `truth` a placement table to measure the result against, `overrides` a table of what the user knows better than was
    measured (`overrides.py`); `flat` and `dark` are images of the user's in place of the illumination that the tiles show
    (`illumination.py`).
    """

    images: str
    positions: Path | None = None
    truth: Path | None = None
    overrides: Path | None = None
    flat: Path | None = None
    dark: Path | None = None

    @model_validator(mode="after")
    def places_are_known(self) -> "Dataset":
        found = {name for name in ("row", "col", "index") if "{" + name + "}" in self.images}
        line = self.columns if self.order == "rows" else self.rows
        if self.positions is None and found not in ({"row", "col"}, {"index"}):
            raise ValueError("images needs {row} and {col}, or {index}, in the path; or give positions, a table")
        if self.positions is None and found == {"index"} and line is None:
            raise ValueError("a path with {index} needs columns (with order: rows) or rows (with order: columns)")
        if "}{" in self.images:
            raise ValueError("images has two placeholders side by side, and nothing says where the first ends: part them")
        return self
