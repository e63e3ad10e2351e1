"""The settings of placement."""

from typing import Annotated, Literal

from pydantic import Field

from dlir.core.settings import Section


class Camera(Section):
    """How the picture of the camera is turned and scaled against the stage."""

    rotation: Annotated[float, Field(gt=-45, lt=45)]  # degrees, from camera to stage
    scale: Annotated[float, Field(gt=0.5, lt=2)]  # px of the stage in one px of the camera


class Place(Section):
    """How all tiles are placed by the pairs."""

    model: Literal["auto", "translation", "rigid", "similarity", "affine"] = "auto"
    camera: Camera | None = None
    stage_weight: Annotated[float, Field(ge=1e-6, le=1e6)] = 1.0  # of the prior that draws tiles to the stage's positions
