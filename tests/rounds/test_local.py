"""The tissue of a round that was stretched is mended in its mosaic, that of others is left alone, and points follow."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import zarr
from support.rounds import CANVAS, MadeSpecimen, stretch, true_affines

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.core.tables import LOCAL_ROUNDS, ROUND_LOCAL
from dlir.fusion.mosaic import mosaic
from dlir.fusion.settings import Mosaic
from dlir.placement import transform
from dlir.reporting import round_results
from dlir.reporting.round_local import bent_rounds
from dlir.rounds.local import local
from dlir.rounds.place_rounds import round_place
from dlir.rounds.settings import Rounds
from dlir.rounds.shifts import EXACT, MATCH, shifts

SIDE = 48  # px, of a patch


class Mended(NamedTuple):
    made: MadeSpecimen
    rounds: pd.DataFrame  # tables.LOCAL_ROUNDS
    nodes: pd.DataFrame  # tables.ROUND_LOCAL


@pytest.fixture(scope="module")
def mended(tmp_path_factory: pytest.TempPathFactory) -> Mended:
    folder = tmp_path_factory.mktemp("mended") / "S"
    made = MadeSpecimen(folder, wrong=False)
    local(made.results, folder / "placement.csv", folder / "canvas.csv", folder / "local.csv", mended=folder / "mended.csv",
          settings=Rounds(local=3.0))  # fmt: skip
    for name in ("R2", "R3"):
        stage = pd.DataFrame({column: [0.0] for column in tables.STAGE.columns if column != "time"})
        tables.write(stage.assign(round=name, model="rigid"), tables.ROUND_STAGE, folder / "stage.csv")
        own = folder / name
        round_place(placement=folder / "placement.csv", stages=folder / "stage.csv", round=name, stage=own / "stage.csv",
                    output=own / "placement.csv", field=own / "local.csv", local=folder / "local.csv")  # fmt: skip
    return Mended(made, tables.read(folder / "mended.csv", LOCAL_ROUNDS), tables.read(folder / "local.csv", ROUND_LOCAL))


def fused(folder: Path, output: Path) -> Array:
    """The registered channel of the mosaic of a round, with its field."""
    inputs = [folder / each for each in ("tiles.csv", "illumination.tif", "exposure.csv", "placement.csv")]
    frame = folder.parent / "canvas.csv"
    mosaic(*inputs, output, canvas=frame, local=folder / "local.csv", settings=Mosaic(chunk=128, shard=512))
    return np.asarray(zarr.open_group(output)["0"][0], float)


def off(first: Array, other: Array) -> Array:
    """How far, px, patches of another mosaic (y, x) lie from those of the first."""
    rows, columns = 480 // SIDE, 700 // SIDE
    parts = [
        each[20 : 20 + rows * SIDE, 25 : 25 + columns * SIDE].reshape(rows, SIDE, columns, SIDE).swapaxes(1, 2)
        for each in (first, other)
    ]
    found = shifts(*(part.reshape(-1, SIDE, SIDE) for part in parts))
    matches = (found.after >= MATCH) & (found.deviation <= EXACT)
    assert matches.sum() > 80
    return np.linalg.norm(found.shift[matches], axis=1)


def test_a_stretched_round_gets_a_field_and_others_get_none(mended: Mended) -> None:
    assert mended.rounds["round"].tolist() == ["R2", "R3"]
    assert mended.rounds["used"].tolist() == [False, True]
    assert set(mended.nodes["round"]) == {"R3"}
    told = mended.rounds.iloc[1]
    assert told["before"] > 1
    assert told["after"] < 0.2
    assert tables.read(mended.made.folder / "R2" / "local.csv", tables.LOCAL).empty


def test_the_mosaic_of_a_stretched_round_agrees_with_the_first(mended: Mended, tmp_path: Path) -> None:
    folder = mended.made.folder
    first, before = (np.asarray(zarr.open_group(folder / name / "mosaic.ome.zarr")["0"][0], float) for name in ("R1", "R3"))
    after = off(first, fused(folder / "R3", tmp_path / "after.ome.zarr"))
    assert np.median(off(first, before)) > 1
    assert np.median(after) < 0.2
    assert np.percentile(after, 95) < 0.5


def test_a_round_without_a_field_is_fused_as_before(mended: Mended, tmp_path: Path) -> None:
    before = np.asarray(zarr.open_group(mended.made.folder / "R2" / "mosaic.ome.zarr")["0"][0], float)
    np.testing.assert_array_equal(fused(mended.made.folder / "R2", tmp_path / "after.ome.zarr"), before)


def test_points_go_to_the_mended_mosaic_and_back_and_neighbours_stay_joined(mended: Mended) -> None:
    placed, true = transform.read_placed(mended.made.folder / "R3"), true_affines("R3")
    points = np.random.default_rng(0).uniform(30, (CANVAS[0] - 30, CANVAS[1] - 30), (2000, 2))
    places: list[Array] = []
    for tile, matrix in enumerate(true):
        # what the first round shows at a point, R3 shows at that point and its stretch
        in_tile = affine.apply(affine.invert(matrix), points + stretch("R3", points))
        inside = ((in_tile >= 5) & (in_tile <= 250)).all(axis=1)
        found = np.full((len(points), 2), np.nan)
        found[inside] = placed.to_mosaic(tile, in_tile[inside])
        np.testing.assert_allclose(placed.to_tile(tile, found[inside]), in_tile[inside], atol=1e-4)
        places.append(found)
    assert np.nanmedian(np.linalg.norm(np.array(places) - points, axis=2)) < 0.2
    shared = np.array(places)[:, np.isfinite(places)[:, :, 0].sum(axis=0) > 1]
    assert shared.shape[1] > 200
    apart = np.nanmax(shared, axis=0) - np.nanmin(shared, axis=0)
    assert np.linalg.norm(apart, axis=1).max() < 0.1


def test_the_page_shows_how_a_round_was_bent(mended: Mended) -> None:
    results, rounds, between, placement = mended.made.inputs
    specimen = round_results.read(results, rounds, between, placement, "S")
    still, bent = bent_rounds(specimen, mended.made.folder / "mended.csv")
    assert still["arrows"] == []
    assert "R2 is not bent" in still["words"]
    assert "R3 is bent to R1 by up to" in bent["words"]
    arrows = pd.DataFrame(bent["arrows"])
    from_dots = arrows[["to_y", "to_x"]].to_numpy() - arrows[["y", "x"]].to_numpy()
    true = stretch("R3", arrows[["y", "x"]].to_numpy())
    scale = (from_dots * true).sum() / (true**2).sum()
    assert scale > 1
    assert np.median(np.linalg.norm(from_dots / scale - true, axis=1)) < 0.2
    assert bent_rounds(specimen, None) == []
