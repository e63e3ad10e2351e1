"""What is assumed of the turn, scale, aspect and shear between two overlapping tiles before their pixels are compared.

Four parts of registration need such a prior. They need it in different forms (a list to try, a standard deviation, a limit),
and the results of earlier versions depend on the values, so the four tables differ and are kept side by side here.

Turns are in rad. Scale, aspect and shear are fractions: 0.01 is 1 %. For small values each adds its share of one matrix of
`core.affine.BASIS` to the identity.
"""

from dlir.registration.model.warping import DEGREE

# Turns (rad) and scales (less one) that the coarse search tries (`hough_correlation.py`). The refinement finds what lies
# between them.
SEARCHED_TURNS = tuple(turn * DEGREE for turn in (-1.2, -0.8, -0.4, 0.0, 0.4, 0.8, 1.2))
SEARCHED_SCALES = (-0.01, 0.0, 0.01)

# Standard deviations of rotation (rad), scale, aspect and shear of the Gaussian prior in the refinement (`lucas_kanade.py`).
# Between tiles of one microscope aspect and shear vary less than rotation and scale.
REFINEMENT_DEVIATIONS = (0.011, 0.007, 0.002, 0.002)

# Largest absolute rotation (rad), scale, aspect and shear of synthetic pairs, which are drawn uniformly up to these limits
# (`pairs/synthetic.py`). They lie within what the coarse search tries, so that each drawn pair can be found.
SYNTHETIC_LIMITS = (1.0 * DEGREE, 0.01, 0.0025, 0.0025)

# Largest absolute rotation (rad), scale along y, scale along x and shear that the paper's network can answer
# (`paper_network.py`), whose outputs are bounded. It has two scales where the others have scale and aspect.
PAPER_LIMITS = (1.2 * DEGREE, 0.01, 0.01, 0.005)
