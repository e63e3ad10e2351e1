"""The channel of a nuclear stain, by the names that microscopes write."""

import logging

import pytest

from dlir.reading import nuclear_stain


@pytest.mark.parametrize(
    ("names", "number"),
    [
        (["CD3", "DAPI", "Ki67"], 1),
        (["A488", "Hoechst 33342"], 1),
        (["H33342", "CD45"], 0),
        (["nuclear envelope", "DRAQ5"], 1),
        (["DNA_1", "CD8"], 0),
        (["CD8", "DNA_cycle2"], 1),
        (["Opal 520", "Nuclei"], 1),
        (["sytox green", "DAPI"], 1),
        (["pancytokeratin", "Actin", "SYTOX"], 2),
        ([""], 0),
    ],
)
def test_a_nuclear_stain_is_known_by_its_name(names: list[str], number: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    assert nuclear_stain.channel_of(names) == number
    assert not caplog.records


def test_without_such_a_name_the_first_channel_is_taken_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert nuclear_stain.channel_of(["GFP", "mCherry"]) == 0
    assert "no channel has the name of a nuclear stain" in caplog.text
