"""Layers shared by the networks. 2D layers see time folded into the batch.

What is fast and what is not on CPUs and TPUs decided the forms used here: no strided, transposed or
depthwise 3D convolution; resampling by space-to-depth and by repetition; temporal taps as
concatenated shifts in front of one matrix product.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Shaped

CONVOLUTIONS = ('factorised', 'full')  # of networks that mix frames: 1x3x3 and taps, or 3x3x3
zeros = nn.initializers.zeros


def fold(x: Float[Array, 'b t *m']) -> Float[Array, ' b*t *m']:
  """Time into the batch."""
  return x.reshape(-1, *x.shape[2:])


def unfold(x: Float[Array, ' n *m'], frames: int) -> Float[Array, 'n//{frames} {frames} *m']:
  """Time out of the batch."""
  return x.reshape(-1, frames, *x.shape[1:])


def expand(x: Shaped[Array, '*rows'], like: Float[Array, '...']) -> Float[Array, '...']:
  """`x` with as many axes as `like`, for broadcasting."""
  return x.reshape(x.shape + (1,) * (like.ndim - x.ndim)).astype(like.dtype)


def space_to_depth(
  x: Float[Array, 'n h w c'], factor: int
) -> Float[Array, 'n h//{factor} w//{factor} c*{factor}**2']:
  """Each square of pixels into the channels of one."""
  n, h, w, c = x.shape
  x = x.reshape(n, h // factor, factor, w // factor, factor, c)
  return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, h // factor, w // factor, -1)


def depth_to_space(
  x: Float[Array, 'n h w c'], factor: int
) -> Float[Array, 'n h*{factor} w*{factor} c//{factor}**2']:
  """Its inverse."""
  n, h, w, c = x.shape
  x = x.reshape(n, h, w, factor, factor, c // factor**2)
  return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, h * factor, w * factor, -1)


def upsample(x: Float[Array, 'n h w c']) -> Float[Array, 'n 2*h 2*w c']:
  """By repetition."""
  return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def shifted(x: Float[Array, 'b t *m'], by: int) -> Float[Array, 'b t *m']:
  """`x` moved by `by` (1 or -1) frames, with zeros where no frame is."""
  pad = [(0, 0), (max(by, 0), max(-by, 0))] + [(0, 0)] * (x.ndim - 2)
  padded = jnp.pad(x, pad)
  return padded[:, :-1] if by > 0 else padded[:, 1:]


def taps(x: Float[Array, 'b t *m c']) -> Float[Array, 'b t *m 3*c']:
  """The frame before, the frame and the frame after, one behind the other in the channels."""
  return jnp.concatenate([shifted(x, 1), x, shifted(x, -1)], axis=-1)


def group_norm(features: int, name: str | None = None) -> nn.GroupNorm:
  """Group normalisation in float32; on folded maps it never mixes frames."""
  groups = next(g for g in (8, 4, 2, 1) if features % g == 0)
  return nn.GroupNorm(num_groups=groups, dtype=jnp.float32, name=name)


def fourier(t: Float[Array, '*n'], features: int) -> Float[Array, '*n {features}']:
  """Sines and cosines of `t` in [0, 1], wavelengths 4 to 1/250."""
  frequency = jnp.exp(jnp.linspace(jnp.log(0.25), jnp.log(250.0), features // 2))
  angle = 2 * jnp.pi * t[..., None] * frequency.reshape((1,) * t.ndim + (-1,))
  return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


class TimeEmbedding(nn.Module):
  """Of the noise level."""

  features: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, t: Float[Array, ' b']) -> Float[Array, 'b {self.features}']:
    h = nn.Dense(self.features, dtype=self.dtype)(fourier(t, 64).astype(self.dtype))
    return nn.Dense(self.features, dtype=self.dtype)(nn.silu(h))


class LabelEmbedding(nn.Module):
  """Of the label (-1: none); starts at zero."""

  classes: int
  features: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, label: Int[Array, ' b']) -> Float[Array, 'b {self.features}']:
    index = jnp.where(label < 0, self.classes, label)
    return nn.Embed(self.classes + 1, self.features, embedding_init=zeros, dtype=self.dtype)(index)


class Modulation(nn.Module):
  """`parts` maps of an embedding, zero at initialisation."""

  features: int
  parts: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, embedding: Float[Array, 'b t e']
  ) -> list[Float[Array, 'b t 1 1 {self.features}']]:
    h = nn.Dense(self.parts * self.features, kernel_init=zeros, dtype=self.dtype)(
      nn.silu(embedding)
    )
    return jnp.split(h[:, :, None, None], self.parts, axis=-1)


class TimeConv(nn.Module):
  """Three temporal taps, residual, identity at initialisation. `active` switches it."""

  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, 'b t h w c'], active: Float[Array, ' b']
  ) -> Float[Array, 'b t h w c']:
    h = unfold(group_norm(x.shape[-1])(fold(x)), x.shape[1]).astype(self.dtype)
    h = taps(h)
    h = nn.Dense(x.shape[-1], dtype=self.dtype)(h)
    h = nn.Dense(x.shape[-1], kernel_init=zeros, dtype=self.dtype)(nn.silu(h))
    return x + expand(active, x) * h


def attend(
  qkv: Float[Array, 'n l c'], heads: int, bias: Float[Array, '1 {heads} l l'] | None = None
) -> Float[Array, 'n l c//3']:
  """Attention along l, of queries, keys and values beside each other.

  Logits and softmax are in float32 whatever the dtype of `qkv` is.
  """
  n, length, _ = qkv.shape
  q, k, v = (a.reshape(n, length, heads, -1) for a in jnp.split(qkv, 3, axis=-1))
  return jax.nn.dot_product_attention(q, k, v, bias).reshape(n, length, -1)


class Attention(nn.Module):
  """Multi-head self-attention over the last but one axis, residual, identity at initialisation.

  With `max_distance`, a learnt bias of the (clipped) signed distance between two positions is added
  to the logits: temporal attention that accepts any number of frames.
  """

  head_size: int = 32
  max_distance: int = 0
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, 'n l c']) -> Float[Array, 'n l c']:
    """What is to be added to `x`."""
    _, length, c = x.shape
    heads = max(c // self.head_size, 1)
    h = nn.LayerNorm(dtype=jnp.float32)(x).astype(self.dtype)
    qkv = nn.Dense(3 * c, use_bias=False, dtype=self.dtype)(h)
    bias = None
    if self.max_distance:
      reach = self.max_distance
      table = self.param('distance_bias', zeros, (heads, 2 * reach + 1))
      distance = jnp.arange(length)[None, :] - jnp.arange(length)[:, None]
      bias = table[None, :, jnp.clip(distance, -reach, reach) + reach]
    return nn.Dense(c, kernel_init=zeros, dtype=self.dtype)(attend(qkv, heads, bias))


class SpaceAttention(nn.Module):
  """Attention among the positions of each frame."""

  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(self, x: Float[Array, 'b t h w c']) -> Float[Array, 'b t h w c']:
    b, t, h, w, c = x.shape
    tokens = x.reshape(b * t, h * w, c)
    return x + Attention(dtype=self.dtype)(tokens).reshape(x.shape)


class TimeAttention(nn.Module):
  """Attention among the frames at each position. `active` switches it."""

  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self, x: Float[Array, 'b t h w c'], active: Float[Array, ' b']
  ) -> Float[Array, 'b t h w c']:
    b, t, h, w, c = x.shape
    tokens = x.transpose(0, 2, 3, 1, 4).reshape(b * h * w, t, c)
    out = Attention(max_distance=32, dtype=self.dtype)(tokens)
    out = out.reshape(b, h, w, t, c).transpose(0, 3, 1, 2, 4)
    return x + expand(active, x) * out
