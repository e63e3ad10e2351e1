"""Estimates flow in; the probability that each is right flows out (calibration.py). The step `selfcheck` (selfcheck.py)
measures the errors of registration on synthetic pairs, whose affine is known.
"""
