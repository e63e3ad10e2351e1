"""The log counts what is done in the unit of the total."""

import logging

import pytest

from dlir.core import progress


def test_the_log_counts_the_sizes_of_the_items(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    batches = iter([["a", "b", "c"], ["d"]])
    with caplog.at_level(logging.INFO):
        assert list(progress.progress(batches, "registering pairs", total=4, size=len)) == [["a", "b", "c"], ["d"]]
    lines = caplog.messages
    assert lines[0].startswith("registering pairs: 3 of 4 (75 %), about ")
    assert lines[1].startswith("registering pairs: 4 of 4 (100 %), about 0 s left")
    assert lines[2].startswith("registering pairs: all 4 done in ") and len(lines) == 3


def test_a_fast_loop_logs_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert list(progress.progress(range(3), "reading tiles")) == [0, 1, 2]
    assert len(caplog.messages) == 1 and caplog.messages[0].startswith("reading tiles: all 3 done in ")
