"""Windows: they are cut from corrected tiles, and come in batches of one size with their expected shift."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from support.specimens import ONE_PLANE

from dlir.core import affine, hashing, progress
from dlir.illumination import fields
from dlir.registration.pairs import windows
from dlir.registration.pairs.planes import TilePlanes
from dlir.registration.pairs.windows import affine_columns, batches, in_batches, pooling

FLAT = np.linspace(0.5, 1.5, 40)[None, None] * np.ones((1, 32, 40), np.float32)


@pytest.fixture
def planes(tmp_path: Path) -> TilePlanes:
    """Two tiles, a slope along x and one along y, under the illumination FLAT."""
    y, x = np.mgrid[:32, :40].astype(np.float32)
    for name, tile in (("a", 100 + x), ("b", 100 + y)):
        tifffile.imwrite(tmp_path / f"{name}.tif", (tile * FLAT[0] + 7).astype(np.float32))
    fields.write(
        [fields.Fields(FLAT.astype(np.float32), np.full_like(FLAT, 7, np.float32), *np.zeros((2, *FLAT.shape[1:]), bool))],
        tmp_path / "light.tif",
    )
    table = pd.DataFrame({"tile": [3, 9], "path": [str(tmp_path / "a.tif"), str(tmp_path / "b.tif")]})
    table = table.assign(height=32, width=40, channels=1, dtype="float32", **ONE_PLANE)
    table["sha256"] = [hashing.of_file(Path(path)) for path in table["path"]]
    return TilePlanes(table, fields.read(tmp_path / "light.tif", table))


def row(pair: int, width: int, nominal: tuple[float, float]) -> dict[str, object]:
    return {"pair": pair, "fixed": 3, "moving": 9, "side": "right", "fixed_y": 0, "fixed_x": 40 - width, "moving_y": 0,
            "moving_x": 0,
            "height": 32, "width": width, "nominal_y": nominal[0], "nominal_x": nominal[1], "search": 6.0}  # fmt: skip


def test_windows_are_parts_of_corrected_tiles(planes: TilePlanes) -> None:
    (batch,) = batches(pd.DataFrame([row(0, 16, (0, 30))]), planes, 4, torch.device("cpu"))
    slope = np.arange(16) - 7.5
    assert batch.fixed[0, 0, 5].numpy() == pytest.approx(slope / slope.std(), abs=1e-3)
    assert np.ptp(batch.moving[0, 0].numpy(), axis=1).max() < 1e-3


def test_the_expected_shift_follows_from_the_nominal_offset(planes: TilePlanes) -> None:
    (batch,) = batches(pd.DataFrame([row(0, 16, (3.0, 32.0))]), planes, 4, torch.device("cpu"))
    assert batch.centre == (-4.0, -8.0)  # fixed px (y, 24 + x) lies at moving px (y - 3, x - 8), in cells of 4 px
    assert batch.search == 8.0


@pytest.mark.parametrize(("nominal", "search"), [((0, 24), 6.0), ((5, 28), 6.0), ((0, 28), 12.0)])
def test_the_search_of_a_pair_does_not_depend_on_other_pairs(
    planes: TilePlanes, nominal: tuple[float, float], search: float
) -> None:
    other = {**row(1, 16, nominal), "search": search}
    found = list(batches(pd.DataFrame([row(0, 16, (0, 28)), other]), planes, 4, torch.device("cpu")))
    assert [(batch.centre, batch.search) for batch in found if 0 in batch.rows["pair"].tolist()] == [((0.0, -4.0), 8.0)]
    assert len(found) == 2


def test_rounding_errors_of_positions_do_not_split_a_batch(planes: TilePlanes) -> None:
    rows = pd.DataFrame([row(i, 16, (0, 30 + (i - 1) * 1e-12)) for i in range(3)])  # -6 px lies between two cells
    assert len(list(batches(rows, planes, 4, torch.device("cpu")))) == 1


def test_batches_have_one_window_size_and_at_most_the_given_number_of_pairs(planes: TilePlanes) -> None:
    rows = pd.DataFrame([row(i, 16 if i % 2 else 24, (0, 30)) for i in range(10)])
    found = list(batches(rows, planes, 3, torch.device("cpu")))
    assert [len(batch.rows) for batch in found] == [3, 2, 3, 2]
    assert all(batch.fixed.shape[2:] == (32, batch.rows["width"].iloc[0]) for batch in found)
    assert sorted(pair for batch in found for pair in batch.rows["pair"]) == list(range(10))


def test_progress_counts_pairs_and_not_batches(
    planes: TilePlanes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    caplog.set_level("INFO")
    rows = pd.DataFrame([row(i, 16 if i < 11 else 24, (0, 30)) for i in range(13)])  # in batches of 8, 3 and 2
    found = in_batches(rows, "pairs", planes, torch.device("cpu"), lambda batch: batch.rows[["pair"]])
    assert sorted(found["pair"]) == list(range(13))
    steps = [record.getMessage().split(",")[0].split(" done")[0] for record in caplog.records]
    assert steps == [f"registering pairs: {n} of 13 ({part} %)" for n, part in ((8, 62), (11, 85), (13, 100))] + [
        "registering pairs: all 13"
    ]


def test_blind_pixels_are_filled_and_marked(tmp_path: Path) -> None:
    blind = np.zeros(FLAT.shape[1:], bool)
    blind[:, -1] = True
    light = fields.Fields(np.ones_like(FLAT, np.float32), np.zeros_like(FLAT, np.float32), blind, np.zeros_like(blind))
    planes = TilePlanes.of_arrays([np.zeros(blind.shape, np.float32)] * 10)
    assert next(batches(pd.DataFrame([row(0, 16, (0, 30))]), planes, 4, torch.device("cpu"))).shown is None
    tifffile.imwrite(tmp_path / "tile.tif", np.where(blind, 65535, 300).astype(np.uint16))
    table = pd.DataFrame(
        [
            {
                "tile": n,
                "path": str(tmp_path / "tile.tif"),
                "height": 32,
                "width": 40,
                "channels": 1,
                "dtype": "uint16",
                **ONE_PLANE,
            }
            for n in (3, 9)
        ]
    ).assign(sha256=hashing.of_file(tmp_path / "tile.tif"))
    planes = TilePlanes(table, [light])
    assert (planes.plane(3) == 300).all()
    (batch,) = batches(pd.DataFrame([row(0, 16, (0, 30))]), planes, 4, torch.device("cpu"))
    assert batch.shown is not None
    assert batch.shown[0][0, 0, 5].tolist() == [1] * 13 + [0] * 3 and batch.shown[1].all()


def test_large_windows_are_pooled_about_their_centres() -> None:
    rng = np.random.default_rng(3)
    tile = rng.normal(size=(160, 1000)).astype(np.float32)
    rows = pd.DataFrame([{**row(0, 0, (-90.0, 8.0)), "fixed": 0, "moving": 1, "side": "down", "fixed_y": 0, "fixed_x": 0,
                          "height": 160, "width": 1000, "search": 10.0}])  # fmt: skip
    planes = TilePlanes.of_arrays([tile, tile])
    assert pooling(rows).tolist() == [2] and pooling(rows, 1).tolist() == [1]
    (batch,) = batches(rows, planes, 4, torch.device("cpu"), coarsest=4)
    means = tile[:, 4:996].reshape(80, 2, 496, 2).mean(axis=(1, 3))  # the sides are multiples of 16
    assert batch.fixed[0, 0].numpy() == pytest.approx((means - means.mean()) / means.std(), abs=1e-4)
    assert (batch.step, batch.centre, batch.search) == (2, (44.0, -4.0), 8.0)  # in px of the window, multiples of 4
    shift = torch.tensor([[[1.0, 0.0, 45.0], [0.0, 1.0, -4.0]]])
    found = pd.DataFrame(affine_columns(shift, torch.diag(torch.tensor([1e-9, 1e-9, 1.0] * 2))[None], batch))  # px of the tiles
    assert affine.from_table(found)[0] == pytest.approx(np.array([[1, 0, -90.0], [0, 1, 8.0]])) and found["var_y"][
        0
    ] == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("sides", "coarsest", "step"),
    [((1200, 6000), 1, 4), ((600, 6000), 2, 2), ((205, 2048), 1, 1), ((1200, 6000), None, 1)],
)
def test_the_largest_windows_are_pooled_whatever_is_asked_for(sides: tuple[int, int], coarsest: int | None, step: int) -> None:
    assert pooling(pd.DataFrame([("down", *sides)], columns=["side", "height", "width"]), coarsest).tolist() == [step]


@pytest.mark.parametrize(("sides", "step"), [((300, 300), 1), ((100, 1001), 2), ((256, 4096), 4), ((63, 9000), 1)])
def test_windows_are_pooled_until_they_are_small_enough_or_narrow(sides: tuple[int, int], step: int) -> None:
    assert pooling(pd.DataFrame([("down", *sides)], columns=["side", "height", "width"])).tolist() == [step]


def test_windows_of_two_rounds_which_lie_where_they_are_told_to_are_pooled_earlier() -> None:
    rows = pd.DataFrame([("down", 200, 200), ("round", 200, 200), ("round", 120, 120)], columns=["side", "height", "width"])
    assert pooling(rows).tolist() == [1, 2, 1]


def test_large_windows_make_smaller_batches(planes: TilePlanes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "CPU_PIXELS", 1200)
    rows = pd.DataFrame([row(i, 16 if i < 5 else 24, (0, 30)) for i in range(7)])  # of 512 and 768 px
    sizes: list[int] = []
    found = in_batches(
        rows, "pairs", planes, torch.device("cpu"), lambda batch: sizes.append(len(batch.rows)) or batch.rows[["pair"]]
    )
    assert sorted(found["pair"]) == list(range(7)) and sorted(sizes) == [1, 1, 1, 2, 2]
