"""Chunks, padding, devices and refusals, on a network whose answer is known."""

import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax.metrics.networks import runner


@pytest.fixture
def mean_run():
  """Mean of each clip times 2, at most 2 clips a device; remembers the shapes it was traced for."""
  shapes = []

  def network(scale, clips):
    shapes.append(clips.shape)
    return clips.astype(jnp.float32).mean(axis=(1, 2, 3)) * scale

  run = runner.make(network, jnp.float32(2.0), 2, 5, (3, 4, 4))
  return run, shapes


def make_clips(count, channels=3):
  rng = np.random.default_rng(count)
  return rng.integers(0, 256, (count, 3, 4, 5, channels), np.uint8)


@pytest.mark.parametrize('count', [1, 2, 5, 8, 19, 32, 35])
def test_any_number_of_clips(mean_run, count):
  run, _ = mean_run
  clips = make_clips(count)
  expected = 2 * clips.mean(axis=(1, 2, 3))
  out = run(clips)
  assert out.dtype == np.float32
  np.testing.assert_allclose(out, expected, rtol=1e-5)


@pytest.mark.devices
def test_few_clips_stay_on_one_device_and_many_are_split(mean_run):
  run, shapes = mean_run
  run(make_clips(3))  # fewer than the eight devices: two at a time on the first
  assert shapes == [(2, 3, 4, 5, 3)]
  run(make_clips(20))  # 16 and a padded rest of 4, two rows a device
  assert shapes == [(2, 3, 4, 5, 3)] * 2
  run(make_clips(8))
  assert shapes[2:] == [(1, 3, 4, 5, 3)]


def test_a_shape_is_compiled_once(mean_run):
  run, shapes = mean_run
  for _ in range(3):
    run(make_clips(16))
  assert len(shapes) == 1


def test_grey_clips_are_repeated_to_three_channels(mean_run):
  run, _ = mean_run
  grey = make_clips(2, channels=1)
  np.testing.assert_array_equal(run(grey), run(np.repeat(grey, 3, axis=-1)))


@pytest.mark.parametrize(
  ('clips', 'reason'),
  [
    (make_clips(2).astype(np.float32), r'want uint8 \[N, T, H, W, 3\], got float32'),
    (make_clips(2)[0], r'got uint8 \[3, 4, 5, 3\]'),
    (make_clips(2)[..., :2], r'got uint8 \[2, 3, 4, 5, 2\]'),
    (make_clips(2)[:, :2], r'at least \[3, 4, 4\], got \[2, 2, 4, 5, 3\]'),
    (make_clips(2)[:0], 'N >= 1'),
  ],
)
def test_pixels_that_do_not_fit_are_refused(mean_run, clips, reason):
  with pytest.raises(ValueError, match=reason):
    mean_run[0](clips)
