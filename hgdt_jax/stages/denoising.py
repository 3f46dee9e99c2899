"""The denoising objective and its optimiser, shared by the stages that train the denoiser."""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import optax

from hgdt_jax import fields
from hgdt_jax.diffusion import noise, parameterization, schedules, training
from hgdt_jax.schema import Between, OneOf

DECAYS = ('cosine', 'linear', 'constant')


@dataclasses.dataclass(frozen=True)
class Optimiser:
  """Of denoiser, aligner and bridge; `configs/base.py` says what each field means."""

  b1: fields.Decay
  b2: fields.Decay
  weight_decay: Annotated[float, Between(0, 1)]
  clip_norm: Annotated[float, Between(1e-6, 1e6)]
  decay: Annotated[str, OneOf(DECAYS)]


def schedule(cfg) -> schedules.Schedule:
  options = {'resolution': cfg.latent.size} if cfg.diffusion.schedule == 'shifted_cosine' else {}
  return schedules.make(cfg.diffusion.schedule, **options)


def prediction(cfg) -> parameterization.Parameterization:
  return parameterization.Parameterization(cfg.diffusion.prediction, cfg.diffusion.sigma_data)


def frame_noise(cfg) -> noise.Noise:
  return noise.Noise(cfg.diffusion.noise, cfg.diffusion.noise_correlation)


def mixing(cfg, batch: int) -> jax.Array:
  """`[B]`, whether frames see each other.

  The first rows are trained as independent frames (Video Diffusion Models 2022, 4.1).
  """
  return (jnp.arange(batch) >= round(cfg.diffusion.frames_share * batch)).astype(jnp.float32)


def configured_times(cfg) -> training.TimeDistribution:
  stage = cfg.diffusion
  return training.TimeDistribution(
    stage.times,
    tau=cfg.hybrid.tau,
    share=stage.low_noise_share,
    mean=stage.times_mean,
    std=stage.times_spread,
  )


def configured_weight(cfg) -> training.LossWeight:
  stage = cfg.diffusion
  return training.LossWeight(
    stage.weight, gamma=stage.weight_gamma, sigma_data=stage.sigma_data, bias=stage.weight_bias
  )


def loss(
  cfg,
  network,
  video: jax.Array,
  key: jax.Array,
  times: training.TimeDistribution | None = None,
):
  """`diffusion_loss` as the configuration has it, or at other `times`: ([B] losses, aux)."""
  return training.diffusion_loss(
    network,
    video,
    key,
    schedule=schedule(cfg),
    parameterization=prediction(cfg),
    times=times or configured_times(cfg),
    weight=configured_weight(cfg),
    noise=frame_noise(cfg),
  )


def optimiser(cfg, learning_rate: float, warmup: int, steps: int) -> optax.GradientTransformation:
  """Adam with clipped gradients and decoupled weight decay; none for a rate of 0.

  The rate rises over `warmup` steps, and decays, if it does, to a tenth.
  """
  if learning_rate == 0:
    return optax.set_to_zero()
  how, left = cfg.optimiser, max(steps - warmup, 1)
  decay = {
    'cosine': lambda: optax.cosine_decay_schedule(learning_rate, left, 0.1),
    'linear': lambda: optax.linear_schedule(learning_rate, 0.1 * learning_rate, left),
    'constant': lambda: optax.constant_schedule(learning_rate),
  }[how.decay]()
  rate = optax.join_schedules([optax.linear_schedule(0.0, learning_rate, warmup), decay], [warmup])
  decays = {'weight_decay': how.weight_decay} if how.weight_decay else {}
  adam = (optax.adamw if decays else optax.adam)(rate, b1=how.b1, b2=how.b2, **decays)
  return optax.chain(optax.clip_by_global_norm(how.clip_norm), adam)


def by_noise(aux, losses: jax.Array, tau: float) -> dict[str, jax.Array]:
  """Mean losses below and above tau: the refiner's levels and the rest."""
  below = (aux['t'] <= tau).astype(losses.dtype)
  mean = lambda mask: jnp.sum(losses * mask) / jnp.maximum(jnp.sum(mask), 1.0)
  return {'loss_below_tau': mean(below), 'loss_above_tau': mean(1 - below)}
