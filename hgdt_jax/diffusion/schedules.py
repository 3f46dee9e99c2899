"""Noise schedules in log-SNR form, continuous in the noise level t in [0, 1].

x_t = alpha(t) x + sigma(t) eps, and logsnr(t) = 2 log(alpha / sigma) falls strictly from t = 0
(clean) to t = 1 (noise). All schedules but `flow` preserve variance, alpha^2 + sigma^2 = 1. Each is
finite at both ends because its log-SNR stops at a stated limit. Arithmetic is float32, or float64
when t is.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

Clips = Float[Array, ' b *d']  # or what else is diffused
Times = Float[Array, ' b']  # their noise levels t


def make(name: str, **options) -> 'Schedule':
  """The schedule called `name`, one of SCHEDULES, with its fields as options.

  Raises ValueError for an unknown name or an option the schedule does not have.
  """
  if name not in SCHEDULES:
    raise ValueError(f'schedule {name!r} is unknown; choose one of {", ".join(sorted(SCHEDULES))}')
  try:
    return SCHEDULES[name](**options)
  except TypeError as error:
    raise ValueError(f'schedule {name!r}: {error}') from error


@dataclasses.dataclass(frozen=True)
class Schedule:
  """Base of all schedules: a subclass gives `logsnr` and `inverse`. Hashable."""

  def logsnr(self, t: Float[ArrayLike, '*s']) -> Float[Array, '*s']:
    """2 log(alpha / sigma) at noise level t."""
    raise NotImplementedError

  def inverse(self, logsnr: Float[ArrayLike, '*s']) -> Float[Array, '*s']:
    """The noise level t in [0, 1] with that log-SNR; values beyond the ends give the ends."""
    raise NotImplementedError

  def alpha(self, t: Float[ArrayLike, '*s']) -> Float[Array, '*s']:
    """What multiplies the clean clip."""
    return jnp.sqrt(jax.nn.sigmoid(self.logsnr(t)))

  def sigma(self, t: Float[ArrayLike, '*s']) -> Float[Array, '*s']:
    """What multiplies the noise."""
    return jnp.sqrt(jax.nn.sigmoid(-self.logsnr(t)))

  def alpha_sigma(
    self, t: Times, like: Float[Array, '...']
  ) -> tuple[Float[Array, 'b ...'], Float[Array, 'b ...']]:
    """alpha and sigma with as many axes as `like`, for broadcasting."""
    t = _floating(t)
    t = t.reshape(t.shape + (1,) * (like.ndim - t.ndim))
    return self.alpha(t), self.sigma(t)

  def diffuse(self, x0: Float[Array, '#b *d'], eps: Clips, t: Times) -> Clips:
    """alpha(t) x0 + sigma(t) eps."""
    alpha, sigma = self.alpha_sigma(t, x0)
    return alpha * x0 + sigma * eps

  def posterior(self, x_t: Clips, x0: Clips, t: Times, s: Times, fresh: Clips) -> Clips:
    """x_s of the posterior q(x_s | x_t, x0), for s below t and `fresh` standard noise.

    One step of ancestral sampling (Ho et al. 2020, eq. 6 and 7); s = 0 gives x0 itself, nearly.
    """
    alpha, sigma = self.alpha_sigma(t, x_t)
    alpha_s, sigma_s = self.alpha_sigma(s, x_t)
    kept = (sigma_s * alpha / (alpha_s * sigma)) ** 2  # of the noise in x_t
    eps = (x_t - alpha * x0) / sigma
    return alpha_s * x0 + sigma_s * (jnp.sqrt(kept) * eps + jnp.sqrt(1 - kept) * fresh)


@dataclasses.dataclass(frozen=True)
class Cosine(Schedule):
  """alpha = cos, sigma = sin of an angle linear in t (Nichol & Dhariwal 2021, no offset).

  The log-SNR runs from `limit` to -`limit`, plus `shift` everywhere (Hoogeboom et al. 2023).
  """

  shift: float = 0.0
  limit: float = 20.0

  def logsnr(self, t: Float[ArrayLike, '*s']) -> Float[Array, '*s']:
    t = _floating(t)
    first, span = self._angles()
    # cos(angle(t)) = sin(angle(1 - t)): exact near t = 1, where the tangent of a float32 is not.
    return self.shift + 2 * (
      jnp.log(jnp.sin(first + span * (1 - t))) - jnp.log(jnp.sin(first + span * t))
    )

  def inverse(self, logsnr: Float[ArrayLike, '*s']) -> Float[Array, '*s']:
    first, span = self._angles()
    angle = jnp.arctan(jnp.exp((self.shift - _floating(logsnr)) / 2))
    return jnp.clip((angle - first) / span, 0, 1)

  def _angles(self):
    first = math.atan(math.exp(-self.limit / 2))
    return first, math.pi / 2 - 2 * first


@dataclasses.dataclass(frozen=True)
class Linear(Schedule):
  """The linear betas of DDPM (Ho et al. 2020) at real-valued times: DDPM's n-th is t = n / times.

  log(alpha^2) is the integral of log(1 - beta), which equals DDPM's sum to 1e-7 at whole n
  (midpoint rule, and a Gauss rule in place of the integral). The log-SNR is clipped to
  [-limit, limit], which for the default betas touches t < 3e-8 only.
  """

  beta_first: float = 1e-4
  beta_last: float = 0.02
  times: int = 1000
  limit: float = 20.0

  def logsnr(self, t: Float[ArrayLike, '*s']) -> Float[Array, '*s']:
    loss = self._log_loss(_floating(t))
    return jnp.clip(-jnp.log(jnp.expm1(loss)), -self.limit, self.limit)

  def inverse(self, logsnr: Float[ArrayLike, '*s']) -> Float[Array, '*s']:
    wanted = jax.nn.softplus(-jnp.clip(_floating(logsnr), -self.limit, self.limit))
    start, slope = self._line()
    # The root of the integral of beta, then Newton for the integral of -log(1 - beta).
    t = 2 * wanted / (self.times * (start + jnp.sqrt(start**2 + 2 * slope * wanted / self.times)))
    for _ in range(3):
      t = t + (self._log_loss(t) - wanted) / (self.times * jnp.log1p(-(start + slope * t)))
    return jnp.clip(t, 0, 1)

  def _line(self):
    """beta(t) = start + slope t; whole steps n are the midpoints of [n - 1/2, n + 1/2]."""
    step = (self.beta_last - self.beta_first) / (self.times - 1)
    return self.beta_first - step / 2, step * self.times

  def _log_loss(self, t):
    """-log(alpha^2), by three-point Gauss-Legendre on [0, t]."""
    start, slope = self._line()
    node = math.sqrt(0.6) / 2
    rule = [(0.5 - node, 5 / 18), (0.5, 8 / 18), (0.5 + node, 5 / 18)]
    return -self.times * t * sum(w * jnp.log1p(-(start + slope * u * t)) for u, w in rule)


@dataclasses.dataclass(frozen=True)
class EDM(Schedule):
  """Karras et al. 2022: noise-to-signal sigma / alpha linear in its rho-th root between two ends.

  In the variance preserving frame: x_t is EDM's noisy clip divided by sqrt(1 + sigma_edm^2).
  """

  sigma_min: float = 0.002
  sigma_max: float = 80.0
  rho: float = 7.0

  def logsnr(self, t: Float[ArrayLike, '*s']) -> Float[Array, '*s']:
    low, high = self._roots()
    return -2 * self.rho * jnp.log(low + (high - low) * _floating(t))

  def inverse(self, logsnr: Float[ArrayLike, '*s']) -> Float[Array, '*s']:
    low, high = self._roots()
    return jnp.clip((jnp.exp(_floating(logsnr) / (-2 * self.rho)) - low) / (high - low), 0, 1)

  def _roots(self):
    return self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)


@dataclasses.dataclass(frozen=True)
class Flow(Schedule):
  """The straight path of flow matching (Lipman et al. 2023); its variance is not preserved.

  alpha + sigma = 1, and alpha runs linearly from 1 - d to d: 1 - t and t but for d, set by the
  log-SNR stopping at +-limit (d = 4.5e-5 by default).
  """

  limit: float = 20.0

  def alpha(self, t: Float[ArrayLike, '*s']) -> Float[Array, '*s']:
    return self._end() + (1 - 2 * self._end()) * (1 - _floating(t))

  def sigma(self, t: Float[ArrayLike, '*s']) -> Float[Array, '*s']:
    return self._end() + (1 - 2 * self._end()) * _floating(t)

  def logsnr(self, t: Float[ArrayLike, '*s']) -> Float[Array, '*s']:
    return 2 * (jnp.log(self.alpha(t)) - jnp.log(self.sigma(t)))

  def inverse(self, logsnr: Float[ArrayLike, '*s']) -> Float[Array, '*s']:
    sigma = jax.nn.sigmoid(-_floating(logsnr) / 2)
    return jnp.clip((sigma - self._end()) / (1 - 2 * self._end()), 0, 1)

  def _end(self):
    return 1 / (1 + math.exp(self.limit / 2))


def shifted_cosine(resolution: int, base_resolution: int = 64, limit: float = 20.0) -> Cosine:
  """Cosine with more noise for larger frames: the base's log-SNR after averaging down to it."""
  return Cosine(shift=2 * math.log(base_resolution / resolution), limit=limit)


SCHEDULES = {
  'cosine': Cosine,
  'shifted_cosine': shifted_cosine,
  'linear': Linear,
  'edm': EDM,
  'flow': Flow,
}


def _floating(t) -> Array:
  """At least float32: a noise level in bfloat16 has no room for 1 - t."""
  t = jnp.asarray(t)
  return t.astype(jnp.promote_types(t.dtype, jnp.float32))
