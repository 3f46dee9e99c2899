"""ImaGINator: what it claims, that it is the published network, a run of what needs an image."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import zoo
from hgdt_jax import drawing, run, settings, trained
from hgdt_jax.gans import imaginator
from hgdt_jax.gans.types import Draft, Given
from hgdt_jax.space import Space
from hgdt_jax.stages import STAGES

B, SIZES = 4, dict(name='imaginator', code_size=6, appearance_size=5, width=4, critic_width=4)
SETTINGS = imaginator.Settings(time_widths=(8, 6, 4), l1_weight=100.0, **SIZES)
LABEL = jnp.array([0, 1, 2, -1])


@pytest.fixture(scope='module')
def made():
  """(GAN, variables, codes, first frames) of clips of 8 frames of 16x16, in three classes."""
  gan = imaginator.make(SETTINGS, Space(8, 16, 3), classes=3, dtype=jnp.float32)
  codes = gan.codes(jax.random.key(0), B, 8)
  image = jax.random.uniform(jax.random.key(1), (B, 16, 16, 3), minval=-1.0)
  given = Given(image, jnp.ones(B, bool))
  variables = jax.jit(gan.generator.init)(jax.random.key(2), codes, LABEL, given)
  return gan, variables, codes, given


@functools.partial(jax.jit, static_argnums=(0, 5))
def apply(generator, variables, codes, label, given, train):
  return generator.apply(variables, codes, label, given, train, mutable='batch_stats')


def draw(made, params=None, train=True, **changes):
  gan, variables, codes, given = made
  variables = variables | ({'params': params} if params else {})
  inputs = {'codes': codes, 'label': LABEL, 'given': given} | changes
  return apply(gan.generator, variables, *inputs.values(), train)[0].clip


def loud(params):
  """Away from the small first weights."""
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(jax.random.key(3), len(leaves))
  return tree.unflatten([p + 0.3 * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys)])


def test_image_class_and_code_steer_every_frame(made):
  """Each of its own clip, once statistics are no more those of the batch."""
  params = loud(made[1]['params'])
  clip = draw(made, params, train=False)
  assert clip.shape == (B, 8, 16, 16, 3) and np.abs(clip).max() <= 1
  changes = {
    'given': made[3]._replace(image=made[3].image.at[0].multiply(-1.0)),
    'label': LABEL.at[0].set(2),
    'codes': made[2].at[0].add(1.0),
  }
  for name, value in changes.items():
    changed = draw(made, params, train=False, **{name: value})
    apart = np.abs(np.subtract(changed, clip)).mean(axis=(2, 3, 4))
    assert apart[0].min() > 1e-3 and apart[1:].max() < 1e-6, name


@pytest.mark.parametrize('times', [1, 2, 3])
def test_one_frame_becomes_as_many_as_the_kernel_is_long(times):
  x = jax.random.normal(jax.random.key(0), (2, 1, 3, 3, 5))
  module = imaginator.TimeUp(7, times, jnp.float32)
  params = jax.jit(module.init)(jax.random.key(1), x)
  kernel, first = np.asarray(params['params']['kernel']), np.asarray(x)[:, 0]
  want = np.stack([first @ kernel[k] for k in range(times)], axis=1)
  np.testing.assert_allclose(jax.jit(module.apply)(params, x), want, atol=1e-6)


def test_time_doubles_as_a_transposed_convolution_does():
  """Of four taps, stride two and padding one: each frame adds its taps to the four around it."""
  x = jax.random.normal(jax.random.key(0), (2, 5, 1, 1, 3))
  module = imaginator.TimeUp(4, 2, jnp.float32)
  params = jax.jit(module.init)(jax.random.key(1), x)
  frames, kernel = jax.device_get((x, params['params']['kernel']))
  want = np.zeros((2, 12, 1, 1, 4), np.float32)
  for t in range(5):
    for k in range(4):
      want[:, 2 * t + k] += frames[:, t] @ kernel[k]
  np.testing.assert_allclose(jax.jit(module.apply)(params, x), want[:, 1:-1], atol=1e-6)


def test_the_paired_loss_is_the_distance_to_the_clip_of_the_image(made):
  real = jnp.zeros((B, 8, 16, 16, 3))
  assert made[0].also['l1'](Draft(real + 0.25), real, made[3]) == pytest.approx(25.0)


def test_every_parameter_gets_a_gradient(made):
  gan, variables, _, _ = made
  weight = jax.random.normal(jax.random.key(4), (B, 8, 16, 16, 3))
  value = lambda params: jnp.sum(weight * draw(made, params))
  found = {'generator': jax.jit(jax.grad(value))(loud(variables['params']))}
  for name, view in (('image', weight[:, 0]), ('video', weight)):
    network = gan.judges[name].network
    params = loud(jax.jit(network.init)(jax.random.key(5), view, None, LABEL)['params'])
    score = lambda p, network=network, view=view: jnp.sum(
      network.apply({'params': p}, view, None, LABEL) * jnp.arange(1.0, B + 1)
    )
    found[name] = jax.jit(jax.grad(score))(params)
  for player, gradients in found.items():
    for path, g in jax.tree_util.tree_leaves_with_path(gradients):
      assert np.abs(g).max() > 1e-7, player + jax.tree_util.keystr(path)


def test_the_class_is_told_to_the_video_critic_alone(made):
  view = jax.random.normal(jax.random.key(4), (B, 8, 16, 16, 3))
  for name, seen in (('image', view[:, 0]), ('video', view)):
    network = made[0].judges[name].network
    variables = jax.jit(network.init)(jax.random.key(5), seen, None, LABEL)
    answer = jax.jit(network.apply)
    scores = [answer(variables, seen, None, label) for label in (LABEL, LABEL[::-1])]
    assert np.not_equal(*scores).any() == (name == 'video')
    assert scores[0].shape == (B,) and made[0].judges[name].spectral_norm


def test_it_is_the_published_network():
  """Kernels by layer, and millions of weights: 3.6 encode, 71.8 decode, 2.8 and 11.1 judge."""
  given = zoo.get_config('imaginator').to_dict()
  given['data']['classes'] = 6
  cfg = settings.build(settings.Config, given)
  state = jax.eval_shape(lambda key: STAGES['gan'].init(cfg, key), jax.random.key(0))
  params = {name: net.params for name, net in state.nets.items()}
  count = lambda tree: sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree)) / 1e6
  part = lambda *names: {k: v for k, v in params['generator'].items() if k.startswith(names)}
  assert round(count(part('down', 'appearance')), 1) == 3.6
  assert round(count(part('time', 'space')), 1) == 71.8
  assert round(count(params['image']), 1) == 2.8 and round(count(params['video']), 1) == 11.1
  kernels = lambda names: [tuple(params['generator'][name]['kernel'].shape) for name in names]
  assert kernels(f'down{i}' for i in range(4)) == [
    *((4, 4, 3, 64), (4, 4, 64, 128), (4, 4, 128, 256), (4, 4, 256, 512))
  ]
  assert kernels(f'time{i}' for i in range(5)) == [  # a frame's maps, those beside it, the class
    (2, 512 + 6 + 100, 4096),
    *((4, 512 + 512 + 6, 3072), (4, 256 + 256 + 6, 1536), (4, 128 + 128 + 6, 768)),
    (4, 64 + 64 + 6, 36),
  ]
  assert kernels(f'space{i}' for i in range(5)) == [
    *((4, 4, 4096, 512), (4, 4, 3072, 256), (4, 4, 1536, 128), (4, 4, 768, 64), (4, 4, 36, 3))
  ]
  assert (cfg.gan.learning_rate, cfg.data.batch, cfg.draft.l1_weight) == (2e-4, 64, 100.0)


def test_what_does_not_fit_is_refused_in_a_line(made):
  with pytest.raises(ValueError, match='imaginator draws clips of 8 frames, and 16 are asked for'):
    made[0].codes(jax.random.key(0), B, 16)
  given = zoo.get_config('imaginator,small').to_dict()
  given['data']['frames'] = 12
  with pytest.raises(ValueError, match=r'config\.draft\.name=imaginator: data\.frames=12 must be'):
    settings.build(settings.Config, given)
  given['draft']['time_widths'] = (8, 8)
  with pytest.raises(ValueError, match=r'config\.draft\.time_widths=\(8, 8\): want 4'):
    settings.build(settings.Config, given)


@pytest.mark.long
def test_it_is_drawn_scored_and_refined_from_first_frames_alone(tiny_dict, tmp_path):
  tiny_dict['draft'] = SIZES | {'time_widths': (8, 6, 4), 'l1_weight': 100.0}
  tiny_dict['aligner']['latents'] = 'none'
  tiny_dict['stages'] = ('gan', 'diffusion', 'joint')
  run.main(tiny_dict, tmp_path / 'run')
  results = json.loads((tmp_path / 'run' / 'results.json').read_text())
  methods = [row['method'] for row in results['results']]
  continued = ('gan', 'diffusion', 'hybrid')
  alone = ['diffusion_frames', 'diffusion']
  assert methods == ['real', *alone, *(f'{method}_first_frame' for method in continued)]
  assert {row['method'] for row in results['curves']['truncation']} == {'gan', 'hybrid'}
  model = trained.Trained.load(tmp_path / 'run')
  options = dict(seed=0, steps=1, tau=0.5)
  for method in ('gan', 'hybrid'):
    with pytest.raises(ValueError, match=f'{method} continues a first frame, and none is given'):
      model.draw(method, np.zeros(4, int), **options)
  pixels = np.random.default_rng(0).integers(0, 256, (4, 1, 16, 16, 3), np.uint8)
  drawn = model.draw('gan', np.zeros(4, int), known=drawing.Known(pixels, (0,)), **options)
  assert drawn.shape == (4, 4, 16, 16, 3)
