"""Trajectories side by side with the schedulers of `diffusers`: same betas, same model outputs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax.diffusion import schedules
from hgdt_jax.diffusion.parameterization import Parameterization, denoise_fn
from hgdt_jax.diffusion.samplers import SAMPLERS
from hgdt_jax.diffusion.thresholding import THRESHOLDS, thresholded

diffusers = pytest.importorskip(
  'diffusers', reason='the comparison needs the `reference` extra: torch and diffusers'
)
torch = pytest.importorskip('torch', reason='diffusers schedulers need torch')

SHAPE = (2, 3, 4, 4, 1)
TIMES = 1000
LINEAR = schedules.make('linear', times=TIMES)
SETTINGS = {
  'num_train_timesteps': TIMES,
  'beta_start': 1e-4,
  'beta_end': 0.02,
  'beta_schedule': 'linear',
  'timestep_spacing': 'trailing',  # starts at the last time, as we do at t = 1
}
KIND = {'eps': 'epsilon', 'v': 'v_prediction', 'x0': 'sample'}


@functools.cache
def _network(kind):
  """Output of a plausible network for clips in [-.6, .6]; both sides are given its values."""

  def network(x, t):
    alpha, sigma = LINEAR.alpha_sigma(t, x)
    x0 = 0.6 * jnp.tanh(2 * alpha * x + 0.3 * jnp.roll(x, 1, axis=1))
    return Parameterization(kind).target(x0, (x - alpha * x0) / sigma, t, LINEAR)

  return jax.jit(network)


def _noise(step):
  return np.random.default_rng(step).normal(size=SHAPE)


def _ours(name, kind, steps, dtype=np.float32, threshold='none', **options):
  """The clip after each step: what the next is called with, and the last one's result."""
  path, keys = {}, jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.arange(steps))
  table, data = jnp.stack([_noise(i) for i in range(steps)]), jax.random.key_data(keys)

  def noise(key, shape, dtype):  # that of the other side, looked up by the step's key
    step = jnp.argmax(jnp.all(data == jax.random.key_data(key)[None], axis=1))
    return table[step].astype(dtype)

  plain = denoise_fn(_network(kind), Parameterization(kind), LINEAR)
  plain = thresholded(plain, LINEAR, threshold)

  def denoise(x, t):
    jax.debug.callback(lambda t, x: path.update({float(t): np.array(x)}), t[0], x)
    return plain(x, t)

  @jax.jit
  def sample(x):
    return SAMPLERS[name](
      denoise,
      x,
      jax.random.key(0),
      schedule=LINEAR,
      steps=steps,
      noise=noise,
      **options,
    )

  last = sample(jnp.asarray(_noise(TIMES), dtype))
  jax.effects_barrier()
  return [path[t] for t in sorted(path, reverse=True)[1:]] + [np.asarray(last)]


def _theirs(scheduler, kind, steps, monkeypatch, module=None, dtype=np.float32, **extra):
  """The clip after each `scheduler.step`, with `_noise(step)` wherever it draws noise."""
  scheduler.set_timesteps(steps)
  x, path, current = torch.from_numpy(_noise(TIMES).astype(dtype)), [], [0]

  def drawn(shape, **_):
    return torch.from_numpy(_noise(current[0]).astype(dtype))

  if module is not None:
    monkeypatch.setattr(module, 'randn_tensor', drawn)
  for i, time in enumerate(scheduler.timesteps):
    current[0] = i
    t = jnp.full(SHAPE[0], (int(time) + 1) / TIMES)  # their index 0 is our t = 1 / 1000
    output = torch.from_numpy(np.array(_network(kind)(x.numpy(), t)))
    x = scheduler.step(output, time, x, **extra).prev_sample
    path.append(x.numpy())
  return path


def _compare(ours, theirs, label):
  worst = max(np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True))
  print(f'{label}: {len(ours)} steps, largest difference {worst:.1e}')
  assert worst < 1e-4


@pytest.mark.parametrize('kind', KIND)
def test_ddim_trajectory(kind, monkeypatch):
  scheduler = diffusers.DDIMScheduler(**SETTINGS, prediction_type=KIND[kind], clip_sample=False)
  theirs = _theirs(scheduler, kind, 20, monkeypatch)
  _compare(_ours('ddim', kind, 20), theirs, f'DDIM {kind}')


def test_ddim_trajectory_with_eta(monkeypatch):
  from diffusers.schedulers import scheduling_ddim

  scheduler = diffusers.DDIMScheduler(**SETTINGS, prediction_type='v_prediction', clip_sample=False)
  theirs = _theirs(scheduler, 'v', 20, monkeypatch, scheduling_ddim, eta=0.6)
  _compare(_ours('ddim', 'v', 20, eta=0.6), theirs, 'DDIM eta .6')


def test_ddim_trajectory_with_static_threshold(monkeypatch):
  scheduler = diffusers.DDIMScheduler(
    **SETTINGS, prediction_type='v_prediction', clip_sample=True, clip_sample_range=0.4
  )
  # They too recompute the noise from the clipped clip, if told to.
  theirs = _theirs(scheduler, 'v', 20, monkeypatch, use_clipped_model_output=True)
  monkeypatch.setitem(THRESHOLDS, 'low', lambda x0: jnp.clip(x0, -0.4, 0.4))
  _compare(_ours('ddim', 'v', 20, threshold='low'), theirs, 'DDIM clipped')


def test_all_thousand_steps_of_ddpm(monkeypatch):
  """In float64: in float32 their 1 - alphas_cumprod[i] / alphas_cumprod[i - 1] keeps 3 digits."""
  from diffusers.schedulers import scheduling_ddpm

  scheduler = diffusers.DDPMScheduler(
    **SETTINGS, prediction_type='v_prediction', clip_sample=False, variance_type='fixed_small'
  )
  betas = torch.linspace(1e-4, 0.02, TIMES, dtype=torch.float64)
  scheduler.alphas_cumprod = torch.cumprod(1 - betas, 0)
  with jax.enable_x64(True):
    theirs = _theirs(scheduler, 'v', TIMES, monkeypatch, scheduling_ddpm, dtype=np.float64)
    _compare(_ours('ddpm', 'v', TIMES, dtype=np.float64), theirs, 'DDPM float64 v')


@pytest.mark.parametrize('kind', KIND)
def test_ddpm_trajectory(kind, monkeypatch):
  from diffusers.schedulers import scheduling_ddpm

  scheduler = diffusers.DDPMScheduler(
    **SETTINGS, prediction_type=KIND[kind], clip_sample=False, variance_type='fixed_small'
  )
  theirs = _theirs(scheduler, kind, 50, monkeypatch, scheduling_ddpm)
  _compare(_ours('ddpm', kind, 50), theirs, f'DDPM {kind}')


@pytest.mark.parametrize('kind', KIND)
@pytest.mark.parametrize('name,algorithm', [
  ('dpmpp_2m', 'dpmsolver++'),
  ('dpmpp_2m_sde', 'sde-dpmsolver++'),
])  # fmt: skip
def test_dpm_solver_trajectory(kind, name, algorithm, monkeypatch):
  from diffusers.schedulers import scheduling_dpmsolver_multistep as module

  scheduler = diffusers.DPMSolverMultistepScheduler(
    **SETTINGS,
    prediction_type=KIND[kind],
    solver_order=2,
    algorithm_type=algorithm,
    solver_type='midpoint',
    final_sigmas_type='zero',
  )
  theirs = _theirs(scheduler, kind, 20, monkeypatch, module)
  _compare(_ours(name, kind, 20), theirs, f'{algorithm} {kind}')


def test_alphas_are_the_same():
  scheduler = diffusers.DDPMScheduler(**SETTINGS)
  times = jnp.arange(1, TIMES + 1) / TIMES
  np.testing.assert_allclose(LINEAR.alpha(times) ** 2, scheduler.alphas_cumprod, rtol=1e-5)
