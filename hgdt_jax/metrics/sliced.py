"""Sliced Wasserstein distance: optimal transport between two sets of features, line by line."""

import functools

import numpy as np
from jaxtyping import Float, Float64

from hgdt_jax.metrics.frechet import check_features

DIRECTIONS = 2048
SEED = 20260101
_AT_ONCE = 256  # directions: bounds the memory of the projections


def sliced_wasserstein(
  real: Float[np.ndarray, 'n _'], fake: Float[np.ndarray, 'm _'], directions: int = DIRECTIONS
) -> float:
  """Squared sliced Wasserstein-2 distance of features of D dimensions, in float64.

  The mean over unit directions u of W2^2 between the laws of `u.x` and `u.y` (Rabin et al. 2012;
  Bonneel et al. 2015, without their root), each exact for the samples as they are: the integral of
  the squared gap of two piecewise constant quantile functions, so n and m may differ. The features
  are taken as they come, not scaled: laws that differ by a shift s alone are |s|^2 / D apart, and D
  times the distance is at most W2^2. It sees more than mean and covariance, and what too few
  samples add does not grow with D. ValueError for different dimensions.
  """
  real, fake = check_features(real), check_features(fake)
  if real.shape[1] != fake.shape[1]:
    raise ValueError(f'features have {real.shape[1]} and {fake.shape[1]} dimensions')
  weights, of_real, of_fake = _steps(len(real), len(fake))
  units, total = unit_directions(directions, real.shape[1]), 0.0
  for first in range(0, directions, _AT_ONCE):
    some = units[first : first + _AT_ONCE]
    x, y = np.sort(some @ real.T, axis=1), np.sort(some @ fake.T, axis=1)
    gaps = np.square(x - y) if len(real) == len(fake) else np.square(x[:, of_real] - y[:, of_fake])
    total += (gaps @ weights).sum()
  return float(total / directions)


@functools.lru_cache(maxsize=4)
def unit_directions(
  count: int, dimensions: int, seed: int = SEED
) -> Float64[np.ndarray, '{count} {dimensions}']:
  """Fixed rows of unit length, each uniform on the sphere.

  Drawn as rotations, `dimensions` rows at right angles at a time: each is as random as an
  independent one, and together they cover the space more evenly (Rowland et al. 2019).
  """
  rotations = -(-count // dimensions)
  drawn = np.random.default_rng(seed).normal(size=(rotations, dimensions, dimensions))
  q, r = np.linalg.qr(drawn)
  signs = np.sign(np.diagonal(r, axis1=1, axis2=2))[:, :, None]  # else not uniform (Mezzadri 2007)
  units = (np.swapaxes(q, 1, 2) * signs).reshape(-1, dimensions)[:count]
  units.setflags(write=False)  # one array for all calls
  return units


def _steps(n, m):
  """Widths of the steps of two quantile functions together, and the sample of each on a step."""
  edges = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)  # in units of 1 / (n m): exact
  return np.diff(edges) / (n * m), edges[:-1] // m, edges[:-1] // n
