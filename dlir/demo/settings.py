"""The settings of the demo dataset."""

from typing import Annotated

from pydantic import Field

from dlir.core.settings import Fraction, Section, Seed

DEMO_IMAGES = "results/demo/tiles/Tp26_Y{row}_X{col}_040.tif"
DEMO_TRUTH = "results/demo/truth.csv"


class Demo(Section):
    """The grid of the demo dataset, and the error of its stage."""

    rows: Annotated[int, Field(ge=1, le=100)] = 5
    columns: Annotated[int, Field(ge=1, le=100)] = 6
    tile: Annotated[int, Field(ge=64, le=4096)] = 256
    overlap: Fraction = 0.2
    stage_error: Annotated[float, Field(ge=0, le=1000)] = 5.0
    seed: Seed = 1

    @property
    def images(self) -> list[str]:
        """The paths of the tiles, in reading order."""
        cells = [(row, col) for row in range(self.rows) for col in range(self.columns)]
        return [DEMO_IMAGES.format(row=f"{row:03d}", col=f"{col:03d}") for row, col in cells]
