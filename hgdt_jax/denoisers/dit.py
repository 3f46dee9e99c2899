"""A transformer of patches: space and time in turn (Latte, Ma et al. 2024, variant 1), conditioned
by adaLN-zero (DiT, Peebles & Xie 2023).
"""

import dataclasses
from typing import Annotated

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from hgdt_jax import fields
from hgdt_jax.denoisers.types import Condition, Denoised, Family
from hgdt_jax.models import layers
from hgdt_jax.schema import Between


@dataclasses.dataclass(frozen=True)
class Settings:
  """Of the family; `configs/dit.py` says what each field means."""

  name: str
  width: fields.Width
  depth: Annotated[int, Between(1, 64)]
  heads: Annotated[int, Between(1, 256)]
  patch: fields.Patch

  aligns = False
  late = ()
  remat = False

  def misfits(self, size: int, frames: int):
    if self.width % 4:
      yield f'width={self.width}: must be a multiple of 4, for sine and cosine of two directions'
    if self.width % self.heads:
      yield f'heads={self.heads}: cannot share width={self.width} features'


def make(settings: Settings, *, latent_size: int, **common) -> 'DiT':
  """It is told no latents, of whatever size: stage `aligner` would bring them."""
  given = dataclasses.asdict(settings)
  del given['name']
  return DiT(**given, **common)


class DiT(nn.Module):
  """Predicts what its parameterisation says from a noisy clip; output is zero at initialisation.

  Blocks attend in turn among the tokens of a frame and among the frames at a place. Where `mixing`
  is 0 the latter add nothing, nor does the position in time, and a row is denoised as independent
  frames. Positions are fixed sines and cosines, so that clips of another length or size than it was
  trained on are accepted; how well it denoises them is another question.
  """

  channels: int
  width: int
  depth: int  # pairs of a block in space and one in time
  heads: int
  patch: int  # a token is a square of pixels of this side
  classes: int
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'b t h w c'],
    t: Float[Array, ' b'],
    condition: Condition,
    mixing: Float[Array, ' b'],
  ) -> Denoised:
    embedding = layers.TimeEmbedding(self.width, self.dtype, name='time')(t)
    if self.classes:
      label = layers.LabelEmbedding(self.classes, self.width, self.dtype, name='label')
      embedding = embedding + label(condition.label)

    frames = x.shape[1]
    h = layers.space_to_depth(layers.fold(x.astype(self.dtype)), self.patch)
    rows, columns = h.shape[1:3]
    h = layers.unfold(h.reshape(len(h), rows * columns, -1), frames)
    h = nn.Dense(self.width, dtype=self.dtype, name='stem')(h)
    active = layers.expand(mixing, h)
    in_space = grid(rows, columns, self.width)[None, None]
    in_time = places(frames, self.width)[None, :, None]
    h = (h + in_space + active * in_time).astype(self.dtype)

    def block(h, name):
      return Block(self.heads, self.dtype, name=name)(h, embedding)

    for i in range(self.depth):
      h = h + block(h, f'space{i}')
      h = h + active * block(h.swapaxes(1, 2), f'time{i}').swapaxes(1, 2)

    # In float32: what is left to remove at a low noise level is less than bfloat16 resolves.
    h = modulated(h, *modulation(embedding, self.width, 2, jnp.float32))
    features = self.channels * self.patch**2
    h = nn.Dense(features, kernel_init=layers.zeros, dtype=jnp.float32, name='out')(h)
    h = layers.depth_to_space(h.reshape(-1, rows, columns, features), self.patch)
    return Denoised(layers.unfold(h, frames))


class Block(nn.Module):
  """Attention, then an MLP, each modulated and gated by the embedding."""

  heads: int
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self, x: Float[Array, 'b n l c'], embedding: Float[Array, 'b e']
  ) -> Float[Array, 'b n l c']:
    """What is to be added to `x`, attended to along l; zero at first."""
    dense = lambda features, name: nn.Dense(features, dtype=self.dtype, name=name)
    features, sequences = x.shape[-1], x.shape[1]
    scale, shift, gate, *of_mlp = modulation(embedding, features, 6, self.dtype)
    h = dense(3 * features, 'qkv')(modulated(x, scale, shift).astype(self.dtype))
    h = layers.unfold(layers.attend(layers.fold(h), self.heads), sequences)
    attended = gate * dense(features, 'attended')(h)
    scale, shift, gate = of_mlp
    h = modulated(x + attended, scale, shift).astype(self.dtype)
    h = nn.gelu(dense(4 * features, 'mlp0')(h))
    return attended + gate * dense(features, 'mlp1')(h)


def modulation(
  embedding: Float[Array, 'b e'], features: int, parts: int, dtype: DTypeLike
) -> list[Float[Array, 'b 1 1 {features}']]:
  """`parts` of it, for all positions alike."""
  found = layers.Modulation(features, parts, dtype, name='modulation')(embedding[:, None])
  return [each[:, 0] for each in found]


def modulated(
  x: Float[Array, '*s c'], scale: Float[Array, '... c'], shift: Float[Array, '... c']
) -> Float[Array, '*s c']:
  """Normalised along the last axis, then scaled and shifted, in float32."""
  norm = nn.LayerNorm(use_scale=False, use_bias=False, dtype=jnp.float32)
  return norm(x) * (1 + scale) + shift


def places(count: int, features: int) -> Float[Array, '{count} {features}']:
  """What tells the numbers from 0 apart: wavelengths from 4 to 4000."""
  return layers.fourier(jnp.arange(count) / 1000, features)


def grid(rows: int, columns: int, features: int) -> Float[Array, '{rows}*{columns} {features}']:
  """Half of the features for the row, half for the column."""
  row = jnp.repeat(places(rows, features // 2), columns, axis=0)
  column = jnp.tile(places(columns, features // 2), (rows, 1))
  return jnp.concatenate([row, column], axis=-1)


FAMILY = Family('transformer: blocks in space and in time in turn, no aligner', Settings, make)
