"""What a configuration makes of the denoising objective, and of its optimiser."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hgdt_jax import settings
from hgdt_jax.stages import denoising

RATE, WARMUP, STEPS = 0.1, 4, 20


def moves(cfg, gradients, param=1.0):
  """Those of one parameter, a gradient each."""
  tx = denoising.optimiser(cfg, RATE, WARMUP, STEPS)
  params = {'w': jnp.array([param])}
  state, found = tx.init(params), []
  for gradient in gradients:
    updates, state = tx.update({'w': jnp.array([gradient])}, state, params)
    params = optax.apply_updates(params, updates)
    found.append(float(updates['w'][0]))
  return np.array(found)


def changed(cfg, **fields):
  return dataclasses.replace(cfg, optimiser=dataclasses.replace(cfg.optimiser, **fields))


@pytest.mark.parametrize(
  'decay, left',  # of the rate, at half of the decay and at its end
  [('cosine', (0.55, 0.1)), ('linear', (0.55, 0.1)), ('constant', (1, 1))],
)
def test_the_rate_rises_and_decays_as_it_is_told(tiny, decay, left):
  """On a constant gradient, Adam moves by the rate."""
  found = -moves(changed(tiny, decay=decay), [1.0] * (STEPS + 5)) / RATE
  np.testing.assert_allclose(found[: WARMUP + 1], np.arange(WARMUP + 1) / WARMUP, atol=1e-5)
  half = (WARMUP + STEPS) // 2
  np.testing.assert_allclose(found[[half, STEPS]], left, rtol=1e-5)
  np.testing.assert_allclose(found[STEPS:], left[1], rtol=1e-5)


def test_a_great_gradient_counts_no_more_than_its_bound(tiny):
  found = moves(changed(tiny, clip_norm=2.0), [1.0, 100.0, 1.0, 1.0])
  np.testing.assert_allclose(
    found, moves(changed(tiny, clip_norm=1e6), [1.0, 2.0, 1.0, 1.0]), rtol=1e-5
  )
  assert (found != moves(changed(tiny, clip_norm=1.0), [1.0, 100.0, 1.0, 1.0]))[2:].all()


def test_weights_decay_by_the_rate(tiny):
  plain, decayed = (
    moves(changed(tiny, weight_decay=decay, decay='constant'), [0.0] * 8) for decay in (0.0, 0.5)
  )
  assert (plain == 0).all()
  weight = 1.0
  for step, move in enumerate(decayed):
    assert move == pytest.approx(-0.5 * RATE * min(step / WARMUP, 1) * weight)
    weight += move


def test_momenta_are_those_of_adam(tiny):
  gradients = [1.0, -2.0, 0.5, 0.1, 3.0]
  found = moves(changed(tiny, b1=0.3, b2=0.7, clip_norm=1e6), gradients)
  first = second = 0.0
  for step, gradient in enumerate(gradients):
    first, second = 0.3 * first + 0.7 * gradient, 0.7 * second + 0.3 * gradient**2
    unbiased = first / (1 - 0.3 ** (step + 1)), second / (1 - 0.7 ** (step + 1))
    rate = denoising_rate(step)
    assert found[step] == pytest.approx(-rate * unbiased[0] / (unbiased[1] ** 0.5 + 1e-8), rel=1e-4)


def denoising_rate(step):
  """Of 'cosine', for the first steps."""
  if step <= WARMUP:
    return RATE * step / WARMUP
  along = (step - WARMUP) / (STEPS - WARMUP)
  return RATE * (0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * along)))


def test_of_a_rate_of_0_nothing_moves(tiny):
  tx = denoising.optimiser(tiny, 0.0, WARMUP, STEPS)
  updates, _ = tx.update({'w': jnp.ones(3)}, tx.init({'w': jnp.ones(3)}))
  assert (updates['w'] == 0).all()


def test_edm_s_noise_levels_can_be_asked_for(tiny_dict):
  """Karras et al. 2022, table 1: ln sigma is normal, mean -1.2, deviation 1.2."""
  tiny_dict['diffusion'] |= dict(times='log_normal', times_mean=-1.2, times_spread=1.2)
  tiny_dict['diffusion'] |= dict(schedule='edm')
  cfg = settings.build(settings.Config, tiny_dict)
  u = jnp.array([0.1587, 0.5, 0.8413])
  t = denoising.configured_times(cfg).quantile(u, denoising.schedule(cfg))
  ratio = jnp.exp(-denoising.schedule(cfg).logsnr(t) / 2)
  np.testing.assert_allclose(jnp.log(ratio), [-2.4, -1.2, 0.0], atol=2e-3)


def test_weights_and_noise_are_as_configured(tiny_dict):
  tiny_dict['diffusion'] |= dict(weight='min_snr', weight_gamma=3.0, weight_bias=1.0)
  tiny_dict['diffusion'] |= dict(noise='ar1', noise_correlation=0.9, sigma_data=0.7)
  cfg = settings.build(settings.Config, tiny_dict)
  weight = denoising.configured_weight(cfg)
  assert float(weight.on_x0(jnp.log(10.0))) == pytest.approx(3)
  assert weight.bias == 1 and weight.sigma_data == denoising.prediction(cfg).sigma_data == 0.7
  assert denoising.frame_noise(cfg).correlation == 0.9
