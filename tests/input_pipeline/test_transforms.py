"""Changes drawn once per clip."""

import numpy as np
import pytest

from input_pipeline import transforms


@pytest.fixture
def video():
  return np.random.default_rng(0).integers(60, 180, (3, 8, 8, 3)).astype(np.uint8)


def augment(video, seed=0, flip=False, jitter=0.0):
  return transforms.augment(video, np.random.default_rng(seed), flip=flip, jitter=jitter)


def test_flip_mirrors_every_frame_half_of_the_time(video):
  results = [augment(video, seed, flip=True) for seed in range(200)]
  kept = [np.array_equal(r, video) for r in results]
  mirrored = [np.array_equal(r, video[:, :, ::-1]) for r in results]
  assert np.logical_xor(kept, mirrored).all() and 70 < sum(kept) < 130


def test_jitter_is_one_draw_for_all_frames(video):
  """Equal frames stay equal; another seed gives another colour."""
  still = np.broadcast_to(video[:1], video.shape)
  changed = augment(still, 1, jitter=0.4)
  assert changed.dtype == np.uint8 and (changed == changed[:1]).all()
  assert np.abs(changed.astype(int) - augment(still, 2, jitter=0.4)).mean() > 2
  np.testing.assert_array_equal(augment(video, 1), video)


def test_jitter_factors_are_what_they_say(monkeypatch):
  """Brightness scales, contrast scales about the mean, saturation scales about the grey."""
  video = np.zeros((1, 1, 2, 3), np.uint8)
  video[0, 0] = [[100, 100, 100], [60, 120, 90]]
  base = video.astype(np.float32)
  grey = (base @ [0.299, 0.587, 0.114])[..., None]
  for factors, want in (
    ((1.2, 1, 1), 1.2 * base),
    ((1, 0.5, 1), base.mean() + 0.5 * (base - base.mean())),
    ((1, 1, 0.3), grey + 0.3 * (base - grey)),
  ):
    got = transforms._colour(video, *np.float32(factors))
    assert np.abs(got - want).max() <= 0.51


def test_jitter_does_not_shift_the_flip(video):
  for seed in range(20):
    plain, both = augment(video, seed, flip=True), augment(video, seed, True, jitter=1e-6)
    np.testing.assert_array_equal(plain, both)


def test_jitter_takes_grey_clips(video):
  assert augment(video[..., :1], jitter=0.3).shape == (3, 8, 8, 1)
