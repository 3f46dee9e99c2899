"""Inception against golden values of torch-fidelity, pytorch-fid and torchmetrics."""

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax.metrics.networks import inception, names, parameters

IMAGE = jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32)
RESIZES = {'tf1': 'tf1resize', 'half_pixel': 'pytorchfid', 'antialias': 'torchmetrics_aa'}


@pytest.fixture(scope='module')
def state(golden_dir, golden_inputs):
  """The seeded weights, under the names of pytorch-fid."""
  with np.load(golden_dir / 'inception_bn_stats.npz') as stats:
    state = dict(stats)
  shapes = jax.eval_shape(inception.InceptionV3().init, jax.random.key(0), IMAGE)['params']
  for name, leaf in flax.traverse_util.flatten_dict(shapes, sep='.').items():
    path, _, kind = name.rpartition('.')
    if path == 'fc':
      state['fc.weight'] = golden_inputs.conv_weight('fc.weight', leaf.shape[::-1], 8, 4.0)
    elif kind == 'kernel':
      name, (h, w, i, o) = f'{path}.conv.weight', leaf.shape
      state[name] = golden_inputs.conv_weight(name, (o, i, h, w), 8)
    else:
      name = f'{path}.bn.bias'
      state[name] = golden_inputs.seeded_uniform(name, leaf.shape, 0.2, 8)
  return state


@pytest.fixture(scope='module')
def reference(golden_dir):
  with np.load(golden_dir / 'inception_golden.npz') as archive:
    return dict(archive)


@pytest.fixture(scope='module')
def large_images(golden, golden_inputs):
  """320 x 320: larger than what the network takes, so that each resize rule differs."""
  images = golden_inputs.moving_blobs(n=2, t=1, size=320, seed=92)[:, 0]
  assert golden_inputs.sha(images) == golden['inception_seeded']['sha256']['K320']
  return images


def assert_close(actual, expected):
  """Within 1e-4 of the largest feature."""
  assert actual.shape == expected.shape
  assert np.abs(actual - expected).max() < 1e-4 * np.abs(expected).max()


def test_pool_under_each_resize_rule(state, reference, large_images):
  network = inception.InceptionV3()
  arrays = parameters.fold(names.flat('inception', state), inception.EPSILON)
  params = parameters.fit(network, arrays, IMAGE)
  prepared = [inception.preprocess(jnp.asarray(large_images[:1]), rule) for rule in RESIZES]
  out = jax.jit(network.apply)(params, jnp.concatenate(prepared))
  for row, (rule, published) in enumerate(RESIZES.items()):
    expected = reference[f'{published}_K320_2048'][:1]
    assert_close(np.asarray(out['pool'][row : row + 1]), expected)
    if rule == 'tf1':
      expected = reference['tf1resize_K320_logits_unbiased'][:1]
      assert_close(np.asarray(out['logits_unbiased'][row : row + 1]), expected)


def test_features_enlarge_as_torch_fidelity_does(state, reference, golden_inputs):
  features, protocol = inception.build(names.flat('inception', state), 'pool')
  frames = golden_inputs.moving_blobs(n=1)[0, [0, 8]]
  assert_close(features(frames), reference['tf1resize_FA_2048'][:2])
  assert protocol['resize'] == 'bilinear 299x299, tf1'


def test_unknown_resize_rule_names_the_choices():
  with pytest.raises(ValueError, match='tf1, half_pixel, antialias'):
    inception.build({}, 'pool', resize='nearest')
