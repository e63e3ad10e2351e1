"""The step `register`: it finds the affine of each pair in pairs.csv, and writes affines.csv and lens.csv.

This module reads the inputs, runs the method on batches of windows, and writes the table. What is registered where, and which
pairs are accepted, `consensus.py` decides. Where the accepted pairs show that a camera distorts all its tiles alike
(`lens_estimate.py`), all pairs are registered again with undistorted tiles, of which affines.csv then tells.
"""

import logging
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from dlir.core import hashing, tables, time_points
from dlir.core.lens import NO_LENSES, Lenses, to_table
from dlir.illumination import fields
from dlir.illumination.fields import Light
from dlir.reading.given_lens import given_lenses
from dlir.reading.tile_reader import read_table
from dlir.registration.inference.cache import EstimateCache
from dlir.registration.inference.consensus import consensus
from dlir.registration.inference.estimate_batch import estimate_batch
from dlir.registration.inference.fine import refine_overlaps
from dlir.registration.inference.global_search import global_search
from dlir.registration.inference.lens_estimate import find_lenses
from dlir.registration.inference.ties import Ties, lattice_of
from dlir.registration.model.checkpoint import choose_device
from dlir.registration.model.estimate import Method
from dlir.registration.model.methods import load_method
from dlir.registration.model.network import CorrelationNetwork
from dlir.registration.pairs.planes import TilePlanes
from dlir.registration.pairs.windows import in_batches
from dlir.registration.settings import Register, own_method_file

log = logging.getLogger(__name__)


def register(
    tiles: Path,
    illumination: Path,
    pairs: Path,
    output: Path,
    *,
    lens: Path | None = None,
    distortion: str = "auto",
    model: Path | None = None,
    settings: Register = Register(),
    device: str = "auto",
    cache: Path | None = None,
) -> None:
    """Registers all pairs and writes their affines (tables.AFFINES) to `output`; at each time point where the tiles say so.

    Args:
        tiles, illumination, pairs: files of earlier steps: tiles.csv, illumination.tif and pairs.csv.
        lens: the file for the distortion of each camera (tables.LENS); None to write none.
        distortion: of the lens, as `given_lens.given_lenses` takes it.
        model: the file of the network, which the method `network` needs.
        device: cpu, cuda, mps, or auto for the fastest of the machine. Phase correlation always runs on the CPU.
        cache: a folder that keeps estimates from run to run. A pair that did not change is not registered again.

    Raises:
        LensError: when the distortion that is given does not fit the tiles.
        ModelError: when the method is the network and no model is given, or the model cannot be read.
        MethodError: when `settings.method` names a function that cannot be imported.
    """
    chosen_device = choose_device(device if settings.method != "phase" else "cpu")
    method = load_method(settings.method, model, chosen_device)
    tile_table, pair_table = read_table(tiles), tables.read(pairs, tables.PAIRS)
    inputs = [hashing.of_file(path) if path else None for path in (illumination, model)]
    own = own_method_file(settings.method)
    code = own and hashing.of_file(own)  # an edit of a method of one's own makes its estimates obsolete
    light, caches = fields.read(illumination, tile_table), list[EstimateCache]()
    lenses = given_lenses(distortion, tile_table)

    def register_at(time: int | None, table: pd.DataFrame) -> pd.DataFrame:
        """The pairs at the time point that these tiles have as their reference; the first one shows the distortion, if any."""
        nonlocal lenses
        end = "" if time is None else f"-{time}"
        coarse = EstimateCache(cache / f"affines{end}" if cache else None, table, settings.method, code, *inputs)
        fine = EstimateCache(cache / f"overlaps{end}" if cache else None, table, inputs[0])
        caches.extend([coarse, fine])
        if time is not None:
            log.info("time point %d", time)
        given = (table, pair_table, light, method, settings)
        registered = partial(register_pairs, *given, device=chosen_device, coarse=coarse, fine=fine)
        found = registered(lenses=lenses or NO_LENSES)
        if lenses is None:
            lenses = find_lenses(found, table, partial(TilePlanes, table, light), chosen_device) if _is_exact(method) else {}
            found = registered(lenses=lenses) if lenses else found
        return found

    found = {time: register_at(time, table) for time, table in time_points.references(tile_table).items()}
    tables.write(time_points.joined(found), tables.AFFINES, output)
    if lens:
        tables.write(to_table(lenses or NO_LENSES), tables.LENS, lens)
    for each in caches:
        each.write()


def register_pairs(
    tiles: pd.DataFrame,
    pairs: pd.DataFrame,
    light: Light,
    method: Method,
    settings: Register = Register(),
    *,
    device: torch.device,
    lenses: Lenses = NO_LENSES,
    coarse: EstimateCache | None = None,
    fine: EstimateCache | None = None,
) -> pd.DataFrame:
    """Returns the affine, the covariance, the confidence and the verdict of each pair (tables.AFFINES).

    Args:
        tiles, pairs: tables.TILES and tables.PAIRS.
        light: the flat-field and the dark-field of each camera.
        method: registers the windows of pairs. With the network, the fine registration follows.
        device: where the method runs.
        lenses: of the cameras that distort their tiles; these are undistorted first.
        coarse, fine: caches of the estimates of the method and of the fine registration; without them all pairs are registered.
    """
    if pairs.empty:
        log.warning("there is no pair to register")
        return tables.check(pd.DataFrame(columns=list(tables.AFFINES.columns)), tables.AFFINES, Path("affines.csv"))
    coarse, fine = coarse or EstimateCache(None, tiles), fine or EstimateCache(None, tiles)
    if lenses:
        coarse, fine = (cache.with_input(to_table(lenses).to_csv()) for cache in (coarse, fine))
    planes = TilePlanes(tiles, light, lenses)
    return register_planes(tiles, pairs, planes, method, settings, device=device, coarse=coarse, fine=fine)


def register_planes(
    tiles: pd.DataFrame,
    pairs: pd.DataFrame,
    planes: TilePlanes,
    method: Method,
    settings: Register,
    *,
    device: torch.device,
    coarse: EstimateCache,
    fine: EstimateCache,
    slipped: bool = True,
) -> pd.DataFrame:
    """Returns what `register_pairs` does, from the planes of the tiles, which have at least one pair.

    Args:
        slipped: whether a pair may lie far from its nominal offset, so that it is looked for in the whole tiles.
    """
    pooled = _is_exact(method)  # what other methods make of pooled windows is not known

    def estimate(pairs: pd.DataFrame, what: str, linear: float, coarsest: int) -> pd.DataFrame:
        work = partial(estimate_batch, method=method, linear=linear)
        batches = partial(in_batches, planes=planes, device=device, work=work, coarsest=coarsest if pooled else None)
        return coarse.complete(pairs, what, linear, coarsest if pooled else 1, estimate=batches)

    refine = None
    if pooled:  # the affines of other methods are too inexact to start the fine registration
        refine = partial(refine_overlaps, cache=fine, planes=planes, device=device)
    lattice = lattice_of(pairs, planes, tiles)
    ties = None if lattice is None else Ties(lattice, planes)
    if refine and ties:
        refine = partial(ties.refine, refine=refine)
    # what repeats itself matches anywhere in the whole tiles
    search = partial(global_search, planes=planes, tiles=tiles) if slipped and not ties else None
    found = consensus(pairs, tiles, estimate, settings, refine, search, ties)
    planes.forget()  # the self-check that follows in this process needs the memory
    log.info("accepted %d of %d pairs; overruled %d of them", found["accepted"].sum(), len(found), found["overruled"].sum())
    return found


def _is_exact(method: Method) -> bool:
    """Whether the affines of a method are exact enough to start the fine registration, and to show a distortion."""
    return isinstance(method, CorrelationNetwork)
