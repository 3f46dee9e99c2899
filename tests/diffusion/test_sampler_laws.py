"""Samplers against closed forms: convergence order, law of the samples, truncation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

from hgdt_jax.diffusion import schedules
from hgdt_jax.diffusion.noise import Noise

COSINE = schedules.make('cosine')
SHAPE = (3, 1, 2, 1)  # T, H, W, C: six correlated values a clip
MEAN = np.linspace(-0.5, 0.5, 6)
COUNT = 2048  # clips where a law is checked
MIXTURE = {'means': np.array([[-0.8], [0.6]]), 'std': 0.3, 'weights': np.array([0.35, 0.65])}


def _cov():
  root = np.random.default_rng(0).normal(size=(6, 6)) / 4
  return root @ root.T + 0.02 * np.eye(6)


def _slope(steps, errors):
  return -np.polyfit(np.log(steps), np.log(errors), 1)[0]


def _exact_gaussian(x, t, schedule, cov):
  """Where the probability flow takes x at t: the marginals' whitened values are constant."""
  alpha, sigma = (float(f(jnp.asarray(t))) for f in (schedule.alpha, schedule.sigma))
  values, basis = np.linalg.eigh(cov)
  along = (np.asarray(x).reshape(len(x), -1) - alpha * MEAN) @ basis
  along = along * np.sqrt(values / (alpha**2 * values + sigma**2))
  return (MEAN + along @ basis.T).reshape(x.shape)


def _exact_mixture(x, t, schedule):
  """In one dimension the flow keeps ranks: the quantile at t goes to the same quantile at 0."""
  alpha, sigma = (float(f(jnp.asarray(t))) for f in (schedule.alpha, schedule.sigma))
  means, weights = MIXTURE['means'][:, 0], MIXTURE['weights']

  def cdf(value, a, s):
    return np.sum(weights * stats.norm.cdf(value, a * means, np.hypot(a * MIXTURE['std'], s)))

  def back(value):
    rank = cdf(value, alpha, sigma)
    return optimize.brentq(lambda v: cdf(v, 1, 0) - rank, -5, 5, xtol=1e-12)

  return np.array([back(value) for value in np.asarray(x).ravel()]).reshape(x.shape)


ORDERS = [
  ('ddim', 'uniform_t', 1),
  ('heun', 'uniform_t', 2),
  ('dpmpp_2m', 'uniform_logsnr', 2),
]


@pytest.mark.parametrize('name,spacing,order', ORDERS)
@pytest.mark.parametrize('law', ['gaussian', 'mixture'])
def test_deterministic_samplers_converge_at_their_order(exact, law, name, spacing, order):
  steps = np.array([32, 64, 128])
  with jax.enable_x64(True):
    if law == 'gaussian':
      denoise = exact.gaussian(COSINE, MEAN, _cov())
      x = jnp.asarray(np.random.default_rng(1).normal(size=(4, *SHAPE)))
      want = _exact_gaussian(x, 1.0, COSINE, _cov())
    else:
      denoise = exact.mixture(COSINE, **MIXTURE)
      x = jnp.linspace(-2, 2, 9).reshape(9, 1, 1, 1, 1)
      want = _exact_mixture(x, 1.0, COSINE)
    errors = []
    for n in map(int, steps):
      got = exact.sampler(name, denoise, steps=n, spacing=spacing)(x, jax.random.key(0))
      errors.append(float(np.sqrt(np.mean((got - want) ** 2))))
  slope = _slope(steps, errors)
  print(f'{law} {name} {spacing}: slope {slope:.2f}, errors', *(f'{e:.1e}' for e in errors))
  assert abs(slope - order) < 0.2


@pytest.mark.parametrize('name,order', [('ddpm', 1), ('dpmpp_2m_sde', 2)])
def test_stochastic_samplers_converge_in_law(exact, name, order):
  """Variance of a Gaussian, without Monte Carlo: the sampler is linear in its noises.

  Row 0 starts from 1 and draws no noise, row i + 1 starts from 0 and draws 1 in step i only.
  """
  errors, steps = [], np.array([32, 64, 128])
  key = jax.random.key(0)
  with jax.enable_x64(True):
    denoise = exact.gaussian(COSINE, np.zeros(1), np.array([[0.3]]))
    for n in map(int, steps):
      of_steps = jax.random.key_data(jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(n)))

      def impulse(step_key, shape, dtype, of_steps=of_steps):
        hit = jnp.all(of_steps == jax.random.key_data(step_key)[None], axis=1)
        return jnp.concatenate([jnp.zeros(1), hit]).astype(dtype).reshape(shape)

      x = jnp.zeros((n + 1, 1, 1, 1, 1)).at[0].set(1)
      rows = exact.sampler(name, denoise, steps=n, noise=impulse, spacing='uniform_logsnr')(x, key)
      errors.append(abs(float(jnp.sum(rows**2)) - 0.3))
  slope = _slope(steps, errors)
  print(f'{name}: slope of the variance {slope:.2f}, errors', *(f'{e:.1e}' for e in errors))
  assert abs(slope - order) < 0.25


LAWS = [
  ('ddpm', {'steps': 200}),
  ('ddim', {'steps': 200}),
  ('ddim', {'steps': 200, 'eta': 0.5}),
  ('dpmpp_2m', {'steps': 50}),
  ('dpmpp_2m_sde', {'steps': 50}),
  ('heun', {'steps': 50}),
  ('heun', {'steps': 50, 'churn': 20.0}),
]


@pytest.mark.parametrize('name,options', LAWS)
def test_mean_and_covariance_within_monte_carlo_error(exact, name, options):
  """From pure noise; the steps are enough that what is left is Monte-Carlo error."""
  start, key = jax.random.split(jax.random.key(3))
  x = jax.random.normal(start, (COUNT, *SHAPE))
  samples = exact.sampler(name, exact.gaussian(COSINE, MEAN, _cov()), **options)(x, key)
  _check_law(samples, name)


def _check_law(samples, label):
  """Mean and covariance of the samples within 4.5 standard errors, plus 1% for the steps."""
  samples = np.asarray(samples, np.float64).reshape(-1, 6)
  count, cov = len(samples), _cov()
  scale = np.sqrt(np.diag(cov))
  off = (samples.mean(0) - MEAN) / scale
  spread = (np.cov(samples.T) - cov) / np.outer(scale, scale)
  correlation = cov / np.outer(scale, scale)
  error = np.sqrt((1 + correlation**2) / count)  # of an entry of the sample covariance
  print(f'{label}: mean {np.abs(off).max():.3f}, covariance {np.abs(spread).max():.3f}')
  assert np.all(np.abs(off) < 4.5 / np.sqrt(count) + 0.01)
  assert np.all(np.abs(spread) < 4.5 * error + 0.01)


@pytest.mark.parametrize('name', ['ddim', 'ddpm', 'dpmpp_2m', 'heun'])
def test_mixture_is_sampled_with_its_weights(exact, name):
  start, key = jax.random.split(jax.random.key(4))
  x = jax.random.normal(start, (COUNT, 1, 1, 1, 1))
  samples = exact.sampler(name, exact.mixture(COSINE, **MIXTURE), steps=100)(x, key)

  def cdf(value):
    z = (value[:, None] - MIXTURE['means'].T) / MIXTURE['std']
    return stats.norm.cdf(z) @ MIXTURE['weights']

  distance = stats.kstest(np.asarray(samples).ravel(), cdf).statistic
  print(f'{name}: Kolmogorov distance {distance:.4f}')
  assert distance < 1.95 / np.sqrt(COUNT) + 0.005  # the 0.1% quantile, and the steps


@pytest.mark.parametrize('name', ['ddim', 'ddpm', 'dpmpp_2m', 'dpmpp_2m_sde', 'heun'])
def test_truncation_from_the_true_marginal_is_exact_at_every_tau(exact, name):
  """Diffuse true clips to tau and sample from there: the law is that of the data again."""
  refine = exact.sampler(name, exact.gaussian(COSINE, MEAN, _cov()), steps=100)
  for seed, tau in enumerate((0.2, 0.5, 0.8)):
    noise_key, key = jax.random.split(jax.random.key(seed))
    normal = np.random.default_rng(seed).normal(size=(COUNT, 6))
    clips = jnp.asarray(MEAN + normal @ np.linalg.cholesky(_cov()).T).reshape(COUNT, *SHAPE)
    x = COSINE.diffuse(clips, jax.random.normal(noise_key, clips.shape), jnp.full(COUNT, tau))
    _check_law(refine(x, key, tau), f'{name} from {tau}')
  assert refine._cache_size() == 1


@pytest.mark.parametrize('tau', [0.2, 0.5, 0.8])
def test_truncated_flow_ends_where_the_whole_one_does(exact, tau):
  """Without Monte Carlo: the exact flow from tau, against a sampler started there."""
  with jax.enable_x64(True):
    denoise = exact.gaussian(COSINE, MEAN, _cov())
    x = jnp.asarray(np.random.default_rng(2).normal(size=(4, *SHAPE)))
    got = exact.sampler('heun', denoise, steps=256)(x, jax.random.key(0), tau)
    np.testing.assert_allclose(got, _exact_gaussian(x, tau, COSINE, _cov()), atol=1e-4)


def test_correlated_noise_in_training_is_used_in_sampling(exact):
  """Data and noise of the same covariance across frames: the exact denoiser is a scalar gain."""
  noise, frames = Noise('ar1', 0.8), 3
  cov = exact.process_cov(frames, 0.8)

  def denoise(x_t, t):
    alpha, sigma = COSINE.alpha_sigma(t, x_t)
    x0 = alpha * x_t / (alpha**2 + sigma**2)
    return x0, (x_t - alpha * x0) / sigma

  start, key = jax.random.split(jax.random.key(7))
  x = noise(start, (COUNT, frames, 1, 1, 1))
  for name in ('ddpm', 'dpmpp_2m_sde'):
    y = exact.sampler(name, denoise, steps=50, noise=noise)(x, key)
    got = np.cov(np.asarray(y).reshape(COUNT, frames).T)
    np.testing.assert_allclose(got, cov, atol=0.08)
