"""The 3D U-Net denoiser, with the temporal aligner inside it."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from hgdt_jax import fields
from hgdt_jax.denoisers.aligner import DIRECTIONS, FLOWS, Aligner
from hgdt_jax.denoisers.types import Condition, Denoised, Family
from hgdt_jax.models import layers
from hgdt_jax.schema import Between, Length, OneOf


@dataclasses.dataclass(frozen=True)
class Settings:
  """Of the family; `configs/base.py` says what each field means."""

  name: str
  width: fields.Width
  multipliers: Annotated[tuple[Annotated[int, Between(1, 64)], ...], Length(1, 12)]
  blocks: Annotated[int, Between(1, 64)]
  patch: fields.Patch
  convolution: Annotated[str, OneOf(layers.CONVOLUTIONS)]
  space_attention: fields.Size
  time_attention: fields.Size
  aligner_radius: Annotated[float, Between(0, fields.MOST_SIZE)]
  aligner_flow: Annotated[str, OneOf(FLOWS)]
  aligner_direction: Annotated[str, OneOf(DIRECTIONS)]
  remat: bool

  aligns = True
  late = ('aligner', 'latents_')

  def misfits(self, size: int, frames: int):
    smallest = self.patch * 2 ** (len(self.multipliers) - 1)
    if size % smallest or size // smallest < 2:
      yield f'multipliers={self.multipliers}: {size}x{size} cannot be halved so often'
    attended = max(self.space_attention, self.time_attention)
    for level, multiplier in enumerate(self.multipliers):
      width = self.width * multiplier
      heads = max(width // layers.Attention.head_size, 1)
      if size // self.patch // 2**level <= attended and width % heads:
        yield f'width={self.width}: {heads} heads cannot share {width} features'


def make(settings: Settings, **common) -> 'UNet3D':
  given = dataclasses.asdict(settings)
  del given['name']
  return UNet3D(**given, **common)


class UNet3D(nn.Module):
  """Predicts what its parameterisation says from a noisy clip; output is zero at initialisation.

  'factorised' convolutions are 1x3x3 on folded frames followed by three temporal taps; 'full' ones
  are 3x3x3. Where `time_mixing` is 0, every layer that mixes frames is off and a row is denoised as
  independent frames: the same network is the per-frame baseline, and can be trained on both.
  """

  channels: int
  width: int
  multipliers: Sequence[int]  # one level each, halving the map between levels
  blocks: int  # a level and direction
  patch: int  # pixels are space-to-depthed by this
  convolution: str
  space_attention: int  # on maps of this size and below
  time_attention: int
  classes: int
  latent_size: int
  aligner_radius: float
  aligner_flow: str
  aligner_direction: str
  remat: bool
  dtype: DTypeLike = jnp.float32

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'b t h w c'],
    t: Float[Array, ' b'],
    condition: Condition,
    time_mixing: Float[Array, ' b'],
  ) -> Denoised:
    embedding = self._embed(t, condition)
    settings = dict(
      convolution=self.convolution,
      space_attention=self.space_attention,
      time_attention=self.time_attention,
      dtype=self.dtype,
    )
    block_type = nn.remat(Block) if self.remat else Block

    def block(h, width, name):
      return block_type(width, name=name, **settings)(h, embedding, time_mixing)

    def align(h, name):
      if condition.align is None:
        return h
      kind = (self.aligner_radius, self.aligner_flow, self.aligner_direction)
      h, found = Aligner(*kind, self.dtype, name=name)(h, condition.align)
      flows.extend(found)
      return h

    frames = x.shape[1]
    h = layers.space_to_depth(layers.fold(x.astype(self.dtype)), self.patch)
    h = layers.unfold(nn.Conv(self.width, (3, 3), dtype=self.dtype, name='stem')(h), frames)
    stem, skips, flows = h, [], []
    levels = range(len(self.multipliers))
    for level in levels:
      if level > 0:
        h = layers.space_to_depth(layers.fold(h), 2)
        h = nn.Dense(self._width(level), dtype=self.dtype, name=f'down{level}')(h)
        h = layers.unfold(h, frames)
      for i in range(self.blocks):
        h = block(h, self._width(level), f'down{level}_block{i}')
        skips.append(h)
    h = align(block(h, self._width(-1), 'middle'), 'aligner_middle')
    for level in reversed(levels):
      for i in range(self.blocks):
        h = jnp.concatenate([h, skips.pop()], axis=-1)
        h = block(h, self._width(level), f'up{level}_block{i}')
      h = align(h, f'aligner{level}')
      if level > 0:
        h = nn.Dense(self._width(level - 1), dtype=self.dtype, name=f'up{level}')(h)
        h = layers.unfold(layers.upsample(layers.fold(h)), frames)
    assert not skips

    # To denoise a little is nearly linear in the clip: the maps go to the output twice, once as
    # they are, each as loud as the noise level and the latents say.
    h = jnp.concatenate([h, stem], axis=-1)
    scale, shift, gain = layers.Modulation(h.shape[-1], 3, self.dtype, name='out_mod')(embedding)
    norm = layers.group_norm(h.shape[-1], 'out_norm')(layers.fold(h))
    active = nn.silu(layers.unfold(norm, frames) * (1 + scale) + shift)
    h = layers.fold(jnp.concatenate([active, h * (1 + gain)], axis=-1).astype(jnp.float32))
    features = self.channels * self.patch**2
    # In float32: what is left to remove at a low noise level is less than bfloat16 resolves.
    h = nn.Conv(features, (3, 3), kernel_init=layers.zeros, dtype=jnp.float32, name='out')(h)
    return Denoised(layers.unfold(layers.depth_to_space(h, self.patch), frames), tuple(flows))

  def _embed(self, t, condition):
    """What modulates every block, per frame."""
    features = 4 * self.width
    h = layers.TimeEmbedding(features, self.dtype, name='time')(t)
    if self.classes:
      label = layers.LabelEmbedding(self.classes, features, self.dtype, name='label')
      h = h + label(condition.label)
    if not self.latent_size:
      return jnp.broadcast_to(h[:, None], (len(h), condition.latents.shape[1], h.shape[-1]))
    # Zeros at first: a refiner that learnt without latents is unchanged when they come.
    latents = condition.latents.astype(self.dtype)
    latents = nn.Dense(features, use_bias=False, dtype=self.dtype, name='latents_in')(latents)
    latents = nn.Dense(
      features, use_bias=False, kernel_init=layers.zeros, dtype=self.dtype, name='latents_out'
    )(nn.silu(latents))
    return h[:, None] + layers.expand(condition.use_latents, latents) * latents

  def _width(self, level):
    return self.width * self.multipliers[level]


class Block(nn.Module):
  """Two modulated convolutions, then attention in space and time. Residual."""

  width: int
  convolution: str
  space_attention: int
  time_attention: int
  dtype: DTypeLike

  @nn.compact
  def __call__(self, x, embedding, time_mixing):
    h = self._conv(self._norm(x), time_mixing, 'conv0')
    scale, shift = layers.Modulation(self.width, 2, self.dtype)(embedding)
    h = nn.silu(self._norm(h, activate=False) * (1 + scale) + shift)
    h = self._conv(h, time_mixing, 'conv1', kernel_init=layers.zeros)
    if x.shape[-1] != self.width:
      x = nn.Dense(self.width, dtype=self.dtype, name='skip')(x)
    x = x + h
    if self.convolution == 'factorised':
      x = layers.TimeConv(dtype=self.dtype, name='time_conv')(x, time_mixing)
    if x.shape[2] <= self.space_attention:
      x = layers.SpaceAttention(dtype=self.dtype, name='space_attention')(x)
    if x.shape[2] <= self.time_attention:
      x = layers.TimeAttention(dtype=self.dtype, name='time_attention')(x, time_mixing)
    return x

  def _norm(self, x, activate=True):
    h = layers.unfold(layers.group_norm(x.shape[-1])(layers.fold(x)), x.shape[1])
    return (nn.silu(h) if activate else h).astype(self.dtype)

  def _conv(self, x, time_mixing, name, **kwargs):
    frames = x.shape[1]
    if self.convolution == 'full':  # 3x3x3 as one 2D convolution over the channels of three frames
      gate = layers.expand(time_mixing, x)
      taps = [gate * layers.shifted(x, 1), x, gate * layers.shifted(x, -1)]
      x = jnp.concatenate(taps, axis=-1)
    x = nn.Conv(self.width, (3, 3), dtype=self.dtype, name=name, **kwargs)(layers.fold(x))
    return layers.unfold(x, frames)


FAMILY = Family(
  '3D U-Net: space and time factorised, the aligner between its levels', Settings, make
)
