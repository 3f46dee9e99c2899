"""Draft, truncate, refine: the point of the project; and plain diffusion beside it."""

import dataclasses

import jax
import jax.numpy as jnp

from hgdt_jax.diffusion import samplers
from hgdt_jax.diffusion.noise import Noise, by_row
from hgdt_jax.diffusion.parameterization import Denoise
from hgdt_jax.diffusion.schedules import Schedule


@dataclasses.dataclass(frozen=True)
class Recipe:
  """How noise levels are walked down; hashable, so static under jit."""

  schedule: Schedule
  noise: Noise
  sampler: str
  spacing: str
  threshold: str

  def evaluations(self, steps: int) -> int:
    """Network evaluations of that many steps."""
    return samplers.find(self.sampler).evaluations(steps)

  def steps(self, evaluations: int) -> int:
    """The most steps that cost no more than that many evaluations."""
    return max(s for s in range(1, evaluations + 1) if self.evaluations(s) <= evaluations)


# Each clip draws its noise by its number, `numbers` `[B]`: see `noise.by_row`.


def truncate(
  recipe: Recipe, draft: jax.Array, key: jax.Array, numbers: jax.Array, tau
) -> jax.Array:
  """Diffuses a draft `[B, T, H, W, C]` to noise level `tau`, which hides its faults.

  If the diffused draft has the law of diffused data, what `walk` makes of it is distributed as the
  diffusion model's own samples (truncated diffusion, TDPM 2022; early-stopped DDPM 2022).
  """
  eps = by_row(recipe.noise, numbers)(key, draft.shape)
  return recipe.schedule.diffuse(draft, eps, jnp.full(draft.shape[0], tau))


def pure_noise(
  recipe: Recipe, key: jax.Array, numbers: jax.Array, shape: tuple[int, ...]
) -> jax.Array:
  """Where plain diffusion starts, at noise level 1: clips of `shape` `[T, H, W, C]`."""
  shape = (len(numbers), *shape)
  _, sigma = recipe.schedule.alpha_sigma(jnp.ones(shape[0]), jnp.zeros((1,) * len(shape)))
  return sigma * by_row(recipe.noise, numbers)(key, shape)


def walk(
  recipe: Recipe,
  denoise: Denoise,
  start: jax.Array,
  key: jax.Array,
  numbers: jax.Array,
  *,
  steps,
  most_steps,
  t_start,
):
  """From `start` `[B, T, H, W, C]` at noise level `t_start` to a clean clip.

  `t_start`, and `steps` up to the static `most_steps`, may be traced.
  """
  return samplers.find(recipe.sampler)(
    denoise,
    start,
    key,
    schedule=recipe.schedule,
    steps=steps,
    most_steps=most_steps,
    t_start=t_start,
    spacing=recipe.spacing,
    noise=by_row(recipe.noise, numbers),
  )
