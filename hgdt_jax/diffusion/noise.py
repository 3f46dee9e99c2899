"""Gaussian noise of unit variance for clips, equal or correlated across frames.

The same object draws the noise of training, of the start and of every stochastic sampling step: a
network trained on correlated noise has only ever seen that.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int, Key

Draw = Callable[..., Float[Array, 'b t *d']]  # (key, shape, dtype) -> noise of that shape
KINDS = ('iid', 'mixed', 'ar1')


@dataclasses.dataclass(frozen=True)
class Noise:
  """Noise of one of KINDS with the given correlation between frames; hashable.

  iid: frames independent. mixed: any two frames correlate by `correlation`, from one part shared
  by the clip (PYoCo, Ge et al. 2023, with its a^2 = correlation / (1 - correlation)). ar1: frames
  i and j correlate by correlation^|i - j|.
  """

  kind: str = 'iid'
  correlation: float = 0.5

  def __post_init__(self):
    if self.kind not in KINDS:
      raise ValueError(f'noise {self.kind!r} is unknown; choose one of {", ".join(KINDS)}')
    if not 0 <= self.correlation <= 1:
      raise ValueError(f'noise correlation is {self.correlation}; it must lie in [0, 1]')

  def __call__(
    self, key: Key[Array, ''], shape: tuple[int, ...], dtype: DTypeLike = jnp.float32
  ) -> Float[Array, 'b t *d']:
    """Noise of `shape`; every value is standard normal by itself."""
    if self.kind == 'iid':
      return jax.random.normal(key, shape, dtype)
    if self.kind == 'mixed':
      shared_key, own_key = jax.random.split(key)
      shared = jax.random.normal(shared_key, (shape[0], 1, *shape[2:]), dtype)
      own = jax.random.normal(own_key, shape, dtype)
      return np.sqrt(self.correlation).item() * shared + np.sqrt(1 - self.correlation).item() * own
    fresh = jax.random.normal(key, (shape[1], shape[0], *shape[2:]), dtype)  # frames first
    gain = np.sqrt(1 - self.correlation**2).item()

    def frame(previous, own):
      current = self.correlation * previous + gain * own
      return current, current

    _, later = jax.lax.scan(frame, fresh[0], fresh[1:])
    return jnp.moveaxis(jnp.concatenate([fresh[:1], later]), 0, 1)


IID = Noise()


def by_row(noise: Noise, numbers: Int[Array, ' b']) -> Draw:
  """The same law, the clip in row i drawn by (key, `numbers[i]`) alone.

  So what is drawn for a clip does not depend on the batch that it is drawn in.
  """

  def draw(key, shape, dtype=jnp.float32):
    one = lambda number: noise(jax.random.fold_in(key, number), (1, *shape[1:]), dtype)[0]
    return jax.vmap(one)(numbers)

  return draw
