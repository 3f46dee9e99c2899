"""ImaGINator (Wang et al. 2020): a clip that goes on from an image and a class.

An encoder's maps of the first frame join the decoder at each size; the decoder grows a clip out of
one point, in time by one transposed convolution and then in space by another. Published for 32
frames of 64x64; other sides have more or fewer blocks. It knows nothing but clips that continue an
image, and is trained to the very clip the image is of: 100 times their mean absolute distance.

Otherwise than the original: the critics move before the generator in a round, not after it.
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
from hgdt_jax.models import layers
from hgdt_jax.schema import Length
from hgdt_jax.space import Space

_SEED = 4  # side of the first maps, and of the last ones of encoder and critics


@dataclasses.dataclass(frozen=True)
class Settings:
  """Of the family; `configs/zoo.py` says what each field means."""

  name: str
  code_size: fields.Codes
  appearance_size: fields.Codes
  width: fields.Width
  time_widths: Annotated[tuple[fields.Width, ...], Length(1, 12)]
  critic_width: fields.Width
  l1_weight: fields.Weight

  latent_size = 0
  judges = ('image', 'video')
  given = 1.0  # all drafts continue a first frame

  def misfits(self, size: int, frames: int):
    blocks = halvings(size) + 1
    if len(self.time_widths) != blocks:
      yield f'time_widths={self.time_widths}: want {blocks}, one for each size to data.size={size}'
    if frames % 2 ** (blocks - 1):
      yield (
        f'name={self.name}: data.frames={frames} must be a multiple of {2 ** (blocks - 1)}, for '
        f'time doubles as often as data.size={size}'
      )


def halvings(size: int) -> int:
  return int(math.log2(size // _SEED))


def make(settings: Settings, clip: Space, *, classes: int, dtype) -> GAN:
  common = dict(halvings=halvings(clip.size), dtype=dtype)
  critic = dict(width=settings.critic_width, **common)

  def codes(key: jax.Array, batch: int, frames: int) -> jax.Array:
    if frames != clip.frames:
      raise ValueError(
        f'imaginator draws clips of {clip.frames} frames, and {frames} are asked for'
      )
    return jax.random.normal(key, (batch, settings.code_size))

  def l1(draft, real, given):
    """To the clip that the image is of, which is in the same row."""
    return settings.l1_weight * jnp.mean(jnp.abs(draft.clip - real))

  judge = lambda network, see: Judge(network, see, 'nonsaturating', spectral_norm=True)
  judges = {
    'image': judge(ImageCritic(**critic), views.one_frame),
    'video': judge(VideoCritic(classes=classes, **critic), views.every_frame),
  }
  generator = Generator(
    clip=clip,
    appearance_size=settings.appearance_size,
    width=settings.width,
    time_widths=settings.time_widths,
    classes=classes,
    **common,
  )
  return GAN(generator, codes, judges, optimiser, {'l1': l1})


def optimiser(rate: float, warmup: int, steps: int) -> optax.GradientTransformation:
  """Adam of a constant rate, betas .5 and .999."""
  del warmup, steps
  return optax.adam(rate, b1=0.5, b2=0.999)


_weights = nn.initializers.normal(0.02)


def _active(x, train, name):
  """Normalised over the batch, then a leaky ReLU; `[..., C]`."""
  norm = nn.BatchNorm(not train, momentum=0.9, dtype=jnp.float32, name=name)
  return nn.leaky_relu(norm(x), 0.2).astype(x.dtype)


def _conv(features, dtype, name, **options):
  common = dict(use_bias=False, kernel_init=_weights, dtype=dtype, name=name)
  return nn.Conv(features, (4, 4), **common, **{'strides': (2, 2), **options})


class Generator(nn.Module):
  """Codes `[B, Z]`, labels `[B]` (-1: no class) and first frames `[B, H, W, C]` -> draft."""

  clip: Space
  appearance_size: int
  width: int
  time_widths: tuple[int, ...]
  classes: int
  halvings: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, codes, label, given: Given | None = None, train=False):
    if given is None:
      raise ValueError('imaginator continues a first frame, and none is given')
    label = jax.nn.one_hot(label, self.classes, dtype=self.dtype)
    appearance, maps = self._encode(given.image.astype(self.dtype), train)
    x = jnp.concatenate([codes.astype(self.dtype), label, appearance], axis=-1)
    x = x[:, None, None, None]  # [B, T, H, W, C]
    for i, skip in enumerate(reversed(maps)):
      x = self._longer(x, i, train)
      x = _active(self._larger(x, skip.shape[-1], i, self.dtype), train, f'space_norm{i}')
      beside = [skip[:, None], label[:, None, None, None]]
      x = jnp.concatenate(
        [x, *(jnp.broadcast_to(y, (*x.shape[:-1], y.shape[-1])) for y in beside)], axis=-1
      )
    last = len(maps)
    x = self._longer(x, last, train)
    return Draft(jnp.tanh(self._larger(x, self.clip.channels, last, jnp.float32)))

  def _encode(self, image, train):
    """The image as a code `[B, P]`, and its maps, halved to a side of `_SEED`."""
    x, maps = image, []
    for i in range(self.halvings):
      x = _conv(self.width * 2**i, self.dtype, f'down{i}')(x)
      x = _active(x, train, f'down_norm{i}')
      maps.append(x)
    code = _conv(self.appearance_size, self.dtype, 'appearance', padding='VALID')(x)
    return code[:, 0, 0], maps

  def _longer(self, x, i, train):
    """So many frames as the first block makes of one, or twice as many."""
    times = self.clip.frames // 2**self.halvings if i == 0 else 2
    x = TimeUp(self.time_widths[i], times, self.dtype, name=f'time{i}')(x)
    return _active(x, train, f'time_norm{i}')

  def _larger(self, x, features, i, dtype):
    """Frames grown from one point to `_SEED` pixels a side, or doubled."""
    strides, padding = ((1, 1), 'VALID') if i == 0 else ((2, 2), 'SAME')
    options = dict(use_bias=False, kernel_init=_weights, dtype=dtype, name=f'space{i}')
    up = nn.ConvTranspose(features, (4, 4), strides, padding, **options)
    return layers.unfold(up(layers.fold(x)), x.shape[1])


class TimeUp(nn.Module):
  """`[B, T, H, W, C]` -> `[B, n T, H, W, F]`, n `times`.

  Of one frame, a transposed convolution with a kernel as long as what it makes of it; else one of
  four taps and stride two, as sums of matrix products: each even frame is of a frame and the one
  before it, each odd one of a frame and the one after it.
  """

  features: int
  times: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, x):
    grows = x.shape[1] == 1
    taps = self.times if grows else 4
    kernel = self.param('kernel', _weights, (taps, x.shape[-1], self.features))
    at = [x @ tap for tap in kernel.astype(self.dtype)]
    if grows:
      return jnp.concatenate(at, axis=1)
    even = at[1] + layers.shifted(at[3], 1)
    odd = at[2] + layers.shifted(at[0], -1)
    both = jnp.stack([even, odd], axis=2)
    return both.reshape(len(x), 2 * x.shape[1], *both.shape[3:])


class ImageCritic(nn.Module):
  """Of frames `[B, H, W, C]`: a logit `[B]`."""

  width: int
  halvings: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, frame, t, label, train=False):
    x = frame.astype(self.dtype)
    for i in range(self.halvings):
      x = nn.leaky_relu(_conv(self.width * 2**i, self.dtype, f'down{i}')(x), 0.2)
    return _conv(1, jnp.float32, 'logits', padding='VALID')(x)[:, 0, 0, 0]


class VideoCritic(nn.Module):
  """Of clips `[B, T, H, W, C]`, told their class behind the first convolution: a logit `[B]`."""

  classes: int
  width: int
  halvings: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, video, t, label, train=False):
    x = video.astype(self.dtype)
    for i in range(self.halvings):
      x = self._down(x, self.width * 2**i, i)
      if i == 0:
        told = jax.nn.one_hot(label, self.classes, dtype=x.dtype)[:, None, None, None]
        x = jnp.concatenate([x, jnp.broadcast_to(told, (*x.shape[:-1], self.classes))], axis=-1)
    x = x.reshape(len(x), -1).astype(jnp.float32)
    return nn.Dense(1, use_bias=False, kernel_init=_weights, name='logits')(x)[:, 0]

  def _down(self, x, features, i):
    """Half as long and as large: every four frames side by side, then a convolution of images."""
    frames = jnp.pad(x, [(0, 0), (1, 1)] + [(0, 0)] * (x.ndim - 2))
    half = x.shape[1] // 2
    x = jnp.concatenate([frames[:, k : k + 2 * half : 2] for k in range(4)], axis=-1)
    x = _conv(features, self.dtype, f'down{i}')(layers.fold(x))
    return nn.leaky_relu(layers.unfold(x, half), 0.2)


FAMILY = Family('ImaGINator 2020: a clip that goes on from an image and a class', Settings, make)
