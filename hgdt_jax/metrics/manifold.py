"""Improved precision and recall (Kynkäänniemi et al. 2019), density and coverage, on features."""

import numpy as np
from jaxtyping import Float

from hgdt_jax.metrics import blocks
from hgdt_jax.metrics.frechet import check_features

NEIGHBOURS = 3  # as in the paper
COVERAGE_NEIGHBOURS = 5  # as in the paper of density and coverage


def precision(real: Float[np.ndarray, 'n d'], fake: Float[np.ndarray, 'm d']) -> float:
  """Share of fake features inside the real manifold: quality.

  The manifold of a set is the union of balls around its samples that reach their third neighbour.
  ValueError where the set that spans it has 3 samples or fewer.
  """
  return _share_inside(check_features(fake), check_features(real))


def recall(real: Float[np.ndarray, 'n d'], fake: Float[np.ndarray, 'm d']) -> float:
  """Share of real features inside the fake manifold: diversity."""
  return _share_inside(check_features(real), check_features(fake))


def density(real: Float[np.ndarray, 'n d'], fake: Float[np.ndarray, 'm d']) -> float:
  """How many real balls a fake feature lies in, over 5: quality (Naeem et al. 2020).

  Balls reach from each real feature to its fifth neighbour among the real ones. Expected to be 1
  where both sets follow one law, whatever n and m; above where samples huddle where real ones are
  dense. ValueError with 5 real samples or fewer.
  """
  balls, _ = _in_real_balls(real, fake)
  return float(balls.mean() / COVERAGE_NEIGHBOURS)


def coverage(real: Float[np.ndarray, 'n d'], fake: Float[np.ndarray, 'm d']) -> float:
  """Share of the same balls that hold a fake feature (Naeem et al. 2020): diversity.

  Unlike recall it cannot be raised by a few fake outliers, whose own balls would be large. See
  `expected_coverage` for what it is between sets of one law: never quite 1.
  """
  _, held = _in_real_balls(real, fake)
  return float(held.mean())


def expected_coverage(real: int, fake: int, neighbours: int = COVERAGE_NEIGHBOURS) -> float:
  """Of `real` and `fake` samples of one continuous law: `1 - prod (N - i) / (N + M - i)`, i to k.

  A real ball is empty where the k samples next to its centre, of the N + M - 1 others, are all real
  (Naeem et al. 2020, appendix). 0.970 for many and equally many samples and k = 5.
  """
  i = np.arange(1, neighbours + 1)
  return float(1.0 - np.prod((real - i) / (real + fake - i)))


def _in_real_balls(real, fake):
  """Balls of real features that each fake one lies in `[M]`; which of the balls hold one `[N]`."""
  real, fake = check_features(real), check_features(fake)
  return _inside(fake, real, COVERAGE_NEIGHBOURS, 'density and coverage')


def _share_inside(queries, manifold):
  balls, _ = _inside(queries, manifold, NEIGHBOURS, 'precision and recall')
  return float(np.mean(balls > 0))


def _inside(queries, centres, neighbours, names):
  """Balls around `centres`, to their k-th neighbour, that hold each query; which hold any, `[N]`.

  Distances are taken in blocks of rows: memory does not grow with M times N.
  """
  if len(centres) <= neighbours:
    raise ValueError(f'{names} need more than {neighbours} samples, got {len(centres)}')
  radius, balls = np.empty(len(centres)), np.empty(len(queries), np.int64)
  held = np.zeros(len(centres), bool)
  for rows in blocks.of(len(centres), len(centres)):
    within = np.partition(_squared_distances(centres[rows], centres), neighbours, axis=1)
    radius[rows] = within[:, neighbours]  # the nearest is itself
  for rows in blocks.of(len(queries), len(centres)):
    inside = _squared_distances(queries[rows], centres) <= radius
    balls[rows] = inside.sum(axis=1)
    held |= inside.any(axis=0)
  return balls, held


def _squared_distances(a, b):
  """`[N, M]`, centred first so that differences do not cancel."""
  centre = b.mean(axis=0)
  a, b = a - centre, b - centre
  squares = np.sum(a * a, axis=1)[:, None] + np.sum(b * b, axis=1)[None] - 2.0 * a @ b.T
  return np.maximum(squares, 0.0)
