"""Stage `aligner`: ties each frame to the one before it, and the denoiser to the GAN's latents.

The GAN is frozen; the rest of the denoiser is frozen or moves slowly. Three parts learn together:
the aligner on the denoising loss, its flow on real clips, and the bridge that guesses latents for
clips that no GAN drew.
"""

import jax
import jax.numpy as jnp
import optax

from hgdt_jax import rng
from hgdt_jax.config import Config
from hgdt_jax.losses import temporal
from hgdt_jax.models.unet3d import Condition
from hgdt_jax.stages import batches, denoising, networks
from hgdt_jax.state import Net, TrainState, from_scratch

STARTS_FROM = {'generator': 'gan', 'denoiser': 'diffusion'}


def init(cfg: Config, key: jax.Array) -> TrainState:
  denoiser = networks.init_denoiser(cfg, rng.stream(key, 'denoiser'))
  bridge = networks.init_bridge(cfg, rng.stream(key, 'bridge'))
  generator = networks.init_generator(cfg, rng.stream(key, 'generator'))
  denoiser_tx, bridge_tx = _optimisers(cfg)
  return TrainState.create(
    denoiser=Net.create(denoiser, denoiser_tx),
    bridge=Net.create(bridge, bridge_tx),
    generator=Net(params=generator),  # frozen
  )


def make_step(cfg: Config):
  nets = networks.make(cfg)
  denoiser_tx, bridge_tx = _optimisers(cfg)

  def step(state, batch, root):
    decay = from_scratch(cfg.diffusion.ema_decay, state.step)
    video, label = batches.clips(batch), batches.labels(cfg, batch)
    z = nets.generator.draw_codes(rng.stream(root, 'aligner/codes', state.step), *video.shape[:2])
    draft, latents = nets.generator.apply({'params': state.nets['generator'].params}, z, label)
    bridge, guessed, bridge_metrics = train_bridge(
      cfg, nets, bridge_tx, state.nets['bridge'], draft, latents, video, decay
    )
    denoiser, metrics = train_aligned(
      cfg,
      nets,
      denoiser_tx,
      state.nets['denoiser'],
      video,
      label,
      guessed,
      root=root,
      step=state.step,
      decay=decay,
    )
    metrics = {f'aligner/{k}': v for k, v in (metrics | bridge_metrics).items()}
    trained = {'denoiser': denoiser, 'bridge': bridge, 'generator': state.nets['generator']}
    return TrainState(state.step + 1, trained), metrics

  return step


def train_bridge(cfg, nets, tx, net, draft, latents, video, decay):
  """One step of E(G(w)) = w on drafts; returns (net, E(video) before the step, metrics)."""

  def loss_fn(params):
    guess = nets.bridge.apply({'params': params}, jax.lax.stop_gradient(draft))
    return cfg.aligner.bridge_weight * jnp.mean(jnp.square(guess - latents))

  loss, grads = jax.value_and_grad(loss_fn)(net.params)
  guessed = nets.bridge.apply({'params': net.params}, video)
  return net.update(grads, tx, decay), guessed, {'bridge_loss': loss}


def train_aligned(cfg, nets, tx, net, video, label, latents, *, root, step, decay):
  """One step of the denoiser with its aligner on, on real clips; returns (net, metrics)."""
  b = len(video)
  keep = jax.random.uniform(rng.stream(root, 'aligner/latent_dropout', step), (b,))
  label = batches.dropped(
    label, cfg.diffusion.label_dropout, rng.stream(root, 'aligner/label_dropout', step)
  )
  use_latents = (keep >= cfg.aligner.latent_dropout).astype(jnp.float32)
  on = jnp.ones(b)
  condition = Condition(label, jax.lax.stop_gradient(latents), use_latents, align=on)

  def loss_fn(params):
    sown = {}

    def network(x, t):
      out, found = nets.denoiser.apply(
        {'params': params}, x, t, condition, on, mutable='intermediates'
      )
      sown.update(found['intermediates'])
      return out

    losses, aux = denoising.loss(cfg, network, video, rng.stream(root, 'aligner/noise', step))
    flow_loss, consistency = _flow_losses(sown, video, aux['x0'])
    loss = (
      jnp.mean(losses)
      + cfg.aligner.flow_weight * flow_loss
      + cfg.aligner.consistency_weight * consistency
    )
    return loss, (losses, aux, flow_loss, consistency)

  (loss, (losses, aux, flow_loss, consistency)), grads = jax.value_and_grad(loss_fn, has_aux=True)(
    net.params
  )
  metrics = {
    'loss': loss,
    'denoising_loss': jnp.mean(losses),
    'flow_loss': flow_loss,
    'consistency': consistency,
    # A frozen clip minimises the line above: read it beside this one.
    'motion_ratio': _motion(aux['x0']) / _motion(video),
    'grad_norm': optax.tree.norm(grads),
    **denoising.by_noise(aux, losses, cfg.hybrid.tau),
  }
  return net.update(grads, tx, decay), metrics


def aligner_or_rest(params):
  """Labels for `optax.multi_transform`: the aligner with the latents' way in, and the rest."""

  def label(path, _):
    names = [entry.key for entry in path]
    new = any(name.startswith(('aligner', 'latents_')) for name in names)
    return 'aligner' if new else 'rest'

  return jax.tree_util.tree_map_with_path(label, params)


def _flow_losses(sown, video, predicted):
  """Photometric loss and masked consistency, mean over the aligners, each at its own size.

  The flow learns from real clips alone; the prediction is held to it where the real clip is.
  """
  photometric, consistency = [], []
  for found in sown.values():
    (flow,), (visible,) = found['flow'], found['visible']
    real, guess = (_shrink(clip, flow.shape[2]) for clip in (video, predicted))
    photometric.append(temporal.photometric(real, flow, visible))
    flow = jax.lax.stop_gradient(flow)
    holds = (temporal.warp_error(real, flow) < 0.1).astype(jnp.float32)
    consistency.append(temporal.consistency(guess, flow, holds))
  return sum(photometric) / len(photometric), sum(consistency) / len(consistency)


def _shrink(clip, size):
  """Mean of each square of pixels: [B, T, H, W, C] -> [B, T, size, size, C]."""
  b, t, h, w, c = clip.shape
  return clip.reshape(b, t, size, h // size, size, w // size, c).mean(axis=(3, 5))


def _motion(video):
  return jnp.mean(jnp.abs(jnp.diff(video, axis=1)))


def _optimisers(cfg):
  stage = cfg.aligner
  rates = {'aligner': stage.learning_rate, 'rest': stage.denoiser_learning_rate}
  parts = {
    name: denoising.optimiser(rate, min(cfg.diffusion.warmup, stage.steps // 10), stage.steps)
    for name, rate in rates.items()
  }
  return optax.multi_transform(parts, aligner_or_rest), parts['aligner']
