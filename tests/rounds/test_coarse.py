"""How a round lies to another, by their pictures and by the step `rounds`."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from support.acquisitions import acquired, true_map
from support.acquisitions import seen as what_it_shows

from dlir.core import affine
from dlir.core.affine import Array
from dlir.rounds.alike import RoundsError
from dlir.rounds.coarse import CoarseMap, coarse_map
from dlir.rounds.inputs import PlacedRound
from dlir.rounds.pictures import Picture, picture, step_for
from dlir.rounds.rounds import find_rounds
from dlir.rounds.similarity import turning


def shown(placed: PlacedRound, step: int = 2) -> Picture:
    return picture(placed.round.planes(), placed.round.tiles, placed.placement, step)


def off(found: Array, true: Array) -> float:
    """By how many px a map (2, 3) is off, at most, in the middle of the tiles."""
    points = affine.corners(300, 450) + 50
    return float(np.linalg.norm(affine.apply(found, points) - affine.apply(true, points), axis=1).max())


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> PlacedRound:
    return acquired(tmp_path_factory.mktemp("specimen") / "R1", true_map())


def test_the_picture_shows_where_tiles_lie_without_their_light(first: PlacedRound) -> None:
    seen = shown(first)
    assert step_for(first.round.tiles, first.placement, 300) == 2
    side = max(seen.image.shape)
    true = ndimage.gaussian_filter(what_it_shows(1, seen.to_frame(), side), 2)[: seen.image.shape[0], : seen.image.shape[1]]
    inner = seen.covered & (ndimage.uniform_filter(seen.covered.astype(float), 15) > 0.99)
    shown_there = ndimage.gaussian_filter(seen.image, 2)[inner]
    assert np.corrcoef(shown_there, true[inner])[0, 1] > 0.9
    assert seen.covered.mean() > 0.95


@pytest.mark.parametrize(
    ("turn", "scale", "shift"),
    [(0.0, 1.0, (3.0, -5.0)), (-1.0, 1.0, (60.0, 40.0)), (8.5, 1.03, (-40.0, 90.0)), (-5.0, 0.96, (10.0, 10.0))],
)
def test_a_round_is_found_through_bleaching_and_debris(
    first: PlacedRound, tmp_path: Path, turn: float, scale: float, shift: tuple[float, float]
) -> None:
    true = true_map(turn, scale, shift)
    second = acquired(tmp_path / "R2", true, light=0.4, debris=5, seed=2)
    found = coarse_map(shown(first), shown(second))
    assert found.found
    assert found.agreeing > 0.6 * found.blocks
    assert off(found.affine, true) < 1.0


def test_another_specimen_is_not_found(first: PlacedRound, tmp_path: Path) -> None:
    elsewhere = acquired(tmp_path / "R2", true_map(), seed=3, specimen=2)
    table = find_rounds([first, elsewhere])
    assert table["found"].tolist() == ["first", "stage"]
    assert "reference_channel" in table["advice"][1]
    assert table["turn"][1] == 0


@pytest.mark.parametrize("grey", [0.0, 500.3])
def test_a_blank_round_is_not_found(first: PlacedRound, grey: float) -> None:
    seen = shown(first, step=4)
    blank = seen._replace(image=np.where(seen.covered, grey, 0).astype(np.float32))
    for fixed, moving in ((blank, seen), (seen, blank), (blank, blank)):
        found = coarse_map(fixed, moving)
        assert not found.found
        assert found.agreeing == 0


def test_a_round_that_does_not_match_the_first_is_found_by_the_one_before(first: PlacedRound, tmp_path: Path) -> None:
    # the first round shows the left half of what the second shows, and the third the right half
    second = acquired(tmp_path / "R2", true_map(1.0, shift=(0.0, 250.0)), seed=4)
    third = acquired(tmp_path / "R3", true_map(0.0, shift=(0.0, 500.0)), seed=5)
    table = find_rounds([first, second, third])
    assert table["found"].tolist() == ["first", "pixels", "pixels"]
    assert off(affine.from_table(table)[2], true_map(shift=(0.0, 500.0))) < 2.0
    assert table["turn"].tolist() == pytest.approx([0, 1, 0], abs=0.2)


def test_a_slip_in_the_unit_of_the_pixel_size_is_refused(first: PlacedRound) -> None:
    told = [
        first._replace(round=first.round._replace(name=name, tiles=first.round.tiles.assign(pixel_size=size)))
        for name, size in (("R1", 0.325), ("R2", 325.0))
    ]
    with pytest.raises(RoundsError, match=r"of R2 is 325 µm, and that of R1 0\.325 µm: give the true pixel_size"):
        find_rounds(told)


def test_few_blocks_that_agree_are_no_proof() -> None:
    still = affine.translation([0.0, 0.0])
    assert not CoarseMap(still, 40, 4, 1.0).found
    assert CoarseMap(still, 40, 20, 1.0).found
    assert not CoarseMap(np.c_[turning(20.0, 1.0), [0.0, 0.0]], 40, 20, 1.0).found
    assert not CoarseMap(still, 0, 0, float("nan")).found
