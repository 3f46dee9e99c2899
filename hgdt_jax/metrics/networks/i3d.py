"""Inflated 3D Inception-v1 of TF-Hub's `deepmind/i3d-kinetics-400/1`: the network behind FVD.

Carreira & Zisserman 2017 (arXiv 1705.07750). What distinguishes the TF-Hub graph from common
ports: batch normalisation with epsilon 1e-3 and without gamma, 'SAME' padding of every
convolution and pooling, average pooling 2x7x7 with stride 1 before the logits.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8

from hgdt_jax.metrics.networks import convolution, parameters, resize, runner

EPSILON = 1e-3
SIZE = 224
FEWEST_FRAMES = 9  # the last average pooling is over 2 of T / 8 time steps

_MIXED = {  # widths of branches 0, 1a, 1b, 2a, 2b, 3
  'Mixed_3b': (64, 96, 128, 16, 32, 32),
  'Mixed_3c': (128, 128, 192, 32, 96, 64),
  'Mixed_4b': (192, 96, 208, 16, 48, 64),
  'Mixed_4c': (160, 112, 224, 24, 64, 64),
  'Mixed_4d': (128, 128, 256, 24, 64, 64),
  'Mixed_4e': (112, 144, 288, 32, 64, 64),
  'Mixed_4f': (256, 160, 320, 32, 128, 128),
  'Mixed_5b': (256, 160, 320, 32, 128, 128),
  'Mixed_5c': (384, 192, 384, 48, 128, 128),
}
BRANCHES = (
  'Branch_0_Conv3d_0a_1x1',
  'Branch_1_Conv3d_0a_1x1',
  'Branch_1_Conv3d_0b_3x3',
  'Branch_2_Conv3d_0a_1x1',
  'Branch_2_Conv3d_0b_3x3',
  'Branch_3_Conv3d_0b_1x1',
)


def build(arrays: dict[str, np.ndarray], layer: str) -> tuple[runner.Run, dict[str, Any]]:
  """`(features, protocol)` for clips of 9 frames or more.

  Args:
    arrays: as published, see `weights`.
    layer: 'logits' (400, what FVD is defined on) or 'pool' (1024, mean over time of the average
      pooling that the logits read).
  """
  network = InceptionI3d()
  clip = jax.ShapeDtypeStruct((1, FEWEST_FRAMES, 32, 32, 3), jnp.float32)
  params = parameters.fit(network, parameters.fold(arrays, EPSILON), clip)

  def features(variables, clips):
    return network.apply(variables, preprocess(clips))[layer]

  on_cpu = jax.default_backend() == 'cpu'
  run = runner.make(features, params, 4 if on_cpu else 16, 5, (FEWEST_FRAMES, 1, 1))
  protocol = {
    'network': 'I3D, Kinetics-400, batch norm epsilon 1e-3',
    'resize': f'bilinear {SIZE}x{SIZE}, half-pixel, no antialias, no crop',
    'range': '[-1, 1]',
    'layer': layer,
    'dims': {'logits': 400, 'pool': 1024}[layer],
  }
  return run, protocol


def preprocess(clips: UInt8[Array, 'n t h w 3']) -> Float32[Array, f'n t {SIZE} {SIZE} 3']:
  """To [-1, 1]."""
  n, t, h, w, c = clips.shape
  frames = clips.astype(jnp.float32).reshape(n * t, h, w, c)
  frames = resize.bilinear(frames, SIZE, 'half_pixel')
  return frames.reshape(n, t, SIZE, SIZE, c) * (2.0 / 255.0) - 1.0


class InceptionI3d(nn.Module):
  """Clips in [-1, 1] -> {'pool': of 1024 features, 'logits': of 400}."""

  @nn.compact
  def __call__(self, x: Float[Array, 'n t h w 3']) -> dict[str, Float[Array, 'n _']]:
    x = Unit(64, (7, 7, 7), 2, name='Conv3d_1a_7x7')(x)
    x = convolution.max_pool(x, (1, 3, 3), (1, 2, 2))
    x = Unit(64, (1, 1, 1), name='Conv3d_2b_1x1')(x)
    x = Unit(192, (3, 3, 3), name='Conv3d_2c_3x3')(x)
    x = convolution.max_pool(x, (1, 3, 3), (1, 2, 2))
    for name, widths in _MIXED.items():
      if name == 'Mixed_4b':
        x = convolution.max_pool(x, (3, 3, 3), (2, 2, 2))
      if name == 'Mixed_5b':
        x = convolution.max_pool(x, (2, 2, 2), (2, 2, 2))
      x = Mixed(widths, name=name)(x)
    x = x.mean(axis=(2, 3))  # [n, t / 8, 1024]
    pool = ((x[:, :-1] + x[:, 1:]) / 2).mean(axis=1)  # the graph pools pairs of time steps first
    kernel, bias = Weights((1, 1, 1, 1024, 400), name='Logits')()
    logits = jnp.dot(pool, kernel[0, 0, 0], precision=jax.lax.Precision.HIGHEST)
    return {'pool': pool, 'logits': logits + bias[None]}


class Mixed(nn.Module):
  """Four branches side by side; `widths` in the order of `BRANCHES`."""

  widths: tuple[int, ...]

  @nn.compact
  def __call__(self, x: Float[Array, 'n t h w c']) -> Float[Array, 'n t h w _']:
    first, middle_in, middle, _, small, pooled = self.widths
    parts = [  # three 1x1 convolutions of one input: run as one
      Weights((1, 1, 1, x.shape[-1], self.widths[i]), name=BRANCHES[i])() for i in (0, 1, 3)
    ]
    kernel, bias = (jnp.concatenate(p, axis=-1) for p in zip(*parts))
    joined = nn.relu(convolution.conv3d(x, kernel, 1) + bias[None, None, None, None])
    a, b, c = jnp.split(joined, [first, first + middle_in], axis=-1)
    b = Unit(middle, (3, 3, 3), name=BRANCHES[2])(b)
    c = Unit(small, (3, 3, 3), name=BRANCHES[4])(c)
    d = convolution.max_pool(x, (3, 3, 3), (1, 1, 1))
    d = Unit(pooled, (1, 1, 1), name=BRANCHES[5])(d)
    return jnp.concatenate([a, b, c, d], axis=-1)


class Unit(nn.Module):
  """Convolution with 'SAME' padding, bias (with the normalisation folded in), ReLU."""

  features: int
  window: tuple[int, int, int]
  stride: int = 1

  @nn.compact
  def __call__(self, x: Float[Array, 'n t h w c']) -> Float[Array, 'n _ _ _ {self.features}']:
    kernel, bias = _parameters(self, (*self.window, x.shape[-1], self.features))
    return nn.relu(convolution.conv3d(x, kernel, self.stride) + bias[None, None, None, None])


class Weights(nn.Module):
  """The kernel and bias of one convolution, for code that joins several."""

  shape: tuple[int, ...]

  @nn.compact
  def __call__(self) -> tuple[Float[Array, '*window c d'], Float[Array, ' d']]:
    return _parameters(self, self.shape)


def _parameters(module, shape):
  zeros = nn.initializers.zeros  # they are always loaded
  return module.param('kernel', zeros, shape), module.param('bias', zeros, shape[-1:])
