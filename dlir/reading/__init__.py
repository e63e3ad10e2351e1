"""Image files flow in; tiles.csv flows out: which tiles there are, where the stage puts each one, and that each can be read.
The step `tiles` (inventory.py) is the door. Every other wing reads pixels with `TileReader`."""
