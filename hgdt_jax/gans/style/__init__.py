"""The house's own GAN: a style-based generator of whole clips, a frame critic and a clip critic."""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import optax

from hgdt_jax import fields
from hgdt_jax.gans.style.critic import FULL_GROUP, Critic
from hgdt_jax.gans.style.generator import MOTIONS, Generator
from hgdt_jax.gans.types import GAN, Draft, Family, Given, Judge, Streams
from hgdt_jax.losses import adversarial
from hgdt_jax.models import layers
from hgdt_jax.schema import Between, OneOf
from hgdt_jax.space import Space


@dataclasses.dataclass(frozen=True)
class GeneratorSettings:
  width: fields.Width
  max_width: fields.Width
  patch: fields.Patch
  latent_size: Annotated[int, Between(4, 2**14)]  # half is motion, half of that its waves
  content_size: fields.Codes
  motion_size: fields.Codes
  motion: Annotated[str, OneOf(MOTIONS)]
  motion_interval: fields.Frames


@dataclasses.dataclass(frozen=True)
class CriticSettings:
  width: fields.Width
  max_width: fields.Width
  frame_patch: fields.CriticPatch
  clip_patch: fields.CriticPatch
  convolution: Annotated[str, OneOf(layers.CONVOLUTIONS)]
  minibatch_stddev: bool
  frames: fields.Frames
  spectral_norm: bool

  def misfits(self, size: int, frames: int):
    """As those of the family, of the clips that it sees."""
    for name, patch in (('frame_patch', self.frame_patch), ('clip_patch', self.clip_patch)):
      if size // patch < 4:
        yield f'{name}={patch}: {size}x{size} leaves maps under 4x4'
    if self.frames > frames:
      yield f'frames={self.frames}: clips have data.frames={frames}'


@dataclasses.dataclass(frozen=True)
class Settings:
  """Of the family; `configs/base.py` says what each field means."""

  name: str
  generator: GeneratorSettings
  critic: CriticSettings
  objective: Annotated[str, OneOf(adversarial.OBJECTIVES)]
  r1: fields.Weight
  r2: fields.Weight
  interpolation_penalty: fields.Weight
  penalty_rows: fields.Batch
  image_share: fields.Share
  image_weight: fields.Weight

  def problems(self):
    if self.objective == 'wasserstein' and not (self.r1 or self.r2 or self.interpolation_penalty):
      yield "objective='wasserstein': unbounded without one of r1, r2, interpolation_penalty"

  def misfits(self, size: int, frames: int):
    patch = self.generator.patch
    if size // patch < 4:
      yield f'generator.patch={patch}: {size}x{size} leaves maps under 4x4'
    yield from (f'critic.{problem}' for problem in self.critic.misfits(size, frames))

  judges = ('critic',)

  @property
  def latent_size(self) -> int:
    return self.generator.latent_size

  @property
  def given(self) -> float:
    return self.image_share


def make(settings: Settings, clip: Space, **common) -> GAN:
  """`common`: classes and dtype."""
  drafts = Generator(
    size=clip.size,
    channels=clip.channels,
    image=settings.image_share > 0,
    **dataclasses.asdict(settings.generator),
    **common,
  )
  return GAN(
    drafts,
    drafts.draw_codes,
    {'critic': judge(settings, clip, **common)},
    optimiser,
    {'likeness': likeness(settings.image_weight)} if settings.image_share else {},
  )


def judge(settings: Settings, clip: Space, **common) -> Judge:
  """Both critics under one name: they share an optimiser, and the power iteration."""
  critic = settings.critic
  network = dataclasses.asdict(critic)
  for name in ('spectral_norm', 'frames'):  # these act on what the network is given
    network.pop(name)

  def see(streams: Streams, which: str, video: jax.Array, given: Given | None):
    return video, draw_frames(streams('frames'), clip.frames, critic.frames)  # the same of both

  return Judge(
    Critic(**network, **common),
    see,
    settings.objective,
    r1=settings.r1,
    r2=settings.r2,
    interpolation=settings.interpolation_penalty,
    penalty_rows=settings.penalty_rows,
    compares=FULL_GROUP if critic.minibatch_stddev else 1,
    spectral_norm=critic.spectral_norm,
  )


def draw_frames(key: jax.Array, frames: int, count: int) -> jax.Array:
  """Indices of `count` different frames, rising."""
  return jnp.sort(jax.random.choice(key, frames, (count,), replace=False))


def likeness(weight: float):
  """A loss of drafts: how far those that continue a real clip's frame are from that clip.

  Draft and clip are paired there, so a regression is well posed; it holds what the critics would
  take long to, the place of things and their colour (conditional GANs, Isola et al. 2017).
  """

  def loss(draft: Draft, real: jax.Array, given: Given | None) -> jax.Array:
    apart = jnp.mean(jnp.abs(draft.clip - real), axis=(1, 2, 3, 4))
    return weight * jnp.mean(given.rows.astype(jnp.float32) * apart)

  return loss


def optimiser(learning_rate: float, warmup: int, steps: int) -> optax.GradientTransformation:
  """Adam without momentum, which a game does not forgive; warm-up, cosine decay to a tenth.

  Players that come trained need the warm-up: a fresh Adam knows no scale yet, and its first steps
  at the full rate throw them about.
  """
  rate = optax.warmup_cosine_decay_schedule(
    0.0 if warmup else learning_rate, learning_rate, warmup, steps, 0.1 * learning_rate
  )
  return optax.adam(rate, b1=0.0, b2=0.99)


FAMILY = Family(
  "the house's own: a style-based generator, a frame and a clip critic", Settings, make
)
