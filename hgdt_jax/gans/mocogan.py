"""MoCoGAN (Tulyakov et al. 2018): a still content and a recurrent motion, judged by frame and clip.

Every frame is drawn for itself, from the code [z_C; category; z_M(t)]: the content z_C is one for
the clip, the category its label, and z_M(t) the state of a GRU, fed with a new e_t at each frame.
So a clip may be longer than those it was trained on. Published for 16 frames of 64x64, every second
of a video's (`data.stride`); other sides have more or fewer layers.

Otherwise than the original: all players share one draft a round, of the real clips' labels.
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
from hgdt_jax.gans.types import GAN, Draft, Family, Judge
from hgdt_jax.models import layers
from hgdt_jax.schema import Between
from hgdt_jax.space import Space

_SEED = 4  # side of the first maps, and of the last ones of the critics
_WINDOW = 16  # frames, one after the other, that the video critic sees of a longer clip
_DECAY = 1e-5  # times each weight, in its gradient


@dataclasses.dataclass(frozen=True)
class Settings:
  """Of the family; `configs/zoo.py` says what each field means."""

  name: str
  content_size: fields.Codes
  motion_size: fields.Codes
  width: fields.Width
  critic_width: fields.Width
  noise: Annotated[float, Between(0, 10)]
  init_deviation: Annotated[float, Between(0, 1)]

  judges = ('image', 'video')
  given = 0.0

  @property
  def latent_size(self) -> int:
    return self.content_size + self.motion_size

  def misfits(self, size: int, frames: int):
    if min(frames, _WINDOW) <= doublings(size):
      yield (
        f'name={self.name}: data.frames={frames} must be above {doublings(size)}, for the video '
        f'critic halves data.size={size} so often, and has a frame less each time'
      )


def doublings(size: int) -> int:
  return int(math.log2(size // _SEED))


def make(settings: Settings, clip: Space, *, classes: int, dtype) -> GAN:
  common = dict(doublings=doublings(clip.size), init_deviation=settings.init_deviation, dtype=dtype)
  critic = dict(width=settings.critic_width, noise=settings.noise, **common)

  def codes(key: jax.Array, batch: int, frames: int) -> dict[str, jax.Array]:
    """Standard normal: z_C `[B, Z]`, h_0 `[B, M]`, and e `[B, T, M]` for any number of frames."""
    motion, keys = settings.motion_size, jax.random.split(key, 3)
    return {
      'content': jax.random.normal(keys[0], (batch, settings.content_size)),
      'start': jax.random.normal(keys[1], (batch, motion)),
      'motion': jax.random.normal(keys[2], (batch, frames, motion)),
    }

  judge = lambda network, see, **options: Judge(network, see, 'nonsaturating', **options)
  judges = {
    'image': judge(ImageCritic(**critic), views.one_frame),
    'video': judge(VideoCritic(classes=classes, **critic), window, category=float(classes > 0)),
  }
  sizes = dict(motion_size=settings.motion_size, width=settings.width, classes=classes)
  generator = Generator(channels=clip.channels, **sizes, **common)
  return GAN(generator, codes, judges, optimiser)


def window(streams, which, video, given):
  """`_WINDOW` neighbouring frames of each clip, from a random one on; all of a short clip."""
  free = video.shape[1] - _WINDOW
  if free <= 0:
    return video
  start = jax.random.randint(streams(f'window_{which}'), (len(video),), 0, free + 1)
  return jax.vmap(lambda clip, i: jax.lax.dynamic_slice_in_dim(clip, i, _WINDOW))(video, start)


def optimiser(rate: float, warmup: int, steps: int) -> optax.GradientTransformation:
  """Adam of a constant rate, betas .5 and .999; the weights' decay is a part of the gradient."""
  del warmup, steps
  return optax.chain(optax.add_decayed_weights(_DECAY), optax.adam(rate, b1=0.5, b2=0.999))


def _weights(deviation: float, count: str):
  """The first ones: normal, or at 0 as PyTorch begins, within 1 / sqrt(n) of zero: n inputs that
  make an output ('fan_in'), and of transposed kernels, n outputs that an input is in ('fan_out').
  """
  if deviation:
    return nn.initializers.normal(deviation)
  return nn.initializers.variance_scaling(1 / 3, count, 'uniform')


def _norm(train: bool, name: str, **options) -> nn.BatchNorm:
  return nn.BatchNorm(not train, momentum=0.9, dtype=jnp.float32, name=name, **options)


class Generator(nn.Module):
  """Codes, labels `[B]` (-1: no category) -> draft; its latents are z_C and z_M(t), normalised."""

  channels: int
  motion_size: int
  width: int
  doublings: int
  init_deviation: float
  classes: int
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, codes, label, given=None, train=False):
    cell = nn.GRUCell(
      self.motion_size, kernel_init=_weights(self.init_deviation, 'fan_in'), name='motion'
    )
    motion = nn.RNN(cell)(codes['motion'], initial_carry=codes['start'])
    frames = motion.shape[1]
    each = lambda x: jnp.repeat(x[:, None], frames, axis=1)  # [B, F] -> [B, T, F]
    content, category = each(codes['content']), each(jax.nn.one_hot(label, self.classes))
    unit = _norm(train, 'unit', use_bias=False, use_scale=False)
    code = layers.fold(jnp.concatenate([content, category, motion], axis=-1))
    clip = layers.unfold(self._frames(code.astype(self.dtype), train), frames)
    return Draft(clip, jnp.concatenate([content, unit(motion)], axis=-1))

  def _frames(self, code, train):
    """`[N, D]` -> `[N, H, W, C]`; statistics are those of all frames."""
    plain = dict(use_bias=False, kernel_init=_weights(self.init_deviation, 'fan_out'))
    up = lambda features, **options: nn.ConvTranspose(features, (4, 4), (2, 2), **options, **plain)
    width = self.width * 2 ** (self.doublings - 1)
    x = nn.Dense(_SEED**2 * width, dtype=self.dtype, name='seed', **plain)(code)
    x = nn.relu(_norm(train, 'norm0')(x.reshape(-1, _SEED, _SEED, width)))
    for i in range(1, self.doublings):
      x = up(width // 2**i, dtype=self.dtype, name=f'up{i}')(x)
      x = nn.relu(_norm(train, f'norm{i}')(x))
    return jnp.tanh(up(self.channels, dtype=jnp.float32, name='out')(x))


class _Critic(nn.Module):
  """What the critics share. In training, noise is added to what strided convolutions are given."""

  width: int
  doublings: int
  init_deviation: float
  noise: float
  dtype: jnp.dtype

  def noisy(self, x, train):
    if not train or not self.noise:
      return x
    return x + self.noise * jax.random.normal(self.make_rng('noise'), x.shape, x.dtype)

  def half(self, x, i, train):
    """`[N, H, W, C]` -> `[N, H/2, W/2, F]`."""
    x = self.convolution(self.width * 2**i, f'down{i}')(x)
    if i > 0:
      x = _norm(train, f'norm{i}')(x).astype(self.dtype)
    return nn.leaky_relu(x, 0.2)

  def convolution(self, features, name):
    options = dict(
      use_bias=False,
      kernel_init=_weights(self.init_deviation, 'fan_in'),
      dtype=self.dtype,
      name=name,
    )
    return nn.Conv(features, (4, 4), (2, 2), **options)


class ImageCritic(_Critic):
  """Of frames `[B, H, W, C]`: a logit for each of 4x4 patches, `[B, 4, 4]`."""

  @nn.compact
  def __call__(self, frame, t, label, train=False):
    x = frame.astype(self.dtype)
    for i in range(self.doublings - 1):
      x = self.half(self.noisy(x, train), i, train)
    x = self.convolution(1, 'logits')(self.noisy(x, train))
    return x[..., 0].astype(jnp.float32)


class VideoCritic(_Critic):
  """Of clips `[B, T, H, W, C]`: a logit `[B]`, and where there are classes theirs, `[B, K]`."""

  classes: int

  @nn.compact
  def __call__(self, video, t, label, train=False):
    x = video.astype(self.dtype)
    padding = int(x.shape[1] <= 3 * self.doublings)
    for i in range(self.doublings):
      x = quads(self.noisy(x, train), padding)
      x = layers.unfold(self.half(layers.fold(x), i, train), x.shape[1])
    x = x.reshape(len(x), -1).astype(jnp.float32)
    logits = nn.Dense(
      1 + self.classes,
      use_bias=False,
      kernel_init=_weights(self.init_deviation, 'fan_in'),
      name='logits',
    )(x)
    if not self.classes:
      return logits[:, 0]
    return {'real': logits[:, 0], 'category': logits[:, 1:]}


def quads(x: jax.Array, padding: int) -> jax.Array:
  """Every four neighbouring frames side by side, `[B, T, ..., C]` -> `[B, T - 3 + 2 P, ..., 4C]`.

  A 2D convolution of them is the original's 3D one with four taps in time, and strided it is fifty
  times as fast on CPUs. P zero frames are put at either end.
  """
  x = jnp.pad(x, [(0, 0), (padding, padding)] + [(0, 0)] * (x.ndim - 2))
  last = x.shape[1] - 3
  return jnp.concatenate([x[:, i : last + i] for i in range(4)], axis=-1)


FAMILY = Family('MoCoGAN 2018: content and motion apart, a frame and a clip critic', Settings, make)
