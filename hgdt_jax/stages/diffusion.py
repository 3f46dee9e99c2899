"""Stage `diffusion`: the denoiser, on clips and on independent frames at once."""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import optax

from hgdt_jax import fields, rng
from hgdt_jax.denoisers.types import Condition
from hgdt_jax.diffusion import noise, parameterization, schedules, training
from hgdt_jax.schema import Between, OneOf
from hgdt_jax.stages import batches, denoising, networks
from hgdt_jax.stages.types import Stage
from hgdt_jax.state import Net, TrainState, from_scratch


@dataclasses.dataclass(frozen=True)
class Settings:
  """Of the stage; `configs/base.py` says what each field means."""

  steps: fields.Steps
  learning_rate: fields.Rate
  warmup: Annotated[int, Between(0, 10**8)]
  ema_decay: fields.Decay
  schedule: Annotated[str, OneOf(schedules.SCHEDULES)]
  prediction: Annotated[str, OneOf(parameterization.KINDS)]
  sigma_data: Annotated[float, Between(1e-3, 1e3)]
  weight: Annotated[str, OneOf(training.WEIGHTS)]
  weight_gamma: Annotated[float, Between(1, 1e6)]
  weight_bias: Annotated[float, Between(-6, 6)]
  times: Annotated[str, OneOf(training.TIMES)]
  times_mean: Annotated[float, Between(-6, 6)]
  times_spread: Annotated[float, Between(1e-3, 20)]
  low_noise_share: fields.Share
  noise: Annotated[str, OneOf(noise.KINDS)]
  noise_correlation: fields.Share
  frames_share: fields.Share
  label_dropout: fields.Share


def init(cfg, key: jax.Array) -> TrainState:
  params = networks.init_denoiser(cfg, rng.stream(key, 'denoiser'))
  return TrainState.create(
    denoiser=Net.create(params, _optimiser(cfg)),
    **networks.frozen_autoencoder(cfg, key),
  )


def make_step(cfg):
  nets, tx = networks.make(cfg), _optimiser(cfg)

  def step(state, batch, root):
    latent, net = nets.encode(state.nets, batches.clips(batch)), state.nets['denoiser']
    b, frames = latent.shape[:2]
    label = batches.dropped(
      batches.labels(cfg, batch),
      cfg.diffusion.label_dropout,
      rng.stream(root, 'diffusion/label_dropout', state.step),
    )
    condition = Condition.plain(label, frames, cfg.draft.latent_size)
    mixing = denoising.mixing(cfg, b)

    def loss_fn(params):
      def network(x, t):
        return nets.denoiser.apply(net.variables(params), x, t, condition, mixing).output

      key = rng.stream(root, 'diffusion/noise', state.step)
      losses, aux = denoising.loss(cfg, network, latent, key)
      return jnp.mean(losses), (losses, aux)

    (loss, (losses, aux)), grads = jax.value_and_grad(loss_fn, has_aux=True)(net.params)
    metrics = {
      'loss': loss,
      'grad_norm': optax.tree.norm(grads),
      **denoising.by_noise(aux, losses, cfg.hybrid.tau),
    }
    net = net.update(grads, tx, from_scratch(cfg.diffusion.ema_decay, state.step))
    metrics = {f'diffusion/{name}': value for name, value in metrics.items()}
    return TrainState(state.step + 1, state.nets | {'denoiser': net}), metrics

  return step


def _optimiser(cfg):
  stage = cfg.diffusion
  return denoising.optimiser(cfg, stage.learning_rate, stage.warmup, stage.steps)


STAGE = Stage(
  'the denoiser, on clips and on frames alone',
  Settings,
  init,
  make_step,
  trains=('denoiser',),
  takes=('autoencoder',),
  shows='diffusion',
)
