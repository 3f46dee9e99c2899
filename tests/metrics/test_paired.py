"""Differences of two methods, and the smallest that could be told apart."""

import inspect

import numpy as np
import pytest

from hgdt_jax.metrics import frechet, paired, resampling, sliced, table


def test_a_difference_of_means_has_the_normal_interval_of_its_pairs():
  rng = np.random.default_rng(0)
  shared = rng.normal(size=(400, 1, 1))
  first, second = (np.exp(shared + 0.1 * rng.normal(size=(400, 1, 1))) for _ in range(2))
  gaps = (first - second).ravel()
  found = paired.difference('acd_colour', None, first, second, count=2000)
  half = 1.96 * gaps.std() / 20
  assert found.value == pytest.approx(gaps.mean())
  assert found.low == pytest.approx(gaps.mean() - half, abs=0.1 * half)
  assert found.high == pytest.approx(gaps.mean() + half, abs=0.1 * half)
  assert found.deviation == pytest.approx(half / 1.96, rel=0.1)
  assert half < 0.3 * 1.96 * first.std() / 20  # what both share does not count


@pytest.mark.parametrize(
  'name', ['frechet_random_conv3d', 'kernel_random_conv3d', 'sliced_wasserstein']
)
def test_a_worse_method_is_told_apart_and_an_equal_one_is_not(name, monkeypatch):
  monkeypatch.setattr(inspect.unwrap(sliced.sliced_wasserstein), '__defaults__', (32,))
  rng = np.random.default_rng(1)
  real, first = rng.normal(size=(2, 80, 6))
  alike = first + 0.1 * rng.normal(size=(80, 6))
  found = paired.difference(name, real, first + 0.6, first + 0.3, count=100)
  metric = table.find(name)
  want = metric.value(real, first + 0.6) - metric.value(real, first + 0.3)
  assert found.value == pytest.approx(want)
  assert 0 < found.low < found.value < found.high
  same = paired.difference(name, real, first, alike, count=100)
  assert same.low < 0 < same.high and same.high - same.low < found.high - found.low
  exact = paired.difference(name, real, first, first, count=20)
  assert exact.low == exact.value == exact.high == 0.0


@pytest.mark.parametrize('name', ['frechet_random_conv3d', 'kernel_random_conv3d'])
@pytest.mark.parametrize(('shift', 'wider'), [(0.5, 1.0), (0.0, 1.5)])
def test_the_deviation_is_that_of_fresh_sets_that_are_paired(name, shift, wider):
  """Equally good methods, each off in its own direction, whose clips are 0.9 alike."""
  rng, found = np.random.default_rng(8), []
  for seed in range(100):
    real, code, rest = rng.normal(size=(3, 64, 4))
    first, second = code + shift * np.eye(4)[0], 0.9 * code + np.sqrt(0.19) * rest
    second += shift * np.eye(4)[1]
    found.append(paired.difference(name, real, first, second, count=60, seed=seed))
  deviation = np.std([one.value for one in found])
  assert np.mean([one.deviation for one in found]) == pytest.approx(wider * deviation, rel=0.2)
  assert np.mean([one.low <= 0 <= one.high for one in found]) > 0.88


def test_files_are_resampled_whole():
  rng = np.random.default_rng(2)
  real = rng.normal(size=(60, 3))
  files = np.arange(20).repeat(10)
  first = rng.normal(size=(20, 3)).repeat(10, axis=0)
  second = 1.2 * rng.normal(size=(20, 3)).repeat(10, axis=0)
  width = lambda groups: np.diff(
    paired.difference('frechet_random_conv3d', real, first, second, None, groups, 100)[1:3]
  )
  assert width(files) > 2 * width(None)


def test_errors_of_differences():
  rows = np.ones((4, 3))
  with pytest.raises(ValueError, match=r'one shape, got \[4, 3\] and \[3, 3\]'):
    paired.difference('kvd', rows, rows, rows[:3])
  with pytest.raises(ValueError, match='2 or more different'):
    paired.difference('kvd', rows, rows, rows, groups=np.zeros(4))
  with pytest.raises(ValueError, match='of the generated clips alone'):
    paired.smallest_difference('acd', rows, (2, 2))
  with pytest.raises(ValueError, match='needs 6 real rows and 0 of a pool, got 4 and 0'):
    paired.smallest_difference('kvd', rows, (2, 2))


def test_the_deviation_over_splits_is_that_of_fresh_sets():
  rng = np.random.default_rng(3)
  real = rng.normal(size=(600, 8))
  fresh = lambda: rng.normal(size=(100, 8))

  def gap():
    of, distance = fresh(), frechet.frechet_distance_of_features
    return distance(of, fresh(), 0) - distance(of, fresh(), 0)

  want = paired.POWER_80 * np.std([gap() for _ in range(400)])
  got = paired.smallest_difference('frechet_random_conv3d', real, (100, 100), splits=400)
  assert got == pytest.approx(want, rel=0.15)


def power(name, n, dimensions, near, far, size, rounds=250):
  """How often methods shifted by `near` and `far` are told apart at 1.96 deviations."""
  rng, value, hits = np.random.default_rng(4), table.find(name).value, 0
  draw = lambda shift: rng.normal(size=(n, dimensions)) + shift * np.eye(dimensions)[0]
  for _ in range(rounds):
    real = draw(0.0)
    hits += abs(value(real, draw(far)) - value(real, draw(near))) > 1.96 / paired.POWER_80 * size
  return hits / rounds


@pytest.mark.parametrize('name', ['frechet_random_conv3d', 'sliced_wasserstein'])
def test_a_shift_of_the_smallest_difference_is_found_in_four_of_five_cases(name, monkeypatch):
  """Fréchet distances of a shift s are s^2, sliced ones s^2 / D."""
  n, dimensions, near = 64, 4, 6.0
  rng = np.random.default_rng(5)
  monkeypatch.setattr(inspect.unwrap(sliced.sliced_wasserstein), '__defaults__', (32,))
  real = rng.normal(size=(400, dimensions))
  pool = rng.normal(size=(800, dimensions)) + near * np.eye(dimensions)[0]
  size = paired.smallest_difference(name, real, (n, n), pool)
  far = np.sqrt(near**2 + size * (dimensions if name == 'sliced_wasserstein' else 1))
  assert 0.7 < power(name, n, dimensions, near, far, size) < 0.9
  assert power(name, n, dimensions, near, near, size) < 0.1


def test_near_the_real_law_the_power_is_what_the_docstring_says():
  rng = np.random.default_rng(6)
  size = paired.smallest_difference('frechet_random_conv3d', rng.normal(size=(384, 8)), (128, 128))
  assert 0.55 < power('frechet_random_conv3d', 128, 8, 0.0, np.sqrt(size), size) < 0.8


def test_resampled_frechet_distances_are_those_of_the_picked_rows():
  rng = np.random.default_rng(7)
  for n, m, dimensions in ((60, 50, 8), (20, 30, 40), (20, 60, 40)):
    real = rng.normal(size=(n, dimensions))
    fakes = [1.3 * rng.normal(size=(m, dimensions)) for _ in range(2)]
    draws = resampling.draw([np.arange(n), np.arange(m) // 2], 5, 0)
    for ddof in (0, 1):
      got = frechet.resampled_distances(real, fakes, draws, ddof)
      for fake, row in zip(fakes, got):
        picks = zip(*(d.picks() for d in draws))
        want = [frechet.frechet_distance_of_features(real[i], fake[j], ddof) for i, j in picks]
        np.testing.assert_allclose(row, want, rtol=1e-6)
