"""Samplers: from a noisy clip at t_start to a clean one, each one compiled loop over its steps.

All are called alike,

  SAMPLERS[name](denoise, x_start, key, schedule=schedule, steps=8, t_start=1.0) -> x0

with `denoise(x_t, t) -> (x0, eps)` and `x_start` at noise level `t_start`: pure noise, or a draft
that was diffused to it (`schedule.diffuse`). Every schedule works, variance preserving or not.
Options, beside those of the single sampler:

  schedule   where the noise levels come from
  steps      from 1; with one step the result is the x0 predicted at t_start
  most_steps None: `steps` is static, and the result may be differentiated. A static bound: `steps`
             may be traced, up to it, and one compilation serves all
  t_start    scalar in (0, 1], may be traced: another value is not another compilation
  spacing    a name in SPACINGS, or a function like them
  noise      the law of fresh noise: that of training

Arithmetic and result are at least float32.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, Key

from hgdt_jax.diffusion.noise import IID, Draw
from hgdt_jax.diffusion.parameterization import Denoise
from hgdt_jax.diffusion.schedules import Clips, Schedule
from hgdt_jax.diffusion.spacing import SPACINGS


def ddim(
  denoise: Denoise,
  x_start: Clips,
  key: Key[Array, ''],
  *,
  eta: float = 0.0,
  noise: Draw = IID,
  **options,
) -> Clips:
  """DDIM (Song et al. 2021): first order, deterministic for eta = 0.

  A static eta in (0, 1] draws part of the noise anew; 1 is DDPM's ancestral sampling.
  """

  def step(at, x, memory, level):
    x0, eps = at(x, level.t)
    # Part of the noise at the next level is drawn anew, the rest is the predicted noise.
    shrink = 1 - (level.ratio_next / level.ratio) ** 2
    x = level.alpha_next * x0 + level.sigma_next * jnp.sqrt(1 - eta**2 * shrink) * eps
    if eta:
      fresh = noise(jax.random.fold_in(key, level.index), x.shape, x.dtype)
      x = x + level.sigma_next * eta * jnp.sqrt(shrink) * fresh
    return x, memory

  return _run(step, None, denoise, x_start, **options)


def ddpm(
  denoise: Denoise, x_start: Clips, key: Key[Array, ''], *, noise: Draw = IID, **options
) -> Clips:
  """Ancestral sampling (Ho et al. 2020) with the posterior's own variance; first order."""
  return ddim(denoise, x_start, key, eta=1.0, noise=noise, **options)


def euler(
  denoise: Denoise, x_start: Clips, key: Key[Array, ''], *, noise: Draw = IID, **options
) -> Clips:
  """Euler's method on the velocity eps - x0 of flow matching.

  x + (sigma_next - sigma) (eps - x0) on the straight path alpha + sigma = 1, which is
  alpha_next x0 + sigma_next eps: DDIM without noise, on this path and on any other.
  """
  return ddim(denoise, x_start, key, eta=0.0, noise=noise, **options)


def dpmpp_2m(
  denoise: Denoise, x_start: Clips, key: Key[Array, ''], *, noise: Draw = IID, **options
) -> Clips:
  """DPM-Solver++(2M) (Lu et al. 2022): deterministic, second order, one evaluation a step.

  Second order in steps of log-SNR. With `uniform_t` the last of these do not shrink: the order
  measured there is 1.4 to 1.8, though the error at 16 steps is the smaller one.
  """
  del key, noise

  def step(at, x, previous, level):
    x0, _ = at(x, level.t)
    decay = level.ratio_next / level.ratio  # exp(-h), h the step of half the log-SNR
    ahead = x0 + level.extrapolation * (x0 - previous)
    x = level.sigma_next / level.sigma * x + level.alpha_next * (1 - decay) * ahead
    return x, x0

  return _run(step, jnp.zeros_like, denoise, x_start, **options)


def dpmpp_2m_sde(
  denoise: Denoise, x_start: Clips, key: Key[Array, ''], *, noise: Draw = IID, **options
) -> Clips:
  """The stochastic DPM-Solver++(2M): second order in its deterministic part."""

  def step(at, x, previous, level):
    x0, _ = at(x, level.t)
    decay = level.ratio_next / level.ratio
    ahead = x0 + level.extrapolation * (x0 - previous)
    fresh = noise(jax.random.fold_in(key, level.index), x.shape, x.dtype)
    x = level.sigma_next / level.sigma * decay * x + level.alpha_next * (1 - decay**2) * ahead
    x = x + level.sigma_next * jnp.sqrt(1 - decay**2) * fresh
    return x, x0

  return _run(step, jnp.zeros_like, denoise, x_start, **options)


def heun(
  denoise: Denoise,
  x_start: Clips,
  key: Key[Array, ''],
  *,
  churn: float = 0.0,
  churn_min: float = 0.0,
  churn_max: float = math.inf,
  churn_noise: float = 1.0,
  noise: Draw = IID,
  schedule: Schedule,
  steps: Int[ArrayLike, ''],
  **options,
) -> Clips:
  """Heun's method with the churn of EDM (Karras et al. 2022, algorithm 2); second order.

  Two evaluations a step, one in the last. The trapezoid is taken in the angle atan(sigma / alpha),
  where the equation is bounded, not in EDM's sigma / alpha: the same near the data, and a long step
  from pure noise stays sound. `churn` adds noise before each step whose sigma / alpha lies in
  [churn_min, churn_max], of standard deviation `churn_noise`; 0 is deterministic.
  """
  gain = jnp.minimum(churn / steps, math.sqrt(2) - 1)

  def step(at, x, memory, level):
    ratio, t = level.ratio, level.t
    if churn:
      stir = (churn_min <= ratio) & (ratio <= churn_max)
      t = schedule.inverse(-2 * jnp.log(ratio * jnp.where(stir, 1 + gain, 1)))
      t = jnp.maximum(t, level.t)  # not below where it stands, by rounding
      ratio = jnp.exp(-schedule.logsnr(t) / 2)
      fresh = noise(jax.random.fold_in(key, level.index), x.shape, x.dtype)
      added = jnp.sqrt(jnp.maximum(ratio**2 - level.ratio**2, 0)) * churn_noise
      x = schedule.alpha(t) * (x / level.alpha + added * fresh)
    x0, eps = at(x, t)
    reached = level.alpha_next * x0 + level.sigma_next * eps
    half_turn = (jnp.arctan(level.ratio_next) - jnp.arctan(ratio)) / 2

    def corrected():
      x0_next, eps_next = at(reached, level.t_next)
      change = level.alpha_next * (eps_next - eps) - level.sigma_next * (x0_next - x0)
      return reached + half_turn * change

    x = jax.lax.cond(level.index == steps - 1, lambda: reached, corrected)
    return x, memory

  return _run(step, None, denoise, x_start, schedule=schedule, steps=steps, **options)


class Sampler(NamedTuple):
  """What the registry `SAMPLERS` holds; called as it says above.

  Attributes:
    meaning: in a line.
    run: as above.
    evaluations: steps -> how often it calls the denoise function.
  """

  meaning: str
  run: Callable[..., Clips]
  evaluations: Callable[[int], int] = lambda steps: steps

  def __call__(self, *args, **options) -> Clips:
    return self.run(*args, **options)


SAMPLERS = {
  'ddpm': Sampler('ancestral: all of the noise is drawn anew at each step', ddpm),
  'ddim': Sampler('first order, no fresh noise', ddim),
  'dpmpp_2m': Sampler('DPM-Solver++, second order in two steps', dpmpp_2m),
  'dpmpp_2m_sde': Sampler('the same with fresh noise', dpmpp_2m_sde),
  'heun': Sampler(
    'second order in one step, of two evaluations', heun, lambda steps: 2 * steps - 1
  ),
  'euler': Sampler('first order in sigma / alpha', euler),
}


def find(name: str) -> Sampler:
  """ValueError with the choices for an unknown name."""
  if name not in SAMPLERS:
    raise ValueError(f'sampler {name!r} is unknown; choose one of {", ".join(SAMPLERS)}')
  return SAMPLERS[name]


class _Level(NamedTuple):
  """One step, from a noise level to the next; `ratio` is sigma / alpha. Scalars inside the loop."""

  index: Array
  t: Array
  alpha: Array
  sigma: Array
  ratio: Array
  t_next: Array
  alpha_next: Array
  sigma_next: Array
  ratio_next: Array
  extrapolation: Array  # of x0 from the previous and this level to half-way through the step


def _run(
  step: Callable,
  remember: Callable | None,
  denoise: Denoise,
  x_start: Clips,
  *,
  schedule: Schedule,
  steps: Int[ArrayLike, ''],
  most_steps: int | None = None,
  t_start: Float[ArrayLike, ''] = 1.0,
  spacing: str | Callable = 'uniform_t',
) -> Clips:
  """Loops `step(at, x, memory, level) -> (x, memory)` over the levels of the spacing."""
  if most_steps is None and steps < 1:
    raise ValueError(f'steps is {steps}; a sampler takes at least one')
  x = x_start.astype(jnp.promote_types(x_start.dtype, jnp.float32))

  def at(x, t):
    x0, eps = denoise(x, jnp.full(x.shape[:1], t, x.dtype))
    return x0.astype(x.dtype), eps.astype(x.dtype)

  def body(carry, level):
    return step(at, *carry, level), None

  index, start = jnp.arange(most_steps or steps), (x, remember and remember(x))
  levels = _levels(schedule, jnp.asarray(t_start, x.dtype), index, steps, spacing)
  if most_steps is None:
    return jax.lax.scan(body, start, levels)[0][0]
  at_step = lambda i: jax.tree.map(lambda values: values[i], levels)
  return jax.lax.fori_loop(0, steps, lambda i, carry: body(carry, at_step(i))[0], start)[0]


def _levels(schedule, t_start, index, steps, spacing) -> _Level:
  """Steps of a sampler by their index; the last one ends at the clean clip exactly."""
  if isinstance(spacing, str):
    if spacing not in SPACINGS:
      raise ValueError(f'spacing {spacing!r} is unknown; choose one of {", ".join(SPACINGS)}')
    spacing = SPACINGS[spacing]
  t, last = spacing(schedule, t_start, index, steps), index == steps - 1
  alpha, sigma, half_logsnr = schedule.alpha(t), schedule.sigma(t), schedule.logsnr(t) / 2
  ratio = jnp.exp(-half_logsnr)
  then = lambda values, end: jnp.where(last, end, jnp.roll(values, -1))
  # Second order between noisy levels only: the first step knows no slope, the last is infinite.
  width = jnp.roll(half_logsnr, -1) - half_logsnr
  inner = (index > 0) & ~last
  extrapolation = jnp.where(inner, width / (2 * jnp.where(inner, jnp.roll(width, 1), 1)), 0)
  return _Level(
    index, t, alpha, sigma, ratio,
    then(t, 0), then(alpha, 1), then(sigma, 0), then(ratio, 0),
    extrapolation,
  )  # fmt: skip
