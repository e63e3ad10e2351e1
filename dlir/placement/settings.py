"""The settings of placement."""

from typing import Annotated, Literal

from pydantic import Field

from dlir.core.settings import Section


class Camera(Section):
    """How the camera lies to the stage."""

    rotation: Annotated[float, Field(gt=-45, lt=45)]  # degrees
    scale: Annotated[float, Field(gt=0.5, lt=2)]


class Place(Section):
    """How all tiles are placed from the pairs."""

    model: Literal["auto", "translation", "rigid", "similarity", "affine"] = "auto"
    camera: Camera | None = None
    stage_weight: Annotated[float, Field(gt=0)] = 1.0
