"""The covariance of a refined affine where an overlap shows a line or an edge, along which nothing tells the shift.

Least squares says that the covariance of the affine is (N + P)^-1, with the information N = sum w J J' / s2 of the pixels and
the precision P of the prior (`lucas_kanade.py`). The slopes J are those of the specimen and of the noise. Along an edge the
specimen has no slope, but the noise has: N is never zero, and least squares takes the shift along the edge for exact although
noise alone decided on it (the aperture problem).

How much of N is due to noise can be measured. With g the slope of half the difference of the aligned maps, which shows noise
alone,

    E = sum w g g' / s2

is what noise gives, since J, the mean of the slopes of both maps, contains as much of it. So the specimen's share of what is
known in the direction u of the parameters is q = 1 - u'E u / u'N u. All directions are compared at once: N = R R', and the
eigenvalues of 1 - R^-1 E R'^-1 are the shares q. What least squares says of a well determined pair is right on average, as
its scale k (`fine.py`, `network.py`) contains the average share q0. So a direction keeps

    c = q / (ENOUGH q0), at most 1, and at least LEAST_KNOWN,

of its information, where q is first lowered by what chance may add to it: the power spectrum of g says how many independent
values it has. The borders of the maps do not count for q: filters mirror the windows there, which makes a line look like a
corner that is alike in both maps. With the information A = c N + P that is left, the covariance is

    C = A^-1 (N + P) A^-1

since the noise that moves the estimate is still that of N (regression dilution, as a matrix).
"""

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from dlir.registration.model.lucas_kanade import Refined, gradients, slope_products

LEAST_KNOWN = 0.002  # of the information in a direction; the deviation grows to 500 times what least squares says, at most
LEAST_SHARE = 0.05  # of the information that the specimen gives on average, which is never taken to be smaller
ENOUGH = 0.5  # of the average share: a direction with more of it is well determined
CHANCE = 4.0  # standard deviations by which chance may make the specimen's share larger
BORDER, BORDER_SHARE = 16, 1 / 6  # cells, and fraction of a side at most: the borders that do not count


def covariance(refined: Refined, stride: int, weight: Tensor | None = None) -> Tensor:
    """Returns the covariance (b, 6, 6) of refined affines, in double precision and without gradients.

    Args:
        stride: px per cell of the maps that were refined on.
        weight: (b, 1, h, w) how much each cell counts; all count the same without.
    """
    everything, prior = refined.information.detach().double(), refined.prior.detach().double()
    fixed, moving, mask = (_inner(each.detach()) for each in refined.maps)
    keep = _keep(fixed, moving, mask if weight is None else mask * _inner(weight), stride)
    left = keep.mT @ (everything - prior) @ keep + prior + 1e-9 * torch.eye(6).to(prior)
    inverse = torch.linalg.inv(left)
    return torch.as_tensor(inverse @ everything @ inverse)


def _inner(maps: Tensor) -> Tensor:
    """The maps (b, c, h, w) without their borders."""
    rows, columns = (min(BORDER, int(BORDER_SHARE * side)) for side in maps.shape[-2:])
    return maps[..., rows : maps.shape[-2] - rows, columns : maps.shape[-1] - columns]


def _keep(fixed: Tensor, moving: Tensor, weight: Tensor, stride: int) -> Tensor:
    """The matrices K (b, 6, 6) by which K' N K is the information that the specimen gives, from aligned maps (b, c, h, w)."""
    counts = weight[..., 1:-1, 1:-1]
    pairs = gradients(fixed + moving), gradients(moving - fixed)
    both, noise = (slope_products(*each, counts).double() for each in pairs)
    shift = [2, 5]
    average = 1 - noise[:, shift, shift].sum(1) / both[:, shift, shift].sum(1).clamp(min=1e-12)
    root = torch.linalg.cholesky(both + (1e-6 * _mean_diagonal(both) + 1e-12)[:, None, None] * torch.eye(6).to(both))
    noise_share = torch.linalg.solve_triangular(root, torch.linalg.solve_triangular(root, noise, upper=False).mT, upper=False)
    values, vectors = torch.linalg.eigh((noise_share + noise_share.mT) / 2)
    chance = CHANCE * (2 / _independent(pairs[1], counts)).sqrt()[:, None]
    share = (1 - values) - chance * values
    known = (share / (ENOUGH * average.clamp(min=LEAST_SHARE))[:, None]).clamp(LEAST_KNOWN, 1)
    # along the directions R'^-1 v, of which v are the eigenvectors
    keep = torch.linalg.solve_triangular(root.mT, vectors * known.sqrt()[:, None] @ vectors.mT @ root.mT, upper=True)
    half = (fixed.shape[-1] - 1) / 2
    scale = keep.new_tensor([1 / half, 1 / half, stride, 1 / half, 1 / half, stride])
    return torch.as_tensor(scale[:, None] * keep / scale)


def _mean_diagonal(matrices: Tensor) -> Tensor:
    """The mean of the diagonals (b,) of matrices (b, 6, 6)."""
    return matrices.diagonal(dim1=1, dim2=2).mean(1)


def _independent(slopes: tuple[Tensor, Tensor], counts: Tensor) -> Tensor:
    """How many independent values (b,) maps of slopes (b, c, h, w) have: (sum p)^2 / sum p^2 of their power spectrum p."""
    power = torch.cat([power_spectrum(each * counts) for each in slopes], 1)
    # y and x have a spectrum each, and either counts as many values
    return (power.sum((1, 2, 3)) ** 2 / (power**2).sum((1, 2, 3)).clamp(min=1e-12) / 2).double().clamp(min=4)


def power_spectrum(image: Tensor) -> Tensor:
    """Returns the power spectra (b, c, p, q) of images (b, c, h, w), padded by zeros to a size whose transform is fast."""
    return torch.as_tensor(torch.fft.fft2(image, s=[next_fast_len(n) for n in image.shape[-2:]])).abs() ** 2
