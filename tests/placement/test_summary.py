"""What a placement says in words."""

import pandas as pd

from dlir.placement.summary import by_stage_alone, group_sentences

# three tiles are joined; all pairs of tile 3 were overruled; the user placed tile 4, and tile 5 has no pair
PLACED = pd.DataFrame(
    {
        "tile": range(6), "path": [f"t{i}.tif" for i in range(6)], "group": [0, 0, 0, 1, 2, 3], "pairs": [2, 2, 2, 1, 0, 0],
        "placed_by": ["pairs", "pairs", "pairs", "pairs", "user", "stage"], "deviation": [0.1, 0.1, 0.1, 3.0, 0.0, 4.0],
    }
)  # fmt: skip


def test_the_stage_alone_places_tiles_whose_pairs_do_not_count_and_none_of_the_user() -> None:
    assert by_stage_alone(PLACED).tolist() == [False, False, False, True, False, True]
    (line, _) = group_sentences(PLACED)
    assert line.startswith("2 single tiles have no accepted pair") and line.endswith("about 3.5 px: t3.tif, t5.tif")


def test_where_nothing_is_joined_every_tile_is_alone_but_not_a_single_one() -> None:
    apart = PLACED.assign(group=range(6), placed_by="stage")
    assert by_stage_alone(apart).all() and group_sentences(apart)[0].startswith("6 single tiles have")
    assert not by_stage_alone(apart[:1]).any() and group_sentences(apart[:1]) == []


def test_one_tile_alone_is_told_in_the_singular() -> None:
    (line, _) = group_sentences(PLACED.assign(group=[0, 0, 0, 0, 0, 1]))
    assert line.startswith("1 single tile has no accepted pair that counts. It lies where the stage says")


def test_tiles_of_several_rounds_are_named_with_their_rounds() -> None:
    (line, _) = group_sentences(PLACED.assign(round=3 * ["R1"] + 3 * ["R2"]))
    assert line.endswith(": R2/t3.tif, R2/t5.tif")
