"""The registration network against its bars and beside other methods, on the test pairs of the prototype.

    python benchmarks/registration.py --prototype ../shared/prototype

A pair is two strips of one image under a known affine, with independent noise, gain and shading. Its error is the mean
distance of the four corners from the truth, px. Its bound is the Bayesian Cramer-Rao bound on this error,

    sigma_bound^2 = mean over corners c of  J(c) (sum_p g_p g_p^T / (2 s^2) + P)^-1 J(c)^T

with g_p the derivative of the clean fixed strip at pixel p by the parameters of the affine, s the deviation of the noise of
either strip, and P the precision of the affines that are drawn. This holds for a specimen that is known except for its place.
When only the power spectrum S of the specimen is known, beside the power N = s^2 of the noise, each spatial frequency carries

    S^2 / (2 S N + N^2)  in place of  S / (2 N)        (Knapp and Carter 1976)

The second bound is for this unknown specimen: the first one, of the clean strip filtered by sqrt(S / (S + N / 2)). Affines are
in the order of the prototype, (x, y), fixed to moving, about the centres of the strips.
"""

import contextlib
import importlib
import logging
import math
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import cyclopts
import numpy as np
import torch
from bars import Result, Truth, markdown, table_rows
from torch import Tensor

from dlir.core.progress import progress
from dlir.registration.model import checkpoint
from dlir.registration.model.network import CorrelationNetwork
from dlir.registration.model.noise_filter import hat_functions
from dlir.registration.model.warping import corner_variance, grid

SEARCH = 16.0  # px; the largest shift of the test pairs
# half widths of the uniform draws: rotation (rad), scale, aspect, shear, shifts along y and x (px)
DRAWN = (math.pi / 180, 0.01, 0.0025, 0.005, 16.0, 16.0)
SPEED = (16, 96, 512)  # batch, height and width (px) of the pairs that are timed
ROUNDS = 7  # of timing; their median is printed


class Answer(NamedTuple):
    """The result of a method for a batch of pairs."""

    affine: Tensor  # (b, 2, 3)
    confidence: Tensor | None = None  # (b,), any scale
    sigma: Tensor | None = None  # (b,) predicted corner error, px


Method = Callable[[Tensor, Tensor], Answer]


def load_prototype(folder: Path) -> tuple[Any, Any, Any]:
    """The modules common, base and nets of the prototype; nothing is written to its folder."""
    threads = torch.get_num_threads()  # importing common sets them to one
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(folder))
    sys.modules["cv2"] = ModuleType("cv2")  # only used by methods that are not run here
    common, base, nets = (importlib.import_module(name) for name in ("common", "base", "nets"))
    torch.set_num_threads(threads)
    return common, base, nets


def bound(clean: Tensor, noise: Tensor) -> Tensor:
    """Bayesian Cramer-Rao bound (b,), px, of clean strips (b, 1, h, w) under noise of this deviation (b,)."""
    height, width = clean.shape[-2:]
    slope_y, slope_x = torch.gradient(clean[:, 0], dim=(1, 2))
    place = torch.cat([grid(height, width), torch.ones(height, width, 1)], -1)
    change = torch.cat([slope_y[..., None] * place, slope_x[..., None] * place], -1).flatten(1, 2).double()
    information = change.mT @ change / (2 * noise.double().view(-1, 1, 1) ** 2)
    # yy, yx, y0, xy, xx, x0 of rotation, scale, aspect, shear, y, x; a uniform draw has the variance of half width^2 / 3
    entries = torch.zeros(6, 6, dtype=torch.float64)
    entries[[0, 4], 1] = 1.0
    entries[4, 2], entries[0, 2] = 1.0, -1.0
    entries[1, 0], entries[3, 0], entries[3, 3] = 1.0, -1.0, 1.0
    entries[2, 4] = entries[5, 5] = 1.0
    drawn = entries @ torch.diag(torch.tensor(DRAWN, dtype=torch.float64) ** 2 / 3) @ entries.mT
    return corner_variance(torch.linalg.inv(information + torch.linalg.inv(drawn)), height, width).sqrt()


def bounds(clean: Tensor, noise: Tensor) -> Tensor:
    """Both bounds (b, 2), px, of clean strips (b, 1, h, w) under noise of this deviation (b,): known and unknown specimen."""
    size = clean.shape[-2:]
    waves, rings = torch.fft.rfft2(clean[:, 0].double()), hat_functions(*size).double()
    power = (waves.abs() ** 2 / math.prod(size)).flatten(1) @ rings / rings.sum(0).clamp(min=1e-6) @ rings.T
    gain = (power / (power + noise.double().view(-1, 1) ** 2 / 2)).sqrt().view_as(waves.real)
    unknown = torch.fft.irfft2(waves * gain, s=size)[:, None].to(clean)
    return torch.stack([bound(clean, noise), bound(unknown, noise)], 1)


def make_truth(common: Any, scratch: Path, seed: int, every: int) -> Truth:
    """Every so-many-th batch of the prototype's test pairs, with both bounds in place of its bound without prior."""
    common.crlb = bounds
    batches = common.make_test(scratch / "pairs.pt", SEARCH, seed=seed)[::every]
    group = np.concatenate([[batch["group"]] * len(batch["A"]) for batch in batches])
    snr, limits = (torch.cat([batch[key] for batch in batches]).double().numpy() for key in ("snr", "crlb"))
    return Truth(batches, group, snr, *limits.T)


def ours(model: checkpoint.Network, fixed: Tensor, moving: Tensor) -> Answer:
    """Register with the network of the package."""
    found = model(fixed, moving, SEARCH)
    affine = found.affine.flatten(1)[:, [4, 3, 5, 1, 0, 2]].view(-1, 2, 3)  # (y, x) to (x, y)
    return Answer(affine, found.confidence, corner_variance(found.covariance, *fixed.shape[-2:]).sqrt())


def theirs(base: Any, nets: Any, model: Any, fixed: Tensor, moving: Tensor) -> Answer:
    """Register with the network of the prototype; the mass of the peak is its confidence."""
    affine, found = nets.predict(model, fixed, moving, SEARCH)
    height, width = sorted(fixed.shape[-2:])
    return Answer(affine, found["mass"], base.cov_corner(found["H"], height / 2, width / 2, found["s"], 2.0))


def classical(base: Any, fixed: Tensor, moving: Tensor) -> Answer:
    """Register by correlation over shifts, rotations and scales at stride 2, then Gauss-Newton with a prior (`base.py`)."""
    return Answer(base.gn(fixed, moving, base.m_hc(fixed, moving, SEARCH, 2, 1.5)))


def phase(base: Any, fixed: Tensor, moving: Tensor) -> Answer:
    """Register by phase correlation of scikit-image."""
    return Answer(base.m_pc(fixed, moving, SEARCH))


def load_ours(model: str) -> checkpoint.Network:
    """The network with the weights in a file, or untrained with `none`."""
    if model != "none":
        return checkpoint.load(Path(model), torch.device("cpu"))
    torch.manual_seed(0)
    return CorrelationNetwork().eval()


def load_theirs(nets: Any, weights: Path) -> Any:
    """The network of the prototype; its file has more than weights."""
    saved = torch.load(weights, weights_only=False)
    model = nets.HoughLK3(hc=bool(saved["o"]["hc"]))
    model.load_state_dict(saved["sd"])
    return model.eval()


def measure(name: str, method: Method, common: Any, truth: Truth, took: tuple[float, float]) -> Result:
    """Register every pair; a result that is not a number counts as 999 px off."""
    found: list[tuple[Tensor, ...]] = []
    for batch in progress(truth.batches, name):
        answer, true = method(batch["F"], batch["M"]), batch["A"]
        error = common.corner_err(answer.affine, true, *batch["HW"])
        centre = (answer.affine[:, :, 2] - true[:, :, 2]).norm(dim=1)
        missing = torch.full_like(error, math.nan)
        predicted = [missing if x is None else x for x in (answer.confidence, answer.sigma)]
        found.append((error.nan_to_num(999.0), centre.nan_to_num(999.0), *predicted))
    error, centre, confidence, sigma = (torch.cat(x).double().numpy() for x in zip(*found, strict=True))
    return Result(error, centre, confidence, sigma, *took)


def time_methods(methods: dict[str, Method], common: Any) -> dict[str, tuple[float, float]]:
    """Wall and CPU time, ms for each pair: medians of rounds in which the methods take turns.

    Each method is called once without timing before, since threads of the previous method may still wait for work.
    """
    generator = torch.Generator().manual_seed(0)
    pairs = common.gen_pairs(common.load_sources(), ["gravel"], *SPEED, generator, tmax=SEARCH, snr=1.0)
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in methods}
    for _ in range(ROUNDS):
        for name, method in methods.items():
            method(pairs["F"], pairs["M"])
            wall, cpu = time.perf_counter(), time.process_time()
            method(pairs["F"], pairs["M"])
            took[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    medians = {name: np.median(rounds, axis=0) * 1000 / SPEED[0] for name, rounds in took.items()}
    return {name: (float(wall), float(cpu)) for name, (wall, cpu) in medians.items()}


@torch.no_grad()
def main(*, prototype: Path, model: str = "", every: int = 1, seed: int = 777, scratch: Path | None = None) -> None:
    """Print the table of the bars and of what was measured.

    Args:
        prototype: folder with the prototype's modules and weights; nothing is written there.
        model: file with weights of dlir's network; by default those of the package; `none` for an untrained network.
        every: take every so-many-th batch of the pairs; an odd number, as upright and lying strips take turns.
        seed: of the pairs; the bars were set for 777.
        scratch: folder that keeps the images from run to run, which saves some seconds.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    model, prototype = model or str(checkpoint.GENERIC), prototype.resolve()
    net = load_ours(model)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (scratch or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.chdir(folder):  # the prototype writes cache/ in the working directory
            common, base, nets = load_prototype(prototype)
            truth = make_truth(common, folder, seed, every)
            methods: dict[str, Method] = {
                "dlir": partial(ours, net),
                "prototype": partial(theirs, base, nets, load_theirs(nets, prototype / "weights.pt")),
                "Hough + MAP-GN": partial(classical, base),
                "phase correlation": partial(phase, base),
            }
            took = time_methods(methods, common)
    results = {name: measure(name, method, common, truth, took[name]) for name, method in methods.items()}
    print(f"{len(truth.snr)} pairs, seed {seed}; dlir's weights: {model}; {torch.get_num_threads()} threads\n")
    print(markdown(table_rows(truth, results["Hough + MAP-GN"]), results))


if __name__ == "__main__":
    cyclopts.run(main)
