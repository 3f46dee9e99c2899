"""Clips that take no model."""

import numpy as np
import pytest
from scipy import ndimage

from hgdt_jax.metrics import rivals, temporal


@pytest.fixture(scope='module')
def clips():
  return np.random.default_rng(0).integers(0, 256, (3, 8, 16, 16, 3), np.uint8)


def flicker(clips):
  return float(np.mean([temporal.motion_magnitude(clip) for clip in clips]))


def test_the_first_frame_is_repeated(clips):
  frozen = rivals.first_frame_repeated(clips)
  assert frozen.shape == clips.shape and frozen.dtype == np.uint8
  assert (frozen == clips[:, :1]).all() and flicker(frozen) == 0


def test_a_blur_is_that_of_scipy_within_each_clip(clips):
  found = rivals.blurred(clips, 1.5, 0.7)
  for clip, got in zip(clips, found):
    want = ndimage.gaussian_filter(clip.astype(np.float64), (0.7, 1.5, 1.5, 0), mode='nearest')
    assert np.abs(got - want).max() < 0.51
  assert found.dtype == np.uint8
  np.testing.assert_array_equal(rivals.blurred(clips, 0.0), clips)
  one_frame = np.zeros((1, 9, 4, 4, 1), np.uint8)
  one_frame[0, 4] = 200
  np.testing.assert_array_equal(rivals.blurred(one_frame, 2.0), one_frame)  # flat: time stays
  assert rivals.blurred(one_frame, 0.0, 1.0)[0, 3].min() > 40


@pytest.mark.parametrize(('space', 'time'), [(0.0, 1.0), (1.0, 0.0), (1.0, 0.5)])
def test_the_least_blur_that_comes_down_to_a_target(clips, space, time):
  target = 0.3 * flicker(clips)
  blur = rivals.blurred_to(clips, flicker, target, space=space, time=time)
  assert blur.value == flicker(blur.clips) <= target
  np.testing.assert_array_equal(
    blur.clips, rivals.blurred(clips, blur.space_sigma, blur.time_sigma)
  )
  assert blur.space_sigma * time == pytest.approx(blur.time_sigma * space)
  less = rivals.blurred(clips, 0.97 * blur.space_sigma, 0.97 * blur.time_sigma)
  assert flicker(less) > target


def test_clips_that_are_steady_enough_are_left_alone(clips):
  blur = rivals.blurred_to(clips, flicker, flicker(clips))
  assert blur.space_sigma == blur.time_sigma == 0.0 and (blur.clips == clips).all()


def test_a_target_that_no_blur_reaches(clips):
  ramp = clips // 16 + np.arange(8, dtype=np.uint8)[:, None, None, None] * 25
  with pytest.raises(ValueError, match=r'no blur comes down to 0\.01: .* up to 16 pixels and 0 f'):
    rivals.blurred_to(ramp, flicker, 0.01, space=1.0, time=0.0)
  with pytest.raises(ValueError, match='no blur'):  # nan is not a target reached
    rivals.blurred_to(clips, lambda _: float('nan'), 0.01)


def test_errors(clips):
  with pytest.raises(ValueError, match='below 0'):
    rivals.blurred(clips, -1.0)
  with pytest.raises(ValueError, match='space or time above 0'):
    rivals.blurred_to(clips, flicker, 0.0, space=0.0, time=0.0)
  with pytest.raises(ValueError, match='uint8'):
    rivals.first_frame_repeated(clips.astype(np.float32))
