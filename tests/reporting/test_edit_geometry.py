"""The geometry of mending by hand, run in a real browser: offsets and rows of tiles that are turned and of several sizes."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from support import ROOT
from support.browser import chromium

from dlir.core import affine

SCRIPT = ROOT / "dlir" / "reporting" / "static" / "edit_geometry.js"
SIZES = [(160, 200), (160, 200), (120, 240), (160, 200)]
AT = np.array([[0.0, 0.0], [4.0, 170.0], [140.0, -3.0], [138.0, 172.0]])  # of four tiles, in px of a tile
TURN = np.deg2rad(3.0)
TURNED = np.array([[np.cos(TURN), -np.sin(TURN)], [np.sin(TURN), np.cos(TURN)]])  # from a px of a tile to one of the mosaic
Call = Callable[[str, Any], Any]


@pytest.fixture(scope="module")
def call() -> Iterator[Call]:
    """Evaluates an expression in JavaScript that uses `geometry` and the argument `given`."""
    driver, executable = pytest.importorskip("playwright.sync_api", reason="needs playwright"), chromium()
    with driver.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page()
        page.add_script_tag(content=f"const dlir = {{}};\n{SCRIPT.read_text()}\nconst geometry = dlir.geometry;")
        yield lambda expression, given: page.evaluate(f"given => JSON.stringify({expression})", given)
        browser.close()


def tiles(off: np.ndarray) -> dict[str, Any]:
    """The tiles of AT, and where they are placed: each this far (n, 2), px of a tile, from where it should."""
    places = np.concatenate([np.tile(TURNED, (len(AT), 1, 1)), ((AT + off) @ TURNED.T)[:, :, None]], axis=2)
    columns = affine.to_columns(places)
    rows = [{name: float(columns[name][i]) for name in affine.COLUMNS} for i in range(len(AT))]
    return {
        "tiles": [{"tile": i, "height": height, "width": width} for i, (height, width) in enumerate(SIZES)],
        "places": list(enumerate(rows)),
    }


def test_an_offset_is_told_in_px_of_the_tiles_whatever_the_turn(call: Call) -> None:
    given = tiles(np.zeros_like(AT))
    for fixed, moving in ((0, 1), (0, 2), (2, 1), (3, 0)):
        expression = (
            f"geometry.offset(new Map(given.places).get({fixed}), new Map(given.places).get({moving}), "
            f"[given.tiles[{fixed}], given.tiles[{moving}]])"
        )
        assert json.loads(call(expression, given)) == pytest.approx((AT[moving] - AT[fixed]).tolist(), abs=0.006)


def test_a_dragged_tile_gets_its_true_offset_and_loses_the_pairs_that_contradict_it(call: Call) -> None:
    off = np.array([[0, 0], [0, 0], [0, 0], [12.0, -20.0]])
    right, wrong = AT[3] - AT[2], AT[3] - AT[1] + [12.0, -20.0]
    given = {
        **tiles(off),
        "shift": (-off[3] @ TURNED.T).tolist(),
        "pairs": [
            {"fixed": 1, "moving": 3, "y": wrong[0], "x": wrong[1], "accepted": True},
            {"fixed": 2, "moving": 3, "y": right[0] + 1, "x": right[1], "accepted": True},
            {"fixed": 0, "moving": 3, "y": 999.0, "x": 0.0, "accepted": False},
            {"fixed": 0, "moving": 1, "y": 999.0, "x": 0.0, "accepted": True},
        ],
    }
    expression = "geometry.dragged(given.tiles, new Map(given.places), given.pairs, new Set([3]), given.shift)"
    (first, *others) = json.loads(call(expression, given))
    assert (first["fixed"], first["moving"]) == (2, 3)  # which share most: 120 x 65 px
    assert [first["y"], first["x"]] == pytest.approx(right.tolist(), abs=0.006)
    assert others == [{"fixed": 1, "moving": 3, "y": None, "x": None}]


def test_a_tile_beside_all_others_gets_no_row(call: Call) -> None:
    given = {**tiles(np.zeros_like(AT)), "shift": [0, 5000]}
    assert json.loads(call("geometry.dragged(given.tiles, new Map(given.places), [], new Set([3]), given.shift)", given)) == []


def test_the_tiles_of_a_group_keep_their_pairs(call: Call) -> None:
    given = {
        **tiles(np.zeros_like(AT)),
        "pairs": [{"fixed": 1, "moving": 3, "y": 1.0, "x": 1.0, "accepted": True}],  # within the group, however wrong
    }
    expression = "geometry.dragged(given.tiles, new Map(given.places), given.pairs, new Set([1, 3]), [5, 0])"
    rows = json.loads(call(expression, given))
    assert [(row["fixed"] in (0, 2), row["moving"] in (1, 3)) for row in rows] == [(True, True)]
    moved = np.linalg.solve(TURNED, [5.0, 0.0])
    assert [rows[0]["y"], rows[0]["x"]] == pytest.approx(
        (AT[rows[0]["moving"]] - AT[rows[0]["fixed"]] + moved).tolist(), abs=0.006
    )
