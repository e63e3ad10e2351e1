"""A slipped group is mended by hand in a real browser, and the command that the page shows applies it."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from support import ROOT, two_groups
from support.browser import chromium

pytestmark = pytest.mark.slow
ENVIRONMENT = {**{name: value for name, value in os.environ.items() if name != "DISPLAY"}, "PYTHONPATH": str(ROOT)}
UNTOUCHED = ("tiles.csv", "illumination.tif", "pairs.csv", "affines.csv", "model.pt", "selfcheck.csv")
MADE_AGAIN = ("placement.csv", "mosaic.sha256", "report.html", "accuracy.csv")


def column(table: Path, *names: str) -> np.ndarray:
    with table.open() as file:
        return np.array([[float(row[name]) for name in names] for row in csv.DictReader(file)])


def dates(results: Path, *names: str) -> list[int]:
    return [(results / name).stat().st_mtime_ns for name in names]


@contextmanager
def viewed(results: Path) -> Iterator[str]:
    """The address of the page that `dlir view` serves."""
    command = [sys.executable, "-m", "dlir", "view", str(results)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stderr is not None
        address = re.search(r"http://\S+", process.stderr.readline())
        assert address
        try:
            yield address[0]
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0


def asked(address: str, path: str, body: Any = None) -> Any:
    """What the server of the page answers."""
    content = None if body is None else json.dumps(body).encode()
    url, headers = f"{address.rpartition('/')[0]}/{path}", {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, content, headers), timeout=60) as answer:
        return json.loads(answer.read())


def press(page: Any, shift: np.ndarray) -> None:
    """Moves what is held by whole px (y, x)."""
    for px, (back, forth) in zip(shift.tolist(), (("ArrowUp", "ArrowDown"), ("ArrowLeft", "ArrowRight")), strict=True):
        key = forth if px > 0 else back
        for name, count in ((f"Shift+{key}", abs(px) // 10), (key, abs(px) % 10)):
            for _ in range(count):
                page.keyboard.press(name)


def test_a_slipped_group_is_mended_in_a_browser(tmp_path: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    playwright, executable = pytest.importorskip("playwright.sync_api", reason="needs playwright"), chromium()
    mine, results = two_groups.write(tmp_path), tmp_path / "results" / "two"
    first = [sys.executable, "-m", "dlir", "stitch", "mine.yaml"]
    subprocess.run(first, cwd=tmp_path, env=ENVIRONMENT, check=True, capture_output=True)
    assert column(results / "accuracy.csv", "error").max() > 5
    before = dates(results, *UNTOUCHED), dates(results, *MADE_AGAIN)
    true, placed = two_groups.true_places(), column(results / "placement.csv", "y0", "x0")

    said: list[str] = []
    with viewed(results) as address, playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1200})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: request.url.startswith(address.rpartition("/")[0]) or said.append(request.url))
        page.goto(address)
        page.locator("#mend").wait_for()
        outcome = page.locator("#mend-outcome")

        # no number is no tile, and what was not moved is no edit
        page.get_by_role("button", name="Take", exact=True).click()
        assert page.locator("#mend-said").inner_text() == ""
        page.get_by_label("Tile", exact=True).fill("0")
        page.get_by_role("button", name="Take", exact=True).click()
        page.get_by_role("button", name="Keep here").click()
        assert page.locator(".mend-edits").inner_text() == "none yet"
        page.get_by_role("button", name="Let go").click()

        # pairs across the gap show nothing; what was found there is wrong
        for pair, (fixed, moving) in enumerate(column(results / "affines.csv", "fixed", "moving").astype(int).tolist()):
            if (fixed, moving) in ((1, 2), (5, 6)):
                page.evaluate("pair => dlir.emit('pair', { pair })", pair)
                page.get_by_role("button", name="It is wrong").click()
        outcome.get_by_text("the tiles form 2 groups").wait_for()

        page.get_by_label("with its whole group").check()
        page.get_by_label("Tile", exact=True).fill("2")
        page.get_by_role("button", name="Take", exact=True).click()
        held = page.locator(".mend-map .held polygon")
        assert held.count() == 4
        x, y = map(float, str(held.first.get_attribute("points")).split()[0].split(","))
        shift = (true[2] - true[1]) - (np.array([y, x]) + 0.5 - placed[1])
        assert np.abs(shift).max() > 5
        press(page, np.rint(shift).astype(int))
        page.keyboard.press("Enter")
        outcome.get_by_text("all tiles are joined").wait_for()

        page.get_by_role("button", name="Save").click()
        page.locator("#mend-saved pre").last.wait_for()
        lines, command = page.locator("#mend-saved pre").all_inner_texts()
        broken = axe.Axe().run(page).response["violations"]
        browser.close()
    assert said == []
    assert [(rule["id"], rule["nodes"][0]["html"]) for rule in broken] == []

    settings = yaml.safe_load(mine.read_text())
    settings["datasets"]["two"].update(yaml.safe_load(lines)["datasets"]["two"])
    mine.write_text(yaml.safe_dump(settings))
    subprocess.run(["bash", "-c", command], cwd=ROOT, env=ENVIRONMENT, check=True, capture_output=True)
    assert column(results / "accuracy.csv", "error").max() < 0.75  # the keys move by whole px
    assert dates(results, *UNTOUCHED) == before[0]
    assert all(now > then for now, then in zip(dates(results, *MADE_AGAIN), before[1], strict=True))

    # the table has the offset to a px; the true one takes its place
    with viewed(results) as address:
        begun = asked(address, "edit")
        (dragged,) = [row for row in begun["rows"] if row["y"] is not None]
        y, x = true[dragged["moving"]] - true[dragged["fixed"]]
        rows = [row for row in begun["rows"] if row is not dragged] + [{**dragged, "y": y, "x": x}]
        saved = asked(address, "save", {"rows": rows, "state": begun["state"]})
    assert (saved["kept"], saved["added"], saved["dropped"], saved["settings"]) == (len(rows) - 1, 1, 1, "")
    subprocess.run(["bash", "-c", saved["command"]], cwd=ROOT, env=ENVIRONMENT, check=True, capture_output=True)
    assert column(results / "accuracy.csv", "error").max() < 0.1
    assert dates(results, *UNTOUCHED) == before[0]
