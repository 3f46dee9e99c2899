"""Stage `gan`: the draft generator against a frame critic and a clip critic, on clean clips."""

import jax
import jax.numpy as jnp

from hgdt_jax import rng
from hgdt_jax.config import Config
from hgdt_jax.stages import adversarial, batches, networks
from hgdt_jax.state import Net, TrainState

STARTS_FROM = {}


def init(cfg: Config, key: jax.Array) -> TrainState:
  tx = _optimiser(cfg)
  generator = networks.init_generator(cfg, rng.stream(key, 'generator'))
  critic = networks.init_critic(cfg, rng.stream(key, 'critic'))
  return TrainState.create(
    generator=Net.create(generator, tx),
    critic=adversarial.init_critic(
      critic, tx, rng.stream(key, 'spectral'), cfg.critic.spectral_norm
    ),
  )


def make_step(cfg: Config):
  nets, tx = networks.make(cfg), _optimiser(cfg)

  def step(state, batch, root):
    real = batches.clips(batch)
    codes_key = rng.stream(root, 'gan/codes', state.step)
    generator, critic, _, metrics = adversarial.play(
      cfg,
      nets,
      tx,
      state.nets['generator'],
      state.nets['critic'],
      real=real,
      label=batches.labels(cfg, batch),
      z=nets.generator.draw_codes(codes_key, *real.shape[:2]),
      t=jnp.zeros(real.shape[0]),
      frames=adversarial.draw_frames(cfg, rng.stream(root, 'gan/frames', state.step)),
      diffuse_real=lambda video: video,
      diffuse_fake=lambda video: video,
      step=state.step,
    )
    metrics = {f'gan/{name}': value for name, value in metrics.items()}
    return TrainState(state.step + 1, {'generator': generator, 'critic': critic}), metrics

  return step


def _optimiser(cfg):
  return adversarial.optimiser(cfg.gan.learning_rate, cfg.gan.steps)
