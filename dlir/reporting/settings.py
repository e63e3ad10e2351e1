"""The settings of the report."""

from typing import Annotated

from pydantic import Field

from dlir.core.settings import Section


class Report(Section):
    """What the report shows."""

    embed: Annotated[float, Field(ge=0, le=1000)] = 9.0  # MB of pictures, up to which all are in the page itself
