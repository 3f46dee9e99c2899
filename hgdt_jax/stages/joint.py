"""Stage `joint`: all parts at a low rate, with critics that see what the refiner will start from.

Truncation asks of a draft only that, diffused to tau, it has the law of diffused data. So the
critics look at clips diffused to t in [tau, 1], mostly near tau (Diffusion-GAN 2023), and at some
clean ones: what noise hides from critics drifts, and a refiner that was trained on clips makes
less of a draft that is none. Meanwhile denoiser, aligner and bridge go on learning on real clips.
No draft is ever paired with a real clip.
"""

import jax
import jax.numpy as jnp

from hgdt_jax import rng
from hgdt_jax.config import Config
from hgdt_jax.stages import adversarial, aligner, batches, denoising, networks
from hgdt_jax.state import Net, TrainState

TRAINS = ('generator', 'denoiser', 'bridge')


def init(cfg: Config, key: jax.Array) -> TrainState:
  generator_tx, critic_tx, refiner_tx = _optimisers(cfg)
  critic = networks.init_critic(cfg, rng.stream(key, 'critic'))
  denoiser = networks.init_denoiser(cfg, rng.stream(key, 'denoiser'))
  bridge = networks.init_bridge(cfg, rng.stream(key, 'bridge'))
  rests = not cfg.joint.refiner_rows
  return TrainState.create(
    generator=Net.create(networks.init_generator(cfg, rng.stream(key, 'generator')), generator_tx),
    critic=adversarial.init_critic(cfg, critic, critic_tx, rng.stream(key, 'spectral')),
    denoiser=Net(denoiser) if rests else Net.create(denoiser, refiner_tx),
    bridge=Net(bridge) if rests or not cfg.bridges else Net.create(bridge, refiner_tx),
  )


def make_step(cfg: Config):
  nets, schedule = networks.make(cfg), denoising.schedule(cfg)
  generator_tx, critic_tx, refiner_tx = _optimisers(cfg)
  noise = denoising.frame_noise(cfg)

  def step(state, batch, root):
    video, label = batches.clips(batch), batches.labels(cfg, batch)
    b, frames = video.shape[:2]
    key = lambda name: rng.stream(root, f'joint/{name}', state.step)
    t = draw_levels(cfg, key('t'), b)
    diffuse = lambda name: lambda clip: schedule.diffuse(clip, noise(key(name), clip.shape), t)
    z = nets.generator.draw_codes(key('codes'), b, frames)
    first, given = adversarial.first_frames(cfg, key('first_frames'), video)
    generator, critic, (draft, latents), game = adversarial.play(
      cfg,
      nets.critic,
      state.nets['generator'],
      state.nets['critic'],
      draw=lambda params: nets.generator.apply({'params': params}, z, label, first, given),
      also=adversarial.likeness(cfg, video, given),
      see_real=diffuse('noise_real'),
      see_fake=diffuse('noise_fake'),
      real=video,
      label=label,
      t=t,
      frames=adversarial.draw_frames(cfg, key('frames')),
      key=key,
      generator_tx=generator_tx,
      critic_tx=critic_tx,
      decay=cfg.gan.ema_decay,
    )
    denoiser, bridge, metrics = state.nets['denoiser'], state.nets['bridge'], game
    if cfg.joint.refiner_rows:
      # Devices exchange no clips for it if each holds a multiple of so many.
      some = slice(None, None, cfg.joint.refiner_rows)
      (denoiser, bridge), refiner = aligner.train_refiner(
        cfg,
        nets,
        (refiner_tx, refiner_tx),
        (denoiser, bridge),
        (draft[some], latents[some]),
        video[some],
        label[some],
        root=root,
        step=state.step,
        decay=cfg.diffusion.ema_decay,
      )
      metrics |= {f'refiner_{name}': v for name, v in refiner.items()}
    metrics = {f'joint/{name}': value for name, value in metrics.items()}
    trained = {'generator': generator, 'critic': critic, 'denoiser': denoiser, 'bridge': bridge}
    return TrainState(state.step + 1, trained), metrics

  return step


def draw_levels(cfg: Config, key: jax.Array, batch: int) -> jax.Array:
  """Noise levels `[B]` of what the critics see: a share 0, the rest in [tau, 1], dense at tau."""
  level_key, clean_key = jax.random.split(key)
  noisy = cfg.hybrid.tau + (1 - cfg.hybrid.tau) * jax.random.uniform(level_key, (batch,)) ** 2
  clean = jax.random.uniform(clean_key, (batch,)) < cfg.joint.clean_share
  return jnp.where(clean, 0.0, noisy)


def _optimisers(cfg):
  """Of generator, critics and refiner; the critics, who know clean clips only, learn at once."""
  stage, warmup = cfg.joint, cfg.joint.steps // 5
  generator = adversarial.optimiser(stage.learning_rate, warmup, stage.steps)
  critic = adversarial.optimiser(stage.critic_learning_rate, 0, stage.steps)
  return generator, critic, denoising.optimiser(stage.denoiser_learning_rate, warmup, stage.steps)
