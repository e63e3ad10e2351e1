"""A real browser without a screen, Debian's Chromium, in which the pages are tried."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

INSTALL = "apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core"


@cache
def chromium() -> str:
    """The path of Chromium, which is installed by apt where that can be done; else the test is skipped."""
    if not shutil.which("chromium") and os.geteuid() == 0 and shutil.which("apt-get"):
        done = subprocess.run(["sh", "-c", INSTALL], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"apt-get cannot install chromium: {done.stderr.strip()[-200:]}")
    found = shutil.which("chromium")
    if not found:
        pytest.skip("there is no chromium, and only root can install it by apt-get")
    return found


class Opened:
    """A page in the browser.

    Attributes:
        page: of playwright.
        errors: what the page wrote to the console as an error, and errors that nothing caught.
        outside: addresses that it asked for, other than files beside it and texts in itself.
    """

    def __init__(self, page: Any) -> None:
        self.page, self.errors, self.outside = page, [], []
        page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self._look(request.url))

    def _look(self, url: str) -> None:
        if not url.startswith(("file:", "data:", "blob:")):
            self.outside.append(url)

    def settled(self) -> None:
        """Waits until the viewer has drawn all pictures that it needs, and the layers."""
        self.page.wait_for_function("dlir.viewer.isOpen() && dlir.viewer.world.getItemAt(0).getFullyLoaded()")
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def barriers(self) -> list[tuple[str, str]]:
        """What axe finds that seriously keeps people from using the page: the rule, and the start of the element."""
        from axe_playwright_python.sync_playwright import Axe

        violations: list[dict[str, Any]] = Axe().run(self.page).response["violations"]
        return [
            (each["id"], node["html"][:200])
            for each in violations
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]

    def do(self, script: str) -> Any:
        """The value of an expression in the page."""
        return self.page.evaluate(script)


@contextmanager
def launched() -> Iterator[Any]:
    """Starts Chromium, and yields it as a browser of playwright; skips the test where there is none."""
    from playwright.sync_api import sync_playwright

    path = chromium()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Any, file: Path, width: int = 1280, scheme: str = "light") -> Iterator[Opened]:
    """Opens a page from the disk, with a window of this width, px, on a light or dark screen."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    try:
        found = Opened(context.new_page())
        found.page.goto(file.absolute().as_uri())
        found.settled()
        yield found
    finally:
        context.close()
