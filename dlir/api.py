"""The front door for notebooks and scripts: arrays and tables in, tables out. `import dlir` offers these names.

A whole mosaic of a folder of tiles, with the workflow, its cache and its report, is one call:

    results = dlir.stitch("tiles/Y{row}_X{col}.tif")

The same step by step, in memory:

>>> import tempfile, dlir
>>> folder = tempfile.mkdtemp()
>>> pattern = dlir.make_demo(folder, rows=2, columns=2, tile=128)  # four tiles of a real image
>>> tiles = dlir.read_tiles(pattern, overlap=0.2)
>>> pairs = dlir.find_pairs(tiles)
>>> affines = dlir.register_pairs(tiles, pairs)
>>> placement, stage = dlir.place(tiles, affines)
>>> len(tiles), len(pairs), bool(affines["accepted"].all())
(4, 4, True)
>>> store = dlir.fuse(tiles, placement, f"{folder}/mosaic.ome.zarr")
>>> bool(placement["residual"].max() < 0.5)  # px
True

Tables are pandas data frames; `dlir.core.tables` names their columns and units. Points are (y, x) in px, with pixel centres at
integers. An affine takes a pixel of a tile to the mosaic, or of the moving tile to the fixed tile.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from dlir.core import affine, tables, time_points
from dlir.core.affine import Array
from dlir.core.lens import read_for as read_lenses
from dlir.demo.make import demo
from dlir.demo.settings import DEMO_IMAGES, Demo
from dlir.fusion import mosaic, plan
from dlir.fusion.exposure import tile_gains
from dlir.fusion.levels import levels
from dlir.fusion.settings import Mosaic
from dlir.illumination import estimate, fields
from dlir.illumination.fields import Fields
from dlir.illumination.settings import Illumination
from dlir.placement import adopt
from dlir.placement.place import place_times
from dlir.placement.settings import Place
from dlir.reading.inventory import find_tiles
from dlir.reading.settings import Dataset, Share
from dlir.reading.tile_reader import TileReader
from dlir.registration.pairs.neighbours import LEAST_SEARCH, neighbours, overlaps, with_windows
from dlir.registration.settings import Pairs, Register
from dlir.run_workflow import snakefile, stitch
from dlir.survey.settings import LayoutCheck
from dlir.survey.survey import survey_tiles

__all__ = [
    "Fields", "RegisteredPair", "TileReader", "adopt_placement", "estimate_illumination", "find_pairs", "fuse", "make_demo",
    "place", "read_tiles", "register_pair", "register_pairs", "snakefile", "stitch",
]  # fmt: skip


class RegisteredPair(NamedTuple):
    """How two tiles lie to each other."""

    affine: Array  # (2, 3) a moving px to a fixed px
    point: Array  # (2,) the moving px whose place is known best
    covariance: Array  # (2, 2) px^2, of the place of that pixel
    score: float  # NCC of the overlap after registration
    confidence: float  # the method's own, between 0 and 1, not calibrated on other pairs


def make_demo(folder: str | Path, **settings: Any) -> str:
    """Cut demo tiles from a real image; their true places go to `folder/truth.csv`.

    Args:
        settings: those of section `demo` of config.yaml, such as rows, columns and tile (px).

    Returns:
        The path of the tiles with {row} and {col}, as `read_tiles` takes it.
    """
    demo(Path(folder), settings=Demo.checked(settings))
    return str(Path(folder) / "tiles" / Path(DEMO_IMAGES).name)


def read_tiles(images: str, overlap: Share | tuple[Share, Share] = "auto", check: str = "stop", **layout: Any) -> pd.DataFrame:
    """The table of the tiles of a grid (tables.TILES); each file is read and checked, and the layout against the pixels.

    Args:
        images: the path of the tiles, in which {row} and {col}, or {index}, stand for the numbers in their names.
        overlap: the part of a tile that neighbours share, or (y, x); auto finds it in the tiles.
        check: stop where the tiles do not fit together as stated, or warn.
        layout: other keys of a dataset as in config.yaml, such as columns, snake, positions or pixel_size (micrometres).

    Raises:
        TileError: with a line for each file that cannot be used, and what to do.
        SurveyError: when the tiles fit together in another way than the layout says, or the overlap is not to be found.
        SettingsError: when a key is unknown or has a value that it cannot have.
    """
    dataset = Dataset.checked({"images": images, "overlap": overlap, **layout})
    return survey_tiles(find_tiles(dataset), dataset, LayoutCheck.checked({"check": check}))[0]


def adopt_placement(images: str, placement: str | Path, **layout: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of the tiles (tables.TILES) and of their placement (tables.PLACEMENT), which is taken over from another run.

    Args:
        images: the path of other images of the same grid, with placeholders as in `read_tiles`.
        placement: the placement.csv of that run.
        layout: other keys of a dataset as in config.yaml; needed where rows and columns have to match, and not the names.

    Raises:
        TileError: with a line for each file that cannot be used, and what to do.
        PlacementError: when the table does not tell the place of each tile.
    """
    dataset = Dataset.checked({"images": images, "placement": str(placement), **layout})
    return adopt.adopt_placement(find_tiles(dataset), Path(placement), cells_known=dataset.tells_cells)


def find_pairs(tiles: pd.DataFrame, search: float = 0.5, min_overlap: int = 8) -> pd.DataFrame:
    """The pairs of neighbouring tiles and the windows in which they overlap (tables.PAIRS).

    Args:
        search: how far the stage may be off, as a fraction of the nominal overlap.
        min_overlap: px; tiles that share less are no pair.
    """
    return neighbours(tiles, Pairs.checked({"search": search, "min_overlap": min_overlap}))


def estimate_illumination(tiles: pd.DataFrame, correct: bool = True) -> list[Fields]:
    """For each camera, by its number, the flat-field and the dark-field (channels, y, x) that its tiles share.

    With fewer than 4 tiles they are the identity.

    Args:
        correct: False gives the identity, for tiles that were corrected before.
    """
    return estimate.estimate_illumination(tiles, Illumination.checked({"correct": correct}))


def register_pair(
    fixed: ArrayLike,
    moving: ArrayLike,
    nominal: tuple[float, float],
    search: float | None = None,
    method: "str | Callable[..., Any]" = "network",
) -> RegisteredPair:
    """Register two tiles that overlap.

    >>> import numpy as np, dlir
    >>> from scipy.ndimage import gaussian_filter
    >>> specimen = gaussian_filter(np.random.default_rng(0).normal(size=(260, 420)), 1.5)
    >>> pair = dlir.register_pair(specimen[:256, :256], specimen[3:259, 160:416], nominal=(0, 164))
    >>> pair.affine[:, 2].round(1).tolist()  # where the moving tile's first pixel lies in the fixed tile, (y, x) px
    [3.0, 160.0]

    Args:
        fixed, moving: (y, x) images, grey values of any type, corrected for the illumination.
        nominal: where the stage says that pixel (0, 0) of the moving tile lies in the fixed tile, (y, x) px. The tiles may be
            neighbours along x or along y.
        search: how far, px, the true place may lie from the nominal one on either axis; half of the overlap by default.
        method: network, phase, package.module:function, or a function (`estimate.Method`).

    Raises:
        ValueError: when the tiles overlap by less than 8 px at the nominal place.
    """
    import torch

    from dlir.registration.inference.cache import EstimateCache
    from dlir.registration.inference.estimate_batch import estimate_batch
    from dlir.registration.inference.fine import refine_overlaps
    from dlir.registration.model.network import CorrelationNetwork
    from dlir.registration.pairs.planes import TilePlanes
    from dlir.registration.pairs.windows import in_batches

    images = [np.asarray(image, np.float32) for image in (fixed, moving)]
    if any(image.ndim != 2 for image in images):
        raise ValueError(f"fixed is {images[0].shape} and moving {images[1].shape}: give two images (y, x)")
    sizes = [np.array(image.shape) for image in images]
    common = overlaps(np.array(nominal, float), *sizes)
    if common.min() < LEAST_SEARCH:
        raise ValueError(f"the images overlap by {common.min():.0f} px at {nominal}: correct nominal, the overlap needs 8 px")
    across = int(np.argmin(common / np.minimum(*sizes)))
    swapped = nominal[across] < 0  # the windows take the tile above, or at the left, as the fixed one
    images, offset = (images[::-1], [-n for n in nominal]) if swapped else (images, list(nominal))
    reach = max(LEAST_SEARCH, round(common[across] / 2)) if search is None else search
    row = {"pair": 0, "fixed": 0, "moving": 1, "side": ("down", "right")[across],
           "nominal_y": offset[0], "nominal_x": offset[1], "search": reach}  # fmt: skip
    table = _arrays_as_tiles(images)
    rows = with_windows(pd.DataFrame([row]), table)
    device, planes, found_by = torch.device("cpu"), TilePlanes.of_arrays(images), _method(method, torch.device("cpu"))
    found = in_batches(rows, "the pair", planes, device, partial(estimate_batch, method=found_by, linear=math.inf))
    if isinstance(found_by, CorrelationNetwork):
        found = found.assign(accepted=True)
        start = affine.from_table(found)
        refine_overlaps(found, start, table, cache=EstimateCache(None, table), linear=0.01, planes=planes, device=device)
    pair = found.iloc[0]
    matrix, point = affine.from_table(found)[0], pair[["centre_y", "centre_x"]].to_numpy(float)
    if swapped:
        matrix, point = affine.invert(matrix), affine.apply(matrix, point[None])[0]
    covariance = tables.shift_covariance(found)[0]
    return RegisteredPair(matrix, point, covariance, float(pair["score_after"]), float(pair["confidence"]))


def register_pairs(
    tiles: pd.DataFrame,
    pairs: pd.DataFrame,
    illumination: Sequence[Fields] | None = None,
    method: "str | Callable[..., Any]" = "network",
    accept: float = 0.5,
    model: str | Path | None = None,
    device: str = "auto",
) -> pd.DataFrame:
    """The affine of each pair, its covariance, and the probability that it is right (tables.AFFINES).

    Args:
        tiles, pairs: as `read_tiles` and `find_pairs` give them.
        illumination: as `estimate_illumination` gives it; the tiles are used as they are without.
        method: network, phase, package.module:function, or a function (`estimate.Method`).
        accept: the least probability at which a pair counts.
        model: a model.pt of the step `train`; the generic weights of the package without.
        device: cpu, cuda, mps, or auto.
    """
    from dlir.registration.inference.register import register_pairs as registered
    from dlir.registration.model.checkpoint import choose_device

    _check_known(pairs[["fixed", "moving"]].to_numpy(int).ravel(), tiles, "pairs")
    place = choose_device("cpu" if method == "phase" else device)
    found_by = _method(method, place, Path(model) if model else None)
    settings = Register.checked({"accept": accept, "method": method if isinstance(method, str) else "own:method"})
    light = _fields(tiles, illumination)
    by_time = time_points.references(tiles)
    found = {time: registered(at, pairs, light, found_by, settings, device=place) for time, at in by_time.items()}
    return time_points.joined(found)


def place(tiles: pd.DataFrame, affines: pd.DataFrame, **settings: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Where each tile lies in the mosaic (tables.PLACEMENT), and how stage and camera err (tables.STAGE).

    Args:
        affines: as `register_pairs` gives them; only accepted pairs count.
        settings: those of section `place` of config.yaml, such as model="translation".
    """
    return place_times(tiles, affines, Place.checked(settings))


def fuse(
    tiles: pd.DataFrame,
    placement: pd.DataFrame,
    output: str | Path,
    illumination: Sequence[Fields] | None = None,
    threads: int = 1,
    lens: str | Path | None = None,
    **settings: Any,
) -> Path:
    """Fuse the tiles into an OME-Zarr 0.5 store at `output`, with all its channels, z planes and time points.

    Args:
        placement: as `place` gives it.
        illumination: as `estimate_illumination` gives it; the tiles are used as they are without.
        threads: blocks that are fused side by side.
        lens: the lens.csv of the run that placed the tiles, whose distortion is taken off.
        settings: those of section `mosaic` of config.yaml, such as blend="average".

    Raises:
        ImageError: when a tile cannot be read any more, or has changed its shape.
        LensError: when the distortion is that of other tiles.
        OutputError: when `output` exists and is no Zarr store; a store is replaced.
    """
    _check_known(placement["tile"].to_numpy(int), tiles, "placement")
    light = _fields(tiles, illumination)
    placed = time_points.at(placement, TileReader(tiles).time)
    ordered = tiles.set_index("tile").loc[placed["tile"]].reset_index()
    lenses = read_lenses(Path(lens) if lens else None, tiles)
    exposure = levels(ordered, tile_gains(tiles, placed, None, light, correct=False, lenses=lenses), light)
    image = plan.plan_mosaic(tiles, placement, light, exposure, Mosaic.checked(settings), lenses)
    store = Path(output).expanduser()
    mosaic.fuse(image, store, threads=threads)
    return store


def _check_known(numbers: NDArray[np.int64], tiles: pd.DataFrame, where: str) -> None:
    """Raises ValueError when a table names a tile that is not among these tiles."""
    if unknown := sorted({*numbers.tolist()} - {*tiles["tile"]}):
        raise ValueError(f"{where} names tile {unknown[0]}, which is not among the {len(tiles)} tiles: give all tiles")


def _fields(tiles: pd.DataFrame, illumination: Sequence[Fields] | None) -> Sequence[Fields]:
    return fields.without_light(tiles) if illumination is None else illumination


def _method(method: "str | Callable[..., Any]", device: Any, model: Path | None = None) -> Any:
    from dlir.registration.model.checkpoint import GENERIC
    from dlir.registration.model.methods import load_method

    if not isinstance(method, str):
        return method
    return load_method(method, model or GENERIC, device)


def _arrays_as_tiles(images: Sequence[NDArray[np.float32]]) -> pd.DataFrame:
    """The columns of tables.TILES that the fine registration needs, for two arrays (y, x)."""
    plain: dict[str, Any] = {"camera": 0, "times": 1, "depth": 1, "channels": 1, "reference_time": 0}
    sizes = {"height": [len(image) for image in images], "width": [image.shape[1] for image in images]}
    return pd.DataFrame({"tile": [0, 1], **sizes, **plain, "sha256": ["fixed", "moving"]})
