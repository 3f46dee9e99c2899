"""LPIPS against golden values of the lpips package: seeded backbones, published heads."""

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax.metrics.networks import lpips, names

NUMBERS = {  # of the convolutions within torchvision's `features`
  'alex': (0, 3, 6, 8, 10),
  'vgg': (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
}


@pytest.fixture(scope='module', params=['alex', 'vgg'])
def backbone(request):
  return request.param


@pytest.fixture(scope='module')
def reference(golden_dir):
  with np.load(golden_dir / 'lpips_golden.npz') as archive:
    return dict(archive)


@pytest.fixture(scope='module')
def distance(backbone, reference, golden_inputs):
  network, image = lpips.Lpips(backbone), jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
  shapes = jax.eval_shape(network.init, jax.random.key(0), image, image)['params']
  shapes = flax.traverse_util.flatten_dict(shapes, sep='/')
  state = {f'lin{i}.model.1.weight': reference[f'{backbone}__lin{i}'] for i in range(5)}
  for layer, number in enumerate(NUMBERS[backbone]):
    h, w, i, o = shapes[f'conv{layer}/kernel'].shape
    name = f'{backbone}.features.{number}'
    state[f'{name}.weight'] = golden_inputs.conv_weight(f'{name}.weight', (o, i, h, w), 9)
    state[f'{name}.bias'] = golden_inputs.seeded_uniform(f'{name}.bias', (o,), 0.1, 9)
  return lpips.build(names.flat(f'lpips_{backbone}', state), backbone)[0]


def test_distances_of_pairs(distance, backbone, reference, golden_inputs):
  a, b = golden_inputs.moving_blobs(n=1)[0, :4], golden_inputs.moving_blobs(n=1, jitter=3)[0, :4]
  np.testing.assert_allclose(distance(a, b), reference[f'{backbone}__A0_B0'][:4], rtol=1e-4)
  np.testing.assert_allclose(distance(b, b), np.zeros(4), atol=1e-7)


def test_black_against_white(distance, backbone, golden):
  black = np.zeros((1, 64, 64, 3), np.uint8)
  expected = golden['lpips_seeded'][backbone]['zeros_vs_ones([-1] vs [1])']
  np.testing.assert_allclose(distance(black, ~black), [expected], rtol=1e-4)


def test_pairs_that_do_not_fit_are_refused(distance):
  images = np.zeros((2, 64, 64, 3), np.uint8)
  with pytest.raises(ValueError, match='equal shapes'):
    distance(images, images[:1])
  with pytest.raises(ValueError, match='at least'):
    distance(images[:, :15], images[:, :15])
