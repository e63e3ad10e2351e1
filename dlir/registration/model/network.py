"""The correlation network: takes two windows of neighbouring tiles, returns the affine between them, its covariance and a
confidence.

1. The noise filter keeps what rises above the noise of the two windows (`noise_filter.py`).
2. A shared encoder turns each window into feature maps with strides of 4, 2 and 1 px.
3. The coarse maps are correlated over all shifts of the search window, a few turns and a few scales (`hough_correlation.py`).
   The peak gives the first affine.
4. The affine is refined on each map, from coarse to fine (`lucas_kanade.py`).
5. The covariance of the refinement is widened where noise alone seems to determine the affine (`aperture.py`).
6. Two linear layers scale this covariance, and give the probability that the pair is right.

All of it can be differentiated, so the network is trained on pairs whose affine is known and on pairs whose affine is not
(`training/losses.py`). The filtered window is one of the feature channels: so the network registers before any training.
"""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlir.registration.model import aperture, hyperparameters
from dlir.registration.model.estimate import Estimate, best_point, expected_overlap, scaled_covariance, transposed
from dlir.registration.model.filters import blur, each, high_pass, standardise
from dlir.registration.model.hough_correlation import correlate, peak
from dlir.registration.model.lucas_kanade import refine
from dlir.registration.model.ncc import masked_ncc
from dlir.registration.model.noise_filter import above_noise
from dlir.registration.model.warping import warp

FEATURES = (  # what the heads of covariance and confidence see of a pair
    "log odds of the correlation peak, in units of logit_scale",
    "Fisher's z of the NCC of the finest features after alignment",
    "the same, times the root of the overlap's area",
    "log variance of the shift by least squares, in units of logit_scale",
    "log of that NCC",
)


LEAST_SHOWN = 1e-3  # part of the expected overlap, of which blind pixels never take more


class Residual(nn.Module):
    """Adds the output of two convolutions to the input; the second starts at zero, so that the block starts as the identity."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(cast(Tensor, self.second.bias))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(activation(self.first(activation(x))))
        return x + y


def activation(x: Tensor) -> Tensor:
    """The non-linearity of all layers."""
    return F.leaky_relu(x, hyperparameters.DEFAULT.leak)


def enlarge(x: Tensor, like: Tensor) -> Tensor:
    """Interpolates `x` to the height and width of `like`."""
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


class Encoder(nn.Module):
    """Turns windows (b, 1, h, w) into feature maps (b, 17, h/4, w/4), (b, 9, h/2, w/2) and (b, 4, h, w).

    The last channel of each map is the window after the noise filter; the others are learnt. In training on a GPU the
    convolutions run in bfloat16.
    """

    def __init__(self) -> None:
        super().__init__()
        chosen = hyperparameters.DEFAULT
        width, (at4, at2, at1) = chosen.width, chosen.head_channels
        self.stem = nn.Conv2d(6, width, 3, padding=1)
        self.down4, self.body4 = nn.Conv2d(width, 2 * width, 3, padding=1), Residual(2 * width)
        self.down8 = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.body8 = nn.Sequential(Residual(2 * width), Residual(2 * width, dilation=2))
        self.up4, self.up2, self.join2 = nn.Conv2d(2 * width, 2 * width, 1), nn.Conv2d(2 * width, width, 1), Residual(width)
        channels = ((2 * width, at4), (width, at2), (width, 4 * at1))  # the last are unfolded to twice the height and width
        self.heads = nn.ModuleList([nn.Conv2d(*each, 3, padding=1) for each in channels])
        self.gains = nn.Parameter(torch.zeros(3, 2))  # log weights of the learnt and of the filtered channels of each map
        for head in self.heads:
            nn.init.normal_(cast(Tensor, head.weight), std=chosen.head_deviation)
            nn.init.zeros_(cast(Tensor, head.bias))

    def forward(self, window: Tensor, clear: Tensor) -> list[Tensor]:
        """The feature maps of windows (b, 1, h, w); `clear` are the same windows after the noise filter."""
        chosen = hyperparameters.DEFAULT
        sharp = high_pass(window, chosen.fine_background)
        small = F.avg_pool2d(window, 4)
        broad = standardise(enlarge(small - blur(small, chosen.coarse_background), sharp[..., ::2, ::2]))
        clear2 = blur(F.avg_pool2d(clear, 2), chosen.halving_blur)
        inputs = torch.cat([F.pixel_unshuffle(sharp, 2), broad, clear2], 1).contiguous(memory_format=torch.channels_last)
        with torch.autocast(window.device.type, torch.bfloat16, enabled=self.training and window.device.type == "cuda"):
            learnt = [features.float() for features in self._learnt(inputs)]
        learnt[0] = learnt[0] - learnt[0].mean((2, 3), keepdim=True)
        learnt[2] = F.pixel_shuffle(learnt[2], 2)
        filtered = (F.avg_pool2d(blur(clear2, chosen.halving_blur), 2), clear2, blur(clear, chosen.full_blur))
        gains = self.gains.exp()
        return [torch.cat([f * g[0], c * g[1]], 1) for f, c, g in zip(learnt, filtered, gains, strict=True)]

    def _learnt(self, inputs: Tensor) -> list[Tensor]:
        """The learnt channels at strides 4, 2 and 1; those of stride 1 are folded into four times the channels at stride 2."""
        at2 = self.stem(inputs)
        at4 = self.body4(self.down4(F.avg_pool2d(activation(at2), 2)))
        at8 = self.body8(self.down8(F.avg_pool2d(activation(at4), 2)))
        at4 = activation(at4 + enlarge(self.up4(activation(at8)), at4))
        at2 = activation(self.join2(at2 + enlarge(self.up2(at4), at2)))
        return [head(x) for head, x in zip(self.heads, (at4, at2, at2), strict=True)]


class CorrelationNetwork(nn.Module):
    """Encoder, coarse search and refinement; the module's docstring says how they follow each other."""

    def __init__(self) -> None:
        super().__init__()
        chosen = hyperparameters.DEFAULT
        self.encoder = Encoder()
        self.correlation_weights = nn.Parameter(torch.tensor(chosen.correlation_start))  # log weights; see forward
        self.refinement_prior = nn.Parameter(torch.tensor(chosen.prior_start))  # of each map; see `refine`
        self.deviation_head = nn.Linear(len(FEATURES), 2)  # log scales of the deviations of the shift and of the linear part
        self.confidence_head = nn.Linear(len(FEATURES), 1)  # log odds that the pair is right
        for head in (self.deviation_head, self.confidence_head):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        nn.init.constant_(self.confidence_head.weight[:, :1], chosen.logit_scale)  # untrained: the odds of the peak

    def forward(
        self,
        fixed: Tensor,
        moving: Tensor,
        search: float,
        centre: tuple[float, float] = (0.0, 0.0),
        linear: float = math.inf,
        shown: tuple[Tensor, Tensor] | None = None,
    ) -> Estimate:
        """Registers windows (b, 1, h, w) as `estimate.Method` says; h and w are multiples of 8.

        Args:
            shown: (b, 1, h, w) of either window, 1 at the pixels that show the image and 0 at the others; all do without.
        """
        if fixed.shape[-2] > fixed.shape[-1]:  # the coarse search cuts the overlap along x, which has to be the long side
            turned = shown and (shown[0].mT, shown[1].mT)
            return transposed(self(fixed.mT, moving.mT, search, (centre[1], centre[0]), linear, turned))
        chosen = hyperparameters.DEFAULT
        stride = chosen.strides[0]
        clear = above_noise(fixed, moving)
        maps = [features.chunk(2) for features in self.encoder(torch.cat([fixed, moving]), torch.cat(clear))]
        cells = (round(centre[0] / stride), round(centre[1] / stride))
        limit = chosen.largest_correlation
        masks = shown and (_whole_cells(shown[0], stride), _whole_cells(shown[1], stride))
        rho = correlate(maps[0][0], maps[0][1], math.ceil(search / stride), cells, masks).clamp(-limit, limit)
        area, part = _overlap(maps[0][0], cells, rho.shape[-1])
        if masks:  # the expected overlap is smaller by its blind part
            first, second = expected_overlap(*masks, cells)
            area = area * (first * second).mean((1, 2, 3)).clamp(min=LEAST_SHOWN)
        weight, extent = self.correlation_weights.exp(), area.view(-1, 1, 1, 1, 1) * part
        logits = weight[0] * extent.sqrt() * rho - weight[1] * extent * torch.log1p(-(rho.clamp(min=0) ** 2))
        affine, mass = peak(logits, stride, cells)
        steps = [affine]
        fewer = int(self.training)  # a step less is quicker, and makes the features good enough to do without it
        for (first, second), stride, count, prior in zip(
            maps, chosen.strides, chosen.iterations, self.refinement_prior, strict=True
        ):
            counts = shown and _common(shown, affine, stride)
            refined = refine(first, second, affine, stride, count - fewer, prior, linear, counts)
            affine = refined.affine
            steps.append(affine)
        # detached: the loss of covariance and confidence must not change the features
        least_squares = torch.linalg.inv(refined.information.detach().double() + 1e-9 * torch.eye(6).to(affine))
        first, second, covered = refined.maps
        ncc = masked_ncc(first, second, covered if counts is None else covered * counts).detach()
        features = _features(mass.detach(), ncc, least_squares, area)
        covariance = aperture.covariance(refined, stride, counts)
        corner = covariance.new_tensor([(side - 1) / 2 for side in fixed.shape[-2:]])
        point = best_point(covariance, affine[:, :, 2].detach().double(), corner)
        log_scales = each(self.deviation_head, features).clamp(-chosen.largest_log_scale, chosen.largest_log_scale).double()
        covariance = scaled_covariance(covariance, point, *log_scales.exp().unbind(1)).float()
        confidence = each(self.confidence_head, features)[:, 0].sigmoid()
        return Estimate(affine, covariance, confidence, tuple(steps), logits, clear)


def _whole_cells(shown: Tensor, stride: int) -> Tensor:
    """Which cells (b, 1, h / stride, w / stride), 1 or 0, lie wholly in pixels (b, 1, h, w) that are shown."""
    return -F.max_pool2d(-shown, stride)


def _common(shown: tuple[Tensor, Tensor], affine: Tensor, stride: int) -> Tensor:
    """Which cells (b, 1, h / stride, w / stride), 1 or 0, both windows show, as an affine (b, 2, 3) aligns them."""
    return _whole_cells(shown[0] * (warp(shown[1], affine.detach())[0] > 0.99), stride)


def _overlap(features: Tensor, centre: tuple[int, int], shifts: int) -> tuple[Tensor, Tensor]:
    """How much two maps (b, c, h, w) overlap: the more, the more a correlation proves.

    Returns:
        the area (1,) of the expected overlap, in units of usual_overlap, and for each shift (shifts, shifts) the overlap as a
        fraction of that area, one from full_overlap on.
    """
    chosen = hyperparameters.DEFAULT
    height, width = features.shape[-2:]
    shift = torch.arange(shifts, device=features.device) - (shifts - 1) / 2
    rows, columns = ((n - (shift + c).abs()).clamp(min=0) for n, c in zip((height, width), centre, strict=True))
    expected = max(1, height - abs(centre[0])) * max(1, width - abs(centre[1]))
    part = (rows[:, None] * columns / (chosen.full_overlap * expected)).clamp(max=1)
    return features.new_tensor([expected * chosen.strides[0] ** 2 / chosen.usual_overlap]), part


def _features(mass: Tensor, ncc: Tensor, covariance: Tensor, area: Tensor) -> Tensor:
    """The FEATURES (b, 5) of pairs.

    Args:
        mass: (b,) the probability of the correlation peak.
        ncc: (b,) the NCC of the finest features after alignment.
        covariance: (b, 6, 6) of the affines, by least squares.
        area: (b,) or (1,) of the expected overlap, in units of usual_overlap.
    """
    chosen = hyperparameters.DEFAULT
    odds = torch.logit(mass.double(), eps=1e-9).float()
    fisher = torch.atanh(ncc.clamp(-chosen.largest_ncc, chosen.largest_ncc))
    variance = (covariance[:, 2, 2] + covariance[:, 5, 5]).clamp(min=1e-6).log().float()
    logs = variance / chosen.logit_scale, ncc.clamp(min=chosen.least_ncc).log()
    return torch.stack([odds / chosen.logit_scale, fisher, fisher * area**0.5, *logs], 1)
