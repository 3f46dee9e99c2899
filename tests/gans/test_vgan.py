"""VGAN: what it claims, and that it is the published network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import zoo
from hgdt_jax import settings
from hgdt_jax.gans import vgan
from hgdt_jax.gans.types import Draft, Given
from hgdt_jax.space import Space
from hgdt_jax.stages import STAGES, networks

B = 4
SIZES = dict(name='vgan', code_size=6, width=4, critic_width=4, mask_weight=0.1, image_weight=0.0)
LABEL = jnp.full(B, -1)
GIVEN = Given(jax.random.uniform(jax.random.key(5), (B, 16, 16, 3), minval=-1.0), jnp.ones(B, bool))


@pytest.fixture(scope='module', params=vgan.RESAMPLINGS)
def made(request):
  """(GAN, variables, codes) of clips of 8 frames of 16x16."""
  settings = vgan.Settings(resampling=request.param, **SIZES)
  gan = vgan.make(settings, Space(8, 16, 3), classes=0, dtype=jnp.float32)
  codes = gan.codes(jax.random.key(0), B, 8)
  variables = jax.jit(gan.generator.init)(jax.random.key(1), codes, LABEL)
  return gan, variables, codes


@pytest.fixture(scope='module')
def continuing():
  """The same of the variant that is given a first frame."""
  settings = vgan.Settings(resampling='repeated', **SIZES | {'image_weight': 10.0})
  gan = vgan.make(settings, Space(8, 16, 3), classes=0, dtype=jnp.float32)
  codes = gan.codes(jax.random.key(0), B, 8)
  return gan, jax.jit(gan.generator.init)(jax.random.key(1), codes, LABEL, GIVEN), codes


@functools.partial(jax.jit, static_argnums=(0, 5))
def apply(generator, variables, codes, label, given=None, train=True):
  return generator.apply(variables, codes, label, given, train, mutable='batch_stats')


def draw(made, codes=None, params=None, given=None, train=True):
  gan, variables, first = made
  variables = variables | ({'params': params} if params else {})
  codes = first if codes is None else codes
  return apply(gan.generator, variables, codes, LABEL, given, train)[0]


def loud(params):
  """Away from the small first weights, with which all masks are one half."""
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(2), len(leaves))
  return tree.unflatten([p + 0.3 * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys)])


def test_a_clip_is_a_masked_foreground_over_one_background(made):
  draft = jax.device_get(draw(made, params=loud(made[1]['params'])))
  clip, mask, background = draft.clip, draft.aux['mask'], draft.aux['background']
  assert clip.shape == (B, 8, 16, 16, 3) and mask.shape == (B, 8, 16, 16, 1)
  assert background.shape == (B, 16, 16, 3)  # one image for all frames
  assert 0 <= mask.min() < 0.2 and 0.8 < mask.max() <= 1
  foreground = (clip - (1 - mask) * background[:, None]) / mask
  assert np.abs(foreground).max() <= 1 + 1e-3
  still = np.where(mask < 0.02, np.abs(clip - background[:, None]), 0.0)
  assert still.max() <= 0.04 + 1e-6  # where the mask is closed, nothing moves


def test_what_moves_is_the_foreground_alone(made):
  """With the mask shut for good, all frames are the background."""
  params = loud(made[1]['params'])
  up = next(name for name in params['mask_out'])
  params['mask_out'][up]['bias'] = jnp.full_like(params['mask_out'][up]['bias'], -100.0)
  params['mask_out'][up]['kernel'] *= 0.0
  draft = jax.device_get(draw(made, params=params))
  want = np.broadcast_to(draft.aux['background'][:, None], draft.clip.shape)
  np.testing.assert_allclose(draft.clip, want, atol=1e-6)


def test_every_parameter_gets_a_gradient(made):
  gan, variables, _ = made
  weight = jax.random.normal(jax.random.key(3), (B, 8, 16, 16, 3))
  value = lambda params: jnp.sum(weight * draw(made, params=params).clip)
  found = {'generator': jax.jit(jax.grad(value))(loud(variables['params']))}
  network = gan.judges['critic'].network
  critic = jax.jit(network.init)(jax.random.key(4), weight, jnp.zeros(B), LABEL)

  def score(params):
    variables = critic | {'params': params}
    logits, _ = network.apply(variables, weight, None, LABEL, True, mutable='batch_stats')
    return jnp.sum(logits * jnp.arange(1.0, B + 1))

  found['critic'] = jax.jit(jax.grad(score))(loud(critic['params']))
  for player, gradients in found.items():
    for path, g in jax.tree_util.tree_leaves_with_path(gradients):
      assert np.abs(g).max() > 1e-7, player + jax.tree_util.keystr(path)


def test_statistics_of_batches_are_kept_and_used_at_sampling(made):
  gan, variables, codes = made
  _, changed = apply(gan.generator, variables, codes, LABEL)
  before, after = jax.device_get((variables['batch_stats'], changed['batch_stats']))
  apart = jax.tree.map(lambda a, b: np.abs(a - b).max(), before, after)
  assert min(jax.tree.leaves(apart)) > 0
  sample = jax.jit(gan.generator.apply)
  sampled = sample(variables, codes[:1], LABEL[:1]).clip  # of a batch of one
  together = sample(variables, codes, LABEL).clip
  np.testing.assert_allclose(sampled[0], together[0], atol=1e-5)


def test_a_given_first_frame_steers_the_clip_and_a_code_does_not(continuing):
  _, variables, codes = continuing
  params = loud(variables['params'])
  clip = draw(continuing, params=params, given=GIVEN, train=False).clip
  other = GIVEN._replace(image=GIVEN.image.at[0].multiply(-1.0))
  changed = draw(continuing, params=params, given=other, train=False).clip
  apart = np.abs(np.subtract(changed, clip)).mean(axis=(2, 3, 4))
  assert apart[0].min() > 1e-3 and apart[1:].max() < 1e-6  # all frames of its own clip
  again = draw(continuing, codes + 1.0, params, GIVEN, train=False).clip
  np.testing.assert_array_equal(again, clip)
  with pytest.raises(ValueError, match='continues a first frame, and none is given'):
    draw(continuing)


def test_the_first_frame_is_held_to_the_image(continuing):
  clip = jnp.zeros((B, 8, 16, 16, 3)).at[:, 0].set(GIVEN.image + 0.25)
  assert continuing[0].also['image'](Draft(clip), None, GIVEN) == pytest.approx(2.5)


def test_every_parameter_gets_a_gradient_of_what_is_given_an_image(continuing):
  weight = jax.random.normal(jax.random.key(3), (B, 8, 16, 16, 3))
  value = lambda params: jnp.sum(weight * draw(continuing, params=params, given=GIVEN).clip)
  gradients = jax.jit(jax.grad(value))(loud(continuing[1]['params']))
  for path, g in jax.tree_util.tree_leaves_with_path(gradients):
    assert np.abs(g).max() > 1e-7, jax.tree_util.keystr(path)


def published(preset):
  """(configuration, state of stage gan, millions of weights by network), of shapes alone."""
  given = zoo.get_config(preset).to_dict()
  given['data']['classes'] = 0
  cfg = settings.build(settings.Config, given)
  state = jax.eval_shape(lambda key: STAGES['gan'].init(cfg, key), jax.random.key(0))
  count = lambda net: sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(net.params))
  return cfg, state, {name: round(count(net) / 1e6, 1) for name, net in state.nets.items()}


def kernels(params):
  """Shapes, sorted."""
  return sorted(
    leaf.shape
    for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    if jax.tree_util.keystr(path).endswith("['kernel']")
  )


def test_given_an_image_it_is_the_published_network():
  """Twice as wide; of the encoder, whose last maps are the background's first, four kernels."""
  cfg, state, millions = published('vgan_image')
  assert millions == {'generator': 68.2, 'critic': 44.1}
  assert kernels(state.nets['generator'].params) == sorted(
    [
      *((4, 4, 3, 128), (4, 4, 128, 256), (4, 4, 256, 512), (4, 4, 512, 1024)),
      *((4, 4, 1024, 512), (4, 4, 512, 256), (4, 4, 256, 128), (4, 4, 128, 3)),
      (1024, 2 * 1024),
      *((4, 4, 4, 1024, 512), (4, 4, 4, 512, 256), (4, 4, 4, 256, 128)),
      *((4, 4, 4, 128, 3), (4, 4, 4, 128, 1)),
    ]
  )
  assert (cfg.gan.learning_rate, cfg.data.batch) == (2e-4, 32)
  assert (cfg.draft.mask_weight, cfg.draft.image_weight, cfg.draft.given) == (0.0, 10.0, 1.0)


def test_it_is_the_published_network():
  """Kernels by layer (section 4 of the paper, and its code), and 16.2 and 11.1 million weights."""
  cfg, state, millions = published('vgan')
  assert millions == {'generator': 16.2, 'critic': 11.1}
  generator, critic = (state.nets[name].params for name in ('generator', 'critic'))
  assert kernels(generator) == sorted(
    [
      *((100, 4 * 4 * 512), (100, 2 * 4 * 4 * 512)),
      *((4, 4, 512, 256), (4, 4, 256, 128), (4, 4, 128, 64), (4, 4, 64, 3)),
      *((4, 4, 4, 512, 256), (4, 4, 4, 256, 128), (4, 4, 4, 128, 64)),
      *((4, 4, 4, 64, 3), (4, 4, 4, 64, 1)),
    ]
  )
  assert kernels(critic) == sorted(
    [
      *((4, 4, 4, 3, 64), (4, 4, 4, 64, 128), (4, 4, 4, 128, 256), (4, 4, 4, 256, 512)),
      (2 * 4 * 4 * 512, 2),
    ]
  )
  gan = networks.make(cfg).gan
  codes = jax.ShapeDtypeStruct((2, 100), jnp.float32)
  variables = state.nets['generator'].variables()
  draft = jax.eval_shape(gan.generator.apply, variables, codes, jnp.zeros(2, jnp.int32))
  assert draft.clip.shape == (2, 32, 64, 64, 3)
  assert (cfg.gan.learning_rate, cfg.data.batch, cfg.draft.mask_weight) == (2e-4, 64, 0.1)


def test_other_lengths_are_refused_in_a_line(made):
  with pytest.raises(ValueError, match='vgan draws clips of 8 frames, and 16 are asked for'):
    made[0].codes(jax.random.key(0), B, 16)
  given = zoo.get_config('vgan,small').to_dict()
  given['data']['frames'] = 12
  with pytest.raises(ValueError, match=r'config\.draft\.name=vgan: data\.frames=12 must be a mult'):
    settings.build(settings.Config, given)
