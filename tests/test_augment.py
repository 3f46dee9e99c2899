"""Augmentation: alike over a clip's frames, drawn per clip, differentiable; its controller."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax import sharding
from hgdt_jax.checkpoint import Checkpoints
from hgdt_jax.gans import augment
from hgdt_jax.losses import adversarial
from hgdt_jax.state import Net, TrainState

B, T, S = 6, 3, 8
CHANGES = {change.__name__: change for change in augment.CHANGES}
KEY = lambda: jax.random.key(3)


@pytest.fixture(scope='module')
def video():
  return jax.random.uniform(jax.random.key(0), (B, T, S, S, 3), minval=-1.0, maxval=1.0)


@pytest.mark.parametrize('change', CHANGES.values(), ids=CHANGES)
def test_a_change_befalls_all_frames_alike(change, video):
  still = jnp.broadcast_to(video[:, :1], video.shape)
  changed = change(KEY(), still)
  np.testing.assert_array_equal(changed, jnp.broadcast_to(changed[:, :1], video.shape))
  assert jnp.abs(changed - still).max() > 0.1


@pytest.mark.parametrize('change', CHANGES.values(), ids=CHANGES)
def test_a_change_is_drawn_for_each_clip(change, video):
  same = jnp.broadcast_to(video[:1], video.shape)
  changed = change(KEY(), same)
  assert len({clip.tobytes() for clip in np.asarray(changed)}) > 2


def test_a_moving_pixel_moves_as_before():
  """Translation shifts the whole clip: motion between frames is what it was."""
  video = np.zeros((B, T, 32, 32, 1), np.float32)
  for t in range(T):
    video[:, t, 16, 12 + 2 * t] = 1.0
  moved = np.argwhere(np.asarray(augment._translation(KEY(), video)))
  columns = moved[:, 3].reshape(B, T)
  np.testing.assert_array_equal(np.diff(columns, axis=1), 2)
  assert np.abs(columns[:, 0] - 12).max() <= 4 and len(set(columns[:, 0])) > 1


def test_a_quarter_at_most_is_cut_out(video):
  cut = jnp.mean(augment._cutout(KEY(), jnp.ones_like(video)) == 0, axis=(1, 2, 3, 4))
  assert (cut > 0).all() and (cut <= 0.25).all()


def test_colour_changes_keep_what_they_turn_about(video):
  mean = lambda x, *axes: x.mean(axis=axes)
  np.testing.assert_allclose(mean(augment._saturation(KEY(), video), 4), mean(video, 4), atol=1e-6)
  axes = (1, 2, 3, 4)
  np.testing.assert_allclose(
    mean(augment._contrast(KEY(), video), *axes), mean(video, *axes), atol=1e-6
  )
  shift = augment._brightness(KEY(), video) - video
  assert jnp.ptp(shift, axis=axes).max() < 1e-6 and jnp.abs(shift).max() <= 0.5


def test_no_clip_is_changed_at_probability_0_and_each_at_1(video):
  np.testing.assert_array_equal(augment.clips(KEY(), video, jnp.float32(0.0)), video)
  changed = jnp.abs(augment.clips(KEY(), video, jnp.float32(1.0)) - video).max(axis=(1, 2, 3, 4))
  assert (changed > 0).all()


def test_the_probability_is_the_share_of_clips_that_a_change_befalls(monkeypatch):
  monkeypatch.setattr(augment, 'CHANGES', (lambda key, video: video + 1.0,))
  changed = augment.clips(KEY(), jnp.zeros((4000, 1, 1, 1, 1)), jnp.float32(0.3))
  np.testing.assert_allclose(changed.mean(), 0.3, atol=0.03)


def test_the_gradient_reaches_every_frame_that_is_left(video):
  """Every change is affine in the clip, so that a finite difference is exact."""
  weight = jax.random.normal(jax.random.key(1), video.shape)
  value = lambda x: jnp.sum(weight * augment.clips(KEY(), x, jnp.float32(1.0)))
  gradient = jax.grad(value)(video)
  assert (jnp.abs(gradient).max(axis=(2, 3, 4)) > 0).all()
  towards = jax.random.normal(jax.random.key(2), video.shape)
  slope = (value(video + towards) - value(video - towards)) / 2
  np.testing.assert_allclose(jnp.sum(gradient * towards), slope, rtol=1e-4)


@pytest.mark.devices
def test_devices_that_share_a_batch_draw_what_one_alone_would_without_talking():
  video = jax.random.uniform(jax.random.key(0), (8, T, S, S, 3), minval=-1.0, maxval=1.0)
  program = jax.jit(lambda video: augment.clips(KEY(), video, jnp.float32(0.5)))
  shared = jax.device_put(video, sharding.batch(sharding.make_mesh(8, 1)))
  np.testing.assert_allclose(program(shared), program(video), atol=1e-6)
  assert 'all-gather' not in program.lower(shared).compile().as_text()


def test_the_probability_goes_towards_the_target_and_stays_within_bounds():
  at = lambda p, sign, frames=1000: float(augment.adapt(jnp.float32(p), sign, 0.6, frames))
  pace = 1000 / augment.FRAMES
  np.testing.assert_allclose(at(0.5, 0.9), 0.5 + pace, rtol=1e-6)  # the critic knows too much
  np.testing.assert_allclose(at(0.5, 0.1), 0.5 - pace, rtol=1e-6)
  assert at(0.5, 0.6) == 0.5
  assert at(0.0, 0.1) == 0.0
  np.testing.assert_allclose(at(0.8, 0.9), 0.8, rtol=1e-6)
  np.testing.assert_allclose(at(0.1, 0.9, 10 * augment.FRAMES), 0.8, rtol=1e-6)


def test_the_sign_statistic_of_each_objective():
  real, fake = jnp.array([2.0, 0.7, 0.2, -1.0]), jnp.array([0.3, 0.5])
  signs = {name: float(adversarial.mean_sign(o, real, fake)) for name, o in _objectives()}
  assert signs == {
    'nonsaturating': 0.5,  # three of four above 0
    'hinge': 0.5,
    'least_squares': 0.0,  # two of four above 0.5
    'relativistic': 0.0,  # two of four above the mean fake, 0.4
    'wasserstein': 0.0,
  }


def _objectives():
  return adversarial.OBJECTIVES.items()


def test_the_probability_comes_back_with_a_checkpoint(tmp_path):
  critic = Net({'w': jnp.ones(2)}, {'game': {'augment': jnp.float32(0.37)}})
  state = TrainState(jnp.int32(5), {'critic': critic})
  like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)
  with Checkpoints(tmp_path, 'gan') as checkpoints:
    checkpoints.save(state, {})
    checkpoints.wait()
    found, _ = checkpoints.restore(like)
  assert found.nets['critic'].kept['game']['augment'] == jnp.float32(0.37)
