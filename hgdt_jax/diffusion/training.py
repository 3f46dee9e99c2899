"""The denoising loss: which noise levels are drawn, how each is weighted, and the error itself."""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from hgdt_jax.diffusion.noise import IID, Noise
from hgdt_jax.diffusion.parameterization import Network, Parameterization
from hgdt_jax.diffusion.schedules import Schedule

TIMES = ('uniform', 'truncated', 'logit_normal', 'log_normal')
WEIGHTS = ('uniform', 'min_snr', 'clipped_snr', 'edm', 'sigmoid')


@dataclasses.dataclass(frozen=True)
class TimeDistribution:
  """Distribution of the noise level t in training; one of TIMES, hashable.

  uniform: on [0, 1]. truncated: a `share` of the samples uniformly on [0, tau], the levels that a
  refiner of drafts works on, the rest on [tau, 1]. logit_normal: t = sigmoid(mean + std n) (Esser
  et al. 2024). log_normal: log(sigma / alpha) = mean + std n (EDM, which takes -1.2 and 1.2).
  """

  kind: str = 'uniform'
  tau: float = 0.5
  share: float = 0.75
  mean: float = 0.0
  std: float = 1.0

  def __post_init__(self):
    if self.kind not in TIMES:
      raise ValueError(
        f'time distribution {self.kind!r} is unknown; choose one of {", ".join(TIMES)}'
      )
    if not (0 < self.tau < 1 and 0 <= self.share <= 1):
      raise ValueError(
        f'time distribution: tau is {self.tau} and share {self.share}; '
        'they must lie in (0, 1) and [0, 1]'
      )

  def quantile(self, u: Float[Array, '*s'], schedule: Schedule) -> Float[Array, '*s']:
    """The t below which a fraction u in (0, 1) of the samples lies."""
    if self.kind == 'uniform':
      return u
    if self.kind == 'truncated':
      ends = jnp.array([0, self.share, 1], u.dtype), jnp.array([0, self.tau, 1], u.dtype)
      return jnp.interp(u, *ends)
    normal = self.mean + self.std * jax.scipy.special.ndtri(u)
    if self.kind == 'logit_normal':
      return jax.nn.sigmoid(normal)
    return schedule.inverse(-2 * normal)


def sample_times(
  key: Key[Array, ''], batch: int, distribution: TimeDistribution, schedule: Schedule
) -> Float[Array, ' {batch}']:
  """Noise levels, one from each of `batch` equally likely strata, in random order.

  Stratified over the whole batch it is called for: call it once on the global batch. The order is
  random so that no fixed row, as those of joint image training, always gets the same stratum.
  """
  jitter_key, order_key = jax.random.split(key)
  u = (jnp.arange(batch) + jax.random.uniform(jitter_key, (batch,))) / batch
  u = jnp.clip(u, 1e-6, 1 - 1e-6)  # the normal quantile is infinite at the ends
  return distribution.quantile(jax.random.permutation(order_key, u), schedule)


@dataclasses.dataclass(frozen=True)
class LossWeight:
  """Weight of the squared error as a function of the log-SNR; one of WEIGHTS, hashable.

  uniform: 1 on the network's own output, whatever it predicts. The others are weights on the error
  of x0, so that they mean the same for every parameterisation:
  min_snr: min(SNR, gamma) (Hang et al. 2023). clipped_snr: that, and at least 1 (the truncated
  SNR of Salimans & Ho 2022), so that high noise is learnt too. edm: 1/sigma_edm^2 + 1/sigma_data^2
  (Karras et al. 2022). sigmoid: SNR sigmoid(bias - logsnr), which is sigmoid(bias - logsnr) on the
  error of eps (Kingma & Gao 2023). None contains the density of t: that is the time distribution's.
  """

  kind: str = 'uniform'
  gamma: float = 5.0
  sigma_data: float = 0.5
  bias: float = 2.0

  def __post_init__(self):
    if self.kind not in WEIGHTS:
      raise ValueError(f'loss weight {self.kind!r} is unknown; choose one of {", ".join(WEIGHTS)}')

  def on_x0(self, logsnr: Float[Array, '*s']) -> Float[Array, '*s']:
    """The weight on the squared error of x0; not defined for 'uniform'."""
    snr = jnp.exp(logsnr)
    return {
      'min_snr': lambda: jnp.minimum(snr, self.gamma),
      'clipped_snr': lambda: jnp.clip(snr, 1.0, self.gamma),
      'edm': lambda: snr + self.sigma_data**-2,
      'sigmoid': lambda: snr * jax.nn.sigmoid(self.bias - logsnr),
    }[self.kind]()

  def on_output(
    self, t: Float[Array, '*s'], parameterization: Parameterization, schedule: Schedule
  ) -> Float[Array, '*s']:
    """The weight on the squared error of the network's output."""
    if self.kind == 'uniform':
      return jnp.ones_like(schedule.logsnr(t))
    return self.on_x0(schedule.logsnr(t)) / parameterization.error_scale(t, schedule)


UNIFORM_TIMES, UNIFORM_WEIGHT = TimeDistribution(), LossWeight()


def diffusion_loss(
  network: Network,
  x0: Float[Array, 'b t h w c'],
  key: Key[Array, ''],
  *,
  schedule: Schedule,
  parameterization: Parameterization,
  times: TimeDistribution = UNIFORM_TIMES,
  weight: LossWeight = UNIFORM_WEIGHT,
  noise: Noise = IID,
) -> tuple[Float[Array, ' b'], dict[str, Float[Array, 'b ...']]]:
  """Weighted mean squared error of the network's output for clips x0 in [-1, 1].

  Returns the loss of each clip, in float32, and what else a stage may want: `t`, `x_t`, the
  predicted `x0`, and `x0_mse` of each clip, unweighted.
  """
  time_key, noise_key = jax.random.split(key)
  x0 = x0.astype(jnp.promote_types(x0.dtype, jnp.float32))
  t = sample_times(time_key, x0.shape[0], times, schedule)
  eps = noise(noise_key, x0.shape, x0.dtype)
  x_t = schedule.diffuse(x0, eps, t)
  output = network(parameterization.scale_input(x_t, t, schedule), t).astype(x0.dtype)
  axes = tuple(range(1, x0.ndim))
  error = jnp.mean((output - parameterization.target(x0, eps, t, schedule)) ** 2, axes)
  loss = weight.on_output(t, parameterization, schedule) * error
  predicted, _ = parameterization.to_x0_eps(output, x_t, t, schedule)
  x0_mse = jnp.mean((predicted - x0) ** 2, axes)
  return loss, {'t': t, 'x_t': x_t, 'x0': predicted, 'x0_mse': x0_mse}
