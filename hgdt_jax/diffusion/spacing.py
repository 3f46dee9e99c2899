"""Where a sampler evaluates the network: `steps` falling noise levels, from t_start on.

A spacing is a function `(schedule, t_start, index, steps) -> t`; `index` counts from 0, where
t = t_start, to steps - 1; the step after the last level always ends at the clean clip. All but
`schedule` may be traced; what an index from `steps` on gives is of no use.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int

from hgdt_jax.diffusion.schedules import Schedule

_LAST = 0.002  # sigma / alpha of the last evaluation where it is free: that of EDM


def uniform_t(
  schedule: Schedule, t_start: Float[Array, ''], index: Int[Array, ' n'], steps: Int[ArrayLike, '']
) -> Float[Array, ' n']:
  """t_start (1 - index / steps)."""
  del schedule
  return t_start * (1 - index.astype(t_start.dtype) / steps)


def uniform_logsnr(
  schedule: Schedule, t_start: Float[Array, ''], index: Int[Array, ' n'], steps: Int[ArrayLike, '']
) -> Float[Array, ' n']:
  """Equal steps of log-SNR down to a sigma / alpha of 0.002."""
  return _between(schedule, t_start, index, steps, jnp.log, jnp.exp)


def edm_rho(
  schedule: Schedule, t_start: Float[Array, ''], index: Int[Array, ' n'], steps: Int[ArrayLike, '']
) -> Float[Array, ' n']:
  """Equal steps of the seventh root of sigma / alpha down to 0.002 (Karras et al. 2022)."""
  return _between(schedule, t_start, index, steps, lambda s: s ** (1 / 7), lambda root: root**7)


SPACINGS = {'uniform_t': uniform_t, 'uniform_logsnr': uniform_logsnr, 'edm_rho': edm_rho}


def _between(schedule, t_start, index, steps, to_line, from_line):
  """Levels whose sigma / alpha is evenly spaced after `to_line`."""
  first = jnp.exp(-schedule.logsnr(t_start) / 2)
  last = jnp.exp(-schedule.logsnr(jnp.zeros_like(t_start)) / 2)
  last = jnp.minimum(jnp.maximum(last, _LAST), first)
  part = index.astype(t_start.dtype) / jnp.maximum(steps - 1, 1)
  ratio = from_line(to_line(first) + part * (to_line(last) - to_line(first)))
  t = schedule.inverse(-2 * jnp.log(ratio))
  return jnp.where(index == 0, t_start, t)  # not through the inverse: the start is given
