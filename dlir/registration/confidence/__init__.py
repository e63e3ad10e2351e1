"""Estimates flow in; the probability that each is right flows out (calibration.py). The step `selfcheck` (selfcheck.py)
measures registration on pairs with a known affine.
"""
