"""Guidance: wrappers that turn a denoise function into another.

They map `(x_t, t) -> (x0, eps)` to the same, nest, and any sampler takes the result.
Whatever changes x0 recomputes eps, so that x_t = alpha x0 + sigma eps holds throughout. Scales may
be traced arrays: a new value is not a new compilation. To threshold clips with known frames, put
`thresholded` inside `replacement`: around it, it would change those frames.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from hgdt_jax.diffusion.parameterization import Denoise
from hgdt_jax.diffusion.schedules import Clips, Schedule, Times
from hgdt_jax.diffusion.thresholding import with_eps


def classifier_free(
  conditional: Denoise,
  unconditional: Denoise,
  scale: Float[ArrayLike, ''],
  schedule: Schedule,
  interval: tuple[Float[ArrayLike, ''], Float[ArrayLike, '']] = (0.0, 1.0),
  rescale: Float[ArrayLike, ''] = 0.0,
) -> Denoise:
  """x0 = unconditional + scale (conditional - unconditional) (Ho & Salimans 2021); scale 1 is none.

  Outside of `interval`, in t, the conditional prediction is taken (Kynkäänniemi et al. 2024).
  `rescale` in [0, 1] moves the standard deviation of each clip's x0 from the guided to the
  conditional one (Lin et al. 2023), against over-exposed frames.
  """

  def denoise(x_t, t):
    x0_cond, _ = conditional(x_t, t)
    x0_free, _ = unconditional(x_t, t)
    axes = tuple(range(1, x0_cond.ndim))
    guided = x0_free + scale * (x0_cond - x0_free)
    spread = jnp.std(guided, axes, keepdims=True)
    ratio = jnp.std(x0_cond, axes, keepdims=True) / jnp.maximum(spread, 1e-6)
    guided = guided * (1 + rescale * (ratio - 1))
    inside = _over(x0_cond, (interval[0] <= t) & (t <= interval[1]))
    return with_eps(jnp.where(inside, guided, x0_cond), x_t, t, schedule)

  return denoise


def classifier(
  denoise: Denoise,
  log_prob: Callable[[Clips, Times], Float[Array, ' b']],
  scale: Float[ArrayLike, ''],
  schedule: Schedule,
) -> Denoise:
  """Adds scale times the gradient of `log_prob(x_t, t)` to the score.

  Dhariwal & Nichol 2021. With scale 1 and the exact log-probability of a label given x_t, samples
  follow the label's law.
  """

  def guided(x_t, t):
    x0, _ = denoise(x_t, t)
    gradient = jax.grad(lambda x: jnp.sum(log_prob(x, t)))(x_t)
    alpha, sigma = schedule.alpha_sigma(t, x_t)
    return with_eps(x0 + scale * sigma**2 / alpha * gradient, x_t, t, schedule)

  return guided


def replacement(
  denoise: Denoise,
  known: Float[Array, '#b t *d'],
  mask: Bool[Array, '#b t'],
  noise: Float[Array, 'b t *d'],
  schedule: Schedule,
) -> Denoise:
  """Conditions on the frames of `known` where `mask` is true.

  The network sees those frames as `known` diffused with `noise`, the same at every step, and
  samples return them unchanged. Any subset of frames: the first ones (prediction), both ends
  (in-betweening), the end of a clip sampled before (extension).
  """

  def conditioned(x_t, t):
    given = _over(x_t, mask)
    x0, eps = denoise(jnp.where(given, schedule.diffuse(known, noise, t), x_t), t)
    return jnp.where(given, known, x0), jnp.where(given, noise, eps)

  return conditioned


def reconstruction(
  denoise: Denoise,
  known: Float[Array, '#b t *d'],
  mask: Bool[Array, '#b t'],
  scale: Float[ArrayLike, ''],
  schedule: Schedule,
) -> Denoise:
  """Moves x0 down the gradient of its squared error on the known frames (Ho et al. 2022, video).

  Costs one backward pass through the network. On its own it only pulls; `condition_on_frames` adds
  the replacement it is meant to go with.
  """

  def guided(x_t, t):
    def error(x):
      x0, _ = denoise(x, t)
      return jnp.sum(jnp.where(_over(x, mask), known - x0, 0) ** 2), x0

    gradient, x0 = jax.grad(error, has_aux=True)(x_t)
    alpha, _ = schedule.alpha_sigma(t, x_t)
    return with_eps(x0 - scale * alpha / 2 * gradient, x_t, t, schedule)

  return guided


def condition_on_frames(
  denoise: Denoise,
  known: Float[Array, '#b t *d'],
  mask: Bool[Array, '#b t'],
  noise: Float[Array, 'b t *d'],
  schedule: Schedule,
  scale: Float[ArrayLike, ''] | None = None,
) -> Denoise:
  """Replacement, and reconstruction guidance by `scale` unless it is None; arguments as above."""
  if scale is not None:
    denoise = reconstruction(denoise, known, mask, scale, schedule)
  return replacement(denoise, known, mask, noise, schedule)


def _over(x, rows):
  """`rows`, of clips or of frames, with as many axes as `x`."""
  return rows.reshape(rows.shape + (1,) * (x.ndim - rows.ndim))
