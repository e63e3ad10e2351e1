"""The network of the DLIR paper (de Vos et al., arXiv 1809.06130).

Two pipelines with the same weights, one for each window, have five layers of 3 x 3 convolution and 2 x 2 average pooling. Each
is averaged over the whole window into one descriptor. The two descriptors are joined, and dense layers turn them into shift,
rotation, scales and shear.

The average over the whole window loses all places, so the network cannot measure how far two windows are apart. But it can
recognise the pairs that it was trained on, and learn the affine of each from the loss alone: it is right for its own pairs, and
says nothing of others.

Trained on tiles as in the paper (unbounded affines, a similarity without a mask, whole tiles that share only a strip), the
method collapses. Here it does not: it sees only the strips that overlap at the expected shift, its answers are bounded
(`priors.PAPER_LIMITS`), and the loss counts only what both windows show (`training/losses.py`).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlir.registration.model.estimate import Estimate, expected_overlap, transposed
from dlir.registration.model.filters import blur, high_pass
from dlir.registration.model.lucas_kanade import refine
from dlir.registration.model.ncc import masked_ncc
from dlir.registration.model.priors import PAPER_LIMITS

CHANNELS = (16, 32, 32, 64, 64)  # of the layers of a pipeline
DENSE = 128  # outputs of each dense layer
BLUR = 1.0  # px, sigma of the blur of the windows before their covariance is measured


class PaperNetwork(nn.Module):
    """Pipelines, descriptors and dense layers, as the module's docstring says; an untrained one answers the expected shift."""

    def __init__(self) -> None:
        super().__init__()
        sides = zip((1, *CHANNELS), CHANNELS, strict=False)
        self.pipeline = nn.ModuleList([nn.Conv2d(*side, 3, padding=1) for side in sides])
        self.dense = nn.ModuleList([nn.Linear(2 * CHANNELS[-1], DENSE), nn.Linear(DENSE, DENSE)])
        self.out = nn.Linear(DENSE, 2 + len(PAPER_LIMITS))
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
        """Registers windows as `estimate.Method` says; `linear` is not used.

        The covariance is that of least squares on the aligned windows, the confidence their NCC.
        """
        if fixed.shape[-2] > fixed.shape[-1]:
            return transposed(self(fixed.mT, moving.mT, search, (centre[1], centre[0])))
        expected = (round(centre[0]), round(centre[1]))
        strips = torch.cat(expected_overlap(fixed, moving, expected))
        x = torch.cat(self._descriptors(high_pass(strips)).chunk(2), 1)
        for layer in self.dense:
            x = F.elu(layer(x))
        affine = _affine(self.out(x), search, fixed.new_tensor(expected))
        with torch.no_grad():
            first, second = (blur(high_pass(window), BLUR) for window in (fixed, moving))
            _, information, _, aligned = refine(first, second, affine, 1, 1, fixed.new_zeros(2))
            covariance = torch.linalg.inv(information.double() + 1e-9 * torch.eye(6).to(information)).float()
        return Estimate(affine, covariance, masked_ncc(*aligned).clamp(0, 1), (affine,))

    def _descriptors(self, strips: Tensor) -> Tensor:
        """The descriptors (b, channels) of strips (b, 1, h, w)."""
        for convolution in self.pipeline:
            strips = F.avg_pool2d(F.elu(convolution(strips)), 2, ceil_mode=True)
        return strips.mean((2, 3))


def _affine(out: Tensor, search: float, expected: Tensor) -> Tensor:
    """Affines (b, 2, 3) about the windows' centres from the outputs (b, 6).

    They move the overlap by at most `search` px from where it is expected, and their linear parts keep to PAPER_LIMITS.
    """
    bounds = out.new_tensor((search, search, *PAPER_LIMITS))
    y, x, rotation, scale_y, scale_x, shear = (torch.tanh(out) * bounds).unbind(1)
    rows = [torch.stack([1 + scale_y, rotation + shear], 1), torch.stack([shear - rotation, 1 + scale_x], 1)]
    linear = torch.stack(rows, 1)
    lead = expected / 2  # the strips' centres lie that far before and behind those of the windows
    shift = torch.stack([y, x], 1) + linear @ lead + lead
    return torch.cat([linear, shift[:, :, None]], 2)
