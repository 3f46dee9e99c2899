"""Fréchet distance: closed forms, scipy, golden values, merging and clear errors."""

import functools
import itertools
import operator

import numpy as np
import pytest
import scipy.linalg

from hgdt_jax.metrics import frechet


def moments(features):
  return frechet.Moments.from_features(features)


def test_one_dimension_closed_form():
  a, b = np.array([[0.0], [2.0], [4.0]]), np.array([[1.0], [7.0]])
  want = (2 - 4) ** 2 + (np.std(a) - np.std(b)) ** 2
  assert frechet.frechet_distance(moments(a), moments(b), 0) == pytest.approx(want, rel=1e-12)
  want = (2 - 4) ** 2 + (np.std(a, ddof=1) - np.std(b, ddof=1)) ** 2
  assert frechet.frechet_distance(moments(a), moments(b), 1) == pytest.approx(want, rel=1e-12)


def test_gaussians_closed_form():
  """Commuting covariances: |m|^2 + sum (sqrt(l) - sqrt(m))^2, on moments set by hand."""
  basis = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
  l_a, l_b = np.array([4.0, 1, 9, 0, 2]), np.array([1.0, 16, 0, 0, 2])
  mean_a, mean_b = np.arange(5.0), np.ones(5)
  a = frechet.Moments(10, mean_a, 10 * basis @ np.diag(l_a) @ basis.T)
  b = frechet.Moments(20, mean_b, 20 * basis @ np.diag(l_b) @ basis.T)
  want = np.sum((mean_a - mean_b) ** 2) + np.sum((np.sqrt(l_a) - np.sqrt(l_b)) ** 2)
  assert frechet.frechet_distance(a, b, 0) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize('ddof', [0, 1])
def test_equals_scipy_sqrtm(ddof):
  rng = np.random.default_rng(1)
  a, b = rng.normal(size=(80, 12)), rng.normal(size=(60, 12)) @ rng.normal(size=(12, 12)) + 0.3
  cov_a, cov_b = np.cov(a.T, ddof=ddof), np.cov(b.T, ddof=ddof)
  root = scipy.linalg.sqrtm(cov_a @ cov_b).real
  want = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(cov_a + cov_b - 2 * root)
  got = frechet.frechet_distance(moments(a), moments(b), ddof)
  assert got == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize('case', ['2048x64', '512x400', '64x400_rank_deficient', '256x8'])
def test_golden_values(golden, golden_inputs, case):
  entry = golden['frechet'][case]
  make = golden_inputs.features
  n, d, seed = (int(v) for v in entry['x'].removeprefix('features(').removesuffix(')').split(','))
  x, y = make(n, d, seed), make(n, d, seed + 1, shift=1.0, scale=1.2)
  # rank deficient, reference algorithms differ among themselves by 5e-8
  for ddof, name in ((0, 'svd_biased'), (1, 'svd_unbiased')):
    want = pytest.approx(entry['values'][name], rel=1e-9)
    assert frechet.frechet_distance(moments(x), moments(y), ddof) == want
    assert frechet.frechet_distance_of_features(x, y, ddof) == want


@pytest.mark.parametrize('pair', ['A_vs_B', 'W1_vs_W2', 'A_vs_W1'])
def test_golden_fvd_of_seeded_i3d_logits(golden_dir, golden, pair):
  logits = np.load(golden_dir / 'i3d_golden.npz')
  want = golden['fvd_seeded'][pair]['fvd']
  a, b = (moments(logits[f'logits_{name}']) for name in pair.split('_vs_'))
  for ddof, name in ((0, 'biased'), (1, 'unbiased')):
    got = frechet.frechet_distance(a, b, ddof)
    assert got == pytest.approx(want[f'svd_{name}'], rel=1e-9)
    sqrtm = want['sqrtm_biased(StyleGAN-V)' if ddof == 0 else 'sqrtm_unbiased']
    assert got == pytest.approx(sqrtm, rel=2e-6)  # sqrtm of a singular matrix rounds


def test_golden_fid_of_seeded_inception(golden_dir, golden):
  pool = np.load(golden_dir / 'inception_golden.npz')
  for name, key in (
    ('tf1resize', 'tf1resize(torch-fidelity)'),
    ('pytorchfid', 'halfpixel(pytorch-fid)'),
  ):
    want = golden['inception_seeded'][f'fid_FA_FB_{key}']
    got = frechet.frechet_distance_of_features(pool[f'{name}_FA_2048'], pool[f'{name}_FB_2048'], 1)
    assert got == pytest.approx(want['svd_unbiased'], rel=1e-9)
    assert got == pytest.approx(want['torchmetrics_fid(unbiased,eigvals)'], rel=5e-5)


@pytest.mark.parametrize('samples', [6, 200])
def test_identical_sets_give_zero(samples):
  x = np.random.default_rng(2).normal(size=(samples, 30)) * 100 + 1e4
  assert frechet.frechet_distance(moments(x), moments(x), 0) < 1e-6
  assert frechet.frechet_distance_of_features(x, x, 0) < 1e-6


def test_fewer_samples_than_dimensions_agrees_with_moments():
  rng = np.random.default_rng(3)
  a, b = rng.normal(size=(7, 40)), rng.normal(size=(9, 40)) + 1
  by_moments = frechet.frechet_distance(moments(a), moments(b), 1)
  assert frechet.frechet_distance_of_features(a, b, 1) == pytest.approx(by_moments, rel=1e-9)


def test_merge_in_any_order_equals_whole():
  """Batches of unequal size far from the origin, where raw second moments would cancel."""
  x = np.random.default_rng(4).normal(size=(60, 5)) + 1e5
  parts = [moments(p) for p in np.split(x, [1, 20, 33])]
  whole = moments(x)
  for order in itertools.permutations(parts):
    merged = functools.reduce(operator.add, order)
    assert merged.count == 60
    np.testing.assert_allclose(merged.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(merged.covariance(1), np.cov(x.T), rtol=1e-6, atol=1e-9)


def test_constant_features_differ_by_the_mean_only():
  a, b = np.full((4, 3), 2.0), np.full((5, 3), 5.0)
  assert frechet.frechet_distance(moments(a), moments(b), 0) == pytest.approx(27.0)


def test_clear_errors():
  good = moments(np.eye(3))
  with pytest.raises(ValueError, match='at least 2 samples, got 1'):
    frechet.frechet_distance(good, moments(np.ones((1, 3))), 0)
  with pytest.raises(ValueError, match='3 and 2 dimensions'):
    frechet.frechet_distance(good, moments(np.ones((4, 2))), 0)
  with pytest.raises(ValueError, match='cannot merge'):
    good + moments(np.ones((4, 2)))
  with pytest.raises(ValueError, match='sample 1 of 3 are NaN'):
    moments(np.array([[0.0], [np.nan], [1.0]]))
  with pytest.raises(ValueError, match=r'\[N, D\]'):
    moments(np.ones(3))
  with pytest.raises(ValueError, match='at least 2 samples'):
    frechet.frechet_distance_of_features(np.ones((1, 3)), np.eye(3), 1)
