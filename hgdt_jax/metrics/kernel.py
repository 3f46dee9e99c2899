"""The squared maximum mean discrepancy: as a distance of sets, and as a test of two samples."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import optimize, special

from hgdt_jax.metrics import blocks
from hgdt_jax.metrics.frechet import check_features
from hgdt_jax.metrics.resampling import Draws, Scores


def kernel_distance(
  a: Float[np.ndarray, 'n _'], b: Float[np.ndarray, 'm _'], degree: int = 3
) -> float:
  """MMD^2 of features under `(x.y / D + 1)^degree`, D their dimensions, in float64.

  With I3D logits and degree 3 it is the KVD of TATS (Ge et al. 2022; the kernel of KID, Binkowski
  et al. 2018): all samples at once, diagonals left out. Unbiased, so it may fall below zero and
  its mean does not depend on the number of clips. ValueError with fewer than 2 samples or
  different dimensions.
  """
  a, b = check_features(a), check_features(b)
  _check_pair(a, b)
  within = lambda x: _kernel_sum(x, x, degree) - np.sum(_with_itself(x, degree))
  n, m = len(a), len(b)
  between = _kernel_sum(a, b, degree) / (n * m)
  return float(within(a) / (n * (n - 1)) + within(b) / (m * (m - 1)) - 2.0 * between)


def resampled_distances(
  real: Float[np.ndarray, 'n d'],
  fakes: Sequence[Float[np.ndarray, 'm d']],
  draws: Sequence[Draws],
  degree: int = 3,
) -> Scores:
  """`kernel_distance` of each of the sets to the real one, in each resampling.

  Kernel values are summed over the groups once; a resampling is then a product with how often each
  was drawn. A clip drawn twice is no pair of two clips: the kernel of a sample with itself is left
  out, however often it was drawn, or the distance would be biased upward. So are pairs between two
  copies of one group; pairs of different samples within a copy stay, as `kernel_distance` has them.
  nan where one sample alone was drawn. `draws` are of the real set and of the generated ones, which
  are resampled alike. Kernel matrices are made in blocks of rows, and none is kept.
  """
  real, fakes = check_features(real), [check_features(fake) for fake in fakes]
  of_real, of_fake = draws
  within_real = _resampled_within(real, of_real, degree)
  return np.stack([
    within_real
    + _resampled_within(fake, of_fake, degree)
    - 2.0 * _resampled_between(real, fake, of_real, of_fake, degree)
    for fake in fakes
  ])  # fmt: skip


def _resampled_within(rows, draws, degree):
  """Mean of the kernel over the pairs of different samples that each resampling has, `[R]`."""
  sizes = np.bincount(draws.members).astype(np.float64)
  counts = draws.counts.astype(np.float64)
  # Of each group with itself: all pairs, and those of a sample with itself.
  of_groups = (rows[draws.members == group] for group in range(len(sizes)))
  whole, diagonal = np.array(
    [(_kernel_sum(x, x, degree), np.sum(_with_itself(x, degree))) for x in of_groups]
  ).T
  total = _resampled_sum(rows, rows, draws, draws, degree)
  total += counts @ (whole - diagonal) - counts**2 @ whole
  pairs = (counts @ sizes) ** 2 - counts**2 @ sizes**2 + counts @ (sizes * (sizes - 1))
  return np.divide(total, pairs, out=np.full(len(counts), np.nan), where=pairs > 0)


def _resampled_between(real, fake, of_real, of_fake, degree):
  """Mean of the kernel over the pairs that each resampling of both sets has, `[R]`."""
  size = lambda draws: draws.counts @ np.bincount(draws.members)
  total = _resampled_sum(real, fake, of_real, of_fake, degree)
  return total / (size(of_real) * size(of_fake))


def _resampled_sum(a, b, of_a, of_b, degree):
  """Sum of the kernel over all pairs that each resampling of both sets has, `[R]`."""
  weights_a, weights_b = (of.weights().astype(np.float64) for of in (of_a, of_b))
  total = np.zeros(len(weights_a))
  for rows, values in _kernel_blocks(a, b, degree):
    total += np.einsum('rj,rj->r', weights_a[:, rows] @ values, weights_b)
  return total


def _kernel_sum(a, b, degree):
  return sum(values.sum() for _, values in _kernel_blocks(a, b, degree))


def _kernel_blocks(a, b, degree):
  """Rows of `a`, and the kernel matrix of these with all of `b`, one after another."""
  for rows in blocks.of(len(a), len(b)):
    yield rows, (a[rows] @ b.T / a.shape[1] + 1.0) ** degree


def _with_itself(rows, degree):
  return (np.sum(rows * rows, axis=1) / rows.shape[1] + 1.0) ** degree


_TIE = 1e-12  # by so little two sums of the same terms may differ
_TAIL = 0.05  # of the upper bound


class TwoSample(NamedTuple):
  """`statistic`: MMD^2, unbiased. `p_value`: its share among shuffles of the pooled samples.

  `upper`: with 95% confidence MMD^2 is not larger. Few samples raise the p-value, and this too.
  """

  statistic: float
  p_value: float
  upper: float


def two_sample_test(
  a: Float[np.ndarray, 'n _'], b: Float[np.ndarray, 'm _'], shuffles: int = 500, seed: int = 0
) -> TwoSample:
  """Whether features come from one law (Gretton et al. 2012).

  A Gaussian kernel as wide as the median distance of the pooled samples, each dimension divided by
  its deviation; the p-value by permutation, so it is exact for any number of samples. It does not
  reject where n is too small to tell: read `upper` beside it, a bound on MMD^2 under this kernel,
  scale and width of these samples. Memory is that of the kernel matrix of the pooled samples,
  (n + m)^2 doubles, and as much again.

  `upper` is the largest MMD^2 that would give a statistic as small as this in one case of twenty.
  In kernel space the statistic is, for many samples, `|d + e|^2` less its mean for d = 0: d is the
  difference of the laws, MMD^2 = |d|^2, and e normal with covariance `C_a / n + C_b / m` (Hoeffding
  1948; for MMD^2 Gretton et al. 2012). So it varies least where it is small, and a deviation that
  is estimated there (Sutherland et al. 2017, or a bootstrap) gives a bound that is missed in up to
  a fifth of the cases. Here d lies along the largest variance, the worst case, and the sum of all
  others varies as shuffles do. A statistic below 0 is luck, of which few samples have more: for the
  bound it counts as 0. ValueError with fewer than 2 samples or different dimensions.
  """
  a, b = check_features(a), check_features(b)
  _check_pair(a, b)
  kernel = _pooled_kernel(np.concatenate([a, b]))
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
  # The mean of all shuffles is 0.
  upper = _upper_bound(max(found[0], 0.0), _largest_variance(kernel, n), np.mean(found[1:] ** 2))
  return TwoSample(float(found[0]), float((1 + as_large) / (1 + shuffles)), float(upper))


def _upper_bound(statistic, largest, shuffled):
  """The largest x that gives so small a statistic, which is not below 0, in one case of twenty.

  With x = r^2 the statistic is `(r + sqrt(largest) z)^2 - largest`, z normal, plus what shuffles
  vary beyond that, `2 largest^2`, taken for normal: its skew is to the right, the safe side.
  """
  z = np.linspace(-6.0, 6.0, 601)
  mass = np.exp(-0.5 * z**2)
  mass /= mass.sum()
  deviation = np.sqrt(max(shuffled - 2.0 * largest**2, 1e-6 * shuffled, _TIE**2))
  along = lambda r: (r + np.sqrt(largest) * z) ** 2 - largest
  share = lambda r: mass @ special.ndtr((statistic - along(r)) / deviation) - _TAIL
  high = np.sqrt(statistic + largest + deviation)
  while share(high) > 0:
    high *= 2.0
  return optimize.brentq(share, 0.0, high) ** 2


def _largest_variance(kernel, n):
  """Largest eigenvalue of `C_a / n + C_b / m`, the covariances of both laws in kernel space.

  It is that of the kernel matrix of all samples, each less the mean of its set and divided by the
  root of `n (n - 1)`. `kernel [n + m, n + m]` without diagonal.
  """
  kernel = kernel + np.eye(len(kernel))
  for part in (slice(n), slice(n, None)):
    size = len(kernel[part])
    for rows in (kernel[part], kernel[:, part].T):
      rows -= rows.mean(axis=0)
      rows /= np.sqrt(size * (size - 1.0))
  # Subspace iteration: unlike Lanczos it cannot fail, and equal eigenvalues do not slow it.
  towards = np.random.default_rng(0).normal(size=(len(kernel), 8))
  for _ in range(20):
    towards = kernel @ np.linalg.qr(towards)[0]
  return float(np.linalg.norm(towards, 2))


def _pooled_kernel(pooled):
  """Gaussian kernel of `[N, D]`, `[N, N]`, the diagonal left 0."""
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
  return kernel


def _check_pair(a, b):
  if a.shape[1] != b.shape[1]:
    raise ValueError(f'features have {a.shape[1]} and {b.shape[1]} dimensions')
  if min(len(a), len(b)) < 2:
    raise ValueError(f'a kernel distance needs at least 2 samples, got {len(a)} and {len(b)}')
