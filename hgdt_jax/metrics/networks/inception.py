"""Inception-v3 of the TensorFlow graph of 2015-12-05: the network behind FID and IS.

Szegedy et al. 2015 (arXiv 1512.00567), as in pytorch-fid and torch-fidelity. What distinguishes
it from later Inception-v3 weights: 1008 classes, average pooling that leaves the padding out, and
maximum pooling in the last block.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8

from hgdt_jax.metrics.networks import parameters, resize, runner

EPSILON = 1e-3
SIZE = 299
_DIMS = {'pool': 2048, 'logits_unbiased': 1008}
_PRECISION = jax.lax.Precision.HIGHEST  # else TPUs and GPUs round to bfloat16 or TF32
_RANGES = {  # resize rule: (subtracted, divided by), each as its reference has it
  'tf1': (128.0, 128.0),
  'half_pixel': (127.5, 127.5),
  'antialias': (128.0, 128.0),
}


def build(
  arrays: dict[str, np.ndarray], layer: str, resize: str = 'tf1'
) -> tuple[runner.Run, dict[str, Any]]:
  """`(features, protocol)` for images.

  Args:
    arrays: as published, see `weights`.
    layer: 'pool' (2048, for FID) or 'logits_unbiased' (1008, for IS: without the output's bias).
    resize: 'tf1' (default: the original FID, torch-fidelity), 'half_pixel' (pytorch-fid) or
      'antialias' (torchmetrics). On 64x64 frames the choice moves FID by 3 %.

  Raises:
    ValueError: another resize rule, or arrays that do not fit.
  """
  if resize not in _RANGES:
    raise ValueError(f'no resize rule {resize!r} for Inception; there are {", ".join(_RANGES)}')
  network = InceptionV3()
  image = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
  params = parameters.fit(network, parameters.fold(arrays, EPSILON), image)

  def features(variables, images):
    return network.apply(variables, preprocess(images, resize))[layer]

  on_cpu = jax.default_backend() == 'cpu'
  run = runner.make(features, params, 8 if on_cpu else 64, 4, (1, 1))
  middle, half_range = _RANGES[resize]
  protocol = {
    'network': 'Inception-v3, 2015-12-05',
    'resize': f'bilinear {SIZE}x{SIZE}, {resize}',
    'range': f'(x - {middle:g}) / {half_range:g}',
    'layer': layer,
    'dims': _DIMS[layer],
  }
  return run, protocol


def preprocess(images: UInt8[Array, 'n h w 3'], rule: str) -> Float32[Array, f'n {SIZE} {SIZE} 3']:
  """To about [-1, 1]."""
  middle, half_range = _RANGES[rule]
  return (resize.bilinear(images.astype(jnp.float32), SIZE, rule) - middle) / half_range


class InceptionV3(nn.Module):
  """Images in [-1, 1] -> {'pool': of 2048 features, 'logits_unbiased': of 1008}."""

  @nn.compact
  def __call__(self, x: Float[Array, f'n {SIZE} {SIZE} 3']) -> dict[str, Float[Array, 'n _']]:
    x = Unit(32, stride=2, padding='VALID', name='Conv2d_1a_3x3')(x)
    x = Unit(32, padding='VALID', name='Conv2d_2a_3x3')(x)
    x = Unit(64, name='Conv2d_2b_3x3')(x)
    x = nn.max_pool(x, (3, 3), (2, 2))
    x = Unit(80, (1, 1), name='Conv2d_3b_1x1')(x)
    x = Unit(192, padding='VALID', name='Conv2d_4a_3x3')(x)
    x = nn.max_pool(x, (3, 3), (2, 2))
    for name, pooled in (('Mixed_5b', 32), ('Mixed_5c', 64), ('Mixed_5d', 64)):
      x = BlockA(pooled, name=name)(x)
    x = BlockB(name='Mixed_6a')(x)
    for name, width in (('Mixed_6b', 128), ('Mixed_6c', 160), ('Mixed_6d', 160), ('Mixed_6e', 192)):
      x = BlockC(width, name=name)(x)
    x = BlockD(name='Mixed_7a')(x)
    x = BlockE(_mean_pool, name='Mixed_7b')(x)
    x = BlockE(_max_pool, name='Mixed_7c')(x)
    pool = x.mean(axis=(1, 2))
    logits = nn.Dense(1008, use_bias=False, precision=_PRECISION, name='fc')(pool)
    return {'pool': pool, 'logits_unbiased': logits}


class BlockA(nn.Module):
  """35x35: 1x1, 5x5, two 3x3, average pooling."""

  pooled: int

  @nn.compact
  def __call__(self, x: Float[Array, 'n h w c']) -> Float[Array, 'n _ _ _']:
    a = Unit(64, (1, 1), name='branch1x1')(x)
    b = Unit(48, (1, 1), name='branch5x5_1')(x)
    b = Unit(64, (5, 5), name='branch5x5_2')(b)
    c = Unit(64, (1, 1), name='branch3x3dbl_1')(x)
    c = Unit(96, name='branch3x3dbl_2')(c)
    c = Unit(96, name='branch3x3dbl_3')(c)
    d = Unit(self.pooled, (1, 1), name='branch_pool')(_mean_pool(x))
    return jnp.concatenate([a, b, c, d], axis=-1)


class BlockB(nn.Module):
  """35x35 -> 17x17."""

  @nn.compact
  def __call__(self, x: Float[Array, 'n h w c']) -> Float[Array, 'n _ _ _']:
    a = Unit(384, stride=2, padding='VALID', name='branch3x3')(x)
    b = Unit(64, (1, 1), name='branch3x3dbl_1')(x)
    b = Unit(96, name='branch3x3dbl_2')(b)
    b = Unit(96, stride=2, padding='VALID', name='branch3x3dbl_3')(b)
    return jnp.concatenate([a, b, nn.max_pool(x, (3, 3), (2, 2))], axis=-1)


class BlockC(nn.Module):
  """17x17: 7x7 convolutions as pairs of 1x7 and 7x1."""

  width: int

  @nn.compact
  def __call__(self, x: Float[Array, 'n h w c']) -> Float[Array, 'n _ _ _']:
    w = self.width
    a = Unit(192, (1, 1), name='branch1x1')(x)
    b = Unit(w, (1, 1), name='branch7x7_1')(x)
    b = Unit(w, (1, 7), name='branch7x7_2')(b)
    b = Unit(192, (7, 1), name='branch7x7_3')(b)
    c = Unit(w, (1, 1), name='branch7x7dbl_1')(x)
    c = Unit(w, (7, 1), name='branch7x7dbl_2')(c)
    c = Unit(w, (1, 7), name='branch7x7dbl_3')(c)
    c = Unit(w, (7, 1), name='branch7x7dbl_4')(c)
    c = Unit(192, (1, 7), name='branch7x7dbl_5')(c)
    d = Unit(192, (1, 1), name='branch_pool')(_mean_pool(x))
    return jnp.concatenate([a, b, c, d], axis=-1)


class BlockD(nn.Module):
  """17x17 -> 8x8."""

  @nn.compact
  def __call__(self, x: Float[Array, 'n h w c']) -> Float[Array, 'n _ _ _']:
    a = Unit(192, (1, 1), name='branch3x3_1')(x)
    a = Unit(320, stride=2, padding='VALID', name='branch3x3_2')(a)
    b = Unit(192, (1, 1), name='branch7x7x3_1')(x)
    b = Unit(192, (1, 7), name='branch7x7x3_2')(b)
    b = Unit(192, (7, 1), name='branch7x7x3_3')(b)
    b = Unit(192, stride=2, padding='VALID', name='branch7x7x3_4')(b)
    return jnp.concatenate([a, b, nn.max_pool(x, (3, 3), (2, 2))], axis=-1)


class BlockE(nn.Module):
  """8x8: 3x3 convolutions split into 1x3 and 3x1 side by side."""

  pool: Callable[[Float[Array, 'n h w c']], Float[Array, 'n h w c']]

  @nn.compact
  def __call__(self, x: Float[Array, 'n h w c']) -> Float[Array, 'n _ _ _']:
    a = Unit(320, (1, 1), name='branch1x1')(x)
    b = Unit(384, (1, 1), name='branch3x3_1')(x)
    b1 = Unit(384, (1, 3), name='branch3x3_2a')(b)
    b2 = Unit(384, (3, 1), name='branch3x3_2b')(b)
    c = Unit(448, (1, 1), name='branch3x3dbl_1')(x)
    c = Unit(384, name='branch3x3dbl_2')(c)
    c1 = Unit(384, (1, 3), name='branch3x3dbl_3a')(c)
    c2 = Unit(384, (3, 1), name='branch3x3dbl_3b')(c)
    d = Unit(192, (1, 1), name='branch_pool')(self.pool(x))
    return jnp.concatenate([a, b1, b2, c1, c2, d], axis=-1)


class Unit(nn.Module):
  """Convolution with bias (the normalisation folded in), ReLU."""

  features: int
  window: tuple[int, int] = (3, 3)
  stride: int = 1
  padding: str = 'SAME'

  @nn.compact
  def __call__(self, x: Float[Array, 'n h w c']) -> Float[Array, 'n _ _ {self.features}']:
    zeros = nn.initializers.zeros  # they are always loaded
    kernel = self.param('kernel', zeros, (*self.window, x.shape[-1], self.features))
    bias = self.param('bias', zeros, (self.features,))
    y = jax.lax.conv_general_dilated(
      x, kernel, (self.stride,) * 2, self.padding,
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'), precision=_PRECISION,
    )  # fmt: skip
    return nn.relu(y + bias[None, None, None])


def _mean_pool(x):
  return nn.avg_pool(x, (3, 3), (1, 1), 'SAME', count_include_pad=False)


def _max_pool(x):
  return nn.max_pool(x, (3, 3), (1, 1), 'SAME')
