"""The architecture of DLIR (de Vos et al., arXiv 1809.06130): two pipelines that share their weights, each of 3 x 3
convolutions and 2 x 2 average pooling, five deep, and pooled over the whole crop into one descriptor; the two descriptors are
joined, and dense layers turn them into translation, rotation, scale and shear.

Pooling over the whole crop keeps no place, so the network cannot see how far two crops are apart. What it can do is know its
own pairs again and learn, through the loss alone, the affine that aligns each of them: it fits the pairs that it is trained
on and says nothing of others. Where the method collapses when trained on tiles (unmasked similarity, unbounded affines,
whole tiles that share only a strip) this one does not: it sees the strips that overlap, its parameters are bounded, and its
loss counts only what both crops show (`losses.py`).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlir.registration.model.estimate import Estimate, expected_overlap, transposed
from dlir.registration.model.filters import blur, high_pass
from dlir.registration.model.lucas_kanade import refine
from dlir.registration.model.ncc import masked_ncc
from dlir.registration.model.warping import DEGREE

CHANNELS = (16, 32, 32, 64, 64)
DENSE = 128
LIMITS = (1.2 * DEGREE, 0.01, 0.01, 0.005)  # of rotation, scale along y and along x, shear


class PaperNetwork(nn.Module):
    """Pipelines, descriptors and dense layers; see the module's docstring. It starts at the identity."""

    def __init__(self) -> None:
        super().__init__()
        sides = zip((1, *CHANNELS), CHANNELS, strict=False)
        self.pipeline = nn.ModuleList([nn.Conv2d(*side, 3, padding=1) for side in sides])
        self.dense = nn.ModuleList([nn.Linear(2 * CHANNELS[-1], DENSE), nn.Linear(DENSE, DENSE)])
        self.out = nn.Linear(DENSE, 2 + len(LIMITS))
        for layer in (*self.pipeline, *self.dense, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.out.weight)

    def forward(
        self,
        fixed: Tensor,
        moving: Tensor,
        search: float,
        centre: tuple[float, float] = (0.0, 0.0),
        linear: float = math.inf,
    ) -> Estimate:
        """Register crops as `Method` says; `linear` is not used.

        The covariance is that of least squares on the crops as they are aligned, the confidence their NCC.
        """
        if fixed.shape[-2] > fixed.shape[-1]:
            return transposed(self(fixed.mT, moving.mT, search, (centre[1], centre[0])))
        expected = (round(centre[0]), round(centre[1]))
        strips = torch.cat(expected_overlap(fixed, moving, expected))
        x = torch.cat(self._describe(high_pass(strips)).chunk(2), 1)
        for layer in self.dense:
            x = F.elu(layer(x))
        affine = _affine(self.out(x), search, fixed.new_tensor(expected))
        with torch.no_grad():
            first, second = (blur(high_pass(crop), 1.0) for crop in (fixed, moving))
            _, information, shared = refine(first, second, affine, 1, 1, fixed.new_zeros(2))
            covariance = torch.linalg.inv(information.double() + 1e-9 * torch.eye(6).to(information)).float()
        return Estimate(affine, covariance, masked_ncc(*shared).clamp(0, 1), (affine,))

    def _describe(self, crops: Tensor) -> Tensor:
        """Descriptors (b, channels) of crops (b, 1, h, w)."""
        for convolution in self.pipeline:
            crops = F.avg_pool2d(F.elu(convolution(crops)), 2, ceil_mode=True)
        return crops.mean((2, 3))


def _affine(out: Tensor, search: float, expected: Tensor) -> Tensor:
    """Affines (b, 2, 3) about the crops' centres from the outputs (b, 6), which move the overlap by at most `search` px."""
    bounds = out.new_tensor((search, search, *LIMITS))
    y, x, turn, tall, wide, shear = (torch.tanh(out) * bounds).unbind(1)
    linear = torch.stack([torch.stack([1 + tall, turn + shear], 1), torch.stack([shear - turn, 1 + wide], 1)], 1)
    lead = expected / 2  # the strips' centres lie that far before and behind those of the crops
    shift = torch.stack([y, x], 1) + linear @ lead + lead
    return torch.cat([linear, shift[:, :, None]], 2)
