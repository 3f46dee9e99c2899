"""Improved precision and recall (Kynkäänniemi et al. 2019) on features."""

import numpy as np

from hgdt_jax.metrics.frechet import check_features

NEIGHBOURS = 3  # as in the paper


def precision(real: np.ndarray, fake: np.ndarray) -> float:
  """Share of fake features `[M, D]` inside the real manifold: quality.

  The manifold of a set is the union of balls around its samples that reach their third neighbour.
  ValueError where the set that spans it has 3 samples or fewer.
  """
  return _share_inside(check_features(fake), check_features(real))


def recall(real: np.ndarray, fake: np.ndarray) -> float:
  """Share of real features `[N, D]` inside the fake manifold: diversity."""
  return _share_inside(check_features(real), check_features(fake))


def _share_inside(queries, manifold):
  if len(manifold) <= NEIGHBOURS:
    raise ValueError(
      f'precision and recall need more than {NEIGHBOURS} samples, got {len(manifold)}'
    )
  within = np.sort(_squared_distances(manifold, manifold), axis=1)  # column 0 is the sample itself
  inside = _squared_distances(queries, manifold) <= within[:, NEIGHBOURS]
  return float(inside.any(axis=1).mean())


def _squared_distances(a, b):
  """`[N, M]`, centred first so that differences do not cancel."""
  centre = b.mean(axis=0)
  a, b = a - centre, b - centre
  squares = np.sum(a * a, axis=1)[:, None] + np.sum(b * b, axis=1)[None] - 2.0 * a @ b.T
  return np.maximum(squares, 0.0)
