"""What a denoiser is to the rest of the house: what it is told, and what it answers."""

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp


@flax.struct.dataclass
class Condition:
  """What the denoiser is told beside the noisy clip. All leaves have a leading batch axis.

  `align` (0 or 1) switches the aligner on for a row; None leaves it out of the program.
  `use_latents` (0 or 1) says whether `latents` are given.
  """

  label: jax.Array  # int32 [B], -1: none
  latents: jax.Array  # [B, T, D], the draft's w
  use_latents: jax.Array  # [B]
  align: jax.Array | None  # [B]

  @classmethod
  def plain(cls, label: jax.Array, frames: int, latent_size: int):
    """Label only: no aligner, no latents."""
    b = label.shape[0]
    return cls(label, jnp.zeros((b, frames, latent_size)), jnp.zeros(b), None)


@flax.struct.dataclass
class Flow:
  """Where an aligner looks for each frame's features in the frame before.

  Attributes:
    field: `[B, T-1, h, w, 2]` in pixels of its map.
    visible: `[B, T-1, h, w, 1]` in (0, 1): how far what it finds there is used.
    backward: it reads the clip from its last frame to its first.
  """

  field: jax.Array
  visible: jax.Array
  backward: bool = flax.struct.field(pytree_node=False, default=False)


class Denoised(NamedTuple):
  """A denoiser's answer.

  Attributes:
    output: float32 `[B, T, H, W, C]`, what its parameterisation says of the clip.
    flows: of its aligners, where they are on, for the losses that train them.
  """

  output: jax.Array
  flows: tuple[Flow, ...] = ()


class Settings(Protocol):
  """A family's section of the configuration: a frozen dataclass, see `schema`."""

  name: str  # the family's
  aligns: bool  # it has an aligner, which stage `aligner` trains
  late: tuple[str, ...]  # how the names of the parameters begin that learn from that stage on only
  remat: bool  # a backward pass computes the forward pass once more

  def misfits(self, size: int, frames: int) -> Iterable[str]:
    """What is wrong with clips of that size and length; each begins with the name of a field."""


class Family(NamedTuple):
  """What the registry `DENOISERS` holds.

  Attributes:
    meaning: in a line.
    settings: its section.
    make: `(settings, channels=, latent_size=, classes=, dtype=)` -> a module `(x, t, condition,
      mixing)` -> `Denoised`, of a clip `[B, T, H, W, C]` at the noise levels t `[B]`; where mixing
      `[B]` is 0, a row's frames are denoised each for itself.
  """

  meaning: str
  settings: type[Settings]
  make: Callable[..., nn.Module]
