"""dlir: registers, places and fuses the overlapping tiles of a microscope into one mosaic."""
