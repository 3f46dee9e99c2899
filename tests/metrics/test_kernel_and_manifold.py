"""Kernel distance, precision and recall, content distance."""

import time

import numpy as np
import pytest

from hgdt_jax.metrics import content, kernel, manifold


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
  np.testing.assert_allclose(kernel.two_sample_test(a, b, 100, 3), want, rtol=0, atol=1e-9)


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
