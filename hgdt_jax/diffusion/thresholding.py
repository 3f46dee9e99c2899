"""Keeping the predicted clip inside the range of the data."""

import jax.numpy as jnp

from hgdt_jax.diffusion.parameterization import Denoise
from hgdt_jax.diffusion.schedules import Clips, Schedule, Times


def static(x0: Clips) -> Clips:
  """x0 clipped to [-1, 1]."""
  return jnp.clip(x0, -1, 1)


def dynamic(x0: Clips, quantile: float = 0.995) -> Clips:
  """x0 clipped to the clip's own quantile of |x0|, then divided by it if it exceeds 1.

  Imagen (Saharia et al. 2022): keeps saturated samples from sticking to the ends of the range.
  """
  rows = jnp.abs(x0).reshape(len(x0), -1)
  bound = jnp.maximum(jnp.quantile(rows, quantile, axis=1), 1)
  bound = bound.reshape((-1,) + (1,) * (x0.ndim - 1))
  return jnp.clip(x0, -bound, bound) / bound


THRESHOLDS = {'none': None, 'static': static, 'dynamic': dynamic}


def thresholded(denoise: Denoise, schedule: Schedule, how: str) -> Denoise:
  """Denoise function whose x0 went through `how`, a name in THRESHOLDS.

  The noise is recomputed, so that x_t = alpha x0 + sigma eps still holds. Raises ValueError for an
  unknown name.
  """
  if how not in THRESHOLDS:
    raise ValueError(f'threshold {how!r} is unknown; choose one of {", ".join(THRESHOLDS)}')
  threshold = THRESHOLDS[how]
  if threshold is None:
    return denoise

  def inside(x_t, t):
    x0, _ = denoise(x_t, t)
    return with_eps(threshold(x0), x_t, t, schedule)

  return inside


def with_eps(x0: Clips, x_t: Clips, t: Times, schedule: Schedule) -> tuple[Clips, Clips]:
  """A changed x0 and the noise that goes with it at (x_t, t)."""
  alpha, sigma = schedule.alpha_sigma(t, x_t)
  return x0, (x_t - alpha * x0) / sigma
