"""Inception score: limits, golden values, splits."""

import numpy as np
import pytest

from hgdt_jax.metrics.inception_score import inception_score


def test_limits():
  """Sure and evenly spread over k classes gives k; the same answer for every image gives 1."""
  sure = 100.0 * np.eye(5)[np.arange(50) % 5]
  assert inception_score(sure, splits=1)[0] == pytest.approx(5.0)
  assert inception_score(np.ones((50, 5)), splits=5) == pytest.approx((1.0, 0.0))


def test_golden_values(golden, golden_inputs):
  want = golden['inception_score']
  logits = golden_inputs.features(1000, 1008, 61) * 2.0
  contiguous = want['numpy_splits10_contiguous(mean,std ddof0)']
  assert inception_score(logits, shuffle=False) == pytest.approx(contiguous, rel=1e-9)
  shuffled = want['torch_fidelity_shuffle_seed2020']
  mean, std = inception_score(logits)
  assert mean == pytest.approx(shuffled['inception_score_mean'], rel=1e-9)
  assert std == pytest.approx(shuffled['inception_score_std'], rel=1e-9)
  assert inception_score(logits, 1)[0] == pytest.approx(want['numpy_splits1'], rel=1e-9)


def test_large_logits_do_not_overflow():
  assert np.isfinite(inception_score(1e4 * np.eye(4)[np.arange(20) % 4], 2)).all()


def test_errors():
  with pytest.raises(ValueError, match='in 10 splits needs as many images, got 4'):
    inception_score(np.ones((4, 3)))
  with pytest.raises(ValueError, match='NaN'):
    inception_score(np.full((20, 3), np.nan))
