"""Kernel distance: the squared maximum mean discrepancy under a polynomial kernel, unbiased."""

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


def _off_diagonal_mean(matrix):
  n = len(matrix)
  return (matrix.sum() - np.trace(matrix)) / (n * (n - 1))
