"""placement.csv, illumination.tif and the images of the tiles flow in; mosaic.ome.zarr, the fused mosaic, flows out.

The step `mosaic` (mosaic.py) is the door. Before it, the step `exposure` estimates how bright each tile was exposed; after it,
`ome_tiff` converts the mosaic.
"""
