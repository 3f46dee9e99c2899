"""What a network predicts, and the one place where that becomes the clean clip and the noise.

Every formula holds for any schedule, x_t = alpha x0 + sigma eps, variance preserving or not, and
is finite at t = 0 and t = 1. Reading x0 out of 'eps' multiplies its error by sigma / alpha, and eps
out of 'x0' by alpha / sigma: that is in the problem, not in the arithmetic, and why 'v' is the
default.
"""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from hgdt_jax.diffusion.schedules import Clips, Schedule, Times

Network = Callable[[Clips, Times], Clips]  # (x, t) -> output
Denoise = Callable[[Clips, Times], tuple[Clips, Clips]]  # (x_t, t) -> x0, eps

KINDS = ('v', 'eps', 'x0', 'edm', 'flow')


@dataclasses.dataclass(frozen=True)
class Parameterization:
  """One of KINDS; hashable, so static under jit.

  v: alpha eps - sigma x0 (Salimans & Ho 2022). eps: the noise. x0: the clip. flow: eps - x0, the
  velocity of the straight path. edm: the preconditioned network of Karras et al. 2022, whose input
  is scaled to unit variance for data of standard deviation `sigma_data`.
  """

  kind: str = 'v'
  sigma_data: float = 0.5

  def __post_init__(self):
    if self.kind not in KINDS:
      raise ValueError(
        f'parameterization {self.kind!r} is unknown; choose one of {", ".join(KINDS)}'
      )

  def to_x0_eps(
    self, output: Clips, x_t: Clips, t: Times, schedule: Schedule
  ) -> tuple[Clips, Clips]:
    """Clean clip and noise that the network's output stands for at (x_t, t)."""
    a, s = schedule.alpha_sigma(t, x_t)
    if self.kind == 'eps':
      return (x_t - s * output) / a, _like(output, a)
    if self.kind == 'x0':
      return _like(output, a), (x_t - a * output) / s
    if self.kind == 'v':
      power = a**2 + s**2
      return (a * x_t - s * output) / power, (s * x_t + a * output) / power
    if self.kind == 'flow':
      return (x_t - s * output) / (a + s), (x_t + a * output) / (a + s)
    power, scaled = self._edm(a, s, output)
    return (
      (a * self.sigma_data**2 * x_t + s * scaled) / power,
      (s * x_t - a * scaled) / power,
    )

  def target(self, x0: Clips, eps: Clips, t: Times, schedule: Schedule) -> Clips:
    """What a perfect network returns for that clip and noise."""
    a, s = schedule.alpha_sigma(t, x0)
    if self.kind == 'eps':
      return _like(eps, a)
    if self.kind == 'x0':
      return _like(x0, a)
    if self.kind == 'v':
      return a * eps - s * x0
    if self.kind == 'flow':
      return _like(eps, a) - x0
    power = s**2 + (a * self.sigma_data) ** 2
    return (s * x0 - a * self.sigma_data**2 * eps) / (self.sigma_data * jnp.sqrt(power))

  def scale_input(self, x_t: Clips, t: Times, schedule: Schedule) -> Clips:
    """What the network is fed in place of x_t: x_t itself, but for 'edm'."""
    if self.kind != 'edm':
      return x_t
    a, s = schedule.alpha_sigma(t, x_t)
    return x_t / jnp.sqrt(s**2 + (a * self.sigma_data) ** 2)

  def error_scale(self, t: Float[Array, '*s'], schedule: Schedule) -> Float[Array, '*s']:
    """Squared error of the output over that of x0."""
    a, s = schedule.alpha(t), schedule.sigma(t)
    return {
      'eps': (a / s) ** 2,
      'x0': jnp.ones_like(a),
      'v': ((a**2 + s**2) / s) ** 2,
      'flow': ((a + s) / s) ** 2,
      'edm': (s**2 + (a * self.sigma_data) ** 2) / (s * self.sigma_data) ** 2,
    }[self.kind]

  def _edm(self, a, s, output):
    power = s**2 + (a * self.sigma_data) ** 2
    return power, self.sigma_data * jnp.sqrt(power) * output


def denoise_fn(network: Network, parameterization: Parameterization, schedule: Schedule) -> Denoise:
  """The network as a denoise function: `(x_t, t) -> (x0, eps)`, arithmetic at least float32."""

  def denoise(x_t, t):
    output = network(parameterization.scale_input(x_t, t, schedule), t)
    return parameterization.to_x0_eps(output, x_t, t, schedule)

  return denoise


def _like(x, reference):
  """x in the precision of the noise levels, so that every kind returns one dtype."""
  return x.astype(jnp.promote_types(x.dtype, reference.dtype))
