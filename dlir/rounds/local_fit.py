"""The smooth field that explains how far patches of a round lie from those of the first one, and whether there is any.

The nodes c of the field (`core/local_field.py`) minimise, for shifts d_i that patches show with the deviations s_i,

    sum of  w_i |d_i - f(P_i)|^2 / (s_i^2 + SCATTER^2)  +  stiffness (bending of c + LEVEL |c|^2),

where patches that contradict the others count less (Cauchy's w_i). Bending is the sum of squared second differences (a thin
plate; Eilers and Marx, Statistical Science 1996). The last term draws the field to 0 where no patch tells, and nodes far from
all patches are 0.

How stiff the field is, patches decide that a fit leaves out (cross-validation): the stiffness at which the others predict them
best. Unless the field predicts them clearly better than none, there is none. So noise does not become a field.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.spatial import cKDTree

from dlir.core.affine import Array
from dlir.core.factors import factorised
from dlir.core.local_field import LocalField

SCATTER = 0.1  # px, by which patches err beside their deviations
LEVEL = 0.03  # of the bending
STIFFNESS = 1 / np.array([0.03, 0.1, 0.3, 1.0, 3.0]) ** 2  # for each, the bend from node to node, px, that is usual
CAUCHY = 3.0  # times the usual residual, at which the weight is halved
STEPS = 6  # of the robust least squares
FOLDS = 5  # of the cross-validation
FEWEST = 12  # patches that show a field
CLEARLY = 3.0  # standard errors, by which the field has to be better than none
WORTH, SHARE = 0.1, 0.2  # px, and of what is there without it, by which it has to be better
CUT = 4.0  # bounds: patches that match by chance, far away, count no more
NEAR, FAR = 1.0, 3.0  # nodes from the next patch: up to NEAR a node counts whole, and from FAR on not at all
SHARPNESS = 8.0  # of the bound: shifts up to 80 % of it are hardly shortened


class LocalFit(NamedTuple):
    """A field, and what it mends."""

    field: LocalField | None  # None where it does not help
    before: Array  # (n,) px, how far the patches lie from the first round
    after: Array  # (n,) px, what is left where the field is fitted to other patches; the same as before without a field


def fit_local(patches: pd.DataFrame, field: LocalField, bound: float) -> LocalFit:
    """Returns the field that patches show.

    Args:
        patches: y, x: places in the common frame; dy, dx: their shifts; deviation: of these; all in px.
        field: gives the nodes.
        bound: px, the largest shift of the field.
    """
    shift = patches[["dy", "dx"]].to_numpy(float)
    before = np.asarray(np.linalg.norm(shift, axis=1))
    if len(patches) < FEWEST:
        return LocalFit(None, before, before)
    basis, bending = field.weights(patches[["y", "x"]]), _bending(field)
    weight = 1 / (patches["deviation"].to_numpy(float) ** 2 + SCATTER**2)
    fold = np.random.default_rng(0).permutation(len(patches)) % FOLDS
    best: float | None = None
    predicted = before
    for stiffness in STIFFNESS:
        left = np.empty_like(before)
        for number in range(FOLDS):
            out, rest = fold == number, fold != number
            nodes = _fitted(basis[rest], shift[rest], weight[rest], stiffness * bending, bound)
            left[out] = np.linalg.norm(shift[out] - basis[out] @ nodes, axis=1)
        if best is None or _cut(left, bound).mean() < _cut(predicted, bound).mean():
            best, predicted = stiffness, left
    gain = _cut(before, bound) - _cut(predicted, bound)
    worth = max(WORTH, SHARE * float(_cut(before, bound).mean()), CLEARLY * float(gain.std()) / np.sqrt(len(gain)))
    if best is None or gain.mean() < worth:
        return LocalFit(None, before, before)
    nodes = _fitted(basis, shift, weight, best * bending, bound) * _known(patches, field)[:, None]
    return LocalFit(field._replace(shifts=nodes.reshape(field.shifts.shape)), before, predicted)


def _cut(lengths: Array, bound: float) -> Array:
    """Lengths (n,), px, as they are compared."""
    return lengths.clip(max=CUT * bound)


def _known(patches: pd.DataFrame, field: LocalField) -> Array:
    """How much each node (nodes,) counts: 1 near patches, 0 far from all."""
    apart, _ = cKDTree(patches[["y", "x"]]).query(field.table()[["y", "x"]])
    return ((FAR - np.asarray(apart, float) / field.spacing) / (FAR - NEAR)).clip(0, 1)


def _fitted(basis: sparse.csr_matrix, shift: Array, weight: Array, bending: sparse.csr_matrix, bound: float) -> Array:
    """Returns the nodes (nodes, 2), px, by robust least squares, within the bound."""
    robust, nodes = np.ones(len(shift)), np.zeros((basis.shape[1], 2))
    for _ in range(STEPS):
        of_patch = weight * robust
        nodes = factorised(basis.T @ sparse.diags(of_patch) @ basis + bending).solve(basis.T @ (of_patch[:, None] * shift))
        left = np.linalg.norm(shift - basis @ nodes, axis=1)
        robust = 1 / (1 + (left / (CAUCHY * max(SCATTER, float(np.median(left))))) ** 2)
    length = np.linalg.norm(nodes, axis=1, keepdims=True)
    return np.asarray(nodes / (1 + (length / bound) ** SHARPNESS) ** (1 / SHARPNESS))


def _bending(field: LocalField) -> sparse.csr_matrix:
    """Returns the matrix (nodes, nodes) of the square that the stiffness weighs."""
    rows, columns = field.shifts.shape[:2]
    own = [sparse.identity(count) for count in (rows, columns)]
    once, twice = ([sparse.csr_matrix(np.diff(np.eye(count), order, axis=0)) for count in (rows, columns)] for order in (1, 2))
    parts = sparse.kron(twice[0], own[1]), sparse.kron(own[0], twice[1]), np.sqrt(2) * sparse.kron(once[0], once[1])
    return sparse.csr_matrix(sum((part.T @ part for part in parts), LEVEL * sparse.identity(rows * columns)))
