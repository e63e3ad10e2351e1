"""The network that finds: two crops of neighbouring tiles in, the affine between them out, with covariance and confidence.

A shared encoder turns both crops into features at strides 4, 2 and 1. The coarse ones are correlated over every shift of the
search window (`correlation.py`), whose peak is a shift, a rotation and a scale; the affine is then refined on each feature
map (`lucas_kanade.py`). All steps can be trained through, with or without the truth. Before any training a fixed channel, the
image as far as it rises above its noise (`spectrum.py`), already registers well.
"""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlir.registration.model.estimate import Estimate, best_point, scaled_covariance, transposed
from dlir.registration.model.filters import blur, high_pass, standardise
from dlir.registration.model.hough_correlation import correlate, peak
from dlir.registration.model.lucas_kanade import refine
from dlir.registration.model.ncc import masked_ncc
from dlir.registration.model.noise_filter import above_noise

STRIDES = (4, 2, 1)  # of the feature maps, px
STEPS = (3, 3, 2)  # of refinement at each
CUES = 5
MANY = 10.0  # log odds
SIZE = 30000  # px, of an overlap that is neither small nor large
FULL_OVERLAP = 0.7
LEAST_NCC = 0.02  # NCC


class Residual(nn.Module):
    """Two convolutions beside the identity; the second starts at zero."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(cast(Tensor, self.second.bias))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(active(self.first(active(x))))
        return x + y


def active(x: Tensor) -> Tensor:
    """The one non-linearity."""
    return F.leaky_relu(x, 0.1)


def enlarge(x: Tensor, like: Tensor) -> Tensor:
    """`x` at the size of `like`."""
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


class Encoder(nn.Module):
    """Crops (b, 1, h, w) to features at strides 4, 2 and 1: (b, 17, h/4, w/4), (b, 9, h/2, w/2), (b, 4, h, w).

    `clear` is the crop as far as it rises above its noise: an input beside the crop, and the last channel of each map, so
    that the network registers before it has learnt anything. In training on a GPU the convolutions are in half precision.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(6, 16, 3, padding=1)
        self.down4, self.body4 = nn.Conv2d(16, 32, 3, padding=1), Residual(32)
        self.down8, self.body8 = nn.Conv2d(32, 32, 3, padding=1), nn.Sequential(Residual(32), Residual(32, dilation=2))
        self.up4, self.up2, self.join2 = nn.Conv2d(32, 32, 1), nn.Conv2d(32, 16, 1), Residual(16)
        self.heads = nn.ModuleList([nn.Conv2d(*c, 3, padding=1) for c in ((32, 16), (16, 8), (16, 12))])
        self.gains = nn.Parameter(torch.zeros(3, 2))  # log weights of learnt channels and `clear` at each stride
        for head in self.heads:
            nn.init.normal_(cast(Tensor, head.weight), std=0.02)
            nn.init.zeros_(cast(Tensor, head.bias))

    def forward(self, crop: Tensor, clear: Tensor) -> list[Tensor]:
        sharp = high_pass(crop)
        small = F.avg_pool2d(crop, 4)
        broad = standardise(enlarge(small - blur(small, 8.0), sharp[..., ::2, ::2]))
        clear2 = blur(F.avg_pool2d(clear, 2), 0.7)
        bands = torch.cat([F.pixel_unshuffle(sharp, 2), broad, clear2], 1).contiguous(memory_format=torch.channels_last)
        with torch.autocast(crop.device.type, torch.bfloat16, enabled=self.training and crop.device.type == "cuda"):
            learnt = [features.float() for features in self._learnt(bands)]
        learnt[0] = learnt[0] - learnt[0].mean((2, 3), keepdim=True)
        learnt[2] = F.pixel_shuffle(learnt[2], 2)
        images = (F.avg_pool2d(blur(clear2, 0.7), 2), clear2, blur(clear, 0.5))
        gains = self.gains.exp()
        return [torch.cat([f * g[0], i * g[1]], 1) for f, i, g in zip(learnt, images, gains, strict=True)]

    def _learnt(self, bands: Tensor) -> list[Tensor]:
        """The learnt channels at strides 4, 2 and 1, the last folded into stride 2."""
        at2 = self.stem(bands)
        at4 = self.body4(self.down4(F.avg_pool2d(active(at2), 2)))
        at8 = self.body8(self.down8(F.avg_pool2d(active(at4), 2)))
        at4 = active(at4 + enlarge(self.up4(active(at8)), at4))
        at2 = active(self.join2(at2 + enlarge(self.up2(at4), at2)))
        return [head(x) for head, x in zip(self.heads, (at4, at2, at2), strict=True)]


class CorrelationNetwork(nn.Module):
    """Encoder, windowed correlation, and refinement; see the module's docstring."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.evidence = nn.Parameter(torch.tensor([3.5, 2.0]))  # log weights of correlation and of its likelihood
        self.prior = nn.Parameter(torch.tensor([[1.2, 0.0], [2.5, 0.0], [2.5, 0.0]]))  # of the refinement at each stride
        self.spread = nn.Linear(CUES, 2)  # log scale of the deviations of shift and linear part
        self.sure = nn.Linear(CUES, 1)  # log odds that the pair is right
        for judge in (self.spread, self.sure):
            nn.init.zeros_(judge.weight)
            nn.init.zeros_(judge.bias)
        nn.init.constant_(self.sure.weight[:, :1], MANY)  # before any training, the odds of the peak

    def forward(
        self,
        fixed: Tensor,
        moving: Tensor,
        search: float,
        centre: tuple[float, float] = (0.0, 0.0),
        linear: float = math.inf,
    ) -> Estimate:
        """Register crops (b, 1, h, w), h and w multiples of 8.

        Args:
            search: how far from `centre` the shift is looked for, px.
            centre: the shift (y, x), px, that is expected: fixed px p lies at moving px p + centre.
            linear: the deviation from the identity that is expected of the linear part, if more is known than of any tiles.
        """
        if fixed.shape[-2] > fixed.shape[-1]:  # the segments lie along x, so the long side has to
            return transposed(self(fixed.mT, moving.mT, search, (centre[1], centre[0]), linear))
        clear = above_noise(fixed, moving)
        maps = [features.chunk(2) for features in self.encoder(torch.cat([fixed, moving]), torch.cat(clear))]
        cells = (round(centre[0] / STRIDES[0]), round(centre[1] / STRIDES[0]))
        rho = correlate(maps[0][0], maps[0][1], math.ceil(search / STRIDES[0]), cells).clamp(-0.995, 0.995)
        size, part = _shared(maps[0][0], cells, rho.shape[-1])
        weight = self.evidence.exp()
        logits = weight[0] * (size * part).sqrt() * rho - weight[1] * size * part * torch.log1p(-(rho.clamp(min=0) ** 2))
        affine, mass = peak(logits, STRIDES[0], cells)
        steps = [affine]
        few = int(self.training)  # fewer steps cost less, and show the features what one step can do
        for (first, second), stride, count, prior in zip(maps, STRIDES, STEPS, self.prior, strict=True):
            affine, information, shared = refine(first, second, affine, stride, count - few, prior, linear)
            steps.append(affine)
        # judging must not bend the features
        covariance = torch.linalg.inv(information.detach().double() + 1e-9 * torch.eye(6).to(information))
        middle = covariance.new_tensor([(side - 1) / 2 for side in fixed.shape[-2:]])
        match = masked_ncc(*shared).detach()
        point = best_point(covariance, affine[:, :, 2].detach().double(), middle)
        cues = _cues(mass.detach(), match, covariance, size)
        times = self.spread(cues).clamp(-5, 5).double().exp()
        covariance = scaled_covariance(covariance, point, *times.unbind(1)).float()
        return Estimate(affine, covariance, self.sure(cues)[:, 0].sigmoid(), tuple(steps), logits, clear)


def _shared(features: Tensor, centre: tuple[int, int], shifts: int) -> tuple[float, Tensor]:
    """How much the crops should share, SIZE being one, and for each shift (shifts, shifts) the part of that which they do:
    the more, the surer is a correlation. One, where nearly all is shared."""
    height, width = features.shape[-2:]
    along = torch.arange(shifts, device=features.device) - (shifts - 1) / 2
    rows, columns = ((n - (along + c).abs()).clamp(min=0) for n, c in zip((height, width), centre, strict=True))
    expected = max(1, height - abs(centre[0])) * max(1, width - abs(centre[1]))
    part = (rows[:, None] * columns / (FULL_OVERLAP * expected)).clamp(max=1)
    return expected * STRIDES[0] ** 2 / SIZE, part


def _cues(mass: Tensor, match: Tensor, covariance: Tensor, size: float) -> Tensor:
    """What tells a right pair from a wrong one, and how exact it is (b, CUES): log odds of the peak, NCC of the features after
    alignment, with and without the size of their overlap, SIZE being one, the log variance of the shift, and the log of
    that NCC; the log odds and the log variance in units of MANY."""
    odds = torch.logit(mass.double(), eps=1e-9).float()
    fisher = torch.atanh(match.clamp(-0.999, 0.999))
    variance = (covariance[:, 2, 2] + covariance[:, 5, 5]).clamp(min=1e-6).log().float()
    logs = variance / MANY, match.clamp(min=LEAST_NCC).log()
    return torch.stack([odds / MANY, fisher, fisher * size**0.5, *logs], 1)
