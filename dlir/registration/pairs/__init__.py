"""tiles.csv flows in; pairs flow out, with the windows in which their tiles overlap: real pairs of neighbours (neighbours.py,
the step `pairs`, which is the door), synthetic pairs with a known affine (synthetic.py), and unrelated pairs, which cannot
match (unrelated.py). windows.py cuts the windows and hands them to the model in batches.
"""
