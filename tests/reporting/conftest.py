"""The page of a report, opened in a real browser; the fixture `page` of a module says which one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.browser import Opened, launched, opened


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as found:
        yield found


@pytest.fixture
def shown(browser: Any, page: Path) -> Iterator[Opened]:
    with opened(browser, page) as found:
        yield found
        assert (found.errors, found.outside) == ([], [])
