"""Tiles flow in; illumination.tif flows out: the flat-field and the dark-field of the camera. The step `illumination`
(estimate.py) is the door. Every other wing corrects pixels through `fields.correct`."""
