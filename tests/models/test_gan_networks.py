"""Generator, critics, bridge, spectral normalisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax.models import spectral
from hgdt_jax.models.bridge import Bridge
from hgdt_jax.models.critic import Critic
from hgdt_jax.models.generator import Generator, ModulatedConv

B, T, S = 2, 4, 8


@pytest.fixture(scope='module')
def generator():
  network = Generator(
    size=S, width=8, max_width=8, latent_size=8, content_size=4, motion_size=4, classes=2
  )
  z = network.draw_codes(jax.random.key(0), B, T)
  params = jax.jit(network.init)(jax.random.key(1), z, jnp.array([0, 1]))['params']
  return network, params, z


def _gradient(value, params):
  """Away from the zeros of initialisation, where every path is open."""
  return jax.jit(jax.grad(value))(jax.tree.map(lambda p: p + 0.05, params))


def test_generator_draws_clips_in_range_and_unit_latents(generator):
  network, params, z = generator
  video, latents = network.apply({'params': params}, z, jnp.array([0, -1]))
  assert video.shape == (B, T, S, S, 3) and jnp.abs(video).max() <= 1
  np.testing.assert_allclose(latents.std(axis=-1), 1, atol=1e-3)


def test_motion_codes_move_the_clip_and_content_codes_do_not_vary_over_it(generator):
  network, params, z = generator
  still = z | {'motion': jnp.zeros_like(z['motion'])}
  draw = lambda z: network.apply({'params': params}, z, jnp.array([0, 1]))[0]
  other = z | {'motion': z['motion'][:, ::-1]}
  assert jnp.abs(draw(z) - draw(other)).max() > 1e-3
  assert jnp.abs(draw(z) - draw(still)).max() > 1e-3


def test_motion_is_causal_in_its_codes(generator):
  network, params, z = generator
  later = z | {'motion': z['motion'].at[:, 2].add(1.0)}
  latents = [network.apply({'params': params}, c, jnp.array([0, 1]))[1] for c in (z, later)]
  difference = jnp.abs(latents[0] - latents[1]).max(axis=(0, 2))
  np.testing.assert_array_equal(difference[:2], 0)
  assert (difference[2:] > 0).all()


def test_generator_draws_any_number_of_frames(generator):
  network, params, _ = generator
  z = network.draw_codes(jax.random.key(2), B, 3 * T)
  assert network.apply({'params': params}, z, jnp.array([0, 1]))[0].shape[1] == 3 * T


def test_every_generator_parameter_gets_a_gradient(generator):
  network, params, z = generator
  weight = jax.random.normal(jax.random.key(3), (B, T, S, S, 3))

  def value(p):
    return jnp.sum(weight * network.apply({'params': p}, z, jnp.array([0, 1]))[0])

  for path, g in jax.tree_util.tree_flatten_with_path(_gradient(value, params))[0]:
    assert jnp.abs(g).max() > 0, jax.tree_util.keystr(path)


def test_modulated_convolution_equals_modulating_the_weights():
  """The efficient form is StyleGAN2's eq. 1 and 3, written out."""
  x = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
  w = jax.random.normal(jax.random.key(1), (2, 5))
  conv = ModulatedConv(6)
  params = conv.init(jax.random.key(2), x, w)['params']
  got = conv.apply({'params': params}, x, w)
  style = 1 + w @ params['style']['kernel'] + params['style']['bias'].reshape(1, -1)
  for i in range(2):
    kernel = params['kernel'] * style[i].reshape(1, 1, -1, 1)
    kernel = kernel / jnp.sqrt(jnp.sum(kernel**2, axis=(0, 1, 2), keepdims=True) + 1e-8)
    want = jax.lax.conv_general_dilated(
      x[i : i + 1], kernel, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
    )
    want = jnp.where(want > 0, want, 0.2 * want) * 2**0.5
    np.testing.assert_allclose(got[i : i + 1], want, atol=1e-5)


@pytest.fixture(scope='module')
def critic():
  network = Critic(width=8, max_width=8, clip_patch=2, classes=2)
  video = jax.random.normal(jax.random.key(0), (B, T, S, S, 3))
  t, label = jnp.array([0.0, 0.5]), jnp.array([0, 1])
  params = jax.jit(network.init)(jax.random.key(1), video, t, label)['params']
  return network, params, video, t, label


def test_critic_logits(critic):
  network, params, video, t, label = critic
  logits = network.apply({'params': params}, video, t, label, jnp.array([0, 2]))
  assert {k: v.shape for k, v in logits.items()} == {'frame': (B, 2), 'clip': (B,)}


def test_frame_critic_sees_the_frames_it_is_told_and_none_else(critic):
  network, params, video, t, label = critic
  seen = lambda v: network.apply({'params': params}, v, t, label, jnp.array([0, 2]))
  np.testing.assert_array_equal(seen(video)['frame'], seen(video.at[:, 1].add(1.0))['frame'])
  assert jnp.abs(seen(video)['frame'] - seen(video.at[:, 2].add(1.0))['frame']).max() > 0


def test_clip_critic_sees_the_order_of_frames_and_frame_critic_does_not(critic):
  network, params, video, t, label = critic
  forward = network.apply({'params': params}, video, t, label)
  backward = network.apply({'params': params}, video[:, ::-1], t, label)
  np.testing.assert_allclose(forward['frame'], backward['frame'][:, ::-1], atol=1e-5)
  assert jnp.abs(forward['clip'] - backward['clip']).max() > 1e-4


def test_every_critic_parameter_gets_a_gradient(critic):
  network, params, video, t, label = critic

  def value(p):
    out = network.apply({'params': p}, video, t, label)
    return jnp.sum(out['frame']) + jnp.sum(out['clip'])

  for path, g in jax.tree_util.tree_flatten_with_path(_gradient(value, params))[0]:
    assert jnp.abs(g).max() > 0, jax.tree_util.keystr(path)


def test_bridge_guesses_unit_latents_for_every_frame():
  video = jax.random.normal(jax.random.key(0), (B, T, S, S, 3))
  bridge = Bridge(latent_size=8, width=8, max_width=8, patch=2)
  latents, _ = bridge.init_with_output(jax.random.key(1), video)
  assert latents.shape == (B, T, 8)
  np.testing.assert_allclose(latents.std(axis=-1), 1, atol=1e-3)


def test_spectral_normalisation_sets_the_largest_singular_value_to_one():
  kernel = jax.random.normal(jax.random.key(0), (3, 3, 4, 5))
  params = {'conv': {'kernel': kernel, 'bias': jnp.ones(5)}}
  vectors = spectral.init(params, jax.random.key(1))
  for _ in range(50):
    vectors = spectral.iterate(params, vectors)
  normal = spectral.normalise(params, vectors)['conv']
  largest = np.linalg.svd(np.asarray(normal['kernel']).reshape(-1, 5), compute_uv=False)[0]
  np.testing.assert_allclose(largest, 1, rtol=1e-4)
  np.testing.assert_array_equal(normal['bias'], 1)
