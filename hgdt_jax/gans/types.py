"""What a GAN is to the rest of the house: a generator, its codes, and who judges its drafts."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import optax

Streams = Callable[[str], jax.Array]  # name -> the key of that random stream at this step


class Draft(NamedTuple):
  """What a generator draws.

  Attributes:
    clip: `[B, T, H, W, C]` in [-1, 1].
    latents: `[B, T, D]`, one a frame, of unit variance; None where the family has none, so that
      there is nothing for a bridge to guess.
    aux: what else its losses want, a mask say, by name.
  """

  clip: jax.Array
  latents: jax.Array | None = None
  aux: Mapping[str, jax.Array] = {}


class Given(NamedTuple):
  """First frames that drafts continue.

  Attributes:
    image: `[B, H, W, C]` in [-1, 1].
    rows: bool `[B]`, the drafts that do.
  """

  image: jax.Array
  rows: jax.Array


class Judge(NamedTuple):
  """One discriminator, and how it plays.

  Attributes:
    network: a module `(view, t, label, train)` -> logits: an array, or several by name, each
      `[B, ...]`, high for what it takes for real; one that classifies answers several, of which
      'category' is `[B, K]`, of the classes. It may keep statistics, and in training draw from the
      streams 'noise' and 'dropout'.
    see: `(streams, which, clip, given)` -> view, what the network is given of a clip: some frames,
      the clip beside its image; `which` is 'real' or 'fake', so that the two may be drawn alike.
    objective: of `losses.adversarial.OBJECTIVES`.
    weight: of its answer in the generator's loss.
    r1: weight gamma of gamma / 2 |d logits / d clip|^2 on real clips.
    r2: the same on fake ones.
    interpolation: weight of WGAN-GP's penalty, between real and fake clips.
    category: weight of the cross entropy of 'category', which it learns on real clips alone and the
      generator is to lower on its own; 0: the network does not classify. Without a label, a clip
      counts nothing.
    penalty_rows: every n-th row of a batch is penalised.
    compares: neighbours in a batch that the network compares with each other.
    spectral_norm: its kernels are divided by their largest singular value.
    rate: its learning rate, as a multiple of the stage's.
    updates: its moves in a round, each against another draft.
    project: parameters -> parameters after each update: clipped weights, say.
  """

  network: nn.Module
  see: Callable[[Streams, str, jax.Array, Given | None], Any]
  objective: str
  weight: float = 1.0
  r1: float = 0.0
  r2: float = 0.0
  interpolation: float = 0.0
  category: float = 0.0
  penalty_rows: int = 1
  compares: int = 1
  spectral_norm: bool = False
  rate: float = 1.0
  updates: int = 1
  project: Callable[[Any], Any] = lambda params: params


class GAN(NamedTuple):
  """A family's networks for one size of clips, and how they play.

  Attributes:
    generator: a module `(codes, label, given, train)` -> `Draft`.
    codes: `(key, batch, frames)` -> a tree of arrays `[B, ...]`; ValueError for a number of frames
      that the generator cannot draw.
    judges: by name, that of their weights beside 'generator'.
    optimiser: `(rate, warmup, steps)` -> that of a player.
    also: further losses of the generator by name: `(draft, real, given)` -> a scalar, weighted.
  """

  generator: nn.Module
  codes: Callable[[jax.Array, int, int], Any]
  judges: Mapping[str, Judge]
  optimiser: Callable[[float, int, int], optax.GradientTransformation]
  also: Mapping[str, Callable[[Draft, jax.Array, Given | None], jax.Array]] = {}


class Settings(Protocol):
  """A family's section of the configuration: a frozen dataclass, see `schema`."""

  name: str  # the family's
  latent_size: int  # of the drafts' latents; 0: they have none
  judges: tuple[str, ...]  # their names
  given: float  # share of the drafts that continue a first frame in training; 0: none can, 1: all

  def misfits(self, size: int, frames: int) -> Iterable[str]:
    """What is wrong with clips of that size and length; each begins with the name of a field."""


class Family(NamedTuple):
  """What the registry `GANS` holds.

  Attributes:
    meaning: in a line.
    settings: its section.
    make: `(settings, clip, classes=, dtype=)` -> GAN for clips in that `Space`.
  """

  meaning: str
  settings: type[Settings]
  make: Callable[..., GAN]
