"""Stage `gan`: the draft generator against a frame critic and a clip critic.

On clean clips, or (`gan.noise`) on clips diffused so much as keeps the critic from learning them by
heart (Diffusion-GAN, Wang et al. 2023).
"""

import jax
import jax.numpy as jnp

from hgdt_jax import rng
from hgdt_jax.config import Config
from hgdt_jax.stages import adversarial, batches, denoising, networks
from hgdt_jax.state import Net, TrainState, from_scratch

TRAINS = ('generator',)


def init(cfg: Config, key: jax.Array) -> TrainState:
  tx = _optimiser(cfg)
  generator = networks.init_generator(cfg, rng.stream(key, 'generator'))
  critic = networks.init_critic(cfg, rng.stream(key, 'critic'))
  return TrainState.create(
    generator=Net.create(generator, tx),
    critic=adversarial.init_critic(cfg, critic, tx, rng.stream(key, 'spectral')),
  )


def make_step(cfg: Config):
  nets, tx = networks.make(cfg), _optimiser(cfg)

  def step(state, batch, root):
    real, label = batches.clips(batch), batches.labels(cfg, batch)
    key = lambda name: rng.stream(root, f'gan/{name}', state.step)
    t, see = _see(cfg, key, len(real), state.nets['critic'].augment)
    z = nets.generator.draw_codes(key('codes'), *real.shape[:2])
    first, given = adversarial.first_frames(cfg, key('first_frames'), real)
    generator, critic, _, metrics = adversarial.play(
      cfg,
      nets.critic,
      state.nets['generator'],
      state.nets['critic'],
      draw=lambda params: nets.generator.apply({'params': params}, z, label, first, given),
      also=adversarial.likeness(cfg, real, given),
      see_real=see('noise_real'),
      see_fake=see('noise_fake'),
      real=real,
      label=label,
      t=t,
      frames=adversarial.draw_frames(cfg, key('frames')),
      key=key,
      generator_tx=tx,
      critic_tx=tx,
      decay=from_scratch(cfg.gan.ema_decay, state.step),
    )
    metrics = {f'gan/{name}': value for name, value in metrics.items()}
    return TrainState(state.step + 1, {'generator': generator, 'critic': critic}), metrics

  return step


def _see(cfg, key, batch, probability):
  """Noise levels `[B]`, and a function: name of a noise stream -> how the critic sees clips."""
  if not cfg.gan.noise:
    return jnp.zeros(batch), lambda name: lambda clip: clip
  schedule, noise = denoising.schedule(cfg), denoising.frame_noise(cfg)
  most = cfg.gan.noise * (probability if cfg.gan.augment == 'adaptive' else 1.0)
  t = most * jax.random.uniform(key('t'), (batch,))
  return t, lambda name: lambda clip: schedule.diffuse(clip, noise(key(name), clip.shape), t)


def _optimiser(cfg):
  return adversarial.optimiser(cfg.gan.learning_rate, 0, cfg.gan.steps)
