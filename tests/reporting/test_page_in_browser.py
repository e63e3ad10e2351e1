"""The page of the report in a real browser: it works from a disk and alone, and shows the pixels of the store."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from PIL import Image as Picture
from scipy import ndimage
from support.browser import Opened, opened
from support.results import results_of_grid

from dlir.core import hashing, tables
from dlir.fusion.mosaic import mosaic
from dlir.fusion.settings import Mosaic
from dlir.illumination import fields
from dlir.reporting.report import report
from dlir.reporting.settings import Report

LOSS = 1.0  # grey values of 255, root mean square, that JPEG may lose
NAME = "<!--<script>alert(1)<script>.tif"  # no part of it may run, or end something
CHANNELS = "DAPI|<b>GFP"
STAGE = {**{name: 0.1 for name in tables.STAGE.columns if name != "time"}, "model": "translation"}
INPUTS = ("tiles.csv", "illumination.tif", "exposure.csv", "placement.csv", "mosaic.ome.zarr")

pytestmark = pytest.mark.slow


def two_channels(folder: Path, depth: int) -> None:
    """Gives the tiles of a grid a second channel and z planes, each darker than the one before, and one a dangerous name."""
    listed, placed = (tables.read(folder / f"{name}.csv", getattr(tables, name.upper())) for name in ("tiles", "placement"))
    paths = [*listed["path"]]
    for path in paths:
        tile = tifffile.imread(path).astype(np.uint16)
        tile = tile.reshape(tile.shape[-2:])
        planes = np.stack([np.stack([tile, tile.max() - tile // 2]) // (z + 1) for z in range(depth)])
        tifffile.imwrite(path, planes, photometric="minisblack", metadata={"axes": "ZCYX"})
    Path(paths[0]).rename(folder / NAME)
    paths[0] = str(folder / NAME)
    sums = [hashing.of_file(Path(path)) for path in paths]
    listed = listed.assign(path=paths, sha256=sums, channels=2, dtype="uint16", channel_names=CHANNELS, pixel_size=0.5)
    listed = listed.assign(depth=depth, reference_z=0)
    tables.write(listed, tables.TILES, folder / "tiles.csv")
    tables.write(placed.assign(path=paths), tables.PLACEMENT, folder / "placement.csv")
    shape = (2, int(listed["height"][0]), int(listed["width"][0]))
    fields.write([fields.identity(shape)], folder / "illumination.tif")
    tile, channel = np.indices((len(paths), 2)).reshape(2, -1)
    exposed = pd.DataFrame({"tile": tile, "channel": channel, "gain": 1.0, "scale": 1.0, "pedestal": 0.0, "clipped": 0})
    tables.write(exposed, tables.EXPOSURE, folder / "exposure.csv")


def write_page(folder: Path, embed: float = 9.0, rows: int = 3, columns: int = 4, depth: int = 1) -> Path:
    """Writes the report of a grid of tiles of two channels, of which tile 5 is placed 3 px too far down."""
    results_of_grid(folder, rows, columns, wrong=3.0)
    two_channels(folder, depth)
    tiles, light, exposure, placed, store = (folder / name for name in INPUTS)
    mosaic(tiles, light, exposure, placed, store, settings=Mosaic(chunk=256, shard=1024))
    tables.write(pd.DataFrame([STAGE]), tables.STAGE, folder / "stage.csv")
    tables.write(pd.DataFrame(columns=list(tables.SELFCHECK.columns)), tables.SELFCHECK, folder / "selfcheck.csv")
    finding = {"kind": "off", "grade": "look", "sentence": "tile 5 is off", "remedy": "look", "tiles": [5], "pairs": [2]}
    judged = {"grade": "look", "sentence": "Good, but look here: tile 5 is off.", "findings": [finding], "time": None}
    (folder / "verdict.json").write_text(json.dumps(judged))
    of_pairs = {name: folder / f"{name}.csv" for name in ("affines", "stage", "selfcheck")}
    page = folder / "report.html"
    report(
        tiles, light, placed, exposure, store, page, **of_pairs, verdict=folder / "verdict.json", settings=Report(embed=embed)
    )
    return page


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(tmp_path_factory.mktemp("page") / "grid")


def drawn(shown: Opened) -> int:
    """How many pixels of the layers over the mosaic are drawn."""
    shown.settled()
    script = """(() => {
        const canvas = document.getElementById('drawing');
        const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        return pixels.filter((value, at) => at % 4 === 3 && value).length })()"""
    return int(shown.do(script))


def colours(shown: Opened) -> np.ndarray:
    """The mosaic as the screen shows it (y, x, 3)."""
    shown.settled()
    picture = shown.page.locator("#pictures").screenshot()
    return np.asarray(Picture.open(io.BytesIO(picture)).convert("RGB")).astype(float)


def on_screen(shown: Opened, y: float, x: float) -> tuple[float, float]:
    """Where a place of the mosaic is in the window, x and y, px."""
    pictures = shown.page.locator("#pictures")
    pictures.scroll_into_view_if_needed()
    box, at = pictures.bounding_box(), shown.do(f"dlir.toScreen({y}, {x})")
    return box["x"] + at["x"], box["y"] + at["y"]


def hide_layers(shown: Opened) -> None:
    shown.do("document.querySelectorAll('#layers input:checked').forEach((input) => input.click())")


@pytest.mark.parametrize("embed", [9.0, 0.0])
def test_the_page_opens_from_a_disk_alone(browser: Any, tmp_path: Path, embed: float) -> None:
    made = write_page(tmp_path / "grid", embed, 12, 14)  # so large that not all pictures are embedded
    with opened(browser, made) as found:
        assert found.do("dlir.facts.folder") == ("" if embed else "report_files")
        found.page.click("#zoom-pixels")
        found.settled()
        assert (found.errors, found.outside) == ([], [])
        assert colours(found).mean() > 20
        assert found.page.locator(".missing").count() == 0


def test_a_page_without_its_folder_says_so(browser: Any, tmp_path: Path) -> None:
    made = write_page(tmp_path / "grid", 0.0, 12, 14)
    (tmp_path / "grid" / "report_files").rename(tmp_path / "elsewhere")
    with opened(browser, made) as found:
        found.page.click("#zoom-pixels")
        found.page.wait_for_selector(".missing")
        assert "move the page together with it" in found.page.inner_text(".missing")


def test_at_100_percent_the_page_shows_the_pixels_of_the_store(shown: Opened, page: Path) -> None:
    store = np.asarray(zarr.open_array(page.parent / "mosaic.ome.zarr" / "0", mode="r")).astype(float)
    shown.page.click("#zoom-pixels")
    shown.page.wait_for_function("Math.abs(dlir.toScreen(0, 1).x - dlir.toScreen(0, 0).x - 1) < 1e-6")
    shown.settled()
    top, left = (round(shown.do(f"dlir.toScreen(-0.5, -0.5).{axis}")) for axis in "yx")
    channel = shown.do("dlir.facts.pictures.channels[0]")
    png = shown.do("dlir.viewer.drawer.canvas.toDataURL('image/png').split(',')[1]")
    canvas = np.asarray(Picture.open(io.BytesIO(base64.b64decode(png))).convert("L")).astype(float)
    seen = canvas[top : top + store.shape[1], left : left + store.shape[2]]
    expected = 255 * ((store[0] - channel["low"]) / (channel["high"] - channel["low"])).clip(0, 1)
    inside = ndimage.binary_erosion(store[0] > 0, iterations=8)  # JPEG loses most where the mosaic ends
    assert seen.shape == expected.shape and inside.mean() > 0.7
    assert np.std((seen - expected)[inside]) < LOSS
    assert np.std((np.roll(seen, 1, 1) - expected)[inside]) > 2 * LOSS  # a px off is seen


def test_channels_have_their_colours_and_switches(shown: Opened) -> None:
    hide_layers(shown)
    both = colours(shown).mean((0, 1))
    boxes = shown.page.locator("#channels input[type=checkbox]")
    boxes.nth(1).uncheck()
    blue = colours(shown).mean((0, 1))
    boxes.nth(0).uncheck()
    boxes.nth(1).check()
    green = colours(shown).mean((0, 1))
    assert blue[2] > 20 and blue[:2].max() < 3  # DAPI
    assert green[1] > 20 and green[[0, 2]].max() < 3  # GFP
    np.testing.assert_allclose(both, blue + green, atol=3)


def test_the_white_point_makes_the_mosaic_brighter(shown: Opened) -> None:
    hide_layers(shown)
    before = colours(shown)[..., 2].mean()
    shown.page.get_by_label("DAPI: white point").fill("90")
    assert colours(shown)[..., 2].mean() > 1.2 * before


def test_the_slider_of_z_shows_another_plane(browser: Any, tmp_path: Path) -> None:
    with opened(browser, write_page(tmp_path / "grid", depth=3)) as found:
        hide_layers(found)
        found.page.get_by_label("GFP: black point").fill("0")
        first = colours(found)[..., 1].mean()
        found.page.get_by_label("z", exact=True).fill("2")
        found.page.wait_for_function("dlir.viewer.world.getItemAt(0)?.source.getTileUrl(0, 0, 0).length")
        assert 0.05 * first < colours(found)[..., 1].mean() < 0.6 * first
        assert "to its full resolution" in found.page.inner_text("#planes")
        assert found.errors == []


def test_every_layer_can_be_switched(shown: Opened) -> None:
    hide_layers(shown)
    assert drawn(shown) == 0
    names = shown.do("[...document.querySelectorAll('#layers input:not(:disabled)')].map((input) => input.dataset.layer)")
    assert {"outlines", "names", "pairs", "residuals", "moved", "stage", "known", "exact"} <= set(names)
    for name in names:
        shown.page.locator(f"[data-layer={name}]").check()
        assert drawn(shown) > 50, name
        shown.page.locator(f"[data-layer={name}]").uncheck()
        assert drawn(shown) == 0, name


def test_outlines_lie_where_the_tiles_were_placed(shown: Opened) -> None:
    hide_layers(shown)
    shown.page.locator("[data-layer=outlines]").check()
    shown.settled()
    for tile in shown.do("dlir.tiles"):
        script = f"""(() => {{
            const at = dlir.toScreen({tile["y0"] + tile["height"] / 2}, {tile["x0"]} - 0.5);
            return [...document.getElementById('drawing').getContext('2d').getImageData(at.x - 1, at.y, 3, 1).data] }})()"""
        assert max(shown.do(script)[3::4]) > 100


def test_a_click_on_a_pair_tells_of_it_and_a_link_leads_to_its_place(shown: Opened) -> None:
    shown.page.locator("[data-layer=pairs]").check()
    shown.do("window.heard = []; dlir.on('pair', (detail) => heard.push(detail))")
    (pair,) = [pair for pair in shown.do("dlir.pairs") if pair["pair"] == 2]
    shown.page.mouse.click(*on_screen(shown, pair["y"], pair["x"]))
    shown.page.wait_for_function("heard.length === 1")
    assert shown.do("heard[0].pair") == 2
    assert f"Pair 2: tiles {pair['fixed']} and {pair['moving']}" in shown.page.inner_text("#chosen")
    shown.page.locator("#chosen a[data-tile]").first.click()
    shown.page.wait_for_function(f"document.querySelector('#chosen h3').textContent === 'Tile {pair['fixed']}'")
    shown.page.locator('.findings a[data-tile="5"]').click()
    (tile,) = [tile for tile in shown.do("dlir.tiles") if tile["tile"] == 5]
    middle = f"dlir.viewer.viewport.getCenter().x * dlir.facts.shape[1] - {tile['x0'] + tile['width'] / 2}"
    shown.page.wait_for_function(f"Math.abs({middle}) < 1")


def test_the_pointer_tells_the_place_and_the_tile(shown: Opened) -> None:
    shown.page.mouse.move(*on_screen(shown, 40, 40))
    shown.page.wait_for_function("document.getElementById('pointer').textContent.startsWith('y ')")
    told = shown.page.inner_text("#pointer")
    assert NAME in told and "tile 0 " in told and "(y 20.0, x 20.0 µm)" in told


def test_names_run_no_script(shown: Opened) -> None:
    shown.page.on("dialog", lambda dialog: shown.errors.append(dialog.message))
    shown.do("dlir.emit('tile', { tile: 0 })")
    assert NAME in shown.page.inner_text("#chosen")
    assert "<b>GFP" in shown.page.inner_text("#channels")
    assert shown.page.locator("#channels b").count() == 0


def test_the_map_is_moved_with_the_keyboard(shown: Opened) -> None:
    shown.page.locator("#zoom-in").focus()
    before = shown.do("dlir.viewer.viewport.getZoom()")
    shown.page.keyboard.press("Enter")
    shown.page.wait_for_function(f"dlir.viewer.viewport.getZoom() > 1.5 * {before}")
    centre = shown.do("dlir.viewer.viewport.getCenter().x")
    shown.page.locator("#pictures .openseadragon-canvas").first.focus()
    shown.page.keyboard.press("ArrowRight")
    shown.page.wait_for_function(f"dlir.viewer.viewport.getCenter().x > {centre}")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")])
def test_axe_finds_nothing_serious_and_nothing_is_cut_off(browser: Any, page: Path, width: int, scheme: str) -> None:
    with opened(browser, page, width, scheme) as found:
        found.do("document.querySelectorAll('#layers input:not(:disabled)').forEach((box) => box.checked || box.click())")
        found.do("dlir.emit('pair', { pair: 2 })")
        found.settled()
        assert found.barriers() == []
        assert found.do("document.documentElement.scrollWidth") <= width
