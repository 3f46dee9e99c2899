"""Bilinear resizing, in the variants that published metrics use, as two small matrix products."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32

RULES = ('half_pixel', 'tf1', 'antialias')


def bilinear(
  images: Float[Array, 'n h w c'], size: int, rule: str
) -> Float[Array, 'n {size} {size} c']:
  """The aspect ratio is not kept.

  Rules:
    half_pixel: pixel centres at i + 1/2, no antialiasing (torch `align_corners=False`, TF2).
    tf1: pixel i of the output is at i * h / size (TensorFlow 1 `resize_bilinear`).
    antialias: as half_pixel, with a triangle as wide as the step when shrinking (torch
      `antialias=True`, Pillow).
  """
  rows, columns = (_weights(n, size, rule) for n in images.shape[1:3])
  highest = jax.lax.Precision.HIGHEST  # else TPUs and GPUs round to bfloat16 or TF32
  images = jnp.einsum('oh,nhwc->nowc', rows, images, precision=highest)
  return jnp.einsum('ow,nhwc->nhoc', columns, images, precision=highest)


@functools.cache
def _weights(length: int, size: int, rule: str) -> Float32[np.ndarray, '{size} {length}']:
  """How much of each input pixel is in each output pixel."""
  if rule not in RULES:
    raise ValueError(f'no resize rule {rule!r}; there are {", ".join(RULES)}')
  step = length / size
  half = 0.0 if rule == 'tf1' else 0.5
  centres = (np.arange(size) + half) * step - half
  width = max(step, 1.0) if rule == 'antialias' else 1.0
  if rule != 'antialias':
    centres = np.clip(centres, 0.0, length - 1.0)
  offsets = np.abs(centres[:, None] - np.arange(length)[None]) / width
  weights = np.maximum(1.0 - offsets, 0.0)
  return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
