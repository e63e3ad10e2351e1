"""The settings of illumination."""

from dlir.core.settings import Section


class Illumination(Section):
    """Whether what sits still on the camera is taken out."""

    correct: bool = True
