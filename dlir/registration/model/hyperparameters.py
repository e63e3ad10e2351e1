"""The hyper-parameters of the correlation network: every number that its forward pass takes and that training does not change.

The trained weights fit these values. Whoever changes one of them trains the generic weights again (`dlir pretrain`). The priors
on turn, scale, aspect and shear stand in `priors.py`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hyperparameters:
    """All numbers of the network, in the order in which a pair of windows meets them. A cell is a pixel of a feature map."""

    # Noise filter (noise_filter.py)
    filter_background: float = 32.0  # px, sigma of the blur that is subtracted as background; wider than most structure
    filter_margin: int = 24  # px, least width that is mirrored around a window, so that its opposite edges do not wrap around
    filter_knots: tuple[float, ...] = (
        0.0, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.11, 0.15, 0.2, 0.26, 0.33, 0.41, 0.5, 0.72,
    )  # fmt: skip  # cycles per px, between which the power spectrum is interpolated; denser where spectra are steep
    noise_frequency: float = 0.33  # cycles per px; optics pass little beyond, so that the power there is the noise
    least_gain: float = 0.001  # gain at frequencies that seem to show noise alone: they pass evenly, instead of not at all

    # Encoder (network.py)
    strides: tuple[int, int, int] = (4, 2, 1)  # px per cell of the three feature maps; the layers are built for these
    width: int = 16  # channels of the layers at stride 2; those at strides 4 and 8 have twice as many
    head_channels: tuple[int, int, int] = (16, 8, 3)  # learnt channels of the three feature maps
    leak: float = 0.1  # slope of the activation for negative values
    head_deviation: float = 0.02  # standard deviation of the initial weights of the last layers: the fixed channel dominates
    fine_background: float = 10.0  # px, sigma of the blur that is subtracted from the window
    coarse_background: float = 8.0  # cells of 4 px, the same for the coarse copy of the window
    halving_blur: float = 0.7  # px of the larger image, sigma of the blur around each halving of the filtered window
    full_blur: float = 0.5  # px, sigma of the blur of the filtered window at full size, so that it can be interpolated

    # Coarse search (hough_correlation.py, network.py)
    segments: int = 8  # most parts into which the long side is cut; a turn hardly shifts the content within one part
    least_segment: int = 8  # cells, least length of a part
    largest_correlation: float = 0.995  # so that the likelihood of a perfect correlation stays finite
    full_overlap: float = 0.7  # fraction of the expected overlap from which on a shift counts fully: less is less evidence
    usual_overlap: float = 30000.0  # px, area of an ordinary overlap, the unit in which areas enter the network
    correlation_start: tuple[float, float] = (3.5, 2.0)  # initial log weights of a correlation and of its log likelihood

    # Refinement (lucas_kanade.py, network.py)
    iterations: tuple[int, int, int] = (3, 3, 2)  # Gauss-Newton steps on each feature map, coarse to fine
    prior_start: tuple[tuple[float, float], ...] = ((1.2, 0.0), (2.5, 0.0), (2.5, 0.0))  # initial log weights of the prior
    longest_step: float = 3.0  # cells, that one step may shift; the linearisation does not hold further
    whitening_stride: int = 2  # cells, between those that the covariance of the channels is measured on: for speed
    whitening_ridge: float = 0.3  # added to the covariance, as a fraction of each channel's variance
    whitening_floor: float = 0.01  # added to the covariance, so that constant channels are not amplified
    least_overlap: float = 0.05  # fraction of the window; with less, an affine is not refined

    # Covariance and confidence (network.py)
    logit_scale: float = 10.0  # log odds, and log px^2: the unit in which large logarithms enter the two heads
    least_ncc: float = 0.02  # NCC below which the pair is wrong anyway; keeps the logarithm finite
    largest_ncc: float = 0.999  # keeps Fisher's z finite
    largest_log_scale: float = 5.0  # most that the deviations are scaled up or down, as a logarithm


DEFAULT = Hyperparameters()  # what the network uses, and what the weights of the package were trained with
