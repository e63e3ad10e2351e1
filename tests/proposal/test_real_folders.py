"""The folders of real tiles, without any settings: what is proposed for them."""

from typing import Any

import pytest
from support import ROOT

from dlir.proposal.propose import ProposalError, propose

DATA = ROOT.parent / "shared" / "data"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not DATA.is_dir(), reason="the real tiles are not on this machine")]


@pytest.mark.parametrize(
    ("folder", "images", "keys"),
    [
        ("brain", "C3-BrainSection{index}.tif", {"columns": 9, "start": "top-right", "snake": True}),
        ("lscm", "x100_epr-jerem_10pct_002_A*_I.tif", {"positions": str(DATA / "lscm" / "TileConfiguration.txt")}),
        ("phase", "ImageName_t01_p{index}.tif", {"rows": 5, "order": "columns"}),
        ("micrographs", "r{row}-c{col}.png", {}),
        ("grid_filename", "stitch2d_ex[Grid@{col} {row}].jpg", {}),
    ],
)
def test_the_layout_of_real_tiles_is_found(folder: str, images: str, keys: dict[str, Any]) -> None:
    found = propose(DATA / folder)
    assert found.keys == {"images": f"{DATA / folder}/{images}", **keys} and not found.questions


def test_images_that_are_no_tiles_are_refused() -> None:
    with pytest.raises(ProposalError, match=r"cuts: "):
        propose(DATA / "cuts")
