"""Helpers of several tests: specimens and grids of tiles with exact truth, and runs of the workflow in a separate folder."""

from pathlib import Path

ROOT = Path(__file__).parents[2]  # of the repository
SHARED = ROOT.parent / "shared"  # real tiles, where they are
