"""The random 3D-conv features: fixed, order-free, and their Fréchet distance ranks sensibly."""

import numpy as np
import pytest
from scipy import ndimage

from hgdt_jax.metrics import frechet, random_features


@pytest.fixture(scope='module')
def sets(make_clips):
  return make_clips(32, 1), make_clips(32, 2)


def distance(a, b):
  a, b = (frechet.Moments.from_features(random_features.features(x)) for x in (a, b))
  return frechet.frechet_distance(a, b, 0)


def test_degraded_clips_are_further_away(sets):
  real, other = sets
  rng = np.random.default_rng(0)
  base = distance(real, other)
  noise = np.clip(other + rng.normal(0, 12, other.shape), 0, 255).astype(np.uint8)
  worse = {
    'blur': ndimage.gaussian_filter(other, (0, 0, 1.5, 1.5, 0)),
    'noise': noise,
    'shuffle': np.stack([v[rng.permutation(8)] for v in other]),
    'frozen': np.repeat(other[:, :1], 8, axis=1),
    'dark': other // 2,
    'collapse': np.repeat(other[:2], 16, axis=0),
  }
  for name, clips in worse.items():
    assert distance(real, clips) > 1.5 * base, name


def test_identical_sets_give_zero(sets):
  real, other = sets
  assert distance(real, real) < 1e-3 * distance(real, other)


@pytest.mark.devices
def test_a_clip_does_not_depend_on_its_batch_or_the_devices(sets):
  clips = sets[0][:11]
  whole = random_features.features(clips)  # on eight devices
  assert whole.shape == (11, random_features.DIMENSIONS) and whole.dtype == np.float32
  alone = np.concatenate([random_features.features(clip[None]) for clip in clips])  # on one
  np.testing.assert_allclose(alone, whole, rtol=1e-4, atol=1e-6)


def test_weights_never_change():
  """A golden value: the features of a ramp. It changes only with a new NAME."""
  ramp = (np.arange(4 * 16 * 16) * 7 % 251).astype(np.uint8).reshape(1, 4, 16, 16, 1).repeat(3, -1)
  got = random_features.features(ramp)[0]
  want = [0.54678726, 0.45457718, 0.22307780, 1.10034943, 1.07906008]
  np.testing.assert_allclose(got[[3, 9, 20, 40, 100]], want, rtol=1e-4)


def test_grey_equals_colour_with_equal_channels(sets):
  grey = sets[0][:2, ..., :1]
  colour = grey.repeat(3, axis=-1)
  np.testing.assert_allclose(
    random_features.features(grey), random_features.features(colour), rtol=1e-5, atol=1e-6
  )


@pytest.mark.parametrize('shape', [(2, 4, 16, 16, 3), (1, 16, 64, 48, 3)])
def test_any_length_and_size(shape):
  clips = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
  assert np.isfinite(random_features.features(clips)).all()


def test_clear_errors():
  for shape in ((2, 3, 16, 16, 3), (2, 4, 8, 16, 3), (0, 4, 16, 16, 3)):
    with pytest.raises(ValueError, match=r'at least \[4, 16, 16\]'):
      random_features.features(np.zeros(shape, np.uint8))
  with pytest.raises(ValueError, match='want uint8'):
    random_features.features(np.zeros((2, 4, 16, 16, 3)))
