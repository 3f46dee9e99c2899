"""Conversions between what networks predict: they invert, agree and stay finite."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax.diffusion import schedules
from hgdt_jax.diffusion.parameterization import KINDS, Parameterization, denoise_fn

SCHEDULES = ('cosine', 'linear', 'edm', 'flow')


def _clips(dtype, count=41):
  t = jnp.linspace(0, 1, count).astype(dtype)
  x0_key, eps_key = jax.random.split(jax.random.key(0))
  shape = (count, 2, 3, 3, 1)
  x0 = jnp.tanh(jax.random.normal(x0_key, shape)).astype(dtype)
  return x0, jax.random.normal(eps_key, shape).astype(dtype), t


def _around(one, other, schedule, x0, eps, t):
  """output of `one` -> (x0, eps) -> `other` -> (x0, eps) -> output of `one`, beside the first."""
  x_t = schedule.diffuse(x0, eps, t)
  output = one.target(x0, eps, t, schedule)
  there = other.target(*one.to_x0_eps(output, x_t, t, schedule), t, schedule)
  return one.target(*other.to_x0_eps(there, x_t, t, schedule), t, schedule), output


@pytest.mark.parametrize('name', SCHEDULES)
@pytest.mark.parametrize('one', KINDS)
def test_every_pair_of_kinds_inverts_to_1e_5_at_every_t(name, one):
  """Ends included; in float64, for x0 out of eps at t = 1 multiplies rounding by up to 2e4."""
  with jax.enable_x64(True):
    for other in KINDS:
      kinds = Parameterization(one), Parameterization(other)
      back, output = _around(*kinds, schedules.make(name), *_clips(jnp.float64))
      np.testing.assert_allclose(back, output, atol=1e-5, err_msg=other)


@pytest.mark.parametrize('name', SCHEDULES)
@pytest.mark.parametrize('one', KINDS)
def test_in_float32_pairs_invert_to_rounding_times_the_conditioning(name, one):
  schedule, (x0, eps, t) = schedules.make(name), _clips(jnp.float32)
  ratio = np.exp(np.abs(np.asarray(schedule.logsnr(t))) / 2).reshape(-1, 1, 1, 1, 1)
  for other in KINDS:
    lossy = other in ('eps', 'x0') and other != one
    back, output = _around(Parameterization(one), Parameterization(other), schedule, x0, eps, t)
    error, bound = np.abs(back - output), 2e-6 * (ratio if lossy else 5)
    assert np.all(error <= np.maximum(bound, 1e-5) * np.maximum(1, np.abs(output))), other


@pytest.mark.parametrize('name', SCHEDULES)
@pytest.mark.parametrize('kind', KINDS)
def test_clip_and_noise_come_back_to_1e_5_at_every_t(name, kind):
  """In float64, for reading x0 out of eps at t = 1 multiplies rounding by sigma / alpha = 2e4."""
  with jax.enable_x64(True):
    schedule = schedules.make(name)
    x0, eps, t = _clips(jnp.float64)
    x_t, p = schedule.diffuse(x0, eps, t), Parameterization(kind)
    got = p.to_x0_eps(p.target(x0, eps, t, schedule), x_t, t, schedule)
    np.testing.assert_allclose(got[0], x0, atol=1e-5)
    np.testing.assert_allclose(got[1], eps, atol=1e-5)


@pytest.mark.parametrize('kind', ['v', 'flow', 'edm'])
def test_well_conditioned_kinds_need_no_float64(kind):
  schedule = schedules.make('cosine')
  x0, eps, t = _clips(jnp.float32)
  p = Parameterization(kind)
  got = p.to_x0_eps(p.target(x0, eps, t, schedule), schedule.diffuse(x0, eps, t), t, schedule)
  np.testing.assert_allclose(got[0], x0, atol=1e-5)
  np.testing.assert_allclose(got[1], eps, atol=1e-5)


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize('name', SCHEDULES)
def test_no_nan_at_the_ends_and_one_dtype(name, dtype):
  schedule = schedules.make(name)
  x0, eps, t = _clips(dtype, count=2)  # t = 0 and t = 1
  x_t = schedule.diffuse(x0, eps, t).astype(dtype)
  for p in map(Parameterization, KINDS):
    output = p.target(x0, eps, t, schedule)
    results = [output, *p.to_x0_eps(output.astype(dtype), x_t, t, schedule)]
    results += [p.scale_input(x_t, t, schedule), p.error_scale(t, schedule)]
    assert all(jnp.all(jnp.isfinite(value)) for value in results), p
    assert all(value.dtype == jnp.float32 for value in results[:3]), p


@pytest.mark.parametrize('name', SCHEDULES)
def test_error_scale_is_the_ratio_of_squared_errors(name):
  with jax.enable_x64(True):
    schedule = schedules.make(name)
    x0, eps, t = _clips(jnp.float64)
    x_t = schedule.diffuse(x0, eps, t)
    for p in map(Parameterization, KINDS):
      output = p.target(x0, eps, t, schedule)
      wrong, _ = p.to_x0_eps(output + 0.5, x_t, t, schedule)
      ratio = 0.25 / jnp.mean((wrong - x0) ** 2, (1, 2, 3, 4))
      np.testing.assert_allclose(ratio, p.error_scale(t, schedule), rtol=1e-3, err_msg=p.kind)


def test_edm_preconditioning_is_the_published_one():
  """D(x; s) = c_skip x + c_out F(c_in x), table 1 of Karras et al. 2022, x = x_t / alpha."""
  schedule, sigma_data = schedules.make('edm'), 0.5
  p = Parameterization('edm', sigma_data)
  t = jnp.array([0.1, 0.5, 0.9])
  x_t, output = jax.random.normal(jax.random.key(1), (2, 3, 4))
  s = jnp.exp(-schedule.logsnr(t) / 2)[:, None]
  x = x_t * jnp.sqrt(1 + s**2)
  root = jnp.sqrt(s**2 + sigma_data**2)
  want = sigma_data**2 / root**2 * x + s * sigma_data / root * output
  np.testing.assert_allclose(p.to_x0_eps(output, x_t, t, schedule)[0], want, atol=1e-5)
  np.testing.assert_allclose(p.scale_input(x_t, t, schedule), x / root, atol=1e-5)


@pytest.mark.parametrize('kind', KINDS)
def test_denoise_fn_feeds_the_scaled_input_and_converts(kind):
  schedule, p = schedules.make('cosine'), Parameterization(kind, sigma_data=0.3)
  x0, eps, t = _clips(jnp.float32)
  t = jnp.clip(t, 0.1, 0.9)
  x_t, seen = schedule.diffuse(x0, eps, t), []

  def network(x, t_given):
    seen.append((x, t_given))
    return p.target(x0, eps, t_given, schedule)

  got = denoise_fn(network, p, schedule)(x_t, t)
  np.testing.assert_allclose(got[0], x0, atol=1e-5)
  np.testing.assert_allclose(got[1], eps, atol=1e-5)
  alpha, sigma = schedule.alpha_sigma(t, x_t)
  scale = jnp.sqrt(sigma**2 + 0.09 * alpha**2) if kind == 'edm' else 1
  np.testing.assert_allclose(seen[0][0], x_t / scale, rtol=1e-6)


def test_unknown_kind_is_told():
  with pytest.raises(ValueError, match='v, eps, x0, edm, flow'):
    Parameterization('velocity')
