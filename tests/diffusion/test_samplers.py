"""Samplers as programs: few steps, evaluations, compilations, options, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax.diffusion import schedules
from hgdt_jax.diffusion.samplers import SAMPLERS, find
from hgdt_jax.diffusion.spacing import SPACINGS
from hgdt_jax.diffusion.thresholding import thresholded

COSINE = schedules.make('cosine')
SHAPE = (3, 1, 2, 1)  # T, H, W, C
# ddpm and euler are ddim with another eta
DISTINCT = {name: sampler for name, sampler in SAMPLERS.items() if name not in ('ddpm', 'euler')}


@pytest.fixture
def denoise(exact):
  """The exact denoiser of six independent values a clip."""
  return _six(exact, COSINE)


def _six(exact, schedule, spread=1.0):
  return exact.gaussian(schedule, spread * np.linspace(-0.5, 0.5, 6), 0.1 * np.eye(6))


@pytest.mark.parametrize('schedule', ['cosine', 'linear', 'edm', 'flow'])
def test_any_few_steps_of_any_spacing_and_start_are_sound(exact, schedule):
  """One step is the predicted x0; three never blow up, from t = 1 neither."""
  schedule = schedules.make(schedule)
  denoise = _six(exact, schedule)
  x = jax.random.normal(jax.random.key(5), (8, *SHAPE))

  @jax.jit
  def sample_all(x, tau):
    options = {'schedule': schedule, 't_start': tau}
    every = {
      (name, spacing, steps): sampler(
        denoise, x, jax.random.key(6), steps=steps, spacing=spacing, **options
      )
      for name, sampler in DISTINCT.items()
      for spacing, steps in [(spacing, 3) for spacing in SPACINGS] + [('uniform_t', 1)]
    }
    return every, denoise(x, jnp.full(8, tau))[0]

  for tau in (1.0, 0.4):
    every, predicted = sample_all(x, tau)
    for case, y in every.items():
      assert jnp.all(jnp.abs(y) < 5), (case, tau)
      if case[-1] == 1:
        np.testing.assert_allclose(y, predicted, atol=1e-6, err_msg=str(case))


@pytest.mark.parametrize('name', SAMPLERS)
def test_evaluations_are_what_evaluations_says(exact, denoise, name):
  """Counted while running, not while tracing."""
  calls = []

  def counted(x_t, t):
    jax.debug.callback(lambda: calls.append(1))
    return denoise(x_t, t)

  x = jax.random.normal(jax.random.key(5), (2, *SHAPE))
  for steps in (1, 4):
    calls.clear()
    exact.sampler(name, counted, steps=steps)(x, jax.random.key(6))
    jax.effects_barrier()
    assert len(calls) == find(name).evaluations(steps)


@pytest.mark.parametrize('name', SAMPLERS)
def test_other_noise_tau_and_label_do_not_compile_again(denoise, name):
  traces = []

  @jax.jit
  def sample(x, key, tau, label):
    traces.append(1)

    def labelled(x_t, t):
      x0, eps = denoise(x_t, t)
      return x0 + label.reshape(-1, 1, 1, 1, 1), eps

    return SAMPLERS[name](labelled, x, key, schedule=COSINE, steps=4, t_start=tau)

  results = []
  for seed, tau, label in ((0, 1.0, 0), (1, 0.5, 1), (2, 0.2, 2)):
    start, key = jax.random.split(jax.random.key(seed))
    x = jax.random.normal(start, (2, *SHAPE))
    results.append(sample(x, key, tau, jnp.full(2, label)))
  assert len(traces) == 1 and sample._cache_size() == 1
  assert not np.allclose(results[0], results[1])


@pytest.mark.parametrize('spacing', SPACINGS)
@pytest.mark.parametrize('name', ['ddpm', *DISTINCT])
def test_one_program_takes_any_number_of_steps_up_to_its_most(denoise, name, spacing):
  """And takes the very steps that one compiled for that number takes."""
  x, key = jax.random.normal(jax.random.key(5), (2, *SHAPE)), jax.random.key(6)
  options = dict(schedule=COSINE, spacing=spacing, t_start=0.7)
  any_number = jax.jit(
    lambda x, steps: SAMPLERS[name](denoise, x, key, steps=steps, most_steps=9, **options)
  )
  for steps in (1, 2, 5, 9):
    static = jax.jit(lambda x, steps=steps: SAMPLERS[name](denoise, x, key, steps=steps, **options))
    np.testing.assert_allclose(any_number(x, steps), static(x), atol=2e-6, err_msg=f'{steps} steps')
  assert any_number._cache_size() == 1


@pytest.mark.parametrize('name', DISTINCT)
@pytest.mark.parametrize('threshold', ['static', 'dynamic'])
def test_thresholds_keep_samples_in_range(exact, name, threshold):
  denoise = _six(exact, COSINE, spread=3)  # data that leave [-1, 1]
  x = jax.random.normal(jax.random.key(8), (16, *SHAPE))

  def sample(how):
    inside = thresholded(denoise, COSINE, how)
    return exact.sampler(name, inside, steps=4)(x, jax.random.key(9))

  assert jnp.abs(sample('none')).max() > 1.2
  assert jnp.abs(sample(threshold)).max() <= 1


@pytest.mark.parametrize('name', DISTINCT)
def test_bfloat16_in_gives_finite_float32_out(exact, denoise, name):
  def coarse(x_t, t):
    x0, eps = denoise(x_t.astype(jnp.bfloat16), t)
    return x0.astype(jnp.bfloat16), eps.astype(jnp.bfloat16)

  x = jax.random.normal(jax.random.key(12), (2, *SHAPE), jnp.bfloat16)
  y = exact.sampler(name, coarse, steps=4)(x, jax.random.key(13))
  assert y.dtype == jnp.float32 and jnp.all(jnp.isfinite(y))


def test_wrong_arguments_are_told(denoise):
  x = jnp.zeros((2, *SHAPE))
  args = {'schedule': COSINE, 'steps': 2}
  with pytest.raises(ValueError, match='steps is 0'):
    SAMPLERS['ddim'](denoise, x, jax.random.key(0), **args | {'steps': 0})
  with pytest.raises(ValueError, match='uniform_t, uniform_logsnr, edm_rho'):
    SAMPLERS['ddim'](denoise, x, jax.random.key(0), **args, spacing='linear')
  with pytest.raises(ValueError, match='none, static, dynamic'):
    thresholded(denoise, COSINE, 'clip')
  with pytest.raises(ValueError, match='ddpm, ddim, dpmpp_2m'):
    find('plms').evaluations(4)


def test_euler_is_euler_s_method_on_the_flow(exact):
  """Against the textbook loop on dx / d sigma = eps - x0."""
  flow = schedules.make('flow')
  denoise = _six(exact, flow)
  x = jax.random.normal(jax.random.key(14), (2, *SHAPE))
  got = exact.sampler('euler', denoise, schedule=flow, steps=4)(x, jax.random.key(0))
  sigmas = [*flow.sigma(jnp.array([1, 0.75, 0.5, 0.25])), 0]
  for i, t in enumerate((1.0, 0.75, 0.5, 0.25)):
    x0, eps = denoise(x, jnp.full(2, t))
    x = x + (sigmas[i + 1] - sigmas[i]) * (eps - x0)
  np.testing.assert_allclose(got, x, atol=1e-5)
