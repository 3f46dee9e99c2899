"""Density and coverage against the published code and closed forms."""

import numpy as np
import pytest
from scipy.spatial import distance

from hgdt_jax.metrics import manifold


def prdc(real, fake, k):
  """Density and coverage as the code of Naeem et al. 2020 (`prdc`) has them."""
  radii = np.partition(distance.cdist(real, real), k, axis=1)[:, k]
  between = distance.cdist(real, fake)
  inside = between < radii[:, None]
  return inside.sum(axis=0).mean() / k, (between.min(axis=1) < radii).mean()


def test_density_and_coverage_are_those_of_the_published_code():
  rng = np.random.default_rng(3)
  real, fake = rng.normal(size=(80, 4)) + 10, 0.7 * rng.normal(size=(60, 4)) + 10.3
  density, coverage = prdc(real, fake, 5)
  assert manifold.density(real, fake) == pytest.approx(density)
  assert manifold.coverage(real, fake) == pytest.approx(coverage)
  assert density > 1 > coverage
  with pytest.raises(ValueError, match='more than 5 samples, got 5'):
    manifold.coverage(real[:5], fake)


@pytest.mark.parametrize(('n', 'm'), [(20, 20), (12, 40), (40, 12)])
def test_density_and_coverage_of_one_law_are_as_expected(n, m):
  rng = np.random.default_rng(n)
  pairs = [(rng.normal(size=(n, 3)), rng.normal(size=(m, 3))) for _ in range(400)]
  for statistic, want in (
    (manifold.density, 1.0),
    (manifold.coverage, manifold.expected_coverage(n, m)),
  ):
    values = [statistic(*pair) for pair in pairs]
    assert np.mean(values) == pytest.approx(want, abs=3.5 * np.std(values) / 20)
  assert manifold.expected_coverage(10**6, 10**6) == pytest.approx(1 - 2**-5, rel=1e-4)


def test_an_outlier_raises_recall_and_not_coverage():
  rng = np.random.default_rng(4)
  real = rng.normal(size=(200, 2))
  centre, outliers = 0.01 * rng.normal(size=(100, 2)), rng.normal(size=(6, 2))
  outliers[:3, 0] += 30.0  # the third neighbour of each lies in the centre or beyond
  outliers[3:, 0] -= 30.0
  fake = np.concatenate([centre, outliers])
  assert manifold.recall(real, fake) > 0.9 and manifold.coverage(real, fake) < 0.2
