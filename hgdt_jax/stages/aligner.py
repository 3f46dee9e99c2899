"""Stage `aligner`: ties each frame to the one before it, and the denoiser to the GAN's latents.

The GAN is frozen; the rest of the denoiser is frozen or moves slowly. Three parts learn together:
the aligner on the denoising loss, its flow on real clips, and the bridge that guesses latents for
clips that no GAN drew.
"""

import dataclasses
import functools
from typing import Annotated

import jax
import jax.numpy as jnp
import optax

from hgdt_jax import fields, rng
from hgdt_jax.denoisers.types import Condition
from hgdt_jax.diffusion import training
from hgdt_jax.losses import temporal
from hgdt_jax.schema import OneOf
from hgdt_jax.stages import batches, denoising, networks
from hgdt_jax.stages.types import Stage
from hgdt_jax.state import Net, TrainState, from_scratch

LATENTS = ('none', 'clean', 'noised')  # what the bridge reads, if there is one


@dataclasses.dataclass(frozen=True)
class Settings:
  """Of the stage; `configs/base.py` says what each field means."""

  steps: fields.Steps
  learning_rate: fields.Rate
  denoiser_learning_rate: fields.RateOrNone
  latents: Annotated[str, OneOf(LATENTS)]
  latent_dropout: fields.Share
  flow_weight: fields.Weight
  hidden_price: fields.Weight
  consistency_weight: fields.Weight
  bridge_weight: fields.Weight


def init(cfg, key: jax.Array) -> TrainState:
  txs = _optimisers(cfg)
  denoiser = networks.init_denoiser(cfg, rng.stream(key, 'denoiser'))
  generator = networks.init_generator(cfg, rng.stream(key, 'generator'))
  nets = {'denoiser': Net.create(denoiser, txs['denoiser']), 'generator': Net.of(generator)}
  if cfg.bridges:
    bridge = networks.init_bridge(cfg, rng.stream(key, 'bridge'))
    nets['bridge'] = Net.create(bridge, txs['bridge'])
  return TrainState.create(**nets, **networks.frozen_autoencoder(cfg, key))


def make_step(cfg):
  nets, txs = networks.make(cfg), _optimisers(cfg)

  def step(state, batch, root):
    video, label, draft = batches.clips(batch), batches.labels(cfg, batch), None
    if cfg.bridges:
      codes = nets.gan.codes(rng.stream(root, 'aligner/codes', state.step), *video.shape[:2])
      generator = state.nets['generator'].variables()
      draft = nets.gan.generator.apply(generator, codes, label)
    refiner, metrics = train_refiner(
      cfg,
      nets,
      txs,
      state.nets,
      draft,
      video,
      label,
      root=root,
      step=state.step,
      decay=from_scratch(cfg.diffusion.ema_decay, state.step),
    )
    metrics = {f'aligner/{name}': value for name, value in metrics.items()}
    return TrainState(state.step + 1, state.nets | refiner), metrics

  return step


def train_refiner(cfg, nets, txs, players, draft, video, label, *, root, step, decay):
  """One step of the denoiser on real clips, and one of the bridge on drafts if there is one.

  Args:
    txs: their optimisers, by name.
    players: their Nets, by name, perhaps among others.
    draft: a `Draft`, for the bridge.

  Returns:
    both after it by name, metrics.
  """
  key = lambda name: rng.stream(root, f'aligner/{name}', step)
  latent = nets.encode(players, video)
  label = batches.dropped(label, cfg.diffusion.label_dropout, key('label_dropout'))
  told = conditions(cfg, nets, players.get('bridge'), latent, label, key('latent_dropout'))
  after, metrics = {}, {}
  if cfg.bridges:
    draft = draft._replace(clip=nets.encode(players, jax.lax.stop_gradient(draft.clip)))
    after['bridge'], metrics = _train_bridge(
      cfg, nets, txs['bridge'], players['bridge'], draft, key('bridge'), decay
    )
  after['denoiser'], found = _train_denoiser(
    cfg, nets, txs['denoiser'], players['denoiser'], latent, told, key('noise'), decay
  )
  return after, metrics | found


def conditions(cfg, nets, bridge: Net | None, latent, label, key):
  """What the denoiser is told in training: a function `(x_t, t) -> Condition`.

  Its latents are the bridge's guess from the clean clip, `latent` in the denoiser's space, or from
  what the denoiser sees of it, dropped for a share of the rows; the aligner is on where a stage
  trains it.
  """
  b, frames = latent.shape[:2]
  plain = Condition.plain(label, frames, cfg.draft.latent_size)
  if cfg.aligns:
    plain = plain.replace(align=jnp.ones(b))
  if not cfg.bridges:
    return lambda x, t: plain
  use = jax.random.uniform(key, (b,)) >= cfg.aligner.latent_dropout
  variables = bridge.variables()
  guess = lambda clip, t: jax.lax.stop_gradient(nets.bridge.apply(variables, clip, t))
  plain = plain.replace(use_latents=use.astype(jnp.float32))
  if cfg.aligner.latents == 'noised':
    return lambda x, t: plain.replace(latents=guess(x, t))
  clean = plain.replace(latents=guess(latent, jnp.zeros(b)))
  return lambda x, t: clean


def _train_bridge(cfg, nets, tx, net, draft, key, decay):
  """One step of E(x_t, t) = w on drafts, at the noise levels it is to be used at."""
  clip, t = draft.clip, jnp.zeros(len(draft.clip))
  if cfg.aligner.latents == 'noised':
    t_key, noise_key = jax.random.split(key)
    schedule, eps = denoising.schedule(cfg), denoising.frame_noise(cfg)(noise_key, clip.shape)
    t = training.sample_times(t_key, len(clip), denoising.configured_times(cfg), schedule)
    clip = schedule.diffuse(clip, eps, t)

  def loss_fn(params):
    guess = nets.bridge.apply(net.variables(params), clip, t)
    return cfg.aligner.bridge_weight * jnp.mean(jnp.square(guess - draft.latents))

  loss, grads = jax.value_and_grad(loss_fn)(net.params)
  return net.update(grads, tx, decay), {'bridge_loss': loss}


def _train_denoiser(cfg, nets, tx, net, latent, told, key, decay):
  """One step on real clips; returns (net, metrics)."""
  mixing = denoising.mixing(cfg, len(latent))

  def loss_fn(params):
    flows = []

    def network(x, t):
      found = nets.denoiser.apply(net.variables(params), x, t, told(x, t), mixing)
      flows.extend(found.flows)
      return found.output

    losses, aux = denoising.loss(cfg, network, latent, key)
    loss, found = jnp.mean(losses), {'denoising_loss': jnp.mean(losses)}
    if flows:
      flow_loss, consistency = _flow_losses(cfg, flows, latent, aux['x0'])
      loss += cfg.aligner.flow_weight * flow_loss + cfg.aligner.consistency_weight * consistency
      found |= {'flow_loss': flow_loss, 'consistency': consistency}
    return loss, (losses, aux, found)

  (loss, (losses, aux, found)), grads = jax.value_and_grad(loss_fn, has_aux=True)(net.params)
  metrics = {
    'loss': loss,
    **found,
    # A frozen clip minimises the consistency: read it beside this one.
    'motion_ratio': temporal.motion(aux['x0']) / temporal.motion(latent),
    'grad_norm': optax.tree.norm(grads),
    **denoising.by_noise(aux, losses, cfg.hybrid.tau),
  }
  return net.update(grads, tx, decay), metrics


def late_or_rest(late: tuple[str, ...], params):
  """Labels for `optax.multi_transform`: the parameters with such names, see `denoisers.types`."""

  def label(path, _):
    return 'late' if any(entry.key.startswith(late) for entry in path) else 'rest'

  return jax.tree_util.tree_map_with_path(label, params)


def _flow_losses(cfg, flows, clean, predicted):
  """Photometric loss and masked consistency, mean over the aligners, each at its own size.

  The flow learns from real clips alone; the prediction is held to it where the real clip is.
  """
  photometric, consistency = [], []
  for flow in flows:
    in_order = (jnp.flip(c, axis=1) if flow.backward else c for c in (clean, predicted))
    real, guess = (_shrink(clip, flow.field.shape[2]) for clip in in_order)
    price = cfg.aligner.hidden_price
    photometric.append(temporal.photometric(real, flow.field, flow.visible, price))
    field = jax.lax.stop_gradient(flow.field)
    holds = (temporal.warp_error(real, field) < 0.1).astype(jnp.float32)
    consistency.append(temporal.consistency(guess, field, holds))
  return sum(photometric) / len(photometric), sum(consistency) / len(consistency)


def _shrink(clip, size):
  """Mean of each square of pixels: [B, T, H, W, C] -> [B, T, size, size, C]."""
  b, t, h, w, c = clip.shape
  return clip.reshape(b, t, size, h // size, size, w // size, c).mean(axis=(3, 5))


def _optimisers(cfg):
  stage = cfg.aligner
  rates = {'late': stage.learning_rate, 'rest': stage.denoiser_learning_rate}
  parts = {
    name: denoising.optimiser(cfg, rate, min(cfg.diffusion.warmup, stage.steps // 10), stage.steps)
    for name, rate in rates.items()
  }
  labels = functools.partial(late_or_rest, cfg.denoiser.late)
  return {
    'denoiser': optax.multi_transform(parts, labels),
    'bridge': parts['late'],
  }


def _problems(cfg):
  if not cfg.denoiser.aligns:
    yield f'stages: denoiser.name={cfg.denoiser.name} has no aligner for stage aligner to train'
  if cfg.bridges and not cfg.draft.latent_size:
    yield (
      f'aligner.latents={cfg.aligner.latents!r}: drafts of draft.name={cfg.draft.name!r} have '
      "none; choose 'none'"
    )
  if cfg.bridges and 'generator' not in cfg.begins_with('aligner'):
    yield (
      f'aligner.latents={cfg.aligner.latents!r}: the bridge learns from the drafts of stage '
      "gan; put it before aligner in stages, or choose 'none'"
    )
  if 'denoiser' not in cfg.begins_with('aligner') and not cfg.aligner.denoiser_learning_rate:
    yield (
      'aligner.denoiser_learning_rate=0: no stage before aligner trains the denoiser; add '
      'diffusion to stages or give a rate'
    )


STAGE = Stage(
  'ties each frame to the one before it, and the denoiser to the latents of drafts',
  Settings,
  init,
  make_step,
  trains=('denoiser', 'bridge'),
  takes=('generator', 'denoiser', 'autoencoder'),
  begins=('generator', 'denoiser'),
  shows='hybrid',
  problems=_problems,
)
