"""The covariance of a refined affine where an overlap shows a line or an edge, along which nothing tells the shift.

Least squares says that the covariance of the affine is (N + P)^-1, with the information N = sum w J J' / s2 of the pixels and
the precision P of the prior (`lucas_kanade.py`). The slopes in J are those of the specimen and of the noise. Along an edge the
specimen has no slope, but the noise has. So N is never zero, and least squares takes the shift along the edge for exact,
although noise alone decided on it (the aperture problem).

How much the noise gives can be measured. Of two aligned maps f and g, the mean shows the specimen and noise, and half the
difference shows noise alone, as much as the mean does. With J from the slopes of the mean, and J_d from those of half the
difference,

    M = sum w J J'    E = sum w J_d J_d'

so that M - E is what the specimen gives. The directions u of the affine's six entries that both matrices have in common are
compared one by one (M = R R', and the eigenvectors of R^-1 E R'^-1). In each the specimen has the share q = 1 - u'E u / u'M u,
and its signal over noise is q / (1 - q). In the plane as a whole, with the borders, the specimen's share is q0. Chance makes q
larger or smaller by e = (1 - q) 2 / sqrt n, with the number n of independent slopes of the noise. So q is raised by e where the
signal over noise in u may be like that in the plane (then u is no direction along an edge), and lowered by CHANCE e where it is
far smaller. The information in u is right by the factor

    c = q / (ENOUGH q0), at most 1, and at least LEAST_KNOWN

Where q is nearly as large as in the plane, all information stays, since the scale of the covariance (`fine.py`, `network.py`)
holds what noise does in every direction. With the information A = K'N K + P that is left, where K shrinks each direction by
sqrt c, the covariance is

    C = A^-1 (N + P) A^-1

because the noise that moves the estimate is that of all of N (regression dilution, as a matrix).
"""

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from dlir.registration.model.filters import blur, each
from dlir.registration.model.lucas_kanade import Refined, gradients, slope_products

LEAST_KNOWN = 0.01  # of the information along an edge; the deviation grows to 100 times what least squares says, at most
ENOUGH = 0.5  # of the specimen's share, and of its signal over noise, in the plane: as much in one direction is no edge
CHANCE = 6.0  # standard deviations of the specimen's share in a direction; noise that differs from place to place has more
LEAST_SHARE = 0.05  # q0 is never taken to be smaller
# Filters mirror the windows at their borders, so that a line that ends there looks like a corner, in both windows. So
# borders as wide as BORDER, at most that fraction of a side, and slopes smoother than BACKGROUND do not count. In cells:
BORDER, BORDER_SHARE = 16, 1 / 6
BACKGROUND = 6.0


def covariance(refined: Refined, stride: int, weight: Tensor | None = None) -> Tensor:
    """Returns the covariance (b, 6, 6) of refined affines, in double precision and without gradients.

    Args:
        stride: px per cell of the maps.
        weight: (b, 1, h, w) how much each cell of the maps counted; all count the same without.
    """
    everything, prior = refined.information.detach().double(), refined.prior.detach().double()
    fixed, moving, mask = (each.detach() for each in refined.maps)
    fixed, moving = (each - blur(each, BACKGROUND) for each in (fixed, moving))
    kept = _kept(fixed, moving, mask if weight is None else mask * weight, stride)
    left = kept.mT @ (everything - prior) @ kept + prior + 1e-9 * torch.eye(6).to(prior)
    inverse = torch.linalg.inv(left)
    return torch.as_tensor(inverse @ everything @ inverse)


def power_spectrum(image: Tensor) -> Tensor:
    """Returns the power spectra (b, c, p, q) of images (b, c, h, w), padded by zeros to a size whose transform is fast."""
    size = [next_fast_len(n) for n in image.shape[-2:]]
    return each(lambda maps: torch.fft.fft2(maps, s=size), image).abs() ** 2


def _inner(maps: Tensor) -> Tensor:
    """The maps (b, c, h, w) without their borders."""
    rows, columns = (min(BORDER, int(BORDER_SHARE * side)) for side in maps.shape[-2:])
    return maps[..., rows : maps.shape[-2] - rows, columns : maps.shape[-1] - columns]


def _kept(fixed: Tensor, moving: Tensor, weight: Tensor, stride: int) -> Tensor:
    """The matrices K (b, 6, 6), in px, from aligned maps (b, c, h, w) and the weight of their cells (b, 1, h, w)."""
    counts = weight[..., 1:-1, 1:-1]
    of_mean, of_noise = gradients(fixed + moving), gradients(fixed - moving)
    total, total_noise = (_energy(down, counts) + _energy(right, counts) for down, right in (of_mean, of_noise))
    plane = (1 - total_noise / total.clamp(min=1e-12)).clamp(min=LEAST_SHARE)[:, None]
    of_mean, of_noise = ((_inner(down), _inner(right)) for down, right in (of_mean, of_noise))
    counts = _inner(counts)
    mean, noise = (slope_products(*each, counts).double() for each in (of_mean, of_noise))
    tiny = 1e-6 * mean.diagonal(dim1=1, dim2=2).mean(1) + 1e-12
    root = torch.linalg.cholesky(mean + tiny[:, None, None] * torch.eye(6).to(mean))
    ratio = torch.linalg.solve_triangular(root, torch.linalg.solve_triangular(root, noise, upper=False).mT, upper=False)
    noise_share, vectors = torch.linalg.eigh((ratio + ratio.mT) / 2)
    share = 1 - noise_share
    error = noise_share * 2 / _independent(of_noise[0], counts).sqrt()[:, None]
    largest = (share + error).clamp(0, 0.999)
    alike = (largest / (1 - largest) * (1 - plane) / plane / ENOUGH).clamp(max=1)
    known = ((share + error * (alike - CHANCE * (1 - alike))) / (ENOUGH * plane)).clamp(LEAST_KNOWN, 1)
    kept = torch.linalg.solve_triangular(root.mT, vectors * known.sqrt()[:, None] @ vectors.mT @ root.mT, upper=True)
    half = (counts.shape[-1] + 1) / 2
    scale = kept.new_tensor([1 / half, 1 / half, stride, 1 / half, 1 / half, stride])
    return torch.as_tensor(scale[:, None] * kept / scale)


def _energy(maps: Tensor, counts: Tensor) -> Tensor:
    """The sums of squares (b,) of maps (b, c, h, w), weighted by `counts` (b, 1, h, w)."""
    return (maps.square() * counts).sum((1, 2, 3)).double()


def _independent(slopes: Tensor, counts: Tensor) -> Tensor:
    """How many independent values (b,) maps of slopes (b, c, h, w) have: (sum p)^2 / sum p^2 of their power spectrum p."""
    power = power_spectrum(slopes * counts)
    return (power.sum((1, 2, 3)) ** 2 / power.square().sum((1, 2, 3)).clamp(min=1e-12)).double().clamp(min=4)
