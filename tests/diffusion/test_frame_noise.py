"""Noise across frames: unit variance and the stated correlations."""

import jax
import numpy as np
import pytest

from hgdt_jax.diffusion.noise import Noise

N = 20_000  # samples; a correlation's Monte-Carlo error is below 1 / sqrt(N) = .007


@pytest.mark.parametrize('kind', ['iid', 'mixed', 'ar1'])
def test_covariance_across_frames_is_the_stated_one(kind):
  c, frames = 0.6, 5
  lag = np.abs(np.arange(frames)[:, None] - np.arange(frames)[None])
  want = {'iid': lag == 0, 'mixed': np.where(lag == 0, 1, c), 'ar1': c**lag}[kind]
  noise = Noise(kind, c)(jax.random.key(0), (N // 4, frames, 2, 2, 1))
  rows = np.moveaxis(np.asarray(noise), 1, -1).reshape(N, frames)
  np.testing.assert_allclose(rows.T @ rows / N, want, atol=5 / np.sqrt(N))
  pixels = np.asarray(noise).reshape(N // 4, frames, 4)[:, 0]  # no correlation inside a frame
  np.testing.assert_allclose(pixels.T @ pixels / (N // 4), np.eye(4), atol=10 / np.sqrt(N))


@pytest.mark.parametrize('kind', ['mixed', 'ar1'])
def test_ends_of_the_correlation(kind):
  shape = (2, 4, 3, 3, 1)
  same = np.asarray(Noise(kind, 1.0)(jax.random.key(0), shape))
  np.testing.assert_array_equal(same, np.broadcast_to(same[:, :1], shape))
  free = np.asarray(Noise(kind, 0.0)(jax.random.key(0), shape))
  assert not np.any(free[:, 1:] == free[:, :-1])


def test_wrong_arguments_are_told():
  with pytest.raises(ValueError, match='iid, mixed, ar1'):
    Noise('pink')
  with pytest.raises(ValueError, match=r'1\.5'):
    Noise('mixed', 1.5)
