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


_TIE = 1e-12  # by so little two sums of the same terms may differ


class TwoSample(NamedTuple):
  """`statistic`: MMD^2, unbiased. `p_value`: its share among shuffles of the pooled samples."""

  statistic: float
  p_value: float


def two_sample_test(a: np.ndarray, b: np.ndarray, shuffles: int = 500, seed: int = 0) -> TwoSample:
  """Whether features `[N, D]` and `[M, D]` come from one law (Gretton et al. 2012).

  A Gaussian kernel as wide as the median distance of the pooled samples, each dimension divided by
  its deviation; the p-value by permutation, so it is exact for any number of samples. It does not
  reject where N is too small to tell: read the statistic beside it. Memory is that of the kernel
  matrix of the pooled samples, (N + M)^2 doubles, and as much again.
  """
  a, b = check_features(a), check_features(b)
  pooled = np.concatenate([a, b])
  pooled = pooled / np.maximum(pooled.std(axis=0), 1e-12)
  power = np.sum(pooled**2, axis=1)
  kernel = pooled @ pooled.T  # and in place from here on
  kernel *= -2.0
  kernel += power[:, None]
  kernel += power[None]
  np.maximum(kernel, 0.0, out=kernel)  # squared distances, but for rounding
  kernel /= -max(np.median(kernel[~np.tri(len(pooled), dtype=bool)]), 1e-12)
  np.exp(kernel, out=kernel)
  np.fill_diagonal(kernel, 0.0)

  n, m = len(a), len(b)
  order, rng = np.arange(n + m), np.random.default_rng(seed)
  first = np.zeros((1 + shuffles, n + m))  # a row for each way to part the samples, 1: first part
  first[0, :n] = 1.0
  for row in first[1:]:
    row[rng.permutation(order)[:n]] = 1.0
  # Sums of the kernel over the pairs within the first part, between both, and within the second.
  within = np.einsum('ij,ij->i', first, first @ kernel)
  between = first @ kernel.sum(axis=1) - within
  rest = kernel.sum() - within - 2.0 * between
  found = within / (n * (n - 1)) + rest / (m * (m - 1)) - 2.0 * between / (n * m)
  as_large = np.sum(found[1:] >= found[0] - _TIE)
  return TwoSample(float(found[0]), float((1 + as_large) / (1 + shuffles)))


def _off_diagonal_mean(matrix):
  n = len(matrix)
  return (matrix.sum() - np.trace(matrix)) / (n * (n - 1))
