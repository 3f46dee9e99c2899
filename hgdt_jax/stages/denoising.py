"""The denoising objective of a configuration, shared by the stages that train the denoiser."""

import jax
import jax.numpy as jnp
import optax

from hgdt_jax.diffusion import noise, parameterization, schedules, training


def schedule(cfg) -> schedules.Schedule:
  options = {'resolution': cfg.latent.size} if cfg.diffusion.schedule == 'shifted_cosine' else {}
  return schedules.make(cfg.diffusion.schedule, **options)


def prediction(cfg) -> parameterization.Parameterization:
  return parameterization.Parameterization(cfg.diffusion.prediction)


def frame_noise(cfg) -> noise.Noise:
  return noise.Noise(cfg.diffusion.noise)


def mixing(cfg, batch: int) -> jax.Array:
  """`[B]`, whether frames see each other.

  The first rows are trained as independent frames (Video Diffusion Models 2022, 4.1).
  """
  return (jnp.arange(batch) >= round(cfg.diffusion.frames_share * batch)).astype(jnp.float32)


def configured_times(cfg) -> training.TimeDistribution:
  return training.TimeDistribution(
    cfg.diffusion.times, tau=cfg.hybrid.tau, share=cfg.diffusion.low_noise_share
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
    weight=training.LossWeight(cfg.diffusion.weight),
    noise=frame_noise(cfg),
  )


def optimiser(learning_rate: float, warmup: int, steps: int) -> optax.GradientTransformation:
  """Adam with clipped gradients, warm-up, cosine decay to a tenth; none for a rate of 0."""
  if learning_rate == 0:
    return optax.set_to_zero()
  rate = optax.warmup_cosine_decay_schedule(
    0.0, learning_rate, warmup, max(steps, warmup + 1), 0.1 * learning_rate
  )
  return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate, b1=0.9, b2=0.99))


def by_noise(aux, losses: jax.Array, tau: float) -> dict[str, jax.Array]:
  """Mean losses below and above tau: the refiner's levels and the rest."""
  below = (aux['t'] <= tau).astype(losses.dtype)
  mean = lambda mask: jnp.sum(losses * mask) / jnp.maximum(jnp.sum(mask), 1.0)
  return {'loss_below_tau': mean(below), 'loss_above_tau': mean(1 - below)}
