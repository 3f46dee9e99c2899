"""Bootstrap intervals, curves and extrapolation against what theory says of simple statistics."""

import numpy as np
import pytest

from hgdt_jax.metrics import frechet, resampling, table


def test_interval_of_a_mean_is_the_normal_one():
  x = np.random.default_rng(0).normal(3.0, 2.0, 400)
  score = lambda picks: x[picks[0]].mean()
  low, high = resampling.bootstrap_interval(score, [np.arange(400)], x.mean(), 2000, seed=1)
  half = 1.96 * x.std() / 20
  assert low == pytest.approx(x.mean() - half, abs=0.03)
  assert high == pytest.approx(x.mean() + half, abs=0.03)


def test_windows_of_one_file_are_resampled_together():
  """100 copies of each of 20 files tell no more than the 20 files."""
  x = np.random.default_rng(2).normal(size=20).repeat(100)
  files = np.arange(20).repeat(100)
  score = lambda picks: x[picks[0]].mean()
  width = lambda groups: np.diff(resampling.bootstrap_interval(score, [groups], x.mean(), 500, 0))
  assert width(files) > 5 * width(np.arange(2000))


def test_interval_holds_a_frechet_distance_although_resampling_raises_it():
  rng = np.random.default_rng(3)
  a, b = rng.normal(size=(60, 30)), rng.normal(size=(60, 30)) + 0.2
  distance = lambda i, j: frechet.frechet_distance_of_features(a[i], b[j], 0)
  whole = np.arange(60)
  value = distance(whole, whole)
  raised = distance(rng.integers(0, 60, 60), rng.integers(0, 60, 60))
  assert raised > 1.2 * value
  low, high = resampling.bootstrap_interval(lambda p: distance(*p), [whole, whole], value, 60, 0)
  assert low < value < high


def test_the_same_seed_gives_the_same_interval():
  x = np.random.default_rng(4).normal(size=30)
  interval = lambda seed: resampling.bootstrap_interval(
    lambda picks: x[picks[0]].mean(), [np.arange(30)], x.mean(), 20, seed
  )
  assert interval(0) == interval(0) != interval(1)


def test_curve_and_infinity_find_a_known_bias():
  """A score that is 7 + 40 / n: exact at every n, and 7 at infinity."""
  sizes = []
  points = resampling.curve(lambda picks: sizes.append(len(picks)) or 7 + 40 / len(picks), 80, 2, 0)
  assert points[0] == (10, 11.0) and points[-1] == (80, 7.5)
  assert sizes.count(10) == 4 and sizes.count(80) == 1
  assert resampling.at_infinity(points) == pytest.approx(7.0)


def test_infinity_is_nearer_to_the_truth_than_the_score():
  rng = np.random.default_rng(5)
  real, fake = rng.normal(size=(4000, 20)), rng.normal(size=(400, 20)) * 1.1
  score = lambda picks: frechet.frechet_distance_of_features(real, fake[picks], 0)
  truth = 20 * 0.1**2
  points = resampling.curve(score, 400, 2, 0)
  assert abs(resampling.at_infinity(points) - truth) < 0.3 * abs(points[-1][1] - truth)


def test_curve_draws_distinct_clips():
  def score(picks):
    assert len(set(picks.tolist())) == len(picks)
    return 0.0

  resampling.curve(score, 16, 2, 0)


def test_too_few_clips_for_a_curve():
  with pytest.raises(ValueError, match='more than 2 clips'):
    resampling.curve(lambda picks: 0.0, 2, 2, 0)


def test_draws_count_and_pick_whole_groups():
  groups = [np.array([7, 3, 7, 5]), np.arange(3)]
  draws = resampling.draw(groups, 50, 0)
  for one, of in zip(draws, groups):
    assert (one.counts.sum(axis=1) == one.counts.shape[1]).all()  # as many groups as there are
    for weights, picks in zip(one.weights(), one.picks()):
      np.testing.assert_array_equal(np.bincount(picks, minlength=len(of)), weights)
      assert weights[of == 7].max(initial=0) == weights[of == 7].min(initial=9**9) or 7 not in of
  assert draws[0].counts.std() > 0.5
  again = resampling.draw(groups, 50, 0)
  assert all((a.counts == b.counts).all() for a, b in zip(draws, again))


def test_a_difference_is_of_the_same_resamplings():
  x = np.random.default_rng(6).normal(size=50)
  scores = lambda draws: np.stack(
    [resampling.each(lambda p, c=c: x[p[0]].mean() + c, draws) for c in (3, 1)]
  )
  found = resampling.bootstrap_difference(scores, [np.arange(50)], 2.0, 30, 0)
  np.testing.assert_allclose(found, (2.0, 2.0, 2.0, 0.0), atol=1e-12)


@pytest.mark.parametrize(
  ('name', 'dimensions', 'shift', 'width'),
  [('fvd', 60, 0.3, (0.75, 1.25)), ('kvd', 10, 0.3, (0.75, 1.25)), ('recall', 4, 0.3, (0.8, 1.6))],
)
def test_intervals_cover_as_they_say(name, dimensions, shift, width):
  """By simulation: 95 of 100 hold the expected score, and are as wide as it varies."""
  rng, metric, n = np.random.default_rng(0), table.find(name), 40
  draw = lambda shift: rng.normal(size=(n, 1, dimensions)) + shift
  truth = [metric.value(draw(0), draw(shift)) for _ in range(200)]
  spread = np.subtract(*np.quantile(truth, [0.975, 0.025]))
  intervals = []
  for seed in range(40):
    real, fake = draw(0), draw(shift)
    halves = resampling.halves([np.arange(n)] * 2, 60, seed)
    scores = [metric.resample(real, [fake], draws)[0] for draws in halves]
    value = metric.value(real, fake)
    intervals.append(resampling.interval_of_halves(*scores, value, smooth=metric.smooth))
  low, high = np.array(intervals).T
  assert np.mean((low <= np.mean(truth)) & (np.mean(truth) <= high)) >= 0.87
  assert width[0] < np.mean(high - low) / spread < width[1]


def test_halves_share_no_group_and_take_all():
  first, second = resampling.halves([np.array([7, 3, 7, 5, 9]), np.arange(6)], 20, 0)
  for one, other, groups in zip(first, second, (4, 6)):
    assert (one.counts + other.counts == 1).all() and one.counts.shape == (20, groups)
    assert (one.counts.sum(axis=1) == groups // 2).all()
    assert len(np.unique(one.counts, axis=0)) > 1


def test_infinity_is_fitted_from_half_of_the_clips_up():
  """Small samples of many dimensions are not linear in 1/N; and no distance is below 0."""
  bent = [(n, 7 + 40 / n + (100 if n < 40 else 0)) for n in (10, 20, 30, 40, 50, 60, 70, 80)]
  assert resampling.at_infinity(bent) == pytest.approx(7.0)
  assert resampling.at_infinity([(10, 1.0), (20, 0.4)]) == 0.0


def test_infinity_of_many_dimensions_is_that_of_the_exact_law():
  """As 2048 real, 2048 generated, 400 dimensions (36.1): the same ratios, smaller."""
  rng, n, d = np.random.default_rng(1), 256, 50
  found, wanted = [], []
  for seed in range(3):
    real, fake = rng.normal(size=(n, d)), rng.normal(size=(n, d)) + 0.2
    score = lambda picks, real=real, fake=fake: frechet.frechet_distance_of_features(
      real, fake[picks], 0
    )
    found.append(resampling.at_infinity(resampling.curve(score, n, 2, seed)))
    exact, gap = np.cov(real.T, ddof=0), real.mean(axis=0) - 0.2
    roots = np.sqrt(np.maximum(np.linalg.eigvalsh(exact), 0)).sum()
    wanted.append(gap @ gap + np.trace(exact) + d - 2 * roots)
  assert np.mean(found) == pytest.approx(np.mean(wanted), rel=0.1)


def test_what_is_not_finite_is_not_extrapolated():
  with pytest.raises(ValueError, match='not finite'):
    resampling.at_infinity([(4, 1.0), (8, float('nan'))])
