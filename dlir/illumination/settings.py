"""The settings of illumination."""

from dlir.core.settings import Section


class Illumination(Section):
    """Whether the tiles are corrected for the flat-field and the dark-field of the camera."""

    correct: bool = True
