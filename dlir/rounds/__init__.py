"""Rounds: many acquisitions of one specimen, in one mosaic.

Each round is a dataset of its own up to its affines: it has its own layout, positions, light, lens and pairs. Here flow in the
tables of all rounds; out flow how each round lies to the first (`rounds.csv`), the pairs of tiles of two rounds
(`between.csv`), and one placement of all tiles.
"""
