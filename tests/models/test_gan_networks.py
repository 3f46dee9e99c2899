"""Generator, critics, bridge, spectral normalisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax.gans import spectral
from hgdt_jax.gans.style.critic import Critic, spread
from hgdt_jax.gans.style.generator import ContinuousMotion, Generator, ModulatedConv
from hgdt_jax.gans.types import Given
from hgdt_jax.models.bridge import Bridge

B, T, S = 2, 4, 8


@pytest.fixture(scope='module', params=['gru', 'continuous'])
def generator(request):
  sizes = dict(size=S, width=8, max_width=8, latent_size=8, content_size=4, motion_size=4)
  network = Generator(**sizes, classes=2, motion=request.param, motion_interval=2)
  z = network.draw_codes(jax.random.key(0), B, T)
  params = jax.jit(network.init)(jax.random.key(1), z, jnp.array([0, 1]))['params']
  return network, params, z


@pytest.fixture(scope='module')
def draw(generator):
  """Codes -> draft."""
  network, params, _ = generator
  apply = jax.jit(network.apply)
  return lambda z, label=(0, 1): jax.device_get(apply({'params': params}, z, jnp.array(label)))


def all_given(image):
  return Given(image, jnp.ones(len(image), bool))


def _gradient(value, params):
  """Away from the zeros of initialisation, where every path is open."""
  return jax.jit(jax.grad(value))(jax.tree.map(lambda p: p + 0.05, params))


def test_generator_draws_clips_in_range_and_unit_latents(generator, draw):
  video, latents, _ = draw(generator[2], label=(0, -1))
  assert video.shape == (B, T, S, S, 3) and np.abs(video).max() <= 1
  np.testing.assert_allclose(latents.std(axis=-1), 1, atol=1e-3)


def test_motion_codes_move_the_clip(generator, draw):
  _, _, z = generator
  still = z | {'motion': jnp.zeros_like(z['motion'])}
  other = z | {'motion': z['motion'][:, ::-1]}
  assert np.abs(draw(z).clip - draw(other).clip).max() > 1e-3
  assert np.abs(draw(z).clip - draw(still).clip).max() > 1e-3


def test_content_codes_do_not_vary_over_the_clip(generator):
  """There is one a clip, and what it adds to the features of the frames it adds to all alike."""
  network, params, z = generator
  assert z['content'].shape == (B, network.content_size)
  content = lambda module, method: module.name in ('content0', 'content1', 'mix0')

  @jax.jit
  def kept(z):
    options = dict(capture_intermediates=content, mutable='intermediates')
    return network.apply({'params': params}, z, jnp.array([0, 1]), **options)[1]['intermediates']

  def features(z):
    return {name: found['__call__'][0] for name, found in jax.device_get(kept(z)).items()}

  one, other = features(z), features(z | {'content': z['content'] + 1.0})
  assert one['content1'].shape == (B, network.latent_size)
  added = other['mix0'] - one['mix0']
  assert added.shape[1] == T and np.abs(added).max() > 1e-3
  np.testing.assert_allclose(added, np.broadcast_to(added[:, :1], added.shape), atol=1e-6)
  moved = features(z | {'motion': z['motion'] + 1.0})
  np.testing.assert_array_equal(moved['content1'], one['content1'])
  assert np.abs(np.diff(moved['mix0'] - one['mix0'], axis=1)).max() > 1e-3  # as motion does not


def test_the_style_of_a_clip_is_the_same_in_all_its_frames(generator):
  """So that colours and textures hold while things move."""
  network, params, z = generator
  styles = lambda module, method: module.name == 'style'

  @jax.jit
  def kept(z):
    options = dict(capture_intermediates=styles, mutable='intermediates')
    return jax.tree.leaves(network.apply({'params': params}, z, jnp.array([0, 1]), **options)[1])

  found, other = (jax.device_get(kept(c)) for c in (z, z | {'motion': z['motion'] + 1.0}))
  assert len(found) == 2  # of the two convolutions at the only size of map
  for style, moved in zip(found, other):
    of_frames = style.reshape(B, T, -1)
    np.testing.assert_array_equal(of_frames, np.broadcast_to(of_frames[:, :1], of_frames.shape))
    np.testing.assert_array_equal(style, moved)
    assert np.abs(of_frames[0] - of_frames[1]).max() > 1e-3


def test_motion_is_causal_in_its_codes(generator, draw):
  """A continuous path looks ahead to the anchor on the right, of frame 3 alone the last one's."""
  network, _, z = generator
  code, frame = (2, 2) if network.motion == 'gru' else (-1, 3)
  later = z | {'motion': z['motion'].at[:, code].add(1.0)}
  difference = np.abs(draw(z).latents - draw(later).latents).max(axis=(0, 2))
  np.testing.assert_array_equal(difference[:frame], 0)
  assert (difference[frame:] > 0).all()


def test_generator_draws_any_number_of_frames(generator, draw):
  z = generator[0].draw_codes(jax.random.key(2), B, 3 * T)
  assert draw(z).clip.shape[1] == 3 * T


def test_a_longer_clip_begins_with_the_latents_of_a_shorter_one(generator, draw):
  network, _, z = generator
  longer = network.draw_codes(jax.random.key(2), B, 2 * T) | {'content': z['content']}
  longer['motion'] = longer['motion'].at[:, : z['motion'].shape[1]].set(z['motion'])
  np.testing.assert_allclose(draw(longer).latents[:, :T], draw(z).latents, atol=1e-6)


def test_every_generator_parameter_gets_a_gradient(generator):
  network, params, z = generator
  weight = jax.random.normal(jax.random.key(3), (B, T, S, S, 3))

  def value(p):
    return jnp.sum(weight * network.apply({'params': p}, z, jnp.array([0, 1])).clip)

  for path, g in jax.tree_util.tree_flatten_with_path(_gradient(value, params))[0]:
    assert np.abs(g).max() > 0, jax.tree_util.keystr(path)


@pytest.fixture(scope='module')
def continuing():
  """A generator that may be given a first frame, its parameters, codes, labels and two images."""
  sizes = dict(size=2 * S, width=8, max_width=8, latent_size=8, content_size=4, motion_size=4)
  network = Generator(**sizes, image=True)
  z, label = network.draw_codes(jax.random.key(0), B, T), jnp.array([-1, -1])
  image = jax.random.uniform(jax.random.key(2), (B, 2 * S, 2 * S, 3), minval=-1.0)
  params = jax.jit(network.init)(jax.random.key(1), z, label, all_given(image))['params']
  return network, params, z, label, image


def test_a_given_first_frame_is_returned_and_continued(continuing):
  network, params, z, label, image = continuing
  apply = jax.jit(lambda given: network.apply({'params': params}, z, label, given).clip)
  draw = lambda given: np.asarray(apply(given))
  clip, other, free = draw(all_given(image)), draw(all_given(image[::-1])), draw(None)
  np.testing.assert_array_equal(clip[:, 0], image)
  apart = np.abs(clip - other).max(axis=(0, 2, 3, 4))
  assert (apart > 1e-3).all()
  some = draw(Given(image, jnp.array([True, False])))
  np.testing.assert_allclose(some[0], clip[0], atol=1e-5)
  np.testing.assert_allclose(some[1], free[1], atol=1e-5)


def test_every_parameter_of_a_continuing_generator_gets_a_gradient(continuing):
  network, params, z, label, image = continuing
  weight = jax.random.normal(jax.random.key(3), (B, T, *image.shape[1:]))

  def value(p):
    return jnp.sum(weight * network.apply({'params': p}, z, label, all_given(image)).clip)

  # A shift of all weights alike would close the gates.
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(4), len(leaves))
  moved = [p + 0.05 * jax.random.normal(key, p.shape) for p, key in zip(leaves, keys)]
  gradient = jax.jit(jax.grad(value))(jax.tree.unflatten(tree, moved))
  for path, g in jax.tree_util.tree_flatten_with_path(gradient)[0]:
    assert np.abs(g).max() > 0, jax.tree_util.keystr(path)


def test_a_generator_without_images_refuses_one(generator):
  network, params, z = generator
  with pytest.raises(ValueError, match='image=True'):
    network.apply({'params': params}, z, jnp.array([0, 1]), all_given(jnp.zeros((B, S, S, 3))))


INTERVAL = 4


@pytest.fixture(scope='module')
def path():
  """A function: codes, times -> `ContinuousMotion`, and its parameters."""
  network = ContinuousMotion(features=6, interval=INTERVAL)
  codes = jax.random.normal(jax.random.key(0), (B, network.codes(40, INTERVAL), 5))
  times = lambda *t: np.broadcast_to(np.array(t, np.float32), (B, len(t)))
  params = jax.jit(network.init)(jax.random.key(1), codes, times(0))['params']
  apply = jax.jit(lambda params, codes, t: network.apply({'params': params}, codes, t))
  at = lambda *t, codes=codes, params=params: np.asarray(apply(params, codes, times(*t)))
  return at, codes, params


def test_continuous_motion_is_continuous_and_goes_through_the_vectors_of_its_anchors(path):
  at, _, params = path
  np.testing.assert_allclose(at(3.9999, 7.9999), at(4, 8), atol=5e-3)
  calm = params | {'amplitude': jax.tree.map(jnp.zeros_like, params['amplitude'])}
  np.testing.assert_allclose(at(0, 4, 8), at(0, 4, 8, params=calm), atol=1e-6)
  between = at(2, params=calm)[:, 0]
  np.testing.assert_allclose(between, at(0, 4).mean(axis=1), atol=1e-6)  # a straight line
  assert np.abs(at(2)[:, 0] - between).max() > 0.01  # and waves on it


def test_every_stretch_of_continuous_motion_has_the_same_law(path):
  """One code later is one interval later; so clips longer than those trained on hold."""
  at, codes, _ = path
  times = np.arange(10.0)
  np.testing.assert_allclose(at(*times, codes=codes[:, 1:]), at(*(times + INTERVAL)), atol=1e-5)


def test_continuous_motion_never_repeats(path):
  at, _, _ = path
  walk = at(*range(40))
  for lag in range(1, 30):
    apart = np.abs(walk[:, lag:] - walk[:, :-lag]).mean()
    assert apart > 0.2 * walk.std(), lag


def test_modulated_convolution_equals_modulating_the_weights():
  """The efficient form is StyleGAN2's eq. 1 and 3, written out."""
  x = jax.random.normal(jax.random.key(0), (2, 4, 4, 3))
  w = jax.random.normal(jax.random.key(1), (2, 5))
  conv = ModulatedConv(6)
  params = jax.jit(conv.init)(jax.random.key(2), x, w)['params']
  got = jax.jit(conv.apply)({'params': params}, x, w)

  @jax.jit
  def written_out(x, w):
    style = 1 + w @ params['style']['kernel'] + params['style']['bias']
    kernel = params['kernel'] * style.reshape(1, 1, -1, 1)
    kernel = kernel / jnp.sqrt(jnp.sum(kernel**2, axis=(0, 1, 2), keepdims=True) + 1e-8)
    want = jax.lax.conv_general_dilated(
      x[None], kernel, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
    )
    return jnp.where(want > 0, want, 0.2 * want)[0] * 2**0.5

  for i in range(2):
    np.testing.assert_allclose(got[i], written_out(x[i], w[i]), atol=1e-5)


EVERY = jnp.arange(T)  # frames
VARIANTS = {'plain': {}, 'full': dict(convolution='full', minibatch_stddev=True)}


@pytest.fixture(scope='module', params=VARIANTS.values(), ids=VARIANTS)
def critic(request):
  network = Critic(width=8, max_width=8, clip_patch=2, classes=2, **request.param)
  video = jax.random.normal(jax.random.key(0), (B, T, S, S, 3))
  t, label = jnp.array([0.0, 0.5]), jnp.array([0, 1])
  params = jax.jit(network.init)(jax.random.key(1), (video, EVERY), t, label)['params']
  return network, params, video, t, label


@pytest.fixture(scope='module')
def judge(critic):
  """Clips, frames -> logits."""
  network, params, _, t, label = critic
  apply = jax.jit(
    lambda video, frames: network.apply({'params': params}, (video, frames), t, label)
  )
  return lambda video, frames=EVERY: jax.device_get(apply(video, frames))


def test_critic_logits(critic, judge):
  logits = judge(critic[2], jnp.array([0, 2]))
  assert {k: v.shape for k, v in logits.items()} == {'frame': (B, 2), 'clip': (B,)}


def test_frame_critic_sees_the_frames_it_is_told_and_none_else(critic, judge):
  video, seen = critic[2], lambda v: judge(v, jnp.array([0, 2]))
  np.testing.assert_array_equal(seen(video)['frame'], seen(video.at[:, 1].add(1.0))['frame'])
  assert np.abs(seen(video)['frame'] - seen(video.at[:, 2].add(1.0))['frame']).max() > 0


def test_clip_critic_sees_the_order_of_frames_and_frame_critic_does_not(critic, judge):
  forward, backward = judge(critic[2]), judge(critic[2][:, ::-1])
  np.testing.assert_allclose(forward['frame'], backward['frame'][:, ::-1], atol=1e-5)
  assert np.abs(forward['clip'] - backward['clip']).max() > 1e-4


def test_clip_critic_compares_frames_that_are_far_apart(critic, judge):
  """A sum of what each frame looks like has no mixed difference; a comparison of two has."""
  video, logit = critic[2], lambda v: judge(v)['clip']
  first = lambda v: v.at[:, 0].add(1.0)
  last = lambda v: v.at[:, -1].add(1.0)
  mixed = logit(first(last(video))) - logit(first(video)) - logit(last(video)) + logit(video)
  assert np.abs(mixed).max() > 1e-3


def test_every_critic_parameter_gets_a_gradient(critic):
  network, params, video, t, label = critic

  def value(p):
    out = network.apply({'params': p}, (video, EVERY), t, label)
    return jnp.sum(out['frame']) + jnp.sum(out['clip'])

  for path, g in jax.tree_util.tree_flatten_with_path(_gradient(value, params))[0]:
    assert np.abs(g).max() > 0, jax.tree_util.keystr(path)


def test_full_convolutions_reach_one_frame_each_way_and_space_as_well(critic):
  network, params, _, _, _ = critic
  kernels = {n: w['kernel'].shape for n, w in params['clip'].items() if 'conv' in n}
  before = 24 if network.convolution == 'full' else 8
  assert set(kernels.values()) == {(3, 3, before, 8)}
  assert any('time' in name for name in params['clip']) == (network.convolution != 'full')
  assert {w['kernel'].shape for n, w in params['frame'].items() if 'conv' in n} == {(3, 3, 8, 8)}


@pytest.mark.parametrize(
  ('batch', 'group'), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 1), (6, 3), (8, 4)]
)
def test_spread_is_the_mean_deviation_within_groups_of_neighbours(batch, group):
  h = jax.random.normal(jax.random.key(0), (batch, T, 5))
  got = jax.jit(spread)(h)
  assert got.shape == (batch, T, 1)
  for i in range(batch):
    first = i // group * group
    want = np.asarray(h[first : first + group]).std(axis=0).mean(axis=-1)
    np.testing.assert_allclose(got[i, :, 0], want, atol=2e-4)


def test_a_critic_with_spread_sees_that_all_clips_are_one(critic, judge):
  """What a collapsed generator draws looks otherwise than the same clip among others."""
  network, _, video, _, _ = critic
  seen = [judge(v)['clip'][0] for v in (video, video.at[1].set(video[0]))]
  assert (seen[0] != seen[1]) == network.minibatch_stddev


def test_bridge_guesses_unit_latents_for_every_frame():
  video = jax.random.normal(jax.random.key(0), (B, T, S, S, 3))
  bridge = Bridge(latent_size=8, width=8, max_width=8, patch=2)
  variables = jax.jit(bridge.init)(jax.random.key(1), video, jnp.zeros(B))
  apply = jax.jit(bridge.apply)
  latents = np.asarray(apply(variables, video, jnp.zeros(B)))
  assert latents.shape == (B, T, 8)
  np.testing.assert_allclose(latents.std(axis=-1), 1, atol=1e-3)
  noisy = apply(variables, video, jnp.ones(B))
  assert np.abs(noisy - latents).max() > 0.01  # it knows how much of the clip is noise


def test_spectral_normalisation_sets_the_largest_singular_value_to_one():
  kernel = jax.random.normal(jax.random.key(0), (3, 3, 4, 5))
  params = {'conv': {'kernel': kernel, 'bias': jnp.ones(5)}}
  vectors, iterate = jax.jit(spectral.init)(params, jax.random.key(1)), jax.jit(spectral.iterate)
  for _ in range(50):
    vectors = iterate(params, vectors)
  normal = jax.jit(spectral.normalise)(params, vectors)['conv']
  largest = np.linalg.svd(np.asarray(normal['kernel']).reshape(-1, 5), compute_uv=False)[0]
  np.testing.assert_allclose(largest, 1, rtol=1e-4)
  np.testing.assert_array_equal(normal['bias'], 1)
