"""Phase correlation, the classical yardstick, behind the same interface as the network.

The shift is the peak of the whitened cross-power spectrum, to a hundredth of a pixel (Guizar-Sicairos et al. 2008, as
scikit-image has it), of the part of the crops that overlaps at the nominal offset. It knows neither turn nor uncertainty.
"""

import math

import torch
from skimage.registration import phase_cross_correlation
from torch import Tensor

from dlir.registration.model.estimate import Estimate, expected_overlap

DEVIATION = 0.5  # px, taken for every pair


def phase(
    fixed: Tensor, moving: Tensor, search: float, centre: tuple[float, float] = (0.0, 0.0), linear: float = math.inf
) -> Estimate:
    """Register crops by a shift, as `Method` says; `linear` is not used."""
    expected = (round(centre[0]), round(centre[1]))
    strips = [strip[:, 0].cpu().numpy() for strip in expected_overlap(fixed, moving, expected)]
    affine = torch.eye(2, 3).repeat(len(fixed), 1, 1)
    for i, (first, second) in enumerate(zip(*strips, strict=True)):
        back, _, _ = phase_cross_correlation(first, second, upsample_factor=100)  # type: ignore[no-untyped-call]
        affine[i, :, 2] = torch.tensor(expected) - torch.from_numpy(back).float()
    inside = (affine[:, :, 2] - torch.tensor(centre)).abs().amax(1) <= search
    covariance = torch.diag(torch.tensor([1e-6, 1e-6, DEVIATION**2, 1e-6, 1e-6, DEVIATION**2])).repeat(len(fixed), 1, 1)
    return Estimate(affine.to(fixed), covariance.to(fixed), inside.to(fixed))
