"""Long clips from a denoiser of short windows: no seam, the right process, one compilation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax.diffusion import guidance, schedules
from hgdt_jax.diffusion.long_clips import window_starts, windowed
from hgdt_jax.diffusion.samplers import SAMPLERS

COSINE = schedules.make('cosine')
WINDOW, OVERLAP, RHO, COUNT = 16, 8, 0.9, 512


def _short(exact):
  return exact.gaussian(COSINE, np.zeros(WINDOW), exact.process_cov(WINDOW, RHO))


def _anywhere(exact):
  return lambda start: _short(exact)


def _clips(exact, frames, **options):
  start, key = jax.random.split(jax.random.key(0))
  x = jax.random.normal(start, (COUNT, frames, 1, 1, 1))
  denoise = windowed(_anywhere(exact), WINDOW, OVERLAP, **options)
  sample = jax.jit(lambda x: SAMPLERS['dpmpp_2m'](denoise, x, key, schedule=COSINE, steps=30))
  return np.asarray(sample(x))[:, :, 0, 0, 0]


@pytest.mark.parametrize('frames', [32, 64, 128])
def test_no_seam_at_the_joins(exact, frames):
  """Frame differences at the ends of windows lie within the spread of those elsewhere."""
  clips = _clips(exact, frames)
  difference = np.sqrt(np.mean(np.diff(clips, axis=1) ** 2, axis=0))  # [frames - 1]
  starts = window_starts(frames, WINDOW, OVERLAP)
  joins = sorted({s - 1 for s in starts[1:]} | {s + WINDOW - 1 for s in starts[:-1]})
  elsewhere = np.delete(difference, joins)
  low, high = elsewhere.min(), elsewhere.max()
  print(
    f'{frames} frames: differences {difference[joins].min():.3f} to {difference[joins].max():.3f} '
    f'at joins, {low:.3f} to {high:.3f} elsewhere, {np.sqrt(2 - 2 * RHO):.3f} exact'
  )
  error = difference.mean() / np.sqrt(2 * COUNT)  # Monte-Carlo error of one of them
  assert low - 2 * error < difference[joins].min() and difference[joins].max() < high + 2 * error
  assert abs(difference[joins].mean() - elsewhere.mean()) < 0.06 * elsewhere.mean()


def test_long_clips_follow_the_short_process(exact):
  clips = _clips(exact, 64)
  np.testing.assert_allclose(clips.var(0).mean(), 1, atol=0.15)
  lag = np.mean(clips[:, 1:] * clips[:, :-1]) / np.mean(clips**2)
  assert abs(lag - RHO) < 0.03


def test_windows_apart_would_show_a_seam(exact):
  """The measure can fail: the same denoiser on windows side by side, without overlap, jumps."""
  x = jax.random.normal(jax.random.key(0), (COUNT * 2, WINDOW, 1, 1, 1))
  sample = jax.jit(
    lambda x: SAMPLERS['dpmpp_2m'](_short(exact), x, jax.random.key(1), schedule=COSINE, steps=30)
  )
  clips = np.asarray(sample(x)).reshape(COUNT, 2 * WINDOW)
  difference = np.sqrt(np.mean(np.diff(clips, axis=1) ** 2, axis=0))
  assert difference[WINDOW - 1] > 2 * np.delete(difference, WINDOW - 1).max()


def test_one_window_is_the_denoiser_itself(exact):
  x, t = jax.random.normal(jax.random.key(3), (2, WINDOW, 1, 1, 1)), jnp.array([0.3, 0.9])
  for got, want in zip(windowed(_anywhere(exact), WINDOW, OVERLAP)(x, t), _short(exact)(x, t)):
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_what_the_windows_say_of_clip_and_noise_belongs_together(exact):
  x, t = jax.random.normal(jax.random.key(3), (2, 40, 1, 1, 1)), jnp.array([0.3, 0.9])
  found = windowed(_anywhere(exact), WINDOW, OVERLAP)(x, t)
  np.testing.assert_allclose(COSINE.diffuse(*found, t), x, atol=1e-5)


def test_long_clips_can_be_conditioned(exact):
  frames = 40
  start, shared, known = (
    jax.random.normal(jax.random.key(i), (2, frames, 1, 1, 1)) for i in range(3)
  )
  mask = jnp.broadcast_to(jnp.arange(frames) < 5, (2, frames))
  denoise = windowed(_anywhere(exact), WINDOW, OVERLAP)
  denoise = guidance.replacement(denoise, known, mask, shared, COSINE)
  y = jax.jit(lambda x: SAMPLERS['ddim'](denoise, x, jax.random.key(4), schedule=COSINE, steps=3))(
    start
  )
  np.testing.assert_array_equal(y[:, :5], known[:, :5])


def test_windows_cover_the_clip_and_overlap_enough():
  for frames in range(16, 130, 7):
    starts = window_starts(frames, WINDOW, 5)
    assert starts[0] == 0 and starts[-1] == frames - WINDOW
    assert np.all(np.diff(starts) <= WINDOW - 5)


def test_wrong_lengths_are_told(exact):
  with pytest.raises(ValueError, match='overlap is 16'):
    windowed(_anywhere(exact), WINDOW, 16)
  with pytest.raises(ValueError, match='8 frames, fewer than the 16'):
    windowed(_anywhere(exact), WINDOW, OVERLAP)(jnp.zeros((1, 8, 1, 1, 1)), jnp.ones(1))
