"""The page of a specimen with rounds in a real browser: two rounds in two colours, layers, patches and tables."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.browser import Opened, opened
from support.rounds import MadeSpecimen, write_page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(MadeSpecimen(tmp_path_factory.mktemp("page") / "S"))


@pytest.fixture
def bare(shown: Opened) -> Iterator[Opened]:
    """The page without any layer over the mosaic."""
    shown.do("document.querySelectorAll('#layers input:checked').forEach((box) => box.click())")
    shown.settled()
    yield shown


def pixel(shown: Opened, y: float, x: float) -> np.ndarray:
    """The colour (3,) of the screen at a place of the mosaic."""
    import io

    from PIL import Image as Picture

    shown.page.locator("#viewer").scroll_into_view_if_needed()
    shown.page.wait_for_timeout(300)
    at = shown.do(f"(() => {{ const at = dlir.toScreen({y}, {x}); return [at.x, at.y] }})()")
    box = shown.page.locator("#pictures").bounding_box()
    clip = {"x": box["x"] + at[0] - 2, "y": box["y"] + at[1] - 2, "width": 5, "height": 5}
    return np.asarray(Picture.open(io.BytesIO(shown.page.screenshot(clip=clip))).convert("RGB"))[2, 2].astype(float)


def choose(shown: Opened, mode: str) -> None:
    shown.page.locator(f"input[name=compare-mode][value={mode}]").check()
    shown.settled()


def test_two_rounds_are_red_and_green_and_add_up(bare: Opened) -> None:
    assert bare.do("dlir.compared.rounds()") == ["R1", "R2"]
    red, green, blue = pixel(bare, 150, 150)
    assert blue < 20 and red + green > 60
    checked = bare.do("dlir.channels.map((channel) => channel.on)")
    assert checked == [True, False, True, False, False, False]
    choose(bare, "magenta-green")
    assert abs(np.subtract(*pixel(bare, 150, 150)[[0, 2]])) < 12  # as much blue as red


def test_the_slider_fades_from_one_round_to_the_other(bare: Opened) -> None:
    choose(bare, "fade")
    slider = bare.page.locator("#compare input[type=range]")
    found = {}
    for end in ("0", "100"):
        slider.fill(end)
        bare.settled()
        found[end] = pixel(bare, 150, 150)
        assert np.ptp(found[end]) < 8  # grey
    assert bare.do("dlir.channels.filter((channel) => channel.light > 0 && channel.on).length") == 1
    assert slider.get_attribute("aria-valuetext") == "0 % R1, 100 % R2"


def test_a_line_parts_two_rounds(bare: Opened) -> None:
    choose(bare, "curtain")
    bare.page.locator("#compare input[type=range]").fill("30")
    clips = bare.do("dlir.channels.filter((channel) => channel.on).map((channel) => channel.clip)")
    assert clips == ["inset(0 70% 0 0)", "inset(0 0 0 30%)"]


def test_other_rounds_are_chosen_and_never_one_twice(bare: Opened) -> None:
    second = bare.page.locator("#compare select").nth(1)
    second.select_option("R3")
    assert bare.do("dlir.compared.rounds()") == ["R1", "R3"]
    assert bare.do("dlir.channels.map((channel) => channel.on)") == [True, False, False, False, True, False]
    second.select_option("R1")
    assert bare.do("dlir.compared.rounds()") == ["R3", "R1"]


def test_all_channels_have_switches_in_the_group_of_their_round(bare: Opened) -> None:
    choose(bare, "own")
    groups = bare.page.locator("#channels > details")
    assert groups.locator("summary").all_text_contents() == ["R1", "R2", "R3"]
    groups.nth(1).locator("summary").click()
    box = groups.nth(1).get_by_role("checkbox", name="R2/Cy5")
    box.check()
    bare.settled()
    assert bare.do("dlir.channels[3].on && dlir.channels[3].colour === dlir.channels[3].channel.color")
    assert bare.page.locator("#channels b").count() == 0  # <b>GFP stays text


def test_layers_show_where_a_round_is_off(shown: Opened) -> None:
    count = shown.page.locator("#layers input")
    for box in count.all():
        box.check()
    shown.settled()
    legend = shown.page.inner_text("#layers")
    assert "off by more than 1 px" in legend and "Arrows lead from where R1" in legend
    off = shown.do("dlir.patches.filter((patch) => patch.round === 'R2' && patch.length > 1).map((patch) => patch.tile)")
    assert set(off) >= {10}


def test_a_click_on_a_patch_tells_how_far_it_is_off(shown: Opened) -> None:
    patch = shown.do("dlir.patches.filter((patch) => patch.round === 'R2').sort((a, b) => b.length - a.length)[0]")
    shown.page.locator("#viewer").scroll_into_view_if_needed()
    at = shown.do(f"(() => {{ const at = dlir.toScreen({patch['y']}, {patch['x']}); return [at.x, at.y] }})()")
    box = shown.page.locator("#pictures").bounding_box()
    shown.page.mouse.click(box["x"] + at[0], box["y"] + at[1])
    shown.page.wait_for_function("document.querySelector('#chosen h3')")
    told = shown.page.inner_text("#chosen")
    assert f"Patch of round R2, at y {patch['y']:.0f}, x {patch['x']:.0f}" in told and f"{patch['length']:.2f} px" in told
    shown.page.locator("#chosen a[data-tile]").click()
    assert "Round R2, tile 4" in shown.page.inner_text("#chosen")


def test_a_tile_of_a_finding_is_shown_with_its_round(shown: Opened) -> None:
    link = shown.page.locator(".findings a[data-tile]", has_text=re.compile("^R3 "))
    name = link.first.inner_text()
    link.first.click()
    assert f"Round R3, tile {name.split()[-1]}" in shown.page.inner_text("#chosen")
    assert shown.do("dlir.compared.rounds()[1]") == "R3"


def test_patches_are_shown_before_and_after(shown: Opened) -> None:
    cards = shown.page.locator("#patch-gallery button")
    assert cards.count() == shown.do("dlir.facts.gallery.length") >= 30
    cards.nth(5).click()
    assert cards.nth(5).get_attribute("aria-pressed") == "true"
    for mode in ("blend", "blink", "magenta-green", "red-green"):
        shown.page.locator(f"#patch-open input[value={mode}]").check()
        images = shown.page.locator("#patch-open img")
        widths = images.evaluate_all("(all) => Promise.all(all.map((image) => image.decode().then(() => image.naturalWidth)))")
        assert len(widths) == {"blend": 8}.get(mode, 6) and min(widths) == 96
    assert "where the rough map puts" in shown.page.inner_text("#patch-open")


def test_the_table_of_tiles_sorts_and_leads_to_the_mosaic(shown: Opened) -> None:
    shown.page.locator("#table-tiles > summary").click()
    shown.page.wait_for_selector("#table-tiles tbody tr")
    assert shown.page.locator("#table-tiles tbody tr").count() == 18
    first = shown.page.locator("#table-tiles tbody th a").first
    assert first.text_content() == "R2 4"  # the one that is off most
    first.click()
    assert "Round R2, tile 4" in shown.page.inner_text("#chosen")
    shown.page.locator("#table-tiles thead button", has_text="number").click()
    numbers = [int(text) for text in shown.page.locator("#table-tiles tbody td:nth-child(3)").all_text_contents()]
    assert numbers == sorted(numbers)


def test_large_pictures_lie_beside_the_page(browser: Any, tmp_path: Path) -> None:
    page = write_page(MadeSpecimen(tmp_path / "S"), embed=0)
    assert len(list((page.parent / "report_files" / "patches").iterdir())) > 30
    with opened(browser, page) as found:
        assert (found.errors, found.outside) == ([], [])


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def test_axe_finds_nothing_serious_and_nothing_is_cut_off(browser: Any, page: Path, width: int, scheme: str) -> None:
    with opened(browser, page, width, scheme) as found:
        found.do("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        found.do("document.querySelectorAll('#layers input:not(:checked)').forEach((box) => box.click())")
        found.do("dlir.emit('patch', { patch: 2 })")
        found.page.locator("input[name=compare-mode][value=fade]").check()
        found.settled()
        assert found.barriers() == []
        assert found.do("document.documentElement.scrollWidth") <= width
