"""Seams, plots and tables of the page in a real browser."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.browser import Opened, opened
from support.results import results_of_grid

from dlir.core import tables
from dlir.reporting.pages import as_json
from dlir.reporting.report import report

SCRIPT = "<script>alert(1)</script>"
STAGE = {**{name: 0.1 for name in tables.STAGE.columns if name != "time"}, "model": "translation"}
COST = {"seconds": 1.5, "cpu_seconds": 1.25, "peak_memory_mb": 90.0}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a grid whose tile 5 is placed 3 px too far down, and whose last pair is rejected."""
    folder = tmp_path_factory.mktemp("page") / "grid"
    results_of_grid(folder, wrong=3.0, mosaic=True)
    tables.write(pd.DataFrame([STAGE]), tables.STAGE, folder / "stage.csv")
    known = [("down", pair, method, 0.1 * pair, 0.9) for pair in range(9) for method in ("network", "phase", "none")]
    tables.write(pd.DataFrame(known, columns=list(tables.KNOWN_PAIRS.columns)), tables.KNOWN_PAIRS, folder / "known_pairs.csv")
    tables.write(pd.DataFrame(columns=list(tables.SELFCHECK.columns)), tables.SELFCHECK, folder / "selfcheck.csv")
    affines = tables.read(folder / "affines.csv", tables.AFFINES).assign(reason=SCRIPT)
    tables.write(affines, tables.AFFINES, folder / "affines.csv")
    made = {"settings": {"datasets": {SCRIPT: {"overlap": 0.2}}}, "versions": {"dlir": "1"}, "stages": {"tiles": COST}}
    (folder / "provenance.json").write_text(json.dumps(made))
    files = [folder / name for name in ("tiles.csv", "illumination.tif", "placement.csv", "exposure.csv", "mosaic.ome.zarr")]
    more = {name: folder / f"{name}.csv" for name in ("affines", "stage", "selfcheck", "known_pairs")}
    report(*files, folder / "report.html", **more, provenance=folder / "provenance.json")
    return folder / "report.html"


def heading(shown: Opened) -> str:
    return str(shown.page.locator("#seam-heading").text_content())


def test_the_worst_seam_is_open_and_a_card_opens_another(shown: Opened) -> None:
    assert "5" in heading(shown).split()
    cards = shown.page.locator("#seam-gallery button")
    assert cards.count() == 17
    card = cards.nth(6)
    card.click()
    first, second = card.text_content().split(" · ")[0].removeprefix("tiles ").split(" and ")
    assert heading(shown) == f"Tiles {first} and {second}"
    assert card.get_attribute("aria-pressed") == "true"
    assert f"tiles {first} and {second}" in shown.page.locator("#chosen h3").text_content()  # the mosaic shows it too


def test_a_pair_that_is_clicked_in_the_mosaic_opens_its_seam_there(shown: Opened) -> None:
    shown.do("dlir.emit('pair', {pair: 16, from: 'map'})")
    pair = shown.do("dlir.pairs.find((pair) => pair.pair === 16)")
    assert heading(shown) == f"Tiles {pair['fixed']} and {pair['moving']}"
    assert shown.page.locator("#chosen .seam-picture").count() == 1
    assert shown.page.locator("#chosen a[href='#seam-open']").count() == 1


def test_a_seam_without_pictures_says_so(browser: Any, page: Path, tmp_path: Path) -> None:
    before, text, after = re.split(r'(?<=id="facts">)(.*?)(?=</script>)', page.read_text(), maxsplit=1, flags=re.DOTALL)
    (tmp_path / "page.html").write_text(before + str(as_json({**json.loads(text), "seams": []})) + after)
    with opened(browser, tmp_path / "page.html") as found:
        found.do("dlir.emit('pair', {pair: 3, from: 'map'})")
        words = found.page.locator("#seam-open").text_content()
        assert "No picture of this seam was kept" in words and "Residual against the placement" in words
        assert "no picture of its seam was kept" in found.page.locator("#chosen").text_content()


def test_the_pictures_of_a_seam_are_all_shown(shown: Opened) -> None:
    for mode in ("blend", "blink", "magenta-green", "red-green"):
        shown.page.locator(f"input[value={mode}]").click()
        images = shown.page.locator("#seam-open img")
        widths = images.evaluate_all("(all) => Promise.all(all.map((image) => image.decode().then(() => image.naturalWidth)))")
        assert len(widths) == {"blend": 6}.get(mode, 4) and min(widths) > 60


def test_blinking_starts_with_a_button_and_stops_with_it(shown: Opened) -> None:
    shown.page.locator("input[value=blink]").click()
    pictures = shown.page.locator(".seam-pictures")
    shown.page.wait_for_timeout(700)
    assert "swapped" not in pictures.get_attribute("class")
    shown.page.get_by_role("button", name="Start to blink").click()
    shown.page.wait_for_selector(".seam-pictures.swapped")
    shown.page.get_by_role("button", name="Stop").click()
    before = pictures.get_attribute("class")
    shown.page.wait_for_timeout(700)
    assert pictures.get_attribute("class") == before


def test_without_motion_a_click_swaps_the_tiles_once(shown: Opened) -> None:
    shown.page.emulate_media(reduced_motion="reduce")
    shown.page.locator("input[value=blink]").click()
    shown.page.get_by_role("button", name="Swap the tiles").click()
    shown.page.wait_for_timeout(700)
    assert "swapped" in shown.page.locator(".seam-pictures").get_attribute("class")


def test_every_plot_is_drawn_and_named(shown: Opened) -> None:
    figures = shown.page.locator("#plot-gallery > figure")
    assert figures.count() == len(shown.do("dlir.facts.plots.filter((plot) => !plot.missing)")) >= 6
    for figure in figures.all():
        figure.scroll_into_view_if_needed()
        shown.page.wait_for_function("(figure) => figure.querySelector('svg')", arg=figure.element_handle())
        assert figure.locator("[role=img]").get_attribute("aria-label").endswith(".")
    missing = shown.page.locator("#plots").text_content()
    assert "Training of the network: no network was trained on these tiles." in missing


def test_tables_sort_and_lead_to_the_mosaic(shown: Opened) -> None:
    shown.page.locator("#table-pairs > summary").click()
    shown.page.wait_for_selector("#table-pairs tbody tr")
    column = shown.page.locator("#table-pairs tbody td:nth-child(5)")
    assert [float(text) for text in column.all_text_contents()] == sorted(map(float, column.all_text_contents()), reverse=True)
    shown.page.locator("#table-pairs thead button", has_text="fixed").click()
    fixed = [int(text) for text in shown.page.locator("#table-pairs tbody td:nth-child(2)").all_text_contents()]
    assert fixed == sorted(fixed)
    assert shown.page.locator("#table-pairs th[aria-sort=ascending]").text_content() == "fixed"
    link = shown.page.locator("#table-pairs tbody th a").first
    number = link.text_content()
    link.click()
    assert f"Pair {number}:" in shown.page.locator("#chosen h3").text_content()
    shown.page.locator("#table-tiles > summary").click()
    shown.page.wait_for_selector("#table-tiles tbody tr")
    assert shown.page.locator("#table-tiles tbody tr").count() == 12


def test_names_stay_text(shown: Opened) -> None:
    shown.page.on("dialog", lambda dialog: shown.errors.append(dialog.message))
    shown.do("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    shown.page.wait_for_selector("#table-pairs tbody tr")
    assert SCRIPT in shown.page.locator("#seam-open").text_content()
    assert SCRIPT in shown.page.locator("#table-pairs").text_content()
    assert f"datasets.{SCRIPT}.overlap" in shown.page.locator("#settings").text_content()
