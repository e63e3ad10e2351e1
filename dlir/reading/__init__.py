"""Image files flow in; tiles.csv flows out: which tiles there are, where the stage says that each one lies, and proof that each
can be read. The step `tiles` (inventory.py) is the door. Every other wing reads pixels through `TileReader`."""
