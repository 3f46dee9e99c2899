"""Stage `fewstep`: the refiner learns to take few, long steps. No teacher.

A long step from x_t to x_s has many right answers, of which a squared error keeps the mean. So the
step is drawn from the posterior of the predicted clip and judged by critics that see x_s beside
x_t, against the same step with the real clip in it (denoising diffusion GAN, Xiao et al. 2022).
Steps are those of walks from tau with 1 to `fewstep.walk` steps, so one network serves them all.
"""

import dataclasses

import jax
import jax.numpy as jnp

from hgdt_jax import fields, rng
from hgdt_jax.diffusion.parameterization import denoise_fn
from hgdt_jax.gans import game, style
from hgdt_jax.gans.types import Draft
from hgdt_jax.stages import aligner, batches, denoising, networks
from hgdt_jax.stages.types import Stage
from hgdt_jax.state import Net, TrainState


@dataclasses.dataclass(frozen=True)
class Settings:
  """Of the stage; `configs/base.py` says what each field means."""

  steps: fields.Steps
  learning_rate: fields.Rate
  critic_learning_rate: fields.Rate
  walk: fields.Evaluations
  denoising_weight: fields.Weight
  ema_decay: fields.Decay


def init(cfg, key: jax.Array) -> TrainState:
  denoiser_tx, critic_tx = _optimisers(cfg)
  judge = _judge(cfg)
  # It sees a clip after a step beside the clip before it, along the channels.
  critic = networks.init_judge(
    judge, rng.stream(key, 'critic'), cfg.latent, beside=cfg.latent.channels
  )
  denoiser = networks.init_denoiser(cfg, rng.stream(key, 'denoiser'))
  nets = {
    'denoiser': Net.create(denoiser, denoiser_tx),
    # Not augmented: a step from such a clip would not lead to x_s of the plain one beside it.
    'critic': game.init_judge(judge, critic, critic_tx, rng.stream(key, 'spectral')),
  }
  if cfg.bridges:  # frozen
    nets['bridge'] = Net.of(networks.init_bridge(cfg, rng.stream(key, 'bridge')))
  return TrainState.create(**nets, **networks.frozen_autoencoder(cfg, key))


def make_step(cfg):
  nets, schedule, noise = networks.make(cfg), denoising.schedule(cfg), denoising.frame_noise(cfg)
  denoiser_tx, critic_tx = _optimisers(cfg)

  def step(state, batch, root):
    latent = nets.encode(state.nets, batches.clips(batch))
    b, label = len(latent), batches.labels(cfg, batch)
    key = lambda name: rng.stream(root, f'fewstep/{name}', state.step)
    before = state.nets['denoiser']
    bridge = state.nets.get('bridge')
    told = aligner.conditions(cfg, nets, bridge, latent, label, key('latents'))
    t, s = draw_steps(cfg, key('steps'), b)
    x_t = schedule.diffuse(latent, noise(key('noise'), latent.shape), t)

    def predict(params):
      def network(x, t):
        told_of = told(x, t)
        return nets.denoiser.apply(before.variables(params), x, t, told_of, jnp.ones(b)).output

      clip, _ = denoise_fn(network, denoising.prediction(cfg), schedule)(x_t, t)
      return Draft(clip), before.kept

    def hide(which, x0):
      fresh = noise(key(which), latent.shape)
      return jnp.concatenate([schedule.posterior(x_t, x0, t, s, fresh), x_t], axis=-1)

    def paired(draft, real, given):  # x_t was made of this very clip: a regression, well posed
      return cfg.fewstep.denoising_weight * jnp.mean(jnp.square(draft.clip - real))

    players = {'generator': before, 'critic': state.nets['critic']}
    played, _, metrics = game.play(
      {'critic': _judge(cfg)},
      players,
      {'generator': denoiser_tx, 'critic': critic_tx},
      game.Scene(latent, label, s, None, key, hide),
      draw=predict,
      also={'denoising': paired},
      decay=cfg.fewstep.ema_decay,
    )
    metrics = {f'fewstep/{name}': value for name, value in metrics.items()}
    trained = {'denoiser': played['generator'], 'critic': played['critic']}
    return TrainState(state.step + 1, state.nets | trained), metrics

  return step


def _judge(cfg):
  common = dict(classes=cfg.data.classes, dtype=jnp.dtype(cfg.dtype))
  return style.judge(cfg.draft, cfg.latent, **common)


def draw_steps(cfg, key: jax.Array, batch: int) -> tuple[jax.Array, jax.Array]:
  """(t, s) `[B]` of one step each: of a walk from tau of n steps, n from 1 to `walk`, the k-th."""
  walk_key, step_key = jax.random.split(key)
  n = jax.random.randint(walk_key, (batch,), 1, cfg.fewstep.walk + 1)
  k = jnp.floor(n * jax.random.uniform(step_key, (batch,)))  # 0 is the last
  return cfg.hybrid.tau * (k + 1) / n, cfg.hybrid.tau * k / n


def _optimisers(cfg):
  """Of the denoiser, which comes trained, and of the critic, which does not."""
  stage = cfg.fewstep
  denoiser = style.optimiser(stage.learning_rate, stage.steps // 5, stage.steps)
  return denoiser, style.optimiser(stage.critic_learning_rate, 0, stage.steps)


def _problems(cfg):
  if cfg.draft.name != 'style':
    yield f'stages: fewstep plays with the critics of draft.name=style, not {cfg.draft.name}'
    return
  misfits = cfg.draft.critic.misfits(cfg.latent.size, cfg.latent.frames)  # it sees latents
  yield from (f'draft.critic.{problem}' for problem in misfits)


STAGE = Stage(
  'the refiner learns to take few, long steps',
  Settings,
  init,
  make_step,
  trains=('denoiser', 'bridge'),
  takes=('denoiser', 'bridge', 'autoencoder'),
  shows='hybrid_fewstep',
  problems=_problems,
)
