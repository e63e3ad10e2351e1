"""pairs.csv and model.pt flow in; affines.csv flows out. The step `register` (register.py) is the door; consensus.py holds the
loop between registration and placement."""
