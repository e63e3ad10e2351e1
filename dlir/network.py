"""The registration network: two crops of neighbouring tiles in, the affine between them out, with covariance and confidence.

A shared encoder turns both crops into features at stride 4 and at stride 2. The coarse ones are correlated over every shift
of the search window (`correlation.py`), whose peak is a shift, a rotation and a scale; the affine is then refined on both
feature maps (`lucas_kanade.py`). Unlike the global average pooling of DLIR (de Vos et al., arXiv 1809.06130), which keeps
no place and so cannot tell how far two crops are apart, the correlation holds the shift itself, and all steps can be trained
through, with or without the truth. Before any training a fixed channel, the blurred image, already registers fairly.
"""

import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlir.correlation import correlate, peak
from dlir.lucas_kanade import refine
from dlir.similarity import blur, high_pass, standardise

COARSE, FINE = 4, 2  # strides of the feature maps, px
MULTIPLE = 8  # the sides of a crop are multiples of this


class ModelError(ValueError):
    """A model file is missing, damaged or not of dlir; the remedy is to train again."""


class Estimate(NamedTuple):
    """What registration says of a batch of pairs; affines take a fixed px to a moving px, (y, x) about the crops' centres."""

    affine: Tensor  # (b, 2, 3)
    covariance: Tensor  # (b, 6, 6) of yy, yx, y0, xy, xx, x0
    confidence: Tensor  # (b,) between 0 and 1
    steps: tuple[Tensor, ...] = ()  # the affines (b, 2, 3) from coarse to fine, for the loss
    logits: Tensor | None = None  # (b, rotations, scales, d, d) of the coarse search, for the loss


class Residual(nn.Module):
    """Two convolutions beside the identity; the second starts at zero."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias) if self.second.bias is not None else None

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
    """Crops (b, 1, h, w) to coarse features (b, 17, h/4, w/4) and fine ones (b, 9, h/2, w/2)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body2 = nn.Conv2d(5, 16, 3, padding=1), Residual(16)
        self.down4, self.body4 = nn.Conv2d(16, 32, 3, padding=1), Residual(32)
        self.down8, self.body8 = nn.Conv2d(32, 32, 3, padding=1), Residual(32, dilation=2)
        self.up4, self.up2, self.join2 = nn.Conv2d(32, 32, 1), nn.Conv2d(32, 16, 1), Residual(16)
        self.coarse, self.fine = nn.Conv2d(32, 16, 3, padding=1), nn.Conv2d(16, 8, 3, padding=1)
        self.coarse_gain, self.fine_gain = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
        for head, deviation in ((self.coarse, 0.03), (self.fine, 0.02)):
            nn.init.normal_(head.weight, std=deviation)
            nn.init.zeros_(head.bias) if head.bias is not None else None

    def forward(self, crop: Tensor) -> tuple[Tensor, Tensor]:
        sharp = high_pass(crop)
        small = F.avg_pool2d(crop, 4)
        broad = standardise(enlarge(small - blur(small, 8.0), sharp[..., ::2, ::2]))
        bands = torch.cat([F.pixel_unshuffle(sharp, 2), broad], 1).contiguous(memory_format=torch.channels_last)
        at2 = self.body2(self.stem(bands))
        at4 = self.body4(self.down4(F.avg_pool2d(active(at2), 2)))
        at8 = self.body8(self.down8(F.avg_pool2d(active(at4), 2)))
        at4 = at4 + enlarge(self.up4(active(at8)), at4)
        at2 = self.join2(at2 + enlarge(self.up2(active(at4)), at2))
        coarse, fine = self.coarse(active(at4)), self.fine(active(at2))
        coarse = coarse - coarse.mean((2, 3), keepdim=True)
        image = blur(F.avg_pool2d(sharp, 2), 0.7)
        image4 = F.avg_pool2d(blur(image, 0.7), 2)
        return (
            torch.cat([coarse * self.coarse_gain[0].exp(), image4 * self.coarse_gain[1].exp()], 1),
            torch.cat([fine * self.fine_gain[0].exp(), image * self.fine_gain[1].exp()], 1),
        )


class CorrelationNetwork(nn.Module):
    """Encoder, windowed correlation, and refinement; see the module's docstring."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.evidence = nn.Parameter(torch.tensor([3.5, 2.0]))  # log weights of correlation and of its likelihood
        self.prior = nn.Parameter(torch.tensor([1.2, 2.5]))  # log weights of the prior, coarse and fine
        self.register_buffer("covariance_scale", torch.ones(()))
        self.covariance_scale: Tensor

    def forward(self, fixed: Tensor, moving: Tensor, search: float, centre: tuple[float, float] = (0.0, 0.0)) -> Estimate:
        """Register crops (b, 1, h, w), h and w multiples of MULTIPLE.

        Args:
            search: how far from `centre` the shift is looked for, px.
            centre: the shift (y, x), px, that is expected: fixed px p lies at moving px p + centre.
        """
        if fixed.shape[-2] > fixed.shape[-1]:  # the segments lie along x, so the long side has to
            return _transposed(self(fixed.mT, moving.mT, search, (centre[1], centre[0])))
        (coarse, other_coarse), (fine, other_fine) = (
            features.chunk(2) for features in self.encoder(torch.cat([fixed, moving]))
        )
        cells = (round(centre[0] / COARSE), round(centre[1] / COARSE))
        rho = correlate(coarse, other_coarse, math.ceil(search / COARSE), cells).clamp(-0.995, 0.995)
        size = fixed.shape[-2] * fixed.shape[-1] / 30000  # the larger the overlap, the surer its correlation
        weight = self.evidence.exp()
        logits = weight[0] * size**0.5 * rho - weight[1] * size * torch.log1p(-(rho.clamp(min=0) ** 2))
        first, mass = peak(logits, COARSE, cells)
        few = int(self.training)  # fewer steps cost less, and show the features what one step can do
        second, _ = refine(coarse, other_coarse, first, COARSE, 3 - few, self.prior[0].exp())
        third, information = refine(fine, other_fine, second, FINE, 5 - 2 * few, self.prior[1].exp())
        covariance = torch.linalg.inv(information.double() + 1e-9 * torch.eye(6).to(information)).float()
        return Estimate(third, covariance * self.covariance_scale, mass, (first, second, third), logits)


def _transposed(estimate: Estimate) -> Estimate:
    """The estimate with y and x exchanged."""
    order = [4, 3, 5, 1, 0, 2]  # yy yx y0 xy xx x0 -> xx xy x0 yx yy y0
    swap = [a.flatten(1)[:, order].view(-1, 2, 3) for a in (estimate.affine, *estimate.steps)]
    covariance = estimate.covariance[:, order][:, :, order]
    return Estimate(swap[0], covariance, estimate.confidence, tuple(swap[1:]), estimate.logits)


def save(network: CorrelationNetwork, settings: dict[str, Any], path: Path) -> None:
    """Write the weights and the settings that made them, whole or not at all."""
    partial = path.with_name(path.name + ".part")
    torch.save({"weights": network.state_dict(), "settings": settings}, partial)
    partial.replace(path)


def load(path: Path, device: torch.device) -> CorrelationNetwork:
    """The network that `save` wrote, ready to register.

    Raises:
        ModelError: where the file is no model of dlir or cut short.
    """
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        network = CorrelationNetwork()
        network.load_state_dict(content["weights"])
    except Exception as error:  # torch raises many classes on a damaged file
        raise ModelError(f"{path}: is no model of dlir ({error}): delete the file and train again") from None
    return network.to(device).eval()


def choose_device(name: str) -> torch.device:
    """`cpu`, `cuda`, `mps`, or with `auto` the fastest that is there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return torch.device(name)
