"""The sliced Wasserstein distance against closed forms and scipy."""

import numpy as np
import pytest
from scipy import optimize, stats

from hgdt_jax.metrics import sliced


def test_directions_are_fixed_unit_and_uniform():
  units = sliced.unit_directions(2048, 7)
  np.testing.assert_allclose(np.linalg.norm(units, axis=1), 1.0, rtol=1e-12)
  np.testing.assert_array_equal(units, sliced.unit_directions(2048, 7))
  np.testing.assert_allclose(units.mean(axis=0), 0.0, atol=0.03)
  # a coordinate of a uniform direction of 7 dimensions: its square is Beta(1/2, 3)
  assert stats.kstest(units[::7, 0] ** 2, stats.beta(0.5, 3).cdf).pvalue > 0.01
  assert stats.kstest(units[6::7, 6], lambda u: 1 - stats.beta(3, 3).cdf((1 - u) / 2)).pvalue > 0.01
  assert len(sliced.unit_directions(5, 7)) == 5


@pytest.mark.parametrize('dimensions', [3, 16, 400])
def test_a_shift_of_any_law_is_its_square_over_the_dimensions(dimensions):
  """Every slice is shifted by `u.m`, and E (u.m)^2 = |m|^2 / D."""
  rng = np.random.default_rng(0)
  x, m = rng.gamma(2.0, size=(50, dimensions)), rng.normal(size=dimensions)
  want = m @ m / dimensions
  assert sliced.sliced_wasserstein(x, rng.permutation(x) + m) == pytest.approx(want, rel=0.05)


def test_gaussians_of_two_spreads():
  """W2^2 of N(0, 1) and N(m, s^2) is m^2 + (1 - s)^2, in every slice of isotropic ones."""
  rng = np.random.default_rng(1)
  x, y = rng.normal(size=(4000, 5)), 2.0 * rng.normal(size=(3000, 5))
  y[:, 0] += 3.0
  assert sliced.sliced_wasserstein(x, y) == pytest.approx(9 / 5 + 1, rel=0.05)


@pytest.mark.parametrize(('n', 'm'), [(12, 12), (7, 12), (12, 8), (1, 5)])
def test_one_dimension_is_optimal_transport(n, m):
  """Each sample split into equal masses, and those assigned at the least squared cost."""
  rng = np.random.default_rng(n)
  x, y = rng.normal(size=(n, 1)), rng.normal(size=(m, 1))
  a, b = x.repeat(np.lcm(n, m) // n), y.repeat(np.lcm(n, m) // m)
  cost = np.square(a[:, None] - b[None])
  want = cost[optimize.linear_sum_assignment(cost)].mean()
  assert sliced.sliced_wasserstein(x, y) == pytest.approx(want, rel=1e-9)


def test_a_gap_of_one_sign_is_the_square_of_scipys_distance():
  x = np.full((9, 1), 2.0)
  y = np.full((4, 1), 5.5)
  want = stats.wasserstein_distance(x[:, 0], y[:, 0]) ** 2
  assert sliced.sliced_wasserstein(x, y) == pytest.approx(want)


def test_order_and_repetition_do_not_count():
  rng = np.random.default_rng(2)
  x, y = rng.normal(size=(30, 4)), rng.normal(size=(20, 4)) + 1
  value = sliced.sliced_wasserstein(x, y)
  assert sliced.sliced_wasserstein(rng.permutation(x), y) == pytest.approx(value)
  assert sliced.sliced_wasserstein(x.repeat(3, axis=0), y) == pytest.approx(value)
  assert sliced.sliced_wasserstein(y, x) == pytest.approx(value)
  assert sliced.sliced_wasserstein(x, x) == 0.0 < value


def test_what_a_mean_and_a_covariance_do_not_show():
  """Of one mean and variance: a normal law, and two points."""
  rng = np.random.default_rng(3)
  normal, other = rng.normal(size=(2, 4000, 1))
  two = rng.choice([-1.0, 1.0], size=(4000, 1))
  want = 2 - 2 * np.sqrt(2 / np.pi)  # 2 - 2 E |z|
  assert sliced.sliced_wasserstein(normal, two) == pytest.approx(want, rel=0.1)
  assert sliced.sliced_wasserstein(normal, other) < 0.01


def test_other_dimensions_are_an_error():
  with pytest.raises(ValueError, match='3 and 2 dimensions'):
    sliced.sliced_wasserstein(np.ones((4, 3)), np.ones((4, 2)))
