"""The settings of rounds."""

from typing import Annotated, Literal

from pydantic import Field

from dlir.core.settings import File, Section

MOST_LOCAL = 20.0  # px


class Rounds(Section):
    """The mosaic of all rounds of a specimen."""

    shared: Literal["each", "once"] = "each"  # the registered channel: that of every round, or of the first alone
    names: File | None = None  # a table with the columns round, channel and name
    local: Annotated[float, Field(ge=0, le=MOST_LOCAL)] = 0.0  # px, the largest stretch of tissue that is mended; 0: none is
