"""A small specimen with three rounds, as its steps leave it, with exact truth.

R1 is the first round. R2 is turned and shifted; its tile 4 is placed wrongly. The tissue of R3 is stretched.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile

from dlir.core import affine, hashing, lens, tables
from dlir.core.affine import Array
from dlir.fusion.mosaic import mosaic
from dlir.fusion.settings import Mosaic
from dlir.illumination import fields
from dlir.reporting.report_rounds import report_rounds
from dlir.reporting.settings import Report
from dlir.rounds.join import join_rounds
from support.specimens import ONE_PLANE, Specimen

ROUNDS = ("R1", "R2", "R3")
SIDE, STEP, ROWS, COLUMNS = 256, 220, 2, 3  # px
TURN = {"R1": 0.0, "R2": 1.0, "R3": -0.5}  # degrees
MARGIN = 12.0  # px, from the border of the canvas to the tiles
WRONG = ("R2", 4, np.array([3.0, -1.0]))  # round, tile, and by how much its placement is off, px
ROUGH = np.array([4.0, -3.0])  # px, by how much the rough map of R2 is off
BEND, WAVE = 1.5, 500.0  # px, of the stretched tissue: amplitude and wavelength
NOISE = 40.0  # grey values
CANVAS = (520, 760)  # px
CHANNELS = {"R1": "DAPI|<b>GFP", "R2": "DAPI|Cy5", "R3": "DAPI|Cy3"}


def stretch(name: str, points: Array) -> Array:
    """By how much (..., 2), px, the tissue of a round shows what lies at points (..., 2) of the mosaic elsewhere."""
    if name != "R3":
        return np.zeros_like(points)
    return np.stack([BEND * np.sin(2 * np.pi * points[..., 1] / WAVE), BEND * np.cos(2 * np.pi * points[..., 0] / WAVE)], -1)


def turned(name: str) -> Array:
    """How a round is turned (2, 2)."""
    angle = np.deg2rad(TURN[name])
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def middle() -> Array:
    """The middle (2,) of a round in its own frame, px."""
    return (np.array([(ROWS - 1) * STEP, (COLUMNS - 1) * STEP]) + SIDE - 1) / 2


def true_affines(name: str) -> Array:
    """Where the tiles (n, 2, 3) of a round lie in the mosaic."""
    linear = turned(name)
    nominal = np.array([[row * STEP, col * STEP] for row in range(ROWS) for col in range(COLUMNS)], float)
    scatter = np.random.default_rng(ROUNDS.index(name)).uniform(-2, 2, nominal.shape)
    offset = (nominal - middle()) @ linear.T + scatter + middle() + MARGIN
    return np.concatenate([np.broadcast_to(linear, (len(nominal), 2, 2)), offset[:, :, None]], 2)


class MadeSpecimen:
    """Writes the results of the specimen to `folder`, as its steps leave them; the rounds lie in R1, R2 and R3."""

    def __init__(
        self,
        folder: Path,
        *,
        wrong: bool = True,
        stretched: bool = True,
        blank: tuple[str, ...] = (),
        canvas: tuple[int, int] = CANVAS,
    ) -> None:
        self.folder = folder
        self.results = [folder / name for name in ROUNDS]
        folder.mkdir(parents=True)
        size = pd.DataFrame([{"height": canvas[0], "width": canvas[1], "pixel_size": 0.5}])
        tables.write(size[list(tables.CANVAS.columns)], tables.CANVAS, folder / "canvas.csv")
        placed = []
        for name in ROUNDS:
            (folder / name).mkdir()
            true = true_affines(name)
            self._tiles(name, true, stretched, name in blank)
            found = true.copy()
            if wrong and name == WRONG[0]:
                found[WRONG[1], :, 2] += WRONG[2]
            placed.append(self._placement(name, found))
            self._mosaic(name)
        self._tables(pd.concat(placed, ignore_index=True))
        join_rounds(self.results, folder / "mosaic.ome.zarr", sums=folder / "mosaic.sha256")

    def _tiles(self, name: str, true: Array, stretched: bool, blank: bool) -> None:
        rng, folder = np.random.default_rng([9, ROUNDS.index(name)]), self.folder / name
        shared, own = Specimen(1, waves=120, shortest=12.0), Specimen(ROUNDS.index(name) + 5, waves=60, shortest=12.0)
        grid = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij"), -1).reshape(-1, 2).astype(float)
        paths, bleached = [], 0.7 ** ROUNDS.index(name)
        for tile, matrix in enumerate(true):
            points = affine.apply(matrix, grid)
            seen = points - stretch(name, points) if stretched else points
            stains = [0 * points[:, 0] if blank else 100 * bleached * shared(seen), 80 * own(points)]
            pixels = np.stack([2000 + each + NOISE * rng.standard_normal(len(points)) for each in stains])
            path = folder / f"{name}_{tile}.tif"
            tifffile.imwrite(path, pixels.reshape(2, SIDE, SIDE).astype(np.uint16), photometric="minisblack",
                             metadata={"axes": "CYX"})  # fmt: skip
            paths.append(str(path))
        table = pd.DataFrame({"tile": range(len(paths)), "path": paths, "row": np.arange(len(paths)) // COLUMNS})
        table = table.assign(
            col=table["tile"] % COLUMNS, y=table["row"] * STEP * 1.0, height=SIDE, width=SIDE, channels=2, dtype="uint16",
            pixel_size=0.5, sha256=[hashing.of_file(Path(path)) for path in paths], **ONE_PLANE,
        )  # fmt: skip
        table = table.assign(x=table["col"] * STEP * 1.0, channel_names=CHANNELS[name], reference_channel=0)
        tables.write(table, tables.TILES, folder / "tiles.csv")
        fields.write([fields.identity((2, SIDE, SIDE))], folder / "illumination.tif")
        lens.write({}, folder / "lens.csv")
        tile, channel = np.indices((len(paths), 2)).reshape(2, -1)
        exposed = {"tile": tile, "channel": channel, "gain": 1.0, "scale": 1.0, "pedestal": 0.0, "clipped": 0}
        tables.write(pd.DataFrame(exposed), tables.EXPOSURE, folder / "exposure.csv")
        ends = [(i, i + 1, "right") for i in range(len(paths)) if (i + 1) % COLUMNS]
        ends += [(i, i + COLUMNS, "down") for i in range(len(paths) - COLUMNS)]
        true_pairs = affine.compose(affine.invert(true[[i for i, _, _ in ends]]), true[[j for _, j, _ in ends]])
        pairs = pd.DataFrame(ends, columns=["fixed", "moving", "side"]).assign(pair=range(len(ends)))
        tables.write(_found(pairs, true_pairs), tables.AFFINES, folder / "affines.csv")
        tables.write(pd.DataFrame(columns=list(tables.SURVEY.columns)), tables.SURVEY, folder / "survey.csv")
        judged = {"grade": "good", "sentence": "Good: pairs hold all 6 tiles.", "findings": [],
                  "error_px": {"median": 0.06, "worst": 0.09}}  # fmt: skip
        (folder / "verdict.json").write_text(json.dumps(judged))
        (folder / "report.html").write_text("<title>a round</title>")

    def _placement(self, name: str, found: Array) -> pd.DataFrame:
        folder, listed = self.folder / name, tables.read(self.folder / name / "tiles.csv", tables.TILES)
        placed = pd.DataFrame({"tile": listed["tile"], "path": listed["path"], **affine.to_columns(found)}).assign(
            pairs=4, residual=0.1, deviation=0.1, group=0, slip_y=0.0, slip_x=0.0, loop=np.nan, placed_by="pairs"
        )
        tables.write(placed, tables.PLACEMENT, folder / "placement.csv")
        return placed.assign(round=name)

    def _mosaic(self, name: str) -> None:
        folder = self.folder / name
        inputs = [folder / each for each in ("tiles.csv", "illumination.tif", "exposure.csv", "placement.csv")]
        mosaic(*inputs, folder / "mosaic.ome.zarr", sums=folder / "mosaic.sha256", canvas=self.folder / "canvas.csv",
               settings=Mosaic(chunk=128, shard=512))  # fmt: skip

    def _tables(self, placed: pd.DataFrame) -> None:
        tables.write(placed, tables.ROUND_PLACEMENT, self.folder / "placement.csv")
        rough = np.stack([np.c_[turned(name), middle() - turned(name) @ middle()] for name in ROUNDS])
        rough[1, :, 2] += ROUGH
        angles = [TURN[name] for name in ROUNDS]
        rounds = pd.DataFrame({"round": ROUNDS, **affine.to_columns(rough), "turn": angles}).assign(
            scale=1.0, shift_y=[0.0, 3.5, -2.0], shift_x=[0.0, 8.0, 1.0], blocks=12, agreeing=11, spread=0.4,
            found=["first", "pixels", "pixels"], against=["", "R1", "R1"], advice="",
        )  # fmt: skip
        tables.write(rounds, tables.ROUNDS, self.folder / "rounds.csv")
        by_round = {name: true_affines(name) for name in ROUNDS}
        found = []
        for name in ROUNDS[1:]:
            pairs = pd.DataFrame({"fixed": range(6), "moving": range(6), "side": "round", "pair": range(6)})
            matrices = affine.compose(affine.invert(by_round["R1"]), by_round[name])
            found.append(_found(pairs, matrices).assign(fixed_round="R1", moving_round=name))
        between = pd.concat(found, ignore_index=True)
        between["pair"] = between.index
        between.loc[between.index[-1], ["accepted", "reason"]] = [False, "score <too low>"]
        tables.write(between, tables.ROUND_PAIRS, self.folder / "between.csv")

    @property
    def inputs(self) -> tuple[list[Path], Path, Path, Path]:
        """The folders of the rounds, and the tables of rounds, pairs and places."""
        return self.results, *(self.folder / f"{name}.csv" for name in ("rounds", "between", "placement"))


def write_page(made: MadeSpecimen, embed: float = 9.0) -> Path:
    """Writes the page and the verdict of the specimen, and returns the page; see `dlir.reporting.settings.Report`."""
    results, rounds, between, placement = made.inputs
    folder = made.folder
    report_rounds(
        results, folder / "report.html", rounds=rounds, between=between, placement=placement,
        mosaic=folder / "mosaic.ome.zarr", verdict=folder / "verdict.json", report=Report(embed=embed),
    )  # fmt: skip
    return folder / "report.html"


def _found(pairs: pd.DataFrame, matrices: Array) -> pd.DataFrame:
    """Pairs that are registered exactly (tables.AFFINES)."""
    centre = (SIDE - 1) / 2
    linear = {f"cov_{one}_{other}": 1e-6 * (one == other) for one in tables.LINEAR for other in tables.LINEAR}
    return pairs.assign(
        **affine.to_columns(matrices), **linear, centre_y=centre, centre_x=centre, var_y=0.01, cov_yx=0.0, var_x=0.01,
        bow_y=0.0, bow_x=0.0, score_before=0.1, score_after=0.9,
        confidence=0.99, accepted=True, overruled=False, reason=None, method="network",
    )  # fmt: skip
