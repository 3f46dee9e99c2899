"""The space of pixels: a clip is its own latent."""

import dataclasses

import flax.linen as nn
import jax

from hgdt_jax.autoencoders.types import Family
from hgdt_jax.space import Space


@dataclasses.dataclass(frozen=True)
class Settings:
  name: str

  learns = False

  def of(self, clip: Space) -> Space:
    return clip

  def misfits(self, size: int, frames: int):
    return ()


class Pixels(nn.Module):
  def encode(self, clip: jax.Array) -> jax.Array:
    return clip

  def decode(self, latent: jax.Array) -> jax.Array:
    return latent


FAMILY = Family('the clip as it is', Settings, lambda settings, **_: Pixels())
