"""tiles.csv flows in; pairs flow out, with the windows in which their tiles overlap: real ones (the step `pairs`,
neighbours.py), synthetic ones with a known affine (synthetic.py), and unrelated ones, which cannot match
(unrelated.py).
"""
