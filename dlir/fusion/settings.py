"""The settings of fusion."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from dlir.core.settings import Section


def _number(value: object) -> object:
    """A number that the command line gives as a text."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


class Exposure(Section):
    """Whether tiles are made equally bright."""

    correct: bool = False


class Mosaic(Section):
    """How the tiles are fused and stored."""

    interpolation: Annotated[Literal[0, 1, 3], BeforeValidator(_number)] = 1
    blend: Literal["linear", "average", "max", "none"] = "linear"
    bands: Annotated[int, Field(ge=1)] = 1
    chunk: Annotated[int, Field(ge=16, multiple_of=2)] = 256  # even, so that 2 x 2 means never cross a block
    shard: Annotated[int, Field(ge=16)] = 2048

    @model_validator(mode="after")
    def shards_hold_whole_chunks(self) -> "Mosaic":
        if self.shard % self.chunk:
            raise ValueError(f"shard ({self.shard}) must be a multiple of chunk ({self.chunk})")
        return self
