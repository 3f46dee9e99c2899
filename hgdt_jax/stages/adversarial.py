"""One round of the adversarial game, shared by the stages `gan` and `joint`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from hgdt_jax.config import Config
from hgdt_jax.losses import adversarial
from hgdt_jax.models import spectral
from hgdt_jax.stages.networks import Networks
from hgdt_jax.state import Net


def optimiser(learning_rate: float, steps: int) -> optax.GradientTransformation:
  """Adam without momentum, which a game does not forgive; cosine decay to a tenth."""
  return optax.adam(optax.cosine_decay_schedule(learning_rate, steps, 0.1), b1=0.0, b2=0.99)


def init_critic(params, tx, key: jax.Array, spectral_norm: bool) -> Net:
  vectors = spectral.init(params, key) if spectral_norm else ()
  return Net.create(params, tx, ema=False, spectral=vectors)


def play(
  cfg: Config,
  networks: Networks,
  tx: optax.GradientTransformation,
  generator: Net,
  critic: Net,
  *,
  real: jax.Array,
  label: jax.Array,
  z: dict[str, jax.Array],
  t: jax.Array,
  frames: jax.Array,
  diffuse_real: Callable[[jax.Array], jax.Array],
  diffuse_fake: Callable[[jax.Array], jax.Array],
  step: jax.Array,
):
  """The critic moves first, then the generator answers the new critic.

  The generator runs forward once: its draft is a constant to the critic, and the gradient of the
  answer is pulled back through the same pass. Critics see clips diffused to `t` `[B]`, the frame
  critic the frames of index `frames` of each.

  Returns:
    generator and critic after the round, (draft `[B, T, H, W, C]`, latents `[B, T, D]`), metrics.
  """
  objective = adversarial.OBJECTIVES[cfg.gan.objective]

  def draw(params):
    return networks.generator.apply({'params': params}, z, label)

  (draft, latents), pull_back = jax.vjp(draw, generator.params)
  real_t, fake_t = diffuse_real(real), diffuse_fake(draft)
  if critic.spectral:
    critic = critic.replace(spectral=spectral.iterate(critic.params, critic.spectral))

  def score(params, video, every=1):
    if critic.spectral:
      params = spectral.normalise(params, critic.spectral)
    return networks.critic.apply({'params': params}, video, t[::every], label[::every], frames)

  def critic_loss(params):
    real_score, fake_score = score(params, real_t), score(params, fake_t)
    loss = sum(objective.critic(real_score[k], fake_score[k]) for k in real_score)
    every = cfg.gan.penalty_rows
    penalty = _penalty(cfg, lambda x: score(params, x, every), real_t[::every], fake_t[::every])
    return loss + penalty, (loss, penalty, real_score, fake_score)

  grads, (d_loss, penalty, real_score, fake_score) = jax.grad(critic_loss, has_aux=True)(
    critic.params
  )
  d_norm = optax.tree.norm(grads)
  critic = critic.update(grads, tx)

  def generator_loss(fake):
    fake_score, real_score = score(critic.params, diffuse_fake(fake)), score(critic.params, real_t)
    return sum(objective.generator(real_score[k], fake_score[k]) for k in fake_score)

  g_loss, towards = jax.value_and_grad(generator_loss)(draft)
  (grads,) = pull_back((towards, jnp.zeros_like(latents)))
  generator = generator.update(grads, tx, cfg.gan.ema_decay, step)

  mean = lambda scores: sum(jnp.mean(s) for s in scores.values()) / len(scores)
  metrics = {
    'd_loss': d_loss,
    'g_loss': g_loss,
    'penalty': penalty,
    'real_score': mean(real_score),
    'fake_score': mean(fake_score),
    'd_grad_norm': d_norm,
    'g_grad_norm': optax.tree.norm(grads),
    'motion_ratio': _motion(draft) / _motion(real),
  }
  return generator, critic, (draft, latents), metrics


def draw_frames(cfg: Config, key: jax.Array) -> jax.Array:
  """Indices of `critic.frames` different frames, rising."""
  drawn = jax.random.choice(key, cfg.data.frames, (cfg.critic.frames,), replace=False)
  return jnp.sort(drawn)


def _penalty(cfg, score, real, fake):
  """gamma / 2 (R1 + R2) on every `penalty_rows`-th row.

  What lazy regularisation (StyleGAN2 2020) saves, without its bursts and without a branch in the
  program: the mean over some rows of a random batch is as unbiased as the mean over all.
  """

  def joined(x):
    scores = score(x)
    return jnp.sum(scores['clip']) + jnp.sum(jnp.mean(scores['frame'], axis=1))

  penalties = [
    0.5 * weight * adversarial.gradient_penalty(joined, video)
    for weight, video in ((cfg.gan.r1, real), (cfg.gan.r2, fake))
    if weight
  ]
  return sum(penalties, jnp.zeros(()))


def _motion(video):
  return jnp.mean(jnp.abs(jnp.diff(video, axis=1)))
