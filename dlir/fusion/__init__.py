"""placement.csv and tiles flow in; mosaic.ome.zarr flows out. The step `mosaic` (mosaic.py) is the door, and `exposure` comes
before it: how bright each tile was taken."""
