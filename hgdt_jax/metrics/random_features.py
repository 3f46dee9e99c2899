"""A fixed random 3D-convolutional feature network: a Fréchet distance that needs no download.

Its distance is reported as `frechet_random_conv3d`. It ranks models of one data set by appearance
and motion; it is not FVD and its values compare with no published number.
"""

import functools
import hashlib

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Shaped

from hgdt_jax.metrics import networks
from hgdt_jax.metrics.networks import runner

NAME = 'random_conv3d'
SIZE = 32  # pixels a side that frames are resized to
_WIDTHS = (32, 32, 64)  # channels of each layer
DIMENSIONS = sum(_WIDTHS)
_DETAIL_GAIN = 4.0  # differences in space and in time are several times smaller than pixel values
_PER_DEVICE = 32
SMALLEST = (4, 16, 16)  # frames, height, width


def features(clips: Shaped[np.ndarray, '...']) -> Float32[np.ndarray, f'n {DIMENSIONS}']:
  """Of clips uint8 `[N, T, H, W, C]`, C of 1 or 3, T >= 4, H, W >= 16.

  Mean over time and space of the rectified channels of three layers. The weights are drawn by
  numpy from a fixed seed, and convolutions run at full float32 precision, so values agree across
  machines to rounding. Runs on every local device. ValueError for clips outside these limits.
  """
  return _runner()(clips)


def network() -> networks.FeatureNetwork:
  """The same with the facts that stand beside a number made with it."""
  digest = hashlib.sha256(b''.join(kernel.tobytes() for kernel in _kernels())).hexdigest()
  protocol = {
    'network': f'random 3D convolutions, widths {"-".join(map(str, _WIDTHS))}, not trained',
    'resize': f'bilinear {SIZE}x{SIZE}, half-pixel, no antialias',
    'range': '[-1, 1]',
    'layer': 'mean over time and space of all three, rectified',
    'dims': DIMENSIONS,
    'weights': 'numpy PCG64, fixed seed',
  }
  return networks.FeatureNetwork(NAME, digest, protocol, features, SMALLEST)


@functools.cache
def _runner():
  kernels = [jnp.asarray(kernel) for kernel in _kernels()]
  return runner.make(_means, kernels, _PER_DEVICE, 5, SMALLEST)


def _means(kernels, clips):
  """uint8 `[B, T, H, W, 3]` -> float32 `[B, DIMENSIONS]`."""
  b, t, h, w, c = clips.shape
  x = clips.astype(jnp.float32).reshape(b * t, h, w, c) / 127.5 - 1.0
  x = jax.image.resize(x, (b * t, SIZE, SIZE, c), 'bilinear', antialias=False)
  x = x.reshape(b, t, SIZE, SIZE, c)
  means = []
  for kernel in kernels:
    x = jax.nn.relu(_conv3d(x, kernel))  # [B, T, h, w, width]
    means.append(x.mean(axis=(1, 2, 3)))
    x = _halve(x)
  return jnp.concatenate(means, axis=-1)


def _conv3d(x, kernel):
  """3x3x3 convolution as one 2D convolution over three frames' channels: faster on a CPU."""
  b, t, h, w, c = x.shape
  past = jnp.concatenate([x[:, :1], x[:, :-1]], axis=1)  # the first and last frame are repeated,
  future = jnp.concatenate([x[:, 1:], x[:, -1:]], axis=1)  # so that the border shows no motion
  x = jnp.concatenate([past, x, future], axis=-1).reshape(b * t, h, w, 3 * c)
  x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode='edge')
  y = jax.lax.conv_general_dilated(
    x, kernel, (1, 1), 'VALID',
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    precision=jax.lax.Precision.HIGHEST,  # else TPUs and GPUs round to bfloat16 or TF32
  )  # fmt: skip
  return y.reshape(b, t, h, w, -1)


def _halve(x):
  """Mean of 2x2 pixels."""
  b, t, h, w, c = x.shape
  return x.reshape(b, t, h // 2, 2, w // 2, 2, c).mean(axis=(3, 5))


@functools.cache
def _kernels():
  """He-uniform `[3, 3, 3 * in, out]` per layer.

  A quarter of the channels sums to zero over time (sees motion only), a quarter over space (sees
  edges and texture only), the other half is as drawn.
  """
  rng = np.random.Generator(np.random.PCG64(20260101))
  kernels, channels = [], 3
  for width in _WIDTHS:
    bound = np.sqrt(6.0 / (27 * channels))
    kernel = (rng.random((3, 3, 3, channels, width)) * 2.0 - 1.0) * bound  # [h, w, time, in, out]
    motion, detail = kernel[..., : width // 4], kernel[..., width // 4 : width // 2]
    motion -= motion.mean(axis=2, keepdims=True)
    detail -= detail.mean(axis=(0, 1), keepdims=True)
    kernel[..., : width // 2] *= _DETAIL_GAIN
    kernels.append(kernel.reshape(3, 3, 3 * channels, width).astype(np.float32))
    channels = width
  return kernels
