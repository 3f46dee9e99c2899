"""Sampled noise levels, loss weights and the loss itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax.diffusion import schedules
from hgdt_jax.diffusion.noise import Noise
from hgdt_jax.diffusion.parameterization import KINDS, Parameterization
from hgdt_jax.diffusion.training import (
  WEIGHTS,
  LossWeight,
  TimeDistribution,
  diffusion_loss,
  sample_times,
)

COSINE = schedules.make('cosine')
AXES = (1, 2, 3, 4)


def _times(distribution, batch=1000, schedule=COSINE):
  return np.asarray(sample_times(jax.random.key(0), batch, distribution, schedule))


def test_times_are_stratified_and_not_in_order():
  t = _times(TimeDistribution(), batch=64)
  np.testing.assert_array_equal(np.sort((t * 64).astype(int)), np.arange(64))
  assert np.abs(np.corrcoef(t, np.arange(64))[0, 1]) < 0.4


@pytest.mark.parametrize('share', [0.0, 0.7, 1.0])
def test_truncated_puts_its_share_below_tau_and_is_uniform_on_both_sides(share):
  t = _times(TimeDistribution('truncated', tau=0.3, share=share))
  low, high = t[t < 0.3], t[t >= 0.3]
  assert abs(len(low) / 1000 - share) <= 0.002
  for part, (start, end) in ((low, (0, 0.3)), (high, (0.3, 1))):
    if len(part) > 2:
      want = start + (end - start) * (np.arange(len(part)) + 0.5) / len(part)
      np.testing.assert_allclose(np.sort(part), want, atol=2 * (end - start) / len(part))


def test_normal_times_have_their_mean_and_deviation():
  t = _times(TimeDistribution('logit_normal', mean=0.3, std=0.8))
  logit = np.log(t / (1 - t))
  np.testing.assert_allclose([logit.mean(), logit.std()], [0.3, 0.8], atol=0.02)
  edm = schedules.make('edm')
  t = _times(TimeDistribution('log_normal', mean=-1.2, std=1.2), schedule=edm)
  log_ratio = -np.asarray(edm.logsnr(t)) / 2
  np.testing.assert_allclose([log_ratio.mean(), log_ratio.std()], [-1.2, 1.2], atol=0.02)


def test_weights_are_the_published_ones():
  logsnr = jnp.array([-4.0, 0.0, 4.0])
  snr, s = np.exp(logsnr), np.exp(-logsnr / 2)
  np.testing.assert_allclose(LossWeight('min_snr').on_x0(logsnr), np.minimum(snr, 5), rtol=1e-5)
  clipped = LossWeight('clipped_snr').on_x0(logsnr)
  np.testing.assert_allclose(clipped, np.clip(snr, 1, 5), rtol=1e-5)
  edm = (s**2 + 0.25) / (s * 0.5) ** 2
  np.testing.assert_allclose(LossWeight('edm').on_x0(logsnr), edm, rtol=1e-5)
  sigmoid = snr / (1 + np.exp(logsnr - 2))
  np.testing.assert_allclose(LossWeight('sigmoid').on_x0(logsnr), sigmoid, rtol=1e-5)


def test_min_snr_on_eps_and_v_is_the_paper_s():
  t = jnp.linspace(0, 1, 11)
  snr = np.exp(np.asarray(COSINE.logsnr(t)))
  for kind, want in (('eps', np.minimum(snr, 5) / snr), ('v', np.minimum(snr, 5) / (snr + 1))):
    got = LossWeight('min_snr').on_output(t, Parameterization(kind), COSINE)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-12)


def test_edm_weight_is_one_on_the_preconditioned_output():
  t = jnp.linspace(0, 1, 11)
  got = LossWeight('edm').on_output(t, Parameterization('edm'), schedules.make('edm'))
  np.testing.assert_allclose(got, 1, rtol=1e-4)


@pytest.mark.parametrize('weight', [name for name in WEIGHTS if name != 'uniform'])
@pytest.mark.parametrize('kind', KINDS)
def test_a_weight_means_the_same_for_every_parameterization(weight, kind):
  """The same wrong x0 costs the same, whatever the network predicts."""
  schedule = schedules.make('linear')
  weight, p = LossWeight(weight), Parameterization(kind)
  x0 = jax.random.uniform(jax.random.key(0), (8, 2, 3, 3, 1), minval=-1)
  times = TimeDistribution('truncated', tau=0.9, share=1.0)

  def network(x, t):
    """Predicts a clip that is off by .1 everywhere, told through x_t itself."""
    alpha, sigma = schedule.alpha_sigma(t, x)
    if kind == 'edm':
      x = x * jnp.sqrt(sigma**2 + (alpha * p.sigma_data) ** 2)
    wrong = x0 + 0.1
    return p.target(wrong, (x - alpha * wrong) / sigma, t, schedule)

  loss, aux = diffusion_loss(
    network,
    x0,
    jax.random.key(1),
    schedule=schedule,
    parameterization=p,
    times=times,
    weight=weight,
  )
  want = weight.on_x0(schedule.logsnr(aux['t'])) * 0.01
  np.testing.assert_allclose(loss, want, rtol=2e-2)
  np.testing.assert_allclose(aux['x0_mse'], 0.01, rtol=2e-2)


@pytest.mark.parametrize('kind', KINDS)
def test_loss_of_a_perfect_network_is_zero_and_of_silence_is_the_target_s_power(kind):
  p, x0 = Parameterization(kind), jnp.full((4, 2, 3, 3, 1), 0.5)
  args = {'schedule': COSINE, 'parameterization': p, 'noise': Noise('ar1', 0.9)}
  loss, aux = diffusion_loss(lambda x, t: 0 * x, x0, jax.random.key(1), **args)
  alpha, sigma = COSINE.alpha_sigma(aux['t'], x0)
  eps = (aux['x_t'] - alpha * x0) / sigma
  target = p.target(x0, eps, aux['t'], COSINE)
  np.testing.assert_allclose(loss, jnp.mean(target**2, AXES), rtol=1e-3)
  perfect, _ = diffusion_loss(lambda x, t: target, x0, jax.random.key(1), **args)
  np.testing.assert_allclose(perfect, 0, atol=1e-5)
  lag = jnp.mean(eps[:, 0] * eps[:, 1]) / jnp.mean(eps[:, 0] ** 2)  # the noise asked for was used
  assert lag > 0.7


def test_loss_is_float32_for_a_bfloat16_network():
  loss, aux = diffusion_loss(
    lambda x, t: x.astype(jnp.bfloat16),
    jnp.zeros((2, 2, 3, 3, 1), jnp.bfloat16),
    jax.random.key(0),
    schedule=COSINE,
    parameterization=Parameterization(),
  )
  assert loss.shape == (2,) and loss.dtype == aux['x0'].dtype == jnp.float32


def test_wrong_names_are_told():
  with pytest.raises(ValueError, match='logit_normal'):
    TimeDistribution('normal')
  with pytest.raises(ValueError, match=r'tau is 1\.5'):
    TimeDistribution('truncated', tau=1.5)
  with pytest.raises(ValueError, match='min_snr'):
    LossWeight('snr')
