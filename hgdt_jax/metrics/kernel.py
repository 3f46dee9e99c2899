"""The squared maximum mean discrepancy: as a distance of sets, and as a test of two samples."""

from typing import NamedTuple

import numpy as np

from hgdt_jax.metrics.frechet import check_features


def kernel_distance(a: np.ndarray, b: np.ndarray, degree: int = 3) -> float:
  """MMD^2 of features `[N, D]` and `[M, D]` under `(x.y / D + 1)^degree`, in float64.

  With I3D logits and degree 3 it is the KVD of TATS (Ge et al. 2022; the kernel of KID, Binkowski
  et al. 2018): all samples at once, diagonals left out. Unbiased, so it may fall below zero and
  its mean does not depend on the number of clips. ValueError with fewer than 2 samples or
  different dimensions.
  """
  a, b = check_features(a), check_features(b)
  if a.shape[1] != b.shape[1]:
    raise ValueError(f'features have {a.shape[1]} and {b.shape[1]} dimensions')
  if min(len(a), len(b)) < 2:
    raise ValueError(f'a kernel distance needs at least 2 samples, got {len(a)} and {len(b)}')
  kernel = lambda x, y: (x @ y.T / a.shape[1] + 1.0) ** degree
  return float(_off_diagonal_mean(kernel(a, a)) + _off_diagonal_mean(kernel(b, b))
               - 2.0 * kernel(a, b).mean())  # fmt: skip


class TwoSample(NamedTuple):
  """`statistic`: MMD^2, unbiased. `p_value`: its share among shuffles of the pooled samples."""

  statistic: float
  p_value: float


def two_sample_test(a: np.ndarray, b: np.ndarray, shuffles: int = 500, seed: int = 0) -> TwoSample:
  """Whether features `[N, D]` and `[M, D]` come from one law (Gretton et al. 2012).

  A Gaussian kernel as wide as the median distance of the pooled samples, each dimension divided by
  its deviation; the p-value by permutation, so it is exact for any number of samples. It does not
  reject where N is too small to tell: read the statistic beside it.
  """
  a, b = check_features(a), check_features(b)
  pooled = np.concatenate([a, b])
  pooled = pooled / np.maximum(pooled.std(axis=0), 1e-12)
  power = np.sum(pooled**2, axis=1)
  squared = np.maximum(power[:, None] + power[None] - 2 * pooled @ pooled.T, 0.0)
  apart = squared[np.triu_indices(len(pooled), 1)]
  kernel = np.exp(-squared / max(np.median(apart), 1e-12))

  def statistic(order):
    first, second = order[: len(a)], order[len(a) :]
    within = [_off_diagonal_mean(kernel[np.ix_(half, half)]) for half in (first, second)]
    return float(sum(within) - 2.0 * kernel[np.ix_(first, second)].mean())

  order, rng = np.arange(len(pooled)), np.random.default_rng(seed)
  found = statistic(order)
  as_large = sum(statistic(rng.permutation(order)) >= found for _ in range(shuffles))
  return TwoSample(found, (1 + as_large) / (1 + shuffles))


def _off_diagonal_mean(matrix):
  n = len(matrix)
  return (matrix.sum() - np.trace(matrix)) / (n * (n - 1))
