"""Files are watched for a moment only: the tests that write to a file do so many times a second."""

import pytest

from dlir.reading import contents


@pytest.fixture(autouse=True)
def short_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "WATCH", 0.3)
