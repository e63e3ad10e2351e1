"""Registers, places and fuses overlapping microscope tiles into one mosaic."""

__version__ = "0.1.0"
