"""Stage `joint`: all parts at a low rate, with critics that see what the refiner will start from.

Truncation asks of a draft only that, diffused to tau, it has the law of diffused data. So the
critics look at clips diffused to t in [tau, 1], mostly near tau (Diffusion-GAN 2023), and at some
clean ones: what noise hides from critics drifts, and a refiner that was trained on clips makes
less of a draft that is none. Meanwhile denoiser, aligner and bridge go on learning on real clips.
No draft is ever paired with a real clip.
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp

from hgdt_jax import fields, rng
from hgdt_jax.gans import game
from hgdt_jax.schema import Between
from hgdt_jax.stages import adversarial, aligner, batches, denoising, networks
from hgdt_jax.stages.types import JUDGES, Stage
from hgdt_jax.state import Net, TrainState


@dataclasses.dataclass(frozen=True)
class Settings:
  """Of the stage; `configs/base.py` says what each field means."""

  steps: fields.Steps
  learning_rate: fields.Rate
  critic_learning_rate: fields.Rate
  denoiser_learning_rate: fields.RateOrNone
  clean_share: fields.Share
  refiner_rows: Annotated[int, Between(0, 2**16)]


def init(cfg, key: jax.Array) -> TrainState:
  players, refiner_tx = _optimisers(cfg)
  train = lambda variables: Net.create(variables, refiner_tx)
  begin = train if cfg.joint.refiner_rows else Net.of
  nets = adversarial.init(cfg, players, key)
  nets['denoiser'] = begin(networks.init_denoiser(cfg, rng.stream(key, 'denoiser')))
  if cfg.bridges:
    nets['bridge'] = begin(networks.init_bridge(cfg, rng.stream(key, 'bridge')))
  return TrainState.create(**nets, **networks.frozen_autoencoder(cfg, key))


def make_step(cfg):
  nets, schedule = networks.make(cfg), denoising.schedule(cfg)
  players, refiner_tx = _optimisers(cfg)
  noise = denoising.frame_noise(cfg)

  def step(state, batch, root):
    video, label = batches.clips(batch), batches.labels(cfg, batch)
    key = lambda name: rng.stream(root, f'joint/{name}', state.step)
    t = draw_levels(cfg, key('t'), len(video))
    given = adversarial.first_frames(cfg.draft.given, key('first_frames'), video)

    def hide(which, clip):  # what the refiner will see, as pixels
      latent = nets.encode(state.nets, clip)
      latent = schedule.diffuse(latent, noise(key(f'noise_{which}'), latent.shape), t)
      return nets.decode(state.nets, latent)

    played, draft, metrics = game.play(
      nets.gan.judges,
      state.nets,
      players,
      game.Scene(video, label, t, given, key, hide),
      also=nets.gan.also,
      augmentation=adversarial.augmentation(cfg),
      **adversarial.drafting(nets.gan, state.nets['generator'], label, given, key, cfg.data.frames),
      decay=cfg.gan.ema_decay,
    )
    refined = {}
    if cfg.joint.refiner_rows:
      # Devices exchange no clips for it if each holds a multiple of so many.
      some = slice(None, None, cfg.joint.refiner_rows)
      refined, refiner = aligner.train_refiner(
        cfg,
        nets,
        {'denoiser': refiner_tx, 'bridge': refiner_tx},
        state.nets,
        jax.tree.map(lambda rows: rows[some], draft),
        video[some],
        label[some],
        root=root,
        step=state.step,
        decay=cfg.diffusion.ema_decay,
      )
      metrics |= {f'refiner_{name}': v for name, v in refiner.items()}
    metrics = {f'joint/{name}': value for name, value in metrics.items()}
    return TrainState(state.step + 1, state.nets | played | refined), metrics

  return step


def draw_levels(cfg, key: jax.Array, batch: int) -> jax.Array:
  """Noise levels `[B]` of what the critics see: a share 0, the rest in [tau, 1], dense at tau."""
  level_key, clean_key = jax.random.split(key)
  noisy = cfg.hybrid.tau + (1 - cfg.hybrid.tau) * jax.random.uniform(level_key, (batch,)) ** 2
  clean = jax.random.uniform(clean_key, (batch,)) < cfg.joint.clean_share
  return jnp.where(clean, 0.0, noisy)


def _optimisers(cfg):
  """Of the players and of the refiner; the judges, who know clean clips only, learn at once."""
  stage, warmup = cfg.joint, cfg.joint.steps // 5
  rates = (stage.learning_rate, stage.critic_learning_rate)
  players = adversarial.optimisers(networks.make(cfg).gan, *rates, warmup, stage.steps)
  return players, denoising.optimiser(cfg, stage.denoiser_learning_rate, warmup, stage.steps)


STAGE = Stage(
  'all parts at a low rate, the judges on clips diffused as the refiner will see them',
  Settings,
  init,
  make_step,
  trains=('generator', JUDGES, 'denoiser', 'bridge'),
  takes=('generator', JUDGES, 'denoiser', 'bridge', 'autoencoder'),
  shows='hybrid',
)
