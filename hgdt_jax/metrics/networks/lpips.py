"""LPIPS v0.1: a distance between images from the layers of AlexNet or VGG16.

Zhang et al. 2018 (arXiv 1801.03924): channels of five layers, each normalised to unit length, are
compared by squared difference, weighted by learnt heads, averaged over space and summed.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8

from hgdt_jax.metrics.networks import parameters, runner

_PRECISION = jax.lax.Precision.HIGHEST  # else TPUs and GPUs round to bfloat16 or TF32
_SHIFT = (-0.030, -0.088, -0.188)  # ImageNet's mean and deviation on the scale [-1, 1]
_SCALE = (0.458, 0.448, 0.450)
_EPSILON = 1e-10
_SMALLEST = {'alex': 31, 'vgg': 16}  # pixels a side that leave one in the last layer


def build(arrays: dict[str, np.ndarray], backbone: str) -> tuple[runner.Run, dict[str, Any]]:
  """`(distance, protocol)` for two arrays of images.

  Args:
    arrays: 'conv0' ... of the backbone and 'lin0' ... 'lin4', the heads; see `weights`.
    backbone: 'alex' or 'vgg'.
  """
  network = Lpips(backbone)
  side = _SMALLEST[backbone]
  image = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
  params = parameters.fit(network, arrays, image, image)

  def distance(variables, a, b):
    return network.apply(variables, preprocess(a), preprocess(b))

  on_cpu = jax.default_backend() == 'cpu'
  run = runner.make(distance, params, 8 if on_cpu else 64, 4, (side, side))
  protocol = {
    'network': f'LPIPS v0.1, {backbone}',
    'resize': 'none',
    'range': '[-1, 1]',
    'layer': 'five layers, mean over space',
    'dims': 1,
  }
  return run, protocol


def preprocess(images: UInt8[Array, 'n h w 3']) -> Float32[Array, 'n h w 3']:
  """Normalised as for ImageNet."""
  images = images.astype(jnp.float32) / 127.5 - 1.0
  shift, scale = (jnp.array(v, jnp.float32)[None, None, None] for v in (_SHIFT, _SCALE))
  return (images - shift) / scale


class Lpips(nn.Module):
  """Distances of pairs of normalised images."""

  backbone: str

  @nn.compact
  def __call__(self, a: Float[Array, 'n h w 3'], b: Float[Array, 'n h w 3']) -> Float[Array, ' n']:
    total = 0.0
    layers = {'alex': _alexnet, 'vgg': _vgg16}[self.backbone](jnp.concatenate([a, b]))
    for i, layer in enumerate(layers):
      x, y = jnp.split(_unit(layer), 2)
      difference = jnp.square(x - y).mean(axis=(1, 2))  # [N, C]
      head = self.param(f'lin{i}', nn.initializers.zeros, difference.shape[-1:])
      total += jnp.dot(difference, head, precision=_PRECISION)
    return total


def _alexnet(x):
  """The five rectified convolutions of torchvision's AlexNet."""
  x = _conv(x, 64, 11, 4, 2, 'conv0')
  yield x
  x = _conv(nn.max_pool(x, (3, 3), (2, 2)), 192, 5, 1, 2, 'conv1')
  yield x
  x = _conv(nn.max_pool(x, (3, 3), (2, 2)), 384, 3, 1, 1, 'conv2')
  yield x
  for i in (3, 4):
    x = _conv(x, 256, 3, 1, 1, f'conv{i}')
    yield x


def _vgg16(x):
  """The last rectified convolution before each pooling of torchvision's VGG16."""
  count = 0
  for depth, features in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
    x = nn.max_pool(x, (2, 2), (2, 2)) if count else x
    for _ in range(depth):
      x = _conv(x, features, 3, 1, 1, f'conv{count}')
      count += 1
    yield x


def _conv(x, features, window, stride, padding, name):
  margins = [(padding, padding)] * 2
  layer = nn.Conv(features, (window, window), stride, margins, precision=_PRECISION, name=name)
  return nn.relu(layer(x))


def _unit(x):
  """Each pixel's channels over their length."""
  return x / (jnp.linalg.norm(x, axis=-1, keepdims=True) + _EPSILON)
