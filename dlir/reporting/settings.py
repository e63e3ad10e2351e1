"""The settings of the report."""

from typing import Annotated

from pydantic import Field

from dlir.core.settings import Section


class Report(Section):
    """What the report shows."""

    overview: Annotated[int, Field(ge=100, le=20_000)] = 1600  # px, longest side of the overview picture
