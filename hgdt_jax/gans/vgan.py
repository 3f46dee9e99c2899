"""VGAN (Vondrick et al. 2016): a moving foreground, masked over a background that stands still.

One code a clip: x = m f + (1 - m) b, where f and the mask m are a clip and b one image. Published
for 32 frames of 64x64, which are doubled four times from 2x4x4; other sides are doubled as often as
they ask, and time with them.

The variant that goes on from an image has an encoder of it in place of the code, and so one clip an
image; the critic never sees the image, and a distance ties the first frame to it.
"""

import dataclasses
import math
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from hgdt_jax import fields
from hgdt_jax.gans import views
from hgdt_jax.gans.types import GAN, Draft, Family, Given, Judge
from hgdt_jax.schema import OneOf
from hgdt_jax.space import Space

RESAMPLINGS = ('strided', 'repeated')
_SEED = 4  # side of the first maps


@dataclasses.dataclass(frozen=True)
class Settings:
  """Of the family; `configs/zoo.py` says what each field means."""

  name: str
  code_size: fields.Codes
  width: fields.Width
  critic_width: fields.Width
  resampling: Annotated[str, OneOf(RESAMPLINGS)]
  mask_weight: fields.Weight
  image_weight: fields.Weight

  latent_size = 0
  judges = ('critic',)

  @property
  def given(self) -> float:
    return float(self.image_weight > 0)

  def misfits(self, size: int, frames: int):
    if frames % 2 ** doublings(size):
      yield (
        f'name={self.name}: data.frames={frames} must be a multiple of {2 ** doublings(size)}, for '
        f'time doubles as often as data.size={size}'
      )


def doublings(size: int) -> int:
  return int(math.log2(size // _SEED))


def make(settings: Settings, clip: Space, *, classes: int, dtype) -> GAN:
  """Knows no classes: the original has none."""
  del classes
  sizes = dict(doublings=doublings(clip.size), resampling=settings.resampling, dtype=dtype)
  generator = Generator(clip, settings.width, encodes=settings.given > 0, **sizes)
  critic = Critic(settings.critic_width, **sizes)

  def codes(key: jax.Array, batch: int, frames: int) -> jax.Array:
    if frames != clip.frames:
      raise ValueError(f'vgan draws clips of {clip.frames} frames, and {frames} are asked for')
    return jax.random.normal(key, (batch, settings.code_size))

  def mask(draft, real, given):
    """Small masks: what need not move is left to the background."""
    return settings.mask_weight * jnp.mean(jnp.abs(draft.aux['mask']))

  def image(draft, real, given):
    """Of its first frame to the image that it was given."""
    return settings.image_weight * jnp.mean(jnp.abs(draft.clip[:, 0] - given.image))

  judge = Judge(critic, views.every_frame, 'nonsaturating')
  also = {'mask': mask} | ({'image': image} if settings.given else {})
  return GAN(generator, codes, {'critic': judge}, optimiser, also)


def optimiser(rate: float, warmup: int, steps: int) -> optax.GradientTransformation:
  """Adam of a constant rate, betas .5 and .999."""
  del warmup, steps
  return optax.adam(rate, b1=0.5, b2=0.999)


_weights = nn.initializers.normal(0.01)


def _norm(train: bool, name: str, epsilon: float = 1e-5) -> nn.BatchNorm:
  """As the original begins it: gains about 1."""
  gain = lambda key, shape, dtype: 1 + 0.02 * jax.random.normal(key, shape, dtype)
  return nn.BatchNorm(
    not train, momentum=0.9, epsilon=epsilon, scale_init=gain, dtype=jnp.float32, name=name
  )


class Up(nn.Module):
  """Twice as large along every axis but the first and the last: `[N, ..., C]`.

  'strided': the original's transposed convolution, kernels of 4. 'repeated': repetition and a
  convolution of 3, which is several times as fast on CPUs.
  """

  features: int
  resampling: str
  bias: bool  # none in front of a norm, which would take it away
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x):
    axes = x.ndim - 2
    common = dict(kernel_init=_weights, use_bias=self.bias, dtype=self.dtype)
    if self.resampling == 'strided':
      return nn.ConvTranspose(self.features, (4,) * axes, (2,) * axes, 'SAME', **common)(x)
    for axis in range(1, axes + 1):
      x = jnp.repeat(x, 2, axis=axis)
    return nn.Conv(self.features, (3,) * axes, **common)(x)


class Generator(nn.Module):
  """Codes `[B, Z]`, or first frames `[B, H, W, C]` where it `encodes` these and reads no code ->
  draft, with the mask `[B, T, H, W, 1]` and the background `[B, H, W, C]`.
  """

  clip: Space
  width: int
  encodes: bool
  doublings: int
  resampling: str
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, codes, label, given: Given | None = None, train=False):
    channels = self.clip.channels
    still, moving = self._encoded(given, train) if self.encodes else self._decoded(codes, train)
    image = self._stream(still, train, 'background')
    background = jnp.tanh(self._out(image, channels, 'background'))
    trunk = self._stream(moving, train, 'foreground')
    foreground = jnp.tanh(self._out(trunk, channels, 'foreground'))
    mask = nn.sigmoid(self._out(trunk, 1, 'mask'))
    clip = mask * foreground + (1 - mask) * background[:, None]
    return Draft(clip, aux={'mask': mask, 'background': background})

  def _first_maps(self):
    """(frames, features) that both streams begin with, of `_SEED` a side."""
    return self.clip.frames // 2**self.doublings, self.width * 2 ** (self.doublings - 1)

  def _decoded(self, codes, train):
    """The first maps of the background `[B, H, W, F]` and of the foreground `[B, T, H, W, F]`."""
    frames, width = self._first_maps()

    def seed(name, *shape):
      x = self._dense(math.prod(shape), f'{name}_seed')(codes.astype(self.dtype))
      return nn.relu(_norm(train, f'{name}_norm0')(x.reshape(-1, *shape)))

    image = (_SEED, _SEED, width)
    return seed('background', *image), seed('foreground', frames, *image)

  def _encoded(self, given, train):
    """The same of an image, whose own maps are the background's."""
    if given is None:
      raise ValueError('vgan of draft.image_weight > 0 continues a first frame, and none is given')
    x, (frames, width) = given.image.astype(self.dtype), self._first_maps()
    for i in range(self.doublings):
      options = dict(kernel_init=_weights, use_bias=i == 0, dtype=self.dtype, name=f'encode{i}')
      x = nn.Conv(self.width * 2**i, (4, 4), (2, 2), **options)(x if i == 0 else nn.relu(x))
      x = x if i == 0 else _norm(train, f'encode_norm{i}')(x)
    each = self._dense(frames * width, 'foreground_seed')(x.astype(self.dtype))
    moving = jnp.stack(jnp.split(each, frames, axis=-1), axis=1)
    return x, nn.relu(_norm(train, 'foreground_norm0')(moving))

  def _dense(self, features, name):
    return nn.Dense(features, kernel_init=_weights, use_bias=False, dtype=self.dtype, name=name)

  def _stream(self, x, train, name):
    """First maps, doubled to half the size of the clip's."""
    for i in range(1, self.doublings):
      features = x.shape[-1] // 2
      x = Up(features, self.resampling, False, self.dtype, name=f'{name}_up{i}')(x)
      x = nn.relu(_norm(train, f'{name}_norm{i}')(x))
    return x

  def _out(self, x, features, name):
    return Up(features, self.resampling, True, jnp.float32, name=f'{name}_out')(x)


class Critic(nn.Module):
  """Of whole clips `[B, T, H, W, C]`: the first of its two logits less the second, `[B]`.

  A softmax over two is the logistic loss of their difference.
  """

  width: int
  doublings: int
  resampling: str
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, video, t, label, train=False):
    x = video.astype(self.dtype)
    for i in range(self.doublings):
      x = self._down(x, self.width * 2**i, f'down{i}', bias=i == 0)
      if i > 0:
        x = _norm(train, f'norm{i}', 1e-3)(x).astype(self.dtype)
      x = nn.leaky_relu(x, 0.2)
    x = x.reshape(len(x), -1).astype(jnp.float32)
    logits = nn.Dense(2, kernel_init=_weights, name='logits')(x)
    return logits[:, 0] - logits[:, 1]

  def _down(self, x, features, name, bias):
    common = dict(kernel_init=_weights, use_bias=bias, dtype=self.dtype, name=name)
    if self.resampling == 'strided':
      return nn.Conv(features, (4, 4, 4), (2, 2, 2), 'SAME', **common)(x)
    b, t, h, w, c = x.shape
    x = x.reshape(b, t // 2, 2, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4, 6, 7)
    return nn.Dense(features, **common)(x.reshape(b, t // 2, h // 2, w // 2, 8 * c))


FAMILY = Family('VGAN 2016: a masked foreground over a still background', Settings, make)
