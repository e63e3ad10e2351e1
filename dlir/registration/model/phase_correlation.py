"""Phase correlation, the classical method that the network is compared with, behind the same interface.

The shift is the peak of the inverse Fourier transform of the whitened cross-power spectrum, to a hundredth of a pixel
(Guizar-Sicairos et al. 2008, as in scikit-image). Only the part of the windows that overlaps at the expected shift is used. The
method finds neither turn nor scale, and does not know how exact its shift is.
"""

import math

import torch
from skimage.registration import phase_cross_correlation
from torch import Tensor

from dlir.registration.model.estimate import Estimate, expected_overlap

DEVIATION = 0.5  # px, of the shift of every pair, since the method gives none
LINEAR_DEVIATION = 1e-3  # of the entries of the linear part, which the method does not look for


def phase(
    fixed: Tensor, moving: Tensor, search: float, centre: tuple[float, float] = (0.0, 0.0), linear: float = math.inf
) -> Estimate:
    """Registers windows by a shift, as `estimate.Method` says; `linear` is not used.

    The confidence is 1 where the shift lies within the search, and 0 elsewhere.
    """
    expected = (round(centre[0]), round(centre[1]))
    strips = [strip[:, 0].cpu().numpy() for strip in expected_overlap(fixed, moving, expected)]
    affine = torch.eye(2, 3).repeat(len(fixed), 1, 1)
    for i, (first, second) in enumerate(zip(*strips, strict=True)):
        back, _, _ = phase_cross_correlation(first, second, upsample_factor=100)  # type: ignore[no-untyped-call]
        affine[i, :, 2] = torch.tensor(expected) - torch.from_numpy(back).float()
    inside = (affine[:, :, 2] - torch.tensor(centre)).abs().amax(1) <= search
    linear_variance, variance = LINEAR_DEVIATION**2, DEVIATION**2
    diagonal = torch.tensor([linear_variance, linear_variance, variance] * 2)
    covariance = torch.diag(diagonal).repeat(len(fixed), 1, 1)
    return Estimate(affine.to(fixed), covariance.to(fixed), inside.to(fixed))
