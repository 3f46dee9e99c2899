"""What an autoencoder is to the rest of the house.

Noise, truncation, the walk, given frames and what the bridge reads are in its space; drafts, the
judges of stages `gan` and `joint`, and all that is scored or shown, in pixels.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import flax.linen as nn
import jax

from hgdt_jax.space import Space


class Autoencoder(Protocol):
  """A Linen module. Each frame is that of one frame alone: some of a clip may be given."""

  def encode(self, clip: jax.Array) -> jax.Array:
    """Clip `[B, T, H, W, C]` in [-1, 1] -> latent `[B, T, h, w, c]`, of a scale like a clip's."""

  def decode(self, latent: jax.Array) -> jax.Array:
    """The way back, also of noisy latents; differentiable."""


class Settings(Protocol):
  """A family's section of the configuration: a frozen dataclass, see `schema`."""

  name: str  # the family's
  learns: bool  # it has parameters; a stage that `trains` the 'autoencoder' gives them

  def of(self, clip: Space) -> Space:
    """Where such clips are encoded to; as many frames."""

  def misfits(self, size: int, frames: int) -> Iterable[str]:
    """What is wrong with clips of that size and length; each begins with the name of a field."""


class Family(NamedTuple):
  """What the registry `AUTOENCODERS` holds.

  Attributes:
    meaning: in a line.
    settings: its section.
    make: `(settings, channels=, dtype=)` -> `Autoencoder`.
  """

  meaning: str
  settings: type[Settings]
  make: Callable[..., nn.Module]
