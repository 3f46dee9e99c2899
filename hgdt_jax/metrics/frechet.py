"""Fréchet distance between Gaussians fitted to two sets of features, in float64 numpy."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64, Shaped

from hgdt_jax.metrics.resampling import Draws, Scores


@dataclasses.dataclass(frozen=True)
class Moments:
  """Count, mean and scatter of the features seen so far: fixed size, mergeable with `+`.

  Addition is associative and commutative up to float64 rounding (Chan et al. 1979), so batches,
  devices and processes may be merged in any order.
  """

  count: int
  mean: Float64[np.ndarray, ' d']
  scatter: Float64[np.ndarray, 'd d']  # sum of outer products of deviations from the mean

  @classmethod
  def from_features(cls, features: Float[np.ndarray, '...']) -> 'Moments':
    """Of `features [N, D]`, N >= 1, any float type. ValueError for NaN, inf or a wrong shape."""
    features = check_features(features)
    mean = features.mean(axis=0)
    centred = features - mean
    return cls(len(features), mean, centred.T @ centred)

  def __add__(self, other: 'Moments') -> 'Moments':
    if self.mean.shape != other.mean.shape:
      raise ValueError(
        f'cannot merge moments of {len(self.mean)} and {len(other.mean)} dimensions: '
        'they come from different feature networks'
      )
    count = self.count + other.count
    delta = other.mean - self.mean
    cross = np.outer(delta, delta) * (self.count * other.count / count)
    return Moments(
      count, self.mean + delta * (other.count / count), self.scatter + other.scatter + cross
    )

  def covariance(self, ddof: int) -> Float64[np.ndarray, 'd d']:
    """The scatter over `count - ddof`. ValueError with fewer than 2 samples."""
    if self.count < 2:
      raise ValueError(f'a covariance needs at least 2 samples, got {self.count}')
    return self.scatter / (self.count - ddof)


def check_features(features: Shaped[np.ndarray, '...']) -> Float64[np.ndarray, 'n d']:
  """ValueError where they have not two axes, or are not finite."""
  features = np.asarray(features, np.float64)
  if features.ndim != 2 or not features.size:
    raise ValueError(f'features must be [N, D] with N, D >= 1, got shape {list(features.shape)}')
  finite = np.isfinite(features).all(axis=1)
  if not finite.all():
    raise ValueError(
      f'features of sample {int(np.argmin(finite))} of {len(features)} are NaN or infinite'
    )
  return features


def frechet_distance(a: Moments, b: Moments, ddof: int) -> float:
  """`|m_a - m_b|^2 + tr(C_a) + tr(C_b) - 2 tr((C_a C_b)^(1/2))` (Dowson and Landau 1982).

  `ddof` 0 divides the covariance by N (FVD as StyleGAN-V computes it), 1 by N - 1 (FID as
  pytorch-fid does). The last trace is the nuclear norm of `C_a^(1/2) C_b^(1/2)`; both roots come
  from the eigen-decomposition of a symmetric matrix, so nothing is complex, nothing has to be
  regularised, and fewer samples than dimensions are fine. ValueError with fewer than 2 samples
  or different dimensions.
  """
  if a.mean.shape != b.mean.shape:
    raise ValueError(
      f'features have {len(a.mean)} and {len(b.mean)} dimensions: two different networks?'
    )
  cov_a, cov_b = a.covariance(ddof), b.covariance(ddof)
  overlap = np.linalg.norm(_factor(cov_a).T @ _factor(cov_b), 'nuc')
  return _distance(a.mean - b.mean, np.trace(cov_a), np.trace(cov_b), overlap)


def frechet_distance_of_features(
  a: Float[np.ndarray, 'n _'], b: Float[np.ndarray, 'm _'], ddof: int
) -> float:
  """The same distance from features held in memory.

  With fewer samples than dimensions no covariance is formed: the trace is the nuclear norm of an
  n by m matrix, which is what makes bootstrapping FID affordable.
  """
  a, b = check_features(a), check_features(b)
  if min(len(a), len(b)) < 2 or a.shape[1] != b.shape[1] or max(len(a), len(b)) >= a.shape[1]:
    return frechet_distance(Moments.from_features(a), Moments.from_features(b), ddof)
  root_a = (a - a.mean(axis=0)) / np.sqrt(len(a) - ddof)
  root_b = (b - b.mean(axis=0)) / np.sqrt(len(b) - ddof)
  overlap = np.linalg.norm(root_a @ root_b.T, 'nuc')
  return _distance(a.mean(0) - b.mean(0), np.sum(root_a**2), np.sum(root_b**2), overlap)


def resampled_distances(
  real: Float[np.ndarray, 'n d'],
  fakes: Sequence[Float[np.ndarray, 'm d']],
  draws: Sequence[Draws],
  ddof: int,
) -> Scores:
  """The distance of each of the sets to the real one, in each resampling.

  Moments are those of weighted rows, and what is taken of the real set is taken once for all F. The
  trace is that of the root of `F_a^T C_b F_a`, `C_a = F_a F_a^T`: equal to that of
  `frechet_distance` to 1e-6 of the traces, in half the time. `draws` are of the real set and of the
  generated ones, which are resampled alike.
  """
  real, fakes = check_features(real), [check_features(fake) for fake in fakes]
  of_real, of_fake = draws[0].weights(), draws[1].weights()
  found = np.empty((len(fakes), len(of_real)))
  for r, weights in enumerate(of_real):
    mean, root = _weighted(real, weights, ddof)
    trace, factor = np.sum(root**2), None
    for f, fake in enumerate(fakes):
      other_mean, other = _weighted(fake, of_fake[r], ddof)
      if max(len(root), len(other)) < real.shape[1]:
        overlap = np.linalg.norm(root @ other.T, 'nuc')
      else:
        factor = _factor(root.T @ root) if factor is None else factor
        between = other @ factor
        roots = np.sqrt(np.maximum(np.linalg.eigvalsh(between.T @ between), 0.0))
        overlap = roots.sum()
      found[f, r] = _distance(mean - other_mean, trace, np.sum(other**2), overlap)
  return found


def _weighted(rows, weights, ddof):
  """Mean `[D]` and `[n, D]`, R with `R^T R` the covariance, of rows drawn so many times."""
  some = np.flatnonzero(weights)
  rows, weights = rows[some], weights[some].astype(np.float64)
  mean = weights @ rows / weights.sum()
  return mean, (rows - mean) * np.sqrt(weights / (weights.sum() - ddof))[:, None]


def _distance(delta, trace_a, trace_b, overlap) -> float:
  """Never below zero: that is rounding of the traces, at 1e-13 of their size."""
  return float(max(0.0, delta @ delta + trace_a + trace_b - 2.0 * overlap))


def _factor(covariance):
  """`[D, rank]`, F with `F F^T = covariance`; directions of rounding noise are left out."""
  values, vectors = np.linalg.eigh(covariance)
  keep = values > values[-1] * len(values) * np.finfo(np.float64).eps
  return vectors[:, keep] * np.sqrt(values[keep])
