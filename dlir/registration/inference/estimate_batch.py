"""Estimates a batch of pairs by a method of registration, without any verdict: these estimates are what the cache keeps."""

import pandas as pd
import torch

from dlir.core import affine
from dlir.registration.inference.cache import IDENTITY
from dlir.registration.model.estimate import Estimate, Method
from dlir.registration.model.network import CorrelationNetwork
from dlir.registration.model.noise_filter import above_noise, alignment_ncc
from dlir.registration.pairs.windows import WindowBatch, affine_columns, expected_shift


def estimate_batch(batch: WindowBatch, method: Method, linear: float) -> pd.DataFrame:
    """Returns the rows of tables.AFFINES for one batch, without the verdict; the confidence is what the method reports.

    The scores are the NCC of the windows, filtered by the noise filter, at the nominal offset and after registration.
    """
    windows = batch.fixed, batch.moving, batch.search, batch.centre, linear
    if isinstance(method, CorrelationNetwork):
        estimate: Estimate = method(*windows, shown=batch.shown)
    else:  # such a method sees blind pixels filled
        estimate = method(*windows)
    nominal = torch.from_numpy(affine.translation(expected_shift(batch.rows) / batch.step))
    filtered = estimate.clear or above_noise(batch.fixed, batch.moving)
    before, after = alignment_ncc(*filtered, nominal.to(filtered[0]), estimate.affine, shown=batch.shown)
    return batch.rows[IDENTITY].assign(
        **affine_columns(estimate.affine, estimate.covariance, batch),
        score_before=before.cpu().numpy(),
        score_after=after.cpu().numpy(),
        confidence=estimate.confidence.cpu().numpy(),
    )
