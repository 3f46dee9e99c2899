"""Objectives, penalties, warp: closed forms and numerical gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax.losses import adversarial, temporal
from hgdt_jax.warp import warp

NAMES = sorted(adversarial.OBJECTIVES)


@pytest.mark.parametrize('player', ['critic', 'generator'])
@pytest.mark.parametrize('name', NAMES)
def test_gradient_equals_a_numerical_one(name, player):
  loss = getattr(adversarial.OBJECTIVES[name], player)
  with jax.enable_x64(True):
    logits = np.random.default_rng(0).normal(size=(2, 5))
    value = jax.jit(lambda logits: loss(*logits))
    gradient = jax.device_get(jax.jit(jax.grad(value))(logits))
    for at in np.ndindex(2, 5):
      moved = 1e-6 * (np.indices((2, 5)) == np.reshape(at, (2, 1, 1))).all(axis=0)
      ends = [value(logits + moved), value(logits - moved)]
      np.testing.assert_allclose(gradient[at], (ends[0] - ends[1]) / 2e-6, atol=1e-8)


@pytest.mark.parametrize('name', NAMES)
def test_the_critic_prefers_high_reals_and_the_generator_high_fakes(name):
  objective = adversarial.OBJECTIVES[name]
  real, fake = jnp.array([-0.1]), jnp.array([0.1])
  d_real, d_fake = jax.jit(jax.grad(objective.critic, argnums=(0, 1)))(real, fake)
  assert d_real < 0 < d_fake
  assert jax.jit(jax.grad(objective.generator, argnums=1))(real, fake) < 0


def test_closed_form_values_of_an_undecided_critic():
  zeros = jnp.zeros(3)
  value = {n: float(jax.jit(o.critic)(zeros, zeros)) for n, o in _all()}
  coin = np.log(2)
  want = dict(nonsaturating=2 * coin, hinge=2, least_squares=1, relativistic=coin, wasserstein=0)
  assert value.keys() == want.keys()
  np.testing.assert_allclose([value[name] for name in want], list(want.values()), rtol=1e-6)


def test_closed_form_gradients():
  """By each logit, of both players' losses; `p` is the probability the critic gives to real."""
  r, f = 0.3, -0.8
  p = lambda logit: 1 / (1 + np.exp(-logit))
  want = {
    'nonsaturating': [(p(r) - 1, p(f)), (0, p(f) - 1)],
    'hinge': [(-1, 1), (0, -1)],
    'least_squares': [(2 * (r - 1), 2 * f), (0, 2 * (f - 1))],
    'wasserstein': [(-1, 1), (0, -1)],
    'relativistic': [(p(r - f) - 1, 1 - p(r - f)), (1 - p(f - r), p(f - r) - 1)],
  }
  for name, objective in _all():
    losses = (objective.critic, objective.generator)
    gradients = [jax.jit(jax.grad(loss, argnums=(0, 1))) for loss in losses]
    got = [gradient(np.float32(r), np.float32(f)) for gradient in gradients]
    np.testing.assert_allclose(got, want[name], rtol=1e-5, err_msg=name)


def _all():
  return adversarial.OBJECTIVES.items()


def test_the_relativistic_loss_does_not_see_a_shift_of_all_logits():
  real, fake = jax.random.normal(jax.random.key(0), (2, 5))
  objective = adversarial.OBJECTIVES['relativistic']
  for loss in map(jax.jit, (objective.critic, objective.generator)):
    np.testing.assert_allclose(loss(real + 7, fake + 7), loss(real, fake), rtol=1e-5)


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_penalty_of_a_linear_critic_is_its_squared_weight_norm(dtype):
  shape = (3, 2, 4, 4, 3)
  weight = jax.random.normal(jax.random.key(0), shape[1:])
  video = jax.random.normal(jax.random.key(1), shape).astype(dtype)
  critic = lambda x: jnp.sum(x * weight[None], axis=(1, 2, 3, 4))
  penalty = jax.jit(lambda video: adversarial.gradient_penalty(critic, video))(video)
  assert penalty.dtype == jnp.float32
  np.testing.assert_allclose(penalty, np.sum(np.square(weight)), rtol=1e-5)


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_interpolation_penalty_of_a_linear_critic_is_how_far_its_norm_is_from_one(dtype):
  shape = (3, 2, 4, 4, 3)
  weight = 0.3 * jax.random.normal(jax.random.key(0), shape[1:])
  real, fake = jax.random.normal(jax.random.key(1), (2, *shape)).astype(dtype)
  critic = lambda x: jnp.sum(x * weight[None], axis=(1, 2, 3, 4))
  penalty = jax.jit(
    lambda real, fake: adversarial.interpolation_penalty(critic, real, fake, jnp.zeros(3))
  )(real, fake)
  assert penalty.dtype == jnp.float32
  np.testing.assert_allclose(penalty, (np.linalg.norm(weight) - 1) ** 2, rtol=1e-5)


def test_interpolation_penalty_looks_between_real_and_fake_one_share_a_clip():
  """Of sum x^2 / 2 the gradient is x itself, so its norm says where it was taken."""
  real, fake = jnp.full((3, 1, 1, 1, 1), 2.0), jnp.full((3, 1, 1, 1, 1), 6.0)
  share = jnp.array([0.0, 0.5, 1.0])  # at 2, 4 and 6
  between = functools.partial(adversarial.interpolation_penalty, lambda x: 0.5 * x**2)
  penalty = jax.jit(between)(real, fake, share)
  np.testing.assert_allclose(penalty, (1**2 + 3**2 + 5**2) / 3, rtol=1e-5)


def test_a_clip_of_no_weight_is_not_penalised():
  """Of sum x^2 / 2 the gradient is x itself."""
  clips, weight = jnp.array([1.0, 3.0, 5.0]).reshape(3, 1, 1, 1, 1), jnp.array([1.0, 0.0, 1.0])
  score = lambda x: 0.5 * x**2
  got = jax.jit(functools.partial(adversarial.gradient_penalty, score))(clips, weight)
  np.testing.assert_allclose(got, (1 + 25) / 2)
  between = jax.jit(functools.partial(adversarial.interpolation_penalty, score))
  got = between(clips, clips, jnp.zeros(3), weight)
  np.testing.assert_allclose(got, (0 + 16) / 2)


def test_interpolation_penalty_has_a_gradient_where_the_critic_has_none():
  clips = jnp.ones((2, 1, 1, 1, 1))
  flat = lambda weight: adversarial.interpolation_penalty(
    lambda x: weight * x, clips, clips, jnp.zeros(2)
  )
  assert np.isfinite(jax.jit(jax.grad(flat))(0.0))


def test_warp_by_whole_pixels_is_a_shift():
  x = jax.random.normal(jax.random.key(0), (1, 6, 7, 2))
  flow = jnp.broadcast_to(jnp.array([1.0, -2.0]), (1, 6, 7, 2))  # dx, dy
  got = jax.jit(warp)(x, flow)
  np.testing.assert_allclose(got[:, 2:, :-1], x[:, :-2, 1:], atol=1e-6)


def test_warp_is_bilinear_and_repeats_the_edge():
  ramp = jnp.broadcast_to(jnp.arange(5.0).reshape(1, 1, 5, 1), (1, 4, 5, 1))
  flow = jnp.broadcast_to(jnp.array([0.3, 0.0]), (1, 4, 5, 2))
  want = np.minimum(np.arange(5) + 0.3, 4)
  np.testing.assert_allclose(jax.jit(warp)(ramp, flow)[0, 0, :, 0], want, atol=1e-6)


def _moving(frames=4):
  """A bright square that moves one pixel a frame to the right, and its backward flow."""
  video = np.full((1, frames, 8, 8, 1), -1.0, np.float32)
  for t in range(frames):
    video[0, t, 2:5, 1 + t : 4 + t] = 1.0
  flow = np.zeros((1, frames - 1, 8, 8, 2), np.float32)
  for t in range(1, frames):
    flow[0, t - 1, 2:5, 1 + t : 4 + t, 0] = -1.0
  return video, flow


def test_photometric_loss_prefers_the_true_flow_and_calls_only_the_rest_hidden():
  video, flow = _moving()
  visible = np.ones((*flow.shape[:-1], 1), np.float32)
  photometric = jax.jit(temporal.photometric, static_argnums=3)
  true = photometric(video, flow, visible, 0.3)
  assert true < photometric(video, np.zeros_like(flow), visible, 0.3)
  cheap = np.float32(np.asarray(jax.jit(temporal.warp_error)(video, flow)) < 0.3)
  better = photometric(video, flow, cheap, 0.3)
  assert better < true  # the uncovered strip is cheaper to call hidden
  assert photometric(video, flow, cheap, 3.0) > true  # as long as hiding it is
  assert better < photometric(video, flow, np.zeros_like(visible), 0.3)


def test_consistency_is_least_for_a_frozen_clip():
  """Why the motion ratio is logged beside it."""
  video, flow = _moving()
  frozen = np.broadcast_to(video[:, :1], video.shape)
  still, mask = np.zeros_like(flow), np.ones((*flow.shape[:-1], 1), np.float32)
  consistency = jax.jit(temporal.consistency)
  assert consistency(frozen, still, mask) < consistency(video, flow, mask)
