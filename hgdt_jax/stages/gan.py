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
    real, label = batches.clips(batch), batches.labels(cfg, batch)
    z = nets.generator.draw_codes(rng.stream(root, 'gan/codes', state.step), *real.shape[:2])
    generator, critic, _, metrics = adversarial.play(
      cfg,
      nets.critic,
      state.nets['generator'],
      state.nets['critic'],
      draw=lambda params: nets.generator.apply({'params': params}, z, label),
      see_real=lambda clip: clip,
      see_fake=lambda clip: clip,
      real=real,
      label=label,
      t=jnp.zeros(real.shape[0]),
      frames=adversarial.draw_frames(cfg, rng.stream(root, 'gan/frames', state.step)),
      generator_tx=tx,
      critic_tx=tx,
      decay=cfg.gan.ema_decay,
      step=state.step,
    )
    metrics = {f'gan/{name}': value for name, value in metrics.items()}
    return TrainState(state.step + 1, {'generator': generator, 'critic': critic}), metrics

  return step


def _optimiser(cfg):
  return adversarial.optimiser(cfg.gan.learning_rate, cfg.gan.steps)
