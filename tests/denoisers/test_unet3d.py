"""The U-Net and its aligner: what the design claims of them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax.denoisers.aligner import DIRECTIONS, FLOWS, Aligner
from hgdt_jax.denoisers.types import Condition
from hgdt_jax.denoisers.unet3d import UNet3D
from hgdt_jax.models import layers
from hgdt_jax.warp import warp

B, T, S, D = 2, 4, 8, 6


def _network(**fields):
  return UNet3D(
    **{
      **dict(channels=3, width=8, multipliers=(1, 2), blocks=1, patch=2, remat=False),
      **dict(classes=3, latent_size=D, space_attention=4, time_attention=8),
      **dict(convolution='factorised', aligner_radius=3.0),
      **dict(aligner_flow='predicted', aligner_direction='causal'),
      **fields,
    }
  )


def _condition(align=1.0):
  latents = jax.random.normal(jax.random.key(5), (B, T, D))
  return Condition(jnp.array([0, 2]), latents, jnp.ones(B), jnp.full(B, align))


def _perturbed(params):
  """Parameters away from their zeros, where every path is open."""
  normal = np.random.default_rng(9).normal
  return jax.tree.map(lambda p: np.float32(p + 0.1 * normal(size=p.shape)), jax.device_get(params))


@pytest.fixture(scope='module', params=['factorised', 'full'])
def denoiser(request):
  network = _network(convolution=request.param)
  x = jax.random.normal(jax.random.key(0), (B, T, S, S, 3))
  t = jnp.array([0.2, 0.7])
  params = jax.jit(network.init)(jax.random.key(1), x, t, _condition(), jnp.ones(B))['params']
  return jax.jit(lambda p, x, c, m: network.apply({'params': p}, x, t, c, m).output), params, x


def test_output_is_zero_at_initialisation(denoiser):
  apply, params, x = denoiser
  np.testing.assert_array_equal(apply(params, x, _condition(), jnp.ones(B)), 0)


def _reached(denoiser, params, mixing, align):
  """Largest change of each frame of the output, `[T]`, where frame 1 of the clip changes."""
  apply, _, x = denoiser
  condition, mixing = _condition(align), jnp.full(B, mixing)
  out = [np.asarray(apply(params, v, condition, mixing)) for v in (x, x.at[:, 1].add(1.0))]
  return np.abs(out[0] - out[1]).max(axis=(0, 2, 3, 4))


def test_frames_see_each_other_through_time_mixing_and_the_aligner_alone(denoiser):
  """With both off, not at all; with the aligner on, what is earlier."""
  _, fresh, _ = denoiser
  params = _perturbed(fresh)
  others = [0, 2, 3]
  alone = _reached(denoiser, params, mixing=0.0, align=0.0)
  assert alone[1] > 1e-3 and (alone[others] == 0).all()
  tied = _reached(denoiser, params, mixing=0.0, align=1.0)
  assert tied[0] == 0 and (tied[1:] > 1e-4).all()
  # Nothing else than the aligner ties them: with one that adds nothing they are apart.
  silent = {name: fresh[name] if name.startswith('aligner') else params[name] for name in params}
  assert (_reached(denoiser, silent, mixing=0.0, align=1.0)[others] == 0).all()
  assert (_reached(denoiser, params, mixing=1.0, align=0.0) > 1e-5).all()


def test_time_mixing_is_switched_row_by_row(denoiser):
  apply, params, x = denoiser
  params = _perturbed(params)
  mixed = apply(params, x, _condition(), jnp.array([0.0, 1.0]))
  np.testing.assert_allclose(mixed[0], apply(params, x, _condition(), jnp.zeros(B))[0], atol=1e-5)
  np.testing.assert_allclose(mixed[1], apply(params, x, _condition(), jnp.ones(B))[1], atol=1e-5)


def test_a_fresh_aligner_and_latents_change_nothing(denoiser):
  """Switching the aligner on leaves a trained refiner's output unchanged at step 0."""
  apply, params, x = denoiser
  fresh = lambda path: any(e.key.startswith(('aligner', 'latents_')) for e in path)
  trained = jax.tree_util.tree_map_with_path(
    lambda path, old, new: old if fresh(path) else new, params, _perturbed(params)
  )
  with_aligner = apply(trained, x, _condition(), jnp.ones(B))
  off = _condition(align=0.0).replace(use_latents=jnp.zeros(B))
  np.testing.assert_array_equal(with_aligner, apply(trained, x, off, jnp.ones(B)))
  # Left out of the program altogether: another program, which rounds in another order.
  without = apply(trained, x, off.replace(align=None), jnp.ones(B))
  assert np.abs(without).max() > 1e-3
  np.testing.assert_allclose(with_aligner, without, atol=2e-5 * np.abs(without).max())


def test_every_parameter_gets_a_gradient(denoiser):
  apply, params, x = denoiser
  params = _perturbed(params)
  weight = jax.random.normal(jax.random.key(3), x.shape)
  loss = lambda p: jnp.sum(weight * apply(p, x, _condition(), jnp.ones(B)))
  grads = jax.jit(jax.grad(loss))(params)
  for path, g in jax.tree_util.tree_flatten_with_path(grads)[0]:
    assert np.abs(g).max() > 0, jax.tree_util.keystr(path)


def test_remat_changes_no_value(denoiser):
  _, params, x = denoiser
  params, t = _perturbed(params), jnp.array([0.2, 0.7])
  convolution = 'factorised' if 'time_conv' in params['middle'] else 'full'
  values = []
  for remat in (False, True):
    network = _network(convolution=convolution, remat=remat)
    found = jax.jit(network.apply)({'params': params}, x, t, _condition(), jnp.ones(B))
    values.append(found.output)
  np.testing.assert_allclose(*values, atol=1e-5)


def test_a_bfloat16_network_predicts_more_than_bfloat16_resolves(denoiser):
  """A refiner that has little noise to remove lives on what lies below eight bits."""
  _, params, x = denoiser
  params, t = _perturbed(params), jnp.array([0.2, 0.7])
  convolution = 'factorised' if 'time_conv' in params['middle'] else 'full'
  apply = lambda dtype: jax.jit(_network(convolution=convolution, dtype=dtype).apply)(
    {'params': params}, x, t, _condition(), jnp.ones(B)
  )
  rough, exact = (np.asarray(apply(dtype).output) for dtype in (jnp.bfloat16, jnp.float32))
  assert rough.dtype == np.float32
  assert np.mean(rough == rough.astype(jnp.bfloat16).astype(np.float32)) < 0.01
  assert np.linalg.norm(rough - exact) < 0.02 * np.linalg.norm(exact)


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_attention_is_that_of_float32_logits(dtype):
  """Logits of about a hundred, among which bfloat16 tells halves apart, against NumPy's doubles."""
  length, size, heads = 12, 8, 2
  module = layers.Attention(head_size=size, max_distance=4, dtype=dtype)
  x = jax.random.normal(jax.random.key(0), (3, length, heads * size))
  params = jax.jit(module.init)(jax.random.key(1), x)['params']
  bias = 60 + jax.random.normal(jax.random.key(2), params['distance_bias'].shape)
  kernel = 3 * params['Dense_0']['kernel']
  out = params['Dense_1'] | {'kernel': jnp.eye(heads * size)}
  params = params | {'distance_bias': bias, 'Dense_0': {'kernel': kernel}, 'Dense_1': out}
  got, kept = module.apply({'params': params}, x, capture_intermediates=True)
  (qkv,) = kept['intermediates']['Dense_0']['__call__']
  q, k, v = np.split(np.asarray(qkv, np.float64).reshape(3, length, 3 * heads, size), 3, axis=2)
  logits = np.einsum('nqhd,nkhd->nhqk', q, k) / size**0.5
  distance = np.arange(length)[None, :] - np.arange(length)[:, None]
  logits += np.asarray(bias, np.float64)[None, :, np.clip(distance, -4, 4) + 4]
  assert np.abs(logits).max() > 64
  weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
  weights /= weights.sum(axis=-1, keepdims=True)
  want = np.einsum('nhqk,nkhd->nqhd', weights, v).reshape(got.shape)
  unit = 2.0**-8 if dtype == jnp.bfloat16 else 2.0**-19
  assert np.abs(got - want).max() < 3 * unit * np.abs(want).max()

  value = lambda p: jnp.sum(module.apply({'params': p}, x).astype(jnp.float32) ** 2)
  gradient = jax.jit(jax.grad(value))(params)['distance_bias']
  assert gradient.dtype == jnp.float32
  assert np.abs(gradient).min() > 0


def test_any_number_of_frames(denoiser):
  apply, params, x = denoiser
  longer = jnp.concatenate([x, x, x], axis=1)
  condition = Condition.plain(jnp.array([0, -1]), 3 * T, D)
  assert apply(params, longer, condition, jnp.ones(B)).shape == longer.shape


H = jax.random.normal(jax.random.key(0), (B, T, S, S, 8))


@pytest.fixture(scope='module', params=itertools.product(FLOWS, DIRECTIONS), ids='-'.join)
def aligner(request):
  """One of each kind: its direction; (parameters, features, active) -> (out, flows); parameters."""
  flow, direction = request.param
  module = Aligner(3.0, flow, direction)
  params = jax.jit(module.init)(jax.random.key(1), H, jnp.ones(B))['params']
  apply = lambda p, h, on: module.apply({'params': p}, h, on)
  return direction, jax.jit(apply), params


def test_a_fresh_aligner_is_the_identity(aligner):
  _, apply, params = aligner
  np.testing.assert_array_equal(apply(params, H, jnp.ones(B))[0], H)


@pytest.mark.parametrize('frame', range(T))
def test_an_aligner_is_causal_or_goes_in_both_directions(aligner, frame):
  direction, apply, params = aligner
  params = _perturbed(params)
  out = [np.asarray(apply(params, h, jnp.ones(B))[0]) for h in (H, H.at[:, frame].add(1.0))]
  difference = np.abs(out[0] - out[1]).max(axis=(0, 2, 3, 4))
  assert (difference[frame:] > 1e-4).all()  # it reaches every later frame
  if direction == 'causal':
    np.testing.assert_array_equal(difference[:frame], 0)
  else:
    assert (difference[:frame] > 1e-4).all()


def test_an_aligner_is_off_where_it_is_not_active(aligner):
  _, apply, params = aligner
  out, _ = apply(_perturbed(params), H, jnp.array([0.0, 1.0]))
  np.testing.assert_array_equal(out[0], H[0])
  assert np.abs(out[1] - H[1]).max() > 1e-3


def test_every_parameter_of_an_aligner_gets_a_gradient(aligner):
  _, apply, params = aligner
  weight = jax.random.normal(jax.random.key(3), H.shape)
  loss = lambda p: jnp.sum(weight * apply(p, H, jnp.ones(B))[0])
  gradients = jax.jit(jax.grad(loss))(_perturbed(params))
  for path, g in jax.tree_util.tree_leaves_with_path(gradients):
    assert np.abs(g).max() > 0, jax.tree_util.keystr(path)


@pytest.mark.parametrize('flow', FLOWS)
@pytest.mark.parametrize('radius', [0.0, 0.4, 2.5, 3.0])
def test_no_flow_is_longer_than_the_radius(flow, radius):
  """Along each axis, and weights that are large enough go that far."""
  module = Aligner(radius, flow, 'causal')

  @jax.jit
  def field(key):
    params = module.init(key, H, jnp.ones(B))['params']
    params = jax.tree.map(lambda leaf: 30 * leaf, params)
    _, (found,) = module.apply({'params': params}, H, jnp.ones(B))
    return found.field

  found = field(jax.random.key(1))
  assert found.shape == (B, T - 1, S, S, 2)
  assert 0.9 * radius <= np.abs(found).max() <= radius * (1 + 1e-6)


@jax.jit
def _matched(h):
  """Flow of an aligner that projects features to themselves, and frame 0 warped by it."""
  module = Aligner(3.0, 'matched', 'causal')
  params = module.init(jax.random.key(1), h, jnp.ones(1))['params']
  kernel = params['forward']['match']['kernel']
  params['forward']['match']['kernel'] = 6 * jnp.eye(*kernel.shape)
  _, (found,) = module.apply({'params': params}, h, jnp.ones(1))
  flow = found.field[:, 0]
  return flow, warp(h[:, 0], flow)


@pytest.mark.parametrize('shift', [(0, 0), (2, -1), (-3, 3)])
def test_a_matched_flow_finds_a_shift(shift):
  """Of a map whose places all differ; what is projected is the map itself."""
  size, features = 16, 32
  before = np.sign(jax.random.normal(jax.random.key(4), (1, size, size, features)))
  here = np.roll(before, shift, axis=(2, 1))  # (dx, dy)
  flow, warped = jax.device_get(_matched(np.stack([before, here], axis=1)))
  inside = (slice(None), slice(3, -3), slice(3, -3))
  want = np.broadcast_to(-np.array(shift, np.float32), flow[inside].shape)
  np.testing.assert_allclose(flow[inside], want, atol=0.01)
  np.testing.assert_allclose(warped[inside], here[inside], atol=0.03)
