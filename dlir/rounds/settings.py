"""The settings of rounds."""

from typing import Literal

from dlir.core.settings import File, Section


class Rounds(Section):
    """The mosaic of all rounds of a specimen."""

    shared: Literal["each", "once"] = "each"  # the registered channel: that of every round, or of the first alone
    names: File | None = None  # a table with the columns round, channel and name
