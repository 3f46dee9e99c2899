"""Data laws whose exact denoiser is known in closed form, as denoise functions for the samplers."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax.diffusion import schedules
from hgdt_jax.diffusion.samplers import SAMPLERS


def _gaussian(schedule, mean, cov):
  """Exact denoiser of N(mean, cov) for clips [B, ...] of n values; mean [n], cov [n, n]."""
  values, basis = np.linalg.eigh(cov)

  def denoise(x_t, t):
    flat = x_t.reshape(len(x_t), -1)
    alpha, sigma = schedule.alpha_sigma(t, flat)
    m, v, u = (jnp.asarray(part, flat.dtype) for part in (mean, values, basis))
    gain = alpha * v[None] / (alpha**2 * v[None] + sigma**2)
    # Sums of products, not matmul: exact in float32 whatever the backend makes of a matmul.
    along = jnp.sum((flat - alpha * m[None])[:, :, None] * u[None], 1)
    x0 = m[None] + jnp.sum((gain * along)[:, None] * u[None], 2)
    eps = (flat - alpha * x0) / sigma
    return x0.reshape(x_t.shape), eps.reshape(x_t.shape)

  return denoise


def _mixture(schedule, means, std, weights):
  """Exact denoiser of a mixture of N(means[k], std^2 I), means [K, n]."""

  def denoise(x_t, t):
    flat = x_t.reshape(len(x_t), -1)
    alpha, sigma = schedule.alpha_sigma(t, flat)
    m, w = jnp.asarray(means, flat.dtype), jnp.asarray(weights, flat.dtype)
    variance = alpha**2 * std**2 + sigma**2  # [B, 1]
    off = flat[:, None] - alpha[:, :, None] * m[None]  # [B, K, n]
    belongs = jax.nn.softmax(jnp.log(w)[None] - jnp.sum(off**2, -1) / (2 * variance), axis=1)
    x0 = m[None] + (alpha * std**2 / variance)[:, :, None] * off
    x0 = jnp.sum(belongs[:, :, None] * x0, 1)
    eps = (flat - alpha * x0) / sigma
    return x0.reshape(x_t.shape), eps.reshape(x_t.shape)

  return denoise


def _process_cov(frames, correlation):
  """Covariance of an AR(1) process of unit variance, [T, T]."""
  index = np.arange(frames)
  return correlation ** np.abs(index[:, None] - index[None])


def _sampler(name, denoise, **options):
  """Compiled `(x, key, tau) -> samples`, on the cosine schedule unless told."""
  options = {'schedule': schedules.make('cosine'), **options}
  return jax.jit(lambda x, key, tau=1.0: SAMPLERS[name](denoise, x, key, t_start=tau, **options))


@pytest.fixture(scope='session')
def exact():
  """`gaussian`, `mixture`: denoisers; `process_cov`: of an AR(1) process; `sampler`: compiled."""
  return types.SimpleNamespace(
    gaussian=_gaussian, mixture=_mixture, process_cov=_process_cov, sampler=_sampler
  )
