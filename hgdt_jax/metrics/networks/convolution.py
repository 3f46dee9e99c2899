"""3D convolution and max pooling with 'SAME' padding, in the form that is fast on the backend."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

_EXACT = lax.Precision.HIGHEST  # else TPUs and GPUs round to bfloat16 or TF32


def conv3d(
  x: Float[Array, 'n t h w c'], kernel: Float[Array, 'kt kh kw c d'], stride: int
) -> Float[Array, 'n _ _ _ d']:
  """With 'SAME' padding."""
  if jax.default_backend() != 'cpu':
    return lax.conv_general_dilated(
      x, kernel, (stride,) * 3, 'SAME',
      dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC'), precision=_EXACT,
    )  # fmt: skip
  if kernel.shape[0] == 3 and stride == 1:
    return _winograd_in_time(x, kernel)
  return _conv_over_joined_frames(x, kernel, stride)


def max_pool(
  x: Float[Array, 'n t h w c'], window: tuple[int, int, int], strides: tuple[int, int, int]
) -> Float[Array, 'n _ _ _ c']:
  """Maximum over `window`, 'SAME' padding.

  One axis after the other: 9 comparisons a pixel in place of 27.
  """
  for axis, (size, stride) in enumerate(zip(window, strides), start=1):
    if size > 1:
      sizes = tuple(size if a == axis else 1 for a in range(5))
      steps = tuple(stride if a == axis else 1 for a in range(5))
      x = lax.reduce_window(x, -jnp.inf, lax.max, sizes, steps, 'SAME')
  return x


# XLA on a CPU runs 3D convolutions at a half to a tenth of the speed of 2D ones, so both functions
# below reduce to 2D convolutions of folded frames.


def _winograd_in_time(x, kernel):
  """Three taps in time by F(2, 3) (Winograd; Lavin & Gray 2015): two outputs from four products.

  The direct form takes six. The transforms only add, subtract and halve: float32 loses about a
  bit.
  """
  n, t = x.shape[:2]
  pairs = -(-t // 2)
  x = jnp.pad(x, ((0, 0), (1, 1 + t % 2), (0, 0), (0, 0), (0, 0)))
  d0, d1, d2, d3 = (x[:, i : i + 2 * pairs - 1 : 2] for i in range(4))
  g0, g1, g2 = kernel
  m0 = _conv2d_of_frames(d0 - d2, g0)
  m1 = _conv2d_of_frames(d1 + d2, (g0 + g1 + g2) / 2)
  m2 = _conv2d_of_frames(d2 - d1, (g0 - g1 + g2) / 2)
  m3 = _conv2d_of_frames(d1 - d3, g2)
  y = jnp.stack([m0 + m1 + m2, m1 - m2 - m3], axis=2)  # [N, pairs, 2, H, W, D]
  return y.reshape(n, 2 * pairs, *y.shape[3:])[:, :t]


def _conv_over_joined_frames(x, kernel, stride):
  """One 2D convolution whose channels are those of all frames under the kernel."""
  t = x.shape[1]
  depth, height, width, c, features = kernel.shape
  out = -(-t // stride)
  missing = max((out - 1) * stride + depth - t, 0)
  x = jnp.pad(x, ((0, 0), (missing // 2, missing - missing // 2), (0, 0), (0, 0), (0, 0)))
  frames = [x[:, i : i + (out - 1) * stride + 1 : stride] for i in range(depth)]
  kernel = kernel.transpose(1, 2, 0, 3, 4).reshape(height, width, depth * c, features)
  return _conv2d_of_frames(jnp.concatenate(frames, axis=-1), kernel, stride)


def _conv2d_of_frames(x, kernel, stride=1):
  """`x [N, T, H, W, C]` * `kernel [h, w, C, D]`, 'SAME' padding, frame by frame."""
  n, t = x.shape[:2]
  y = lax.conv_general_dilated(
    x.reshape(n * t, *x.shape[2:]), kernel, (stride, stride), 'SAME',
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'), precision=_EXACT,
  )  # fmt: skip
  return y.reshape(n, t, *y.shape[1:])
