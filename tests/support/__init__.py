"""What several tests need: specimens and grids with exact truth, and the workflow in a folder of its own."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
