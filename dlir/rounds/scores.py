"""The scores of two prepared pictures over all shifts.

The score of a shift s is

    z(s) = sum p / sqrt(sum p^2 + RIDGE n + 1)        p = a(x + s) b(x), over the n px that both cover

If a and b are unrelated, z is a standard normal number whatever n is, and since it is at most sqrt(n), a single bright speck
never wins. All sums are correlations, which the FFT gives for all shifts at once.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from dlir.core.affine import Array
from dlir.rounds.pictures import Image, Mask

RIDGE = 0.05  # of the overlap: it keeps z small where both pictures are quiet


class Peak(NamedTuple):
    """The highest score of two images."""

    height: float  # z
    shift: Array  # (2,) px: px (0, 0) of the second image lies there in the first


class Scored:
    """An image that others are compared with."""

    def __init__(self, image: Image, covered: Mask, other: tuple[int, ...]) -> None:
        """Prepares to compare an image (y, x) with images of the size `other` (y, x)."""
        self.size, self.other = image.shape, other
        self.shape = [fft.next_fast_len(a + b - 1, real=True) for a, b in zip(image.shape, other, strict=True)]
        self.spectra = self._spectra(image, covered)

    def _spectra(self, image: Image, covered: Mask) -> NDArray[np.complex64]:
        return np.asarray(fft.rfft2(np.stack([image, image**2, covered.astype(np.float32)]), self.shape))

    def peak(self, image: Image, covered: Mask, least: float, near: tuple[int, int] = (0, 0), reach: float = np.inf) -> Peak:
        """Returns the highest score of an image (y, x) of the size `other` against this one, between px by a parabola.

        Args:
            covered: (y, x) its px that count.
            least: px, that both have to cover at least.
            near, reach: px; shifts that are farther than `reach` from `near` on an axis are not tried.
        """
        total, square, area = fft.irfft2(self.spectra * self._spectra(image, covered).conj(), self.shape)
        score = total / np.sqrt(square.clip(min=0) + RIDGE * area.clip(min=0) + 1)
        at = [np.arange(side) for side in self.shape]
        shifts = [np.where(index >= own, index - side, index)
                  for index, own, side in zip(at, self.size, self.shape, strict=True)]  # fmt: skip
        tried = [np.abs(shift - place) <= reach for shift, place in zip(shifts, near, strict=True)]
        valid = (area >= least) & tried[0][:, None] & tried[1][None]
        seen = np.where(valid, score, -np.inf)
        y, x = (int(index) for index in np.unravel_index(seen.argmax(), seen.shape))
        found = np.array([shifts[0][y], shifts[1][x]], float)
        if not np.isfinite(seen[y, x]):
            return Peak(0.0, np.array(near, float))
        for axis, (low, high) in enumerate((((y - 1, x), (y + 1, x)), ((y, x - 1), (y, x + 1)))):
            before, after = (float(score[a % self.shape[0], b % self.shape[1]]) for a, b in (low, high))
            bend = before + after - 2 * float(score[y, x])
            if bend < 0:
                found[axis] += np.clip((before - after) / 2 / bend, -0.5, 0.5)
        return Peak(float(seen[y, x]), found)
