"""Stage `gan`: the draft generator against its judges.

On clean clips, or (`gan.noise`) on clips diffused so much as keeps the judges from learning them by
heart (Diffusion-GAN, Wang et al. 2023).
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp

from hgdt_jax import fields, rng
from hgdt_jax.gans import augment, game
from hgdt_jax.schema import OneOf
from hgdt_jax.stages import adversarial, batches, denoising, networks
from hgdt_jax.stages.types import JUDGES, Stage
from hgdt_jax.state import TrainState, from_scratch


@dataclasses.dataclass(frozen=True)
class Settings:
  """Of the stage; `configs/base.py` says what each field means."""

  steps: fields.Steps
  learning_rate: fields.Rate
  augment: Annotated[str, OneOf(augment.MODES)]
  augment_probability: fields.Share
  augment_target: fields.Share
  noise: fields.Share
  ema_decay: fields.Decay


def init(cfg, key: jax.Array) -> TrainState:
  return TrainState.create(**adversarial.init(cfg, _optimisers(cfg), key))


def make_step(cfg):
  gan, txs = networks.make(cfg).gan, _optimisers(cfg)

  def step(state, batch, root):
    real, label = batches.clips(batch), batches.labels(cfg, batch)
    key = lambda name: rng.stream(root, f'gan/{name}', state.step)
    t, hide = _hide(cfg, key, len(real), state.nets)
    given = adversarial.first_frames(cfg.draft.given, key('first_frames'), real)
    nets, _, metrics = game.play(
      gan.judges,
      state.nets,
      txs,
      game.Scene(real, label, t, given, key, hide),
      also=gan.also,
      augmentation=adversarial.augmentation(cfg),
      **adversarial.drafting(gan, state.nets['generator'], label, given, key, real.shape[1]),
      decay=from_scratch(cfg.gan.ema_decay, state.step),
    )
    metrics = {f'gan/{name}': value for name, value in metrics.items()}
    return TrainState(state.step + 1, nets), metrics

  return step


def _hide(cfg, key, batch, nets):
  """Noise levels `[B]`, and what they leave of the clips that judges are shown."""
  if not cfg.gan.noise:
    return jnp.zeros(batch), lambda which, clip: clip
  schedule, noise = denoising.schedule(cfg), denoising.frame_noise(cfg)
  follows = cfg.gan.augment == 'adaptive'
  first = nets[cfg.draft.judges[0]]
  most = cfg.gan.noise * (game.probability(first) if follows else 1.0)
  t = most * jax.random.uniform(key('t'), (batch,))
  return t, lambda which, clip: schedule.diffuse(clip, noise(key(f'noise_{which}'), clip.shape), t)


def _optimisers(cfg):
  rate = cfg.gan.learning_rate
  return adversarial.optimisers(networks.make(cfg).gan, rate, rate, 0, cfg.gan.steps)


STAGE = Stage(
  'the draft generator against its judges',
  Settings,
  init,
  make_step,
  trains=('generator', JUDGES),
  shows='gan',
)
