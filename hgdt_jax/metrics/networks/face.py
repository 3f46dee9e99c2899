"""MobileFace V2: an embedding of aligned face crops, for ACD and ACD-I.

A stack of inverted residuals (MobileNetV2) whose last feature map is projected to 256 dimensions;
layers carry the names of the published MXNet graph.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hgdt_jax.metrics.networks import parameters, resize, runner

EPSILON = 1e-3  # MXNet's default, which the graph leaves as it is
SIZE = 112
DIMS = 256
_PRECISION = jax.lax.Precision.HIGHEST  # else TPUs and GPUs round to bfloat16 or TF32
_BLOCKS = (  # wide, stride, narrow; a block with stride 1 is residual
  (96, 2, 32), (96, 1, 32), (96, 1, 32),
  (96, 2, 32), (96, 1, 32), (96, 1, 32),
  (96, 2, 64), (192, 1, 64), (192, 1, 64),
  (192, 2, 128), (384, 1, 128), (384, 1, 128),
)  # fmt: skip


def build(arrays: dict[str, np.ndarray]) -> tuple[runner.Run, dict[str, Any]]:
  """`(features, protocol)` for face crops, RGB; embeddings have unit length."""
  network = MobileFace()
  image = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
  params = parameters.fit(network, parameters.fold(arrays, EPSILON), image)

  def features(variables, images):
    images = resize.bilinear(images.astype(jnp.float32), SIZE, 'antialias')
    embedding = network.apply(variables, (images - 127.5) / 128.0)
    return embedding / jnp.linalg.norm(embedding, axis=-1, keepdims=True)

  on_cpu = jax.default_backend() == 'cpu'
  run = runner.make(features, params, 16 if on_cpu else 256, 4, (1, 1))
  protocol = {
    'network': 'MobileFace V2',
    'resize': f'bilinear {SIZE}x{SIZE}, antialias',
    'range': '(x - 127.5) / 128',
    'layer': 'embedding, unit length',
    'dims': DIMS,
  }
  return run, protocol


class MobileFace(nn.Module):
  """Faces in [-1, 1] -> their embedding, not normalised."""

  @nn.compact
  def __call__(self, x: Float[Array, f'n {SIZE} {SIZE} 3']) -> Float[Array, f'n {DIMS}']:
    x = nn.relu6(_conv(32, 3, 2, 'conv1')(x))
    for i, (wide, stride, narrow) in enumerate(_BLOCKS):
      names = [f'convolution{3 * i + k}' for k in range(3)]
      y = nn.relu6(_conv(wide, 1, 1, names[0])(x))
      y = nn.relu6(_conv(wide, 3, stride, names[1], groups=wide)(y))
      y = _conv(narrow, 1, 1, names[2])(y)
      x = x + y if stride == 1 else y
    x = nn.Conv(DIMS, x.shape[1:3], padding='VALID', precision=_PRECISION, name='fc5')(x)
    return x[:, 0, 0]


def _conv(features, window, stride, name, groups=1):
  padding = [(window // 2, window // 2)] * 2  # MXNet's: the same on both sides, at stride 2 too
  return nn.Conv(
    features, (window, window), stride, padding,
    feature_group_count=groups, precision=_PRECISION, name=name,
  )  # fmt: skip
