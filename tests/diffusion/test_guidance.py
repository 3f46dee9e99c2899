"""Guidance on Gaussian data, where the guided law is known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax.diffusion import guidance, schedules
from hgdt_jax.diffusion.samplers import SAMPLERS
from hgdt_jax.diffusion.thresholding import thresholded

COSINE = schedules.make('cosine')
FRAMES, RHO, COUNT = 6, 0.9, 512
SHAPE = (COUNT, FRAMES, 1, 1, 1)
MASKS = {  # known frames: prediction, in-betweening, extension
  'prediction': [1, 0, 0, 0, 0, 0],
  'in-betweening': [1, 0, 0, 0, 0, 1],
  'extension': [1, 1, 1, 1, 0, 0],
}


def _one(exact, mean, std):
  return exact.gaussian(COSINE, np.array([mean]), np.array([[std**2]]))


def _points(count=64):
  x = jax.random.normal(jax.random.key(0), (count, 1, 1, 1, 1))
  return x, jnp.linspace(0.05, 1, count)


_diffuse = jax.jit(COSINE.diffuse)


def _assert_consistent(x_t, t, x0, eps):
  np.testing.assert_allclose(_diffuse(x0, eps, t), x_t, atol=1e-5)


def test_classifier_free_is_the_linear_extrapolation(exact):
  x, t = _points()
  cond, free = _one(exact, 0.6, 0.2), _one(exact, 0.0, 0.5)
  both = guidance.classifier_free(cond, free, 3.0, COSINE)
  every = jax.jit(lambda x, t: [denoise(x, t) for denoise in (both, cond, free)])
  (x0, eps), (c0, c_eps), (f0, f_eps) = jax.device_get(every(x, t))
  np.testing.assert_allclose(x0, f0 + 3 * (c0 - f0), atol=1e-5)
  np.testing.assert_allclose(eps, f_eps + 3 * (c_eps - f_eps), atol=1e-4)
  _assert_consistent(x, t, x0, eps)


def test_classifier_free_outside_of_its_interval_is_conditional(exact):
  x, t = _points()
  cond, free = _one(exact, 0.6, 0.2), _one(exact, 0.0, 0.5)
  both = guidance.classifier_free(cond, free, 3.0, COSINE, interval=(0.3, 0.7))
  x0, t = jax.jit(both)(x, t)[0], np.asarray(t)
  same = np.isclose(x0, jax.jit(cond)(x, t)[0], atol=1e-6).ravel()
  np.testing.assert_array_equal(same, (t < 0.3) | (t > 0.7))


def test_rescale_gives_back_the_conditional_deviation():
  clip = jax.random.normal(jax.random.key(1), (3, 4, 4, 4, 1))
  t = jnp.array([0.2, 0.5, 0.9])
  cond = lambda x, t: (clip, x)
  free = lambda x, t: (-0.5 * clip, x)
  wild, _ = jax.jit(guidance.classifier_free(cond, free, 4.0, COSINE))(clip, t)
  tame, _ = jax.jit(guidance.classifier_free(cond, free, 4.0, COSINE, rescale=1.0))(clip, t)
  deviation = lambda x: np.std(x, axis=(1, 2, 3, 4))
  assert np.all(deviation(wild) > 2 * deviation(clip))
  np.testing.assert_allclose(deviation(tame), deviation(clip), rtol=1e-4)


def test_classifier_guidance_samples_the_posterior(exact):
  """Prior N(0, 1), label law p(y|x) = N(y; x, .5^2): with scale 1 samples follow p(x|y)."""
  y, noise = 0.8, 0.5
  prior = _one(exact, 0.0, 1.0)

  def log_prob(x_t, t):  # of y given x_t, closed form: x | x_t is N(alpha x_t, sigma^2)
    alpha, sigma = COSINE.alpha_sigma(t, x_t)
    return jnp.sum(-0.5 * (y - alpha * x_t) ** 2 / (noise**2 + sigma**2), (1, 2, 3, 4))

  denoise = jax.jit(guidance.classifier(prior, log_prob, 1.0, COSINE))
  mean, variance = y / (1 + noise**2), noise**2 / (1 + noise**2)
  want = jax.jit(_one(exact, mean, np.sqrt(variance)))
  x, t = _points()
  for got, right in zip(denoise(x, t), want(x, t)):
    np.testing.assert_allclose(got, right, atol=2e-3)
  _assert_consistent(x, t, *denoise(x, t))


def test_a_new_guidance_scale_does_not_compile_again(exact):
  cond, free = _one(exact, 0.6, 0.2), _one(exact, 0.0, 0.5)

  @jax.jit
  def sample(x, scale, rescale):
    denoise = guidance.classifier_free(cond, free, scale, COSINE, rescale=rescale)
    return SAMPLERS['ddim'](denoise, x, jax.random.key(0), schedule=COSINE, steps=4)

  x, _ = _points()
  one, three = sample(x, 1.0, 0.0), sample(x, 3.0, 0.5)
  assert sample._cache_size() == 1 and not np.allclose(one, three)


def _process(exact):
  """Clips of an AR(1) process: its denoiser, samples of it and its covariance."""
  cov = exact.process_cov(FRAMES, RHO)
  normal = np.random.default_rng(0).normal(size=(COUNT, FRAMES))
  clips = jnp.asarray((normal @ np.linalg.cholesky(cov).T).reshape(SHAPE), jnp.float32)
  return exact.gaussian(COSINE, np.zeros(FRAMES), cov), clips, cov


def _conditional_sample(exact, known_frames, scale, name='ddim', steps=50):
  denoise, clips, cov = _process(exact)
  mask = jnp.broadcast_to(jnp.array(known_frames, bool), (COUNT, FRAMES))
  known = jnp.where(mask.reshape(COUNT, FRAMES, 1, 1, 1), clips, 0)

  @jax.jit
  def sample(key, scale):
    start, shared, key = jax.random.split(key, 3)
    conditioned = guidance.condition_on_frames(
      denoise, known, mask, jax.random.normal(shared, SHAPE), COSINE, scale
    )
    x = jax.random.normal(start, SHAPE)
    return SAMPLERS[name](conditioned, x, key, schedule=COSINE, steps=steps)

  return sample(jax.random.key(2), scale), clips, cov


@pytest.mark.parametrize('name', ['ddim', 'dpmpp_2m', 'dpmpp_2m_sde', 'heun'])
def test_known_frames_come_back_unchanged(exact, name):
  for scale in (None, 1.0):
    got, clips, _ = _conditional_sample(exact, MASKS['in-betweening'], scale, name, steps=3)
    np.testing.assert_array_equal(got[:, [0, 5]], clips[:, [0, 5]])
    assert jnp.all(jnp.isfinite(got)) and not np.allclose(got[:, 1:5], clips[:, 1:5], atol=0.1)


@pytest.mark.parametrize('task', MASKS)
def test_reconstruction_guidance_nears_the_exact_conditional_mean(exact, task):
  """Regression of the new frames on the known, against the exact one.

  Both are biased. Reconstruction guidance of weight 1 takes the variance of a frame given x_t for
  sigma^2 / alpha^2 (Ho et al. 2022, eq. 8), which is too much for data of variance 1: it pulls too
  little, but more than replacement alone.
  """
  known = np.array(MASKS[task], bool)
  bias = {}
  for scale in (None, 1.0):
    got, clips, cov = _conditional_sample(exact, MASKS[task], scale)
    a, b = np.asarray(clips)[:, known, 0, 0, 0], np.asarray(got)[:, ~known, 0, 0, 0]
    fitted = np.linalg.lstsq(a, b, rcond=None)[0]
    true = np.linalg.solve(cov[np.ix_(known, known)], cov[np.ix_(known, ~known)])
    bias[scale] = np.abs(a @ (fitted - true)).mean() / np.abs(a @ true).mean()
  print(f'{task}: bias of replacement {bias[None]:.3f}, with reconstruction {bias[1.0]:.3f}')
  assert bias[1.0] < 0.9 * bias[None]


def test_reconstruction_gradient_is_that_of_the_squared_error(exact):
  """On one known value the gradient of (known - gain x)^2 is -2 gain (known - gain x)."""
  denoise = _one(exact, 0.0, 0.5)
  x, t = _points()
  known, mask = jnp.full_like(x, 0.7), jnp.ones((64, 1), bool)
  x0, eps = jax.jit(guidance.reconstruction(denoise, known, mask, 2.0, COSINE))(x, t)
  x, (alpha, sigma) = jax.device_get((x, jax.jit(COSINE.alpha_sigma)(t, x)))
  gain = 0.25 * alpha / (0.25 * alpha**2 + sigma**2)
  np.testing.assert_allclose(x0, gain * x + 2 * alpha * gain * (0.7 - gain * x), atol=1e-5)
  _assert_consistent(x, t, x0, eps)


def test_threshold_inside_of_replacement_keeps_known_frames(exact):
  denoise, clips, _ = _process(exact)
  mask = jnp.broadcast_to(jnp.arange(FRAMES) == 0, (COUNT, FRAMES))
  noise = jax.random.normal(jax.random.key(4), SHAPE)
  inner = thresholded(denoise, COSINE, 'static')
  conditioned = jax.jit(guidance.replacement(inner, clips, mask, noise, COSINE))
  x0 = np.asarray(conditioned(noise, jnp.full(COUNT, 0.2))[0])
  np.testing.assert_array_equal(x0[:, 0], clips[:, 0])
  assert np.abs(x0[:, 0]).max() > 1 and np.abs(x0[:, 1:]).max() <= 1
