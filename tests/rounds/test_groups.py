"""Groups of rounds that the pixels join, and which rounds the step `between` then registers to which."""

from pathlib import Path

import pandas as pd
import pytest
from support.round_graphs import Shape, make_rounds, write_rounds

from dlir.core import affine
from dlir.core.affine import Array
from dlir.registration.settings import Register
from dlir.rounds import between as of_pairs
from dlir.rounds.groups import found_against, in_words, leaders
from dlir.rounds.inputs import PlacedRound

SMALL = Shape(rows=1, cols=2)


def against(*names: str) -> pd.DataFrame:
    """The columns of tables.ROUNDS that tell how R1, R2, ... were found; empty for rounds that lead a group."""
    found = ["pixels" if name else "stage" if number else "first" for number, name in enumerate(names)]
    return pd.DataFrame({"round": [f"R{number + 1}" for number in range(len(names))], "found": found, "against": names})


def test_groups_follow_chains_in_any_order() -> None:
    table = against("", "R4", "", "R1", "R3", "R2")
    assert leaders(table) == {"R1": "R1", "R2": "R1", "R3": "R3", "R4": "R1", "R5": "R3", "R6": "R1"}
    order = list(found_against(table))
    assert order.index("R4") < order.index("R2") < order.index("R6") and set(order) == {"R2", "R4", "R5", "R6"}


def test_names_in_words() -> None:
    assert [in_words(["R1", "R2", "R3"][:count]) for count in (1, 2, 3)] == ["R1", "R1 and R2", "R1, R2 and R3"]


@pytest.mark.parametrize(
    ("found", "registered"),
    [
        (("", "R1", "R1"), ["R2 to R1", "R3 to R1", "tile 1 of R3 to R2"]),
        (("", "", "R2"), ["R3 to R2"]),
        (("", "R1", "R2"), ["R2 to R1", "R3 to R2", "tile 1 of R3 to R1"]),
        (("", "R3", "R1"), ["R3 to R1", "R2 to R3", "tile 1 of R2 to R1"]),
    ],
)
def test_tiles_are_registered_in_their_group(
    found: tuple[str, ...], registered: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A round is registered to the one against which it was found; tiles that no pair joins then, to another of its group."""
    made = make_rounds(SMALL, SMALL, SMALL)
    made = made._replace(maps=made.maps.assign(**{name: against(*found)[name] for name in ("found", "against")}))
    write_rounds(made, tmp_path)
    called = []

    def register(fixed: PlacedRound, moving: PlacedRound, tiles: list[int], maps: dict[str, Array], *_: object) -> object:
        part = "" if tiles == [0, 1] else f"tile {tiles[0]} of "
        called.append(f"{part}{moving.round.name} to {fixed.round.name}")
        pairs = made.between.iloc[:1].assign(moving=0)  # tile 1 is loose
        return pairs, affine.compose(affine.translation([5.0, 0.0]), maps[moving.round.name])

    monkeypatch.setattr(of_pairs, "register_rounds", register)
    results = [tmp_path / f"R{number}" for number in (1, 2, 3)]
    of_pairs.between(results, tmp_path / "rounds.csv", tmp_path / "b.csv", settings=Register(method="phase"))
    assert called == registered
