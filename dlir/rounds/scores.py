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

    def __init__(
        self, image: Image, covered: Mask, other: tuple[int, ...], near: tuple[int, int] = (0, 0), reach: float = np.inf
    ) -> None:
        """Prepares to compare an image (y, x) with images of the size `other` (y, x).

        Args:
            covered: (y, x) its px that count.
            near, reach: px; shifts that are farther than `reach` from `near` on an axis are not tried.
        """
        self.near, self.first, self.shape, self.seen = near, list[int](), list[int](), list[NDArray[np.int64]]()
        for own, of_other, place in zip(image.shape, other, near, strict=True):
            # the shifts that are tried, and one more at either end for the parabola
            first, last = int(max(place - reach, 1 - of_other)) - 1, int(min(place + reach, own - 1)) + 1
            # so long that a shift that is tried meets nothing that the transform wraps around
            side = fft.next_fast_len(max(own, of_other, own - first, of_other + last), real=True)
            self.first.append(first)
            self.shape.append(side)
            self.seen.append(np.arange(first, last + 1) % side)
        self.spectra = self._spectra(image, covered)

    def _spectra(self, image: Image, covered: Mask) -> NDArray[np.complex64]:
        return np.asarray(fft.rfft2(np.stack([image, image**2, covered.astype(np.float32)]), self.shape))

    def peak(self, image: Image, covered: Mask, least: float) -> Peak:
        """Returns the highest score of an image (y, x) of the size `other` against this one, between px by a parabola.

        Args:
            covered: (y, x) its px that count.
            least: px, that both have to cover at least.
        """
        every = fft.irfft2(self.spectra * self._spectra(image, covered).conj(), self.shape)
        total, square, area = every[:, self.seen[0][:, None], self.seen[1]]
        score = total / np.sqrt(square.clip(min=0) + RIDGE * area.clip(min=0) + 1)
        valid = np.where(area >= least, score, -np.inf)[1:-1, 1:-1]
        y, x = (int(index) + 1 for index in np.unravel_index(valid.argmax(), valid.shape))
        if not np.isfinite(valid[y - 1, x - 1]):
            return Peak(0.0, np.array(self.near, float))
        found = np.array([self.first[0] + y, self.first[1] + x], float)
        for axis, (low, high) in enumerate((((y - 1, x), (y + 1, x)), ((y, x - 1), (y, x + 1)))):
            before, after = float(score[low]), float(score[high])
            bend = before + after - 2 * float(score[y, x])
            if bend < 0:
                found[axis] += np.clip((before - after) / 2 / bend, -0.5, 0.5)
        return Peak(float(score[y, x]), found)
