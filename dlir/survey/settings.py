"""The settings of the survey."""

from typing import Literal

from dlir.core.settings import Section


class LayoutCheck(Section):
    """What happens where the tiles do not fit together as the settings say: the run stops, or goes on with a warning."""

    check: Literal["stop", "warn"] = "stop"
