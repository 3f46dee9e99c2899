"""Schedules: closed forms, inverses and finite ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax.diffusion import schedules

ALL = {
  'cosine': {},
  'shifted_cosine': {'resolution': 128},
  'linear': {},
  'edm': {},
  'flow': {},
}
RANGE = {  # log-SNR at t = 0 and t = 1, by hand
  'cosine': (20, -20),
  'shifted_cosine': (20 - 2 * np.log(2), -20 - 2 * np.log(2)),
  'linear': (20, np.log(4.0358e-5)),  # DDPM's last alphas_cumprod
  'edm': (-2 * np.log(0.002), -2 * np.log(80)),
  'flow': (20, -20),
}


@pytest.fixture(params=ALL)
def named(request):
  return request.param, schedules.make(request.param, **ALL[request.param])


def test_logsnr_falls_between_its_stated_ends(named):
  name, schedule = named
  logsnr = schedule.logsnr(jnp.linspace(0, 1, 1001))
  assert jnp.all(jnp.diff(logsnr) < 0)
  np.testing.assert_allclose([logsnr[0], logsnr[-1]], RANGE[name], rtol=1e-4)


def test_inverse_gives_back_t_everywhere(named):
  _, schedule = named
  t = jnp.linspace(0, 1, 1001)
  np.testing.assert_allclose(schedule.inverse(schedule.logsnr(t)), t, atol=1e-6)
  np.testing.assert_allclose(schedule.inverse(jnp.array([99.0, -99.0])), [0, 1], atol=1e-6)


def test_alpha_and_sigma_agree_with_the_logsnr_and_the_frame(named):
  name, schedule = named
  t = jnp.linspace(0, 1, 101)
  alpha, sigma = schedule.alpha(t), schedule.sigma(t)
  total = alpha + sigma if name == 'flow' else alpha**2 + sigma**2
  np.testing.assert_allclose(total, 1, atol=1e-6)
  np.testing.assert_allclose(2 * jnp.log(alpha / sigma), schedule.logsnr(t), atol=1e-4)


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_everything_is_finite_at_both_ends(named, dtype):
  _, schedule = named
  t = jnp.array([0, 1], dtype)
  for value in (schedule.logsnr(t), schedule.inverse(schedule.logsnr(t).astype(dtype))):
    assert jnp.all(jnp.isfinite(value)) and value.dtype == jnp.float32
  assert jnp.all(schedule.alpha(t) > 0) and jnp.all(schedule.sigma(t) > 0)


def test_alpha_and_sigma_take_the_rank_of_the_clip(named):
  _, schedule = named
  alpha, sigma = schedule.alpha_sigma(jnp.array([0.2, 0.7]), jnp.zeros((2, 3, 4, 5, 6)))
  assert alpha.shape == sigma.shape == (2, 1, 1, 1, 1)


def test_edm_is_the_published_sigma_schedule():
  i = np.arange(10)
  roots = 80 ** (1 / 7) + i / 9 * (0.002 ** (1 / 7) - 80 ** (1 / 7))  # equation 5
  ratio = jnp.exp(-schedules.make('edm').logsnr(jnp.asarray(1 - i / 9)) / 2)
  np.testing.assert_allclose(ratio, roots**7, rtol=1e-4)


def test_linear_is_ddpm_s():
  betas = np.linspace(1e-4, 0.02, 1000)
  with jax.enable_x64(True):  # betas are small differences
    logsnr = schedules.make('linear').logsnr(np.arange(1, 1001) / 1000)
    alphas_cumprod = np.asarray(jax.nn.sigmoid(logsnr))
  np.testing.assert_allclose(alphas_cumprod, np.cumprod(1 - betas), rtol=1e-6)
  found = 1 - alphas_cumprod / np.concatenate([[1], alphas_cumprod[:-1]])
  np.testing.assert_allclose(found, betas, rtol=1e-6)


def test_schedules_are_static_under_jit():
  traces = []

  @jax.jit
  def count(t):
    traces.append(1)
    return schedules.make('cosine').alpha(t)

  static = jax.jit(lambda schedule, t: schedule.alpha(t), static_argnums=0)
  for _ in range(2):
    np.testing.assert_allclose(static(schedules.make('cosine'), 0.3), count(0.3), rtol=1e-6)
  assert static._cache_size() == 1 and len(traces) == 1


def test_unknown_names_and_options_are_told():
  with pytest.raises(ValueError, match='cosine, edm, flow'):
    schedules.make('cosin')
  with pytest.raises(ValueError, match=r"'cosine'.*shfit"):
    schedules.make('cosine', shfit=1.0)


@pytest.mark.parametrize('name', ['cosine', 'flow'])
def test_a_posterior_step_has_the_marginal_law(name):
  """x_s drawn from q(x_s | x_t, x0) has the law of x0 diffused to s, and covariance with x_t."""
  schedule, keys, count = schedules.make(name), jax.random.split(jax.random.key(0)), 200_000
  noise, fresh = (jax.random.normal(key, (count, 1)) for key in keys)
  t, s = jnp.full(count, 0.7), jnp.full(count, 0.3)
  x0 = jnp.full((count, 1), 0.5)
  x_t = jax.jit(schedule.diffuse)(x0, noise, t)
  x_s = np.asarray(jax.jit(schedule.posterior)(x_t, x0, t, s, fresh))
  alpha, sigma = schedule.alpha(s), schedule.sigma(s)
  np.testing.assert_allclose(x_s.mean(), alpha[0] * 0.5, atol=0.01)
  np.testing.assert_allclose(x_s.std(), sigma[0], rtol=0.01)
  # x_t = (alpha_t / alpha_s) x_s + independent noise
  slope = np.cov(x_s[:, 0], x_t[:, 0])[0, 1] / np.var(x_s)
  np.testing.assert_allclose(slope, (schedule.alpha(t) / alpha)[0], rtol=0.02)


def test_a_posterior_step_to_nothing_is_the_clip():
  schedule = schedules.make('cosine')
  x0, x_t, fresh = jax.random.normal(jax.random.key(0), (3, 5, 2))
  got = jax.jit(schedule.posterior)(x_t, x0, jnp.full(5, 0.4), jnp.zeros(5), fresh)
  np.testing.assert_allclose(got, x0, atol=1e-3)
