"""The settings of fusion."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from dlir.core.settings import Section


def _number_of_text(value: object) -> object:
    """Returns the number of a text, as the command line gives it; returns any other value unchanged."""
    return int(str(value)) if value in ("0", "1", "3") else value


class Exposure(Section):
    """Whether the tiles are made equally bright, and whether the mosaic keeps the level of the dark-field."""

    correct: bool = False
    pedestal: bool = True


class Mosaic(Section):
    """How the tiles are fused and stored."""

    interpolation: Annotated[Literal[0, 1, 3], BeforeValidator(_number_of_text)] = 1
    blend: Literal["linear", "average", "max", "none"] = "linear"
    tolerance: Annotated[float, Field(ge=0, le=1)] = 0.0  # px
    bands: Annotated[int, Field(ge=1, le=10_000)] = 1
    chunk: Annotated[int, Field(ge=16, le=16_384, multiple_of=2)] = 256  # even, so that the 2 x 2 px of a mean lie in one block
    shard: Annotated[int, Field(ge=16, le=131_072)] = 2048

    @model_validator(mode="after")
    def shards_hold_whole_chunks(self) -> "Mosaic":
        if self.shard % self.chunk:
            raise ValueError(f"shard ({self.shard}) must be a multiple of chunk ({self.chunk})")
        return self
