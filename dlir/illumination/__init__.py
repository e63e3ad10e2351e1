"""tiles.csv and the images of the tiles flow in; illumination.tif, the flat-field and the dark-field of the camera, flows out.

The step `illumination` (estimate.py) is the door. Every other wing corrects pixels with `fields.correct`.
"""
