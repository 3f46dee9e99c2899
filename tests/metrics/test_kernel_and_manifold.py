"""Kernel distance, precision and recall, content distance."""

import time
import tracemalloc

import numpy as np
import pytest
from scipy.spatial import distance

from hgdt_jax.metrics import blocks, content, kernel, manifold, resampling


@pytest.mark.parametrize('case', ['2048x64', '512x400', '64x400_rank_deficient', '256x8'])
def test_kernel_distance_equals_golden_values(golden, golden_inputs, case):
  entry = golden['frechet'][case]
  n, d, seed = (int(v) for v in entry['x'].removeprefix('features(').removesuffix(')').split(','))
  x = golden_inputs.features(n, d, seed)
  y = golden_inputs.features(n, d, seed + 1, shift=1.0, scale=1.2)
  key = next(k for k in entry if k.startswith('kid_poly3'))
  first = int(key.removesuffix(')').rpartition('first')[2])
  want = entry[key]['tats_sklearn']
  assert kernel.kernel_distance(x[:first], y[:first]) == pytest.approx(want, rel=1e-9)


def test_golden_kvd_of_seeded_i3d_logits(golden_dir, golden):
  logits = np.load(golden_dir / 'i3d_golden.npz')
  for pair in ('A_vs_B', 'W1_vs_W2', 'A_vs_W1'):
    a, b = (logits[f'logits_{name}'] for name in pair.split('_vs_'))
    want = golden['fvd_seeded'][pair]['kvd_poly3_unbiased(TATS)']
    assert kernel.kernel_distance(a, b) == pytest.approx(want, rel=1e-6)


def test_kernel_distance_is_unbiased_around_zero():
  rng = np.random.default_rng(0)
  draw = lambda: kernel.kernel_distance(rng.normal(size=(20, 3)), rng.normal(size=(30, 3)))
  values = np.array([draw() for _ in range(400)])
  assert abs(values.mean()) < 3 * values.std() / 20
  assert (values < 0).any()  # as an unbiased estimate of zero must


def test_kernel_distance_errors():
  with pytest.raises(ValueError, match='at least 2 samples'):
    kernel.kernel_distance(np.ones((1, 3)), np.ones((4, 3)))
  with pytest.raises(ValueError, match='3 and 2 dimensions'):
    kernel.kernel_distance(np.ones((4, 3)), np.ones((4, 2)))


def test_precision_and_recall_tell_quality_from_diversity():
  rng = np.random.default_rng(1)
  real = rng.normal(size=(300, 4))
  collapsed = 0.1 * rng.normal(size=(300, 4))
  assert manifold.precision(real, collapsed) > 0.95 and manifold.recall(real, collapsed) < 0.2
  scattered = 6 * rng.normal(size=(300, 4))
  assert manifold.precision(real, scattered) < 0.2
  assert manifold.precision(real, real) == manifold.recall(real, real) == 1.0
  far = real + 100
  assert manifold.precision(real, far) == manifold.recall(real, far) == 0.0


def test_manifold_reaches_the_third_neighbour():
  """On a line of points one apart, the ball of an end point reaches 3, of the others 2."""
  line = np.arange(8.0)[:, None]
  inside = lambda x: manifold.precision(line, np.array([[x]]))
  assert inside(-3.0) == 1.0 and inside(-3.1) == 0.0
  assert inside(10.0) == 1.0 and inside(10.1) == 0.0


def test_manifold_far_from_the_origin():
  rng = np.random.default_rng(2)
  real, fake = rng.normal(size=(50, 3)), rng.normal(size=(40, 3)) * 1.5
  shifted = manifold.precision(real + 1e6, fake + 1e6)
  assert shifted == manifold.precision(real, fake) < 1.0
  with pytest.raises(ValueError, match='more than 3 samples'):
    manifold.precision(real[:3], fake)


def test_golden_content_distance(golden_dir):
  arrays = np.load(golden_dir / 'acd_golden.npz')
  embeddings = arrays['embed_raw'].astype(np.float64)
  embeddings /= np.linalg.norm(embeddings, axis=-1, keepdims=True)
  np.testing.assert_allclose(content.acd(embeddings), arrays['acd_pairwise'], rtol=1e-6)
  first = embeddings[:, 0]
  got = content.acd_to_input(embeddings[:, 1:], first)
  np.testing.assert_allclose(got, arrays['acd_i_excl_first'], rtol=1e-6)
  got = content.acd_to_input(embeddings, first)
  np.testing.assert_allclose(got, arrays['acd_i_incl_first'], rtol=1e-6)
  np.testing.assert_allclose(
    content.acd(arrays['colours']), arrays['acd_color_pairwise'], rtol=1e-6
  )


def test_mean_colours():
  frames = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), np.uint8)
  want = [
    [np.mean([int(v) for v in frame[..., c].flat]) / 255 for c in range(3)] for frame in frames
  ]
  np.testing.assert_allclose(content.mean_colours(frames), want, rtol=1e-12)


def test_content_distance_errors():
  with pytest.raises(ValueError, match='T >= 2'):
    content.acd(np.ones((3, 1, 4)))
  with pytest.raises(ValueError, match='do not fit'):
    content.acd_to_input(np.ones((3, 2, 4)), np.ones((2, 4)))


def test_two_samples_of_one_law_are_rejected_as_often_as_the_level_says():
  rng = np.random.default_rng(0)
  values = [
    kernel.two_sample_test(*rng.normal(size=(2, 20, 3)), shuffles=99, seed=i).p_value
    for i in range(200)
  ]
  assert abs(np.mean(np.array(values) <= 0.1) - 0.1) < 0.06
  np.testing.assert_allclose(np.mean(values), 0.5, atol=0.07)


def test_two_samples_of_different_laws_are_told_apart():
  a, b = np.random.default_rng(0).normal(size=(2, 60, 3))
  for other in (b + 0.8, 3 * b):  # mean and spread
    assert kernel.two_sample_test(a, other).p_value < 0.01
  far, near = kernel.two_sample_test(a, b + 2.0), kernel.two_sample_test(a, b + 1.0)
  assert far.statistic > near.statistic > kernel.two_sample_test(a, b).statistic


def by_a_loop(a, b, shuffles, seed):
  """The statistic and the p-value as they are defined, sum by sum."""
  pooled = np.concatenate([a, b])
  pooled = pooled / pooled.std(axis=0)
  squared = np.sum((pooled[:, None] - pooled[None]) ** 2, axis=-1)
  n, others = len(a), ~np.eye(len(pooled), dtype=bool)
  values = np.exp(-squared / np.median(squared[others]))

  def statistic(order):
    first, second = order[:n], order[n:]
    mean = lambda rows, columns: values[np.ix_(rows, columns)][others[np.ix_(rows, columns)]].mean()
    return mean(first, first) + mean(second, second) - 2 * mean(first, second)

  order, rng = np.arange(len(pooled)), np.random.default_rng(seed)
  found = statistic(order)
  as_large = sum(statistic(rng.permutation(order)) >= found - 1e-12 for _ in range(shuffles))
  return found, (1 + as_large) / (1 + shuffles)


@pytest.mark.parametrize(('n', 'm'), [(40, 40), (17, 30), (2, 9)])
def test_two_sample_test_is_the_loop_over_its_shuffles(n, m):
  rng = np.random.default_rng(n)
  a, b = rng.normal(size=(n, 5)), 1.2 * rng.normal(size=(m, 5))
  want = by_a_loop(a, b, 100, 3)
  np.testing.assert_allclose(kernel.two_sample_test(a, b, 100, 3)[:2], want, rtol=0, atol=1e-9)


def test_a_shuffle_that_parts_the_samples_as_they_were_counts_as_as_large():
  """Of the 20 ways to part 3 and 3 samples, two are the one that was found."""
  a, b = np.random.default_rng(0).normal(size=(2, 3, 4))
  assert kernel.two_sample_test(a, b + 9.0, 2000).p_value == pytest.approx(0.1, abs=0.03)


def test_two_sample_test_of_many_clips_is_quick():
  """Copying blocks of the kernel for each shuffle took 8 s of a core; this takes 0.1."""
  a, b = np.random.default_rng(0).normal(size=(2, 512, 128))
  began = time.process_time()
  kernel.two_sample_test(a, b)
  assert time.process_time() - began < 1.0  # of all threads, on a slow machine


def picked(real, fake, draws, groups):
  """MMD^2 of each resampling as defined: no pair of a clip, or a copied group, with itself."""
  k = lambda x, y: (x @ y.T / real.shape[1] + 1) ** 3

  def within(rows, weights, of):
    total = pairs = 0.0
    for i in range(len(rows)):
      for j in range(len(rows)):
        if i != j:
          times = weights[i] if of[i] == of[j] else weights[i] * weights[j]
          total, pairs = total + times * k(rows[i], rows[j]), pairs + times
    return total / pairs

  for w, v in zip(*(d.weights() for d in draws)):
    cross = np.average(k(real, fake), weights=np.outer(w, v))
    yield within(real, w, groups[0]) + within(fake, v, groups[1]) - 2 * cross


@pytest.mark.parametrize('groups', [(range(7), range(6)), ([4, 0, 4, 1, 1, 1, 9], [0, 1] * 3)])
def test_resampled_kernel_distances_are_the_loop_over_pairs(groups):
  rng = np.random.default_rng(5)
  real, fake = rng.normal(size=(7, 3)), rng.normal(size=(6, 3)) + 0.5
  groups = [np.asarray(g) for g in groups]
  draws = resampling.draw(groups, 20, 0)
  got = kernel.resampled_distances(real, [fake, fake + 1], draws)
  np.testing.assert_allclose(got[0], list(picked(real, fake, draws, groups)), rtol=1e-9)
  np.testing.assert_allclose(got[1], list(picked(real, fake + 1, draws, groups)), rtol=1e-9)
  once = [resampling.Draws(np.ones((1, d.counts.shape[1]), int), d.members) for d in draws]
  want = kernel.kernel_distance(real, fake)
  assert kernel.resampled_distances(real, [fake], once)[0, 0] == pytest.approx(want)


def test_a_clip_drawn_twice_does_not_raise_a_resampled_kernel_distance():
  rng = np.random.default_rng(6)
  real, fake = rng.normal(size=(30, 4)), rng.normal(size=(30, 4)) + 0.3
  draws = resampling.draw([np.arange(30)] * 2, 2000, 0)
  (fair,) = kernel.resampled_distances(real, [fake], draws)
  few = [resampling.Draws(d.counts[:200], d.members) for d in draws]
  raised = resampling.each(lambda p: kernel.kernel_distance(real[p[0]], fake[p[1]]), few)
  value, error = kernel.kernel_distance(real, fake), fair.std() / np.sqrt(2000)
  assert abs(fair.mean() - value) < 4 * error and raised.mean() - value > 20 * error


def test_one_sample_alone_is_no_pair():
  draws = [resampling.Draws(np.array([[2, 0], [1, 1]]), np.arange(2))] * 2
  (found,) = kernel.resampled_distances(np.eye(2), [np.eye(2)], draws)
  assert np.isnan(found[0]) and np.isfinite(found[1])


def gaussian_mmd(a, b, shift, spread):
  """MMD^2 of N(0, 1) and N(shift, spread^2) under the scale and the width that samples give."""
  pooled = np.concatenate([a, b])
  scale = pooled.std(axis=0)
  width = np.median(distance.pdist(pooled / scale, 'sqeuclidean'))

  def mean_kernel(gap, variance):  # E exp(-|x - y|^2 / width), x - y ~ N(gap, variance)
    wide = width + 2 * variance / scale**2
    return np.prod(np.exp(-((gap / scale) ** 2) / wide) * np.sqrt(width / wide))

  return mean_kernel(0, 2) + mean_kernel(0, 2 * spread**2) - 2 * mean_kernel(shift, 1 + spread**2)


@pytest.mark.parametrize(
  ('n', 'm', 'dimensions', 'shift', 'spread'),
  [
    (64, 64, 1, 0.0, 1.0),
    (64, 64, 1, 0.5, 1.0),  # where a deviation estimated at the statistic covers 81%
    (64, 64, 4, 0.25, 1.0),
    (64, 64, 32, 0.5, 1.0),
    (64, 64, 4, 0.0, 1.5),
    (64, 128, 4, 0.5, 1.0),
    (256, 256, 4, 0.25, 1.0),
  ],
)
def test_the_upper_bound_holds_in_nineteen_of_twenty_cases(n, m, dimensions, shift, spread):
  rng, rounds = np.random.default_rng(0), 150
  gap = shift * np.eye(dimensions)[0]
  covered, room, found = 0, [], []
  for i in range(rounds):
    a, b = rng.normal(size=(n, dimensions)), spread * rng.normal(size=(m, dimensions)) + gap
    test, want = kernel.two_sample_test(a, b, 40, i), gaussian_mmd(a, b, gap, spread)
    covered += want <= test.upper
    room.append(test.upper - want)
    found.append(test.statistic)
  assert covered / rounds >= 0.93
  assert np.mean(room) < 5 * np.std(found)  # and it is no more than a bound has to be


def test_few_clips_do_not_pass_for_equal_laws():
  """However lucky they are: at N = 32 the statistic is often far below 0."""
  rng, lucky = np.random.default_rng(9), 0
  a, b = rng.normal(size=(2, 512, 16))
  many = kernel.two_sample_test(a, b, 100)
  for _ in range(20):
    pick = rng.permutation(512)[:32]
    few = kernel.two_sample_test(a[pick], b[pick], 100)
    assert few.upper > 8 * many.upper > 0
    lucky += few.statistic < -4 * many.upper
  assert lucky


@pytest.mark.parametrize('samples', [np.ones((5, 3)), np.arange(2.0)[:, None]])
def test_the_upper_bound_of_samples_that_are_alike(samples):
  same = kernel.two_sample_test(samples, samples, 20)
  assert same.p_value == 1.0 and np.isfinite(same.upper) and same.upper >= 0


def test_blocks_change_no_value_and_bound_memory(monkeypatch):
  rng = np.random.default_rng(0)
  real, fake = rng.normal(size=(90, 6)), rng.normal(size=(70, 6)) + 0.3
  draws = resampling.draw([np.arange(90) // 3, np.arange(70)], 5, 0)

  def every():
    return [
      kernel.kernel_distance(real, fake),
      *kernel.resampled_distances(real, [fake], draws)[0],
      *(f(real, fake) for f in (manifold.precision, manifold.recall)),
      *(f(real, fake) for f in (manifold.density, manifold.coverage)),
    ]

  whole = every()
  for entries in (1, 90 * 7, 90 * 90):
    monkeypatch.setattr(blocks, '_ENTRIES', entries)
    np.testing.assert_allclose(every(), whole, rtol=1e-10)
  monkeypatch.setattr(blocks, '_ENTRIES', 2**16)
  real, fake = rng.normal(size=(3000, 4)), rng.normal(size=(3000, 4))
  tracemalloc.start()
  kernel.kernel_distance(real, fake)
  manifold.recall(real, fake)
  manifold.coverage(real, fake)
  most = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert most < 8 * 2**20, 'a matrix of all pairs takes 72 MB'
