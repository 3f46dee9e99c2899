"""One round of the adversarial game, shared by the stages `gan`, `joint` and `fewstep`."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from hgdt_jax import augment
from hgdt_jax.config import Config
from hgdt_jax.losses import adversarial
from hgdt_jax.models import spectral
from hgdt_jax.models.critic import Critic
from hgdt_jax.state import Net

NO_OTHER_LOSS = lambda clip: jnp.zeros(())


def optimiser(learning_rate: float, warmup: int, steps: int) -> optax.GradientTransformation:
  """Adam without momentum, which a game does not forgive; warm-up, cosine decay to a tenth.

  Players that come trained need the warm-up: a fresh Adam knows no scale yet, and its first steps
  at the full rate throw them about.
  """
  rate = optax.warmup_cosine_decay_schedule(
    0.0 if warmup else learning_rate, learning_rate, warmup, steps, 0.1 * learning_rate
  )
  return optax.adam(rate, b1=0.0, b2=0.99)


def init_critic(cfg: Config, params, tx, key: jax.Array, *, augmented: bool = True) -> Net:
  """`augmented`: whether `gan.augment` says what this critic sees."""
  vectors = spectral.init(params, key) if cfg.critic.spectral_norm else ()
  probability = None
  if augmented and cfg.gan.augment != 'none':
    probability = jnp.float32(cfg.gan.augment_probability)
  return Net.create(params, tx, ema=False, spectral=vectors, augment=probability)


def play(
  cfg: Config,
  critic_network: Critic,
  generator: Net,
  critic: Net,
  *,
  draw: Callable,
  see_real: Callable[[jax.Array], jax.Array],
  see_fake: Callable[[jax.Array], jax.Array],
  real: jax.Array,
  label: jax.Array,
  t: jax.Array,
  frames: jax.Array,
  key: Callable[[str], jax.Array],
  generator_tx: optax.GradientTransformation,
  critic_tx: optax.GradientTransformation,
  decay: float | jax.Array,
  also: Callable[[jax.Array], jax.Array] = NO_OTHER_LOSS,
):
  """The critic moves first, then the generator answers the new critic.

  The generator runs forward once: its clip is a constant to the critic, and the gradient of the
  answer is pulled back through the same pass.

  Args:
    draw: parameters of the generator -> (clip `[B, T, H, W, C]`, anything else worth keeping).
    see_real: real clips, augmented if the critic is so trained -> what it sees of them; may diffuse
      them.
    see_fake: the same of drawn clips.
    t: `[B]`, the noise level that the critic is told.
    frames: indices of the frames that the frame critic sees.
    key: name -> key of that random stream at this step.
    decay: of the generator's average.
    also: a further loss of the drawn clip, for the generator.

  Returns:
    generator and critic after the round, what `draw` gave, metrics.
  """
  objective = adversarial.OBJECTIVES[cfg.gan.objective]
  clip, pull_back, kept = jax.vjp(draw, generator.params, has_aux=True)
  p = critic.augment

  def augmented(video, name):
    return video if p is None else augment.clips(key(f'augment_{name}'), video, p)

  seen_real, seen_fake = see_real(augmented(real, 'real')), see_fake(augmented(clip, 'fake'))
  if critic.spectral:
    critic = critic.replace(spectral=spectral.iterate(critic.params, critic.spectral))

  def score(params, video, every=1):
    if critic.spectral:
      params = spectral.normalise(params, critic.spectral)
    return critic_network.apply({'params': params}, video, t[::every], label[::every], frames)

  def critic_loss(params):
    real_score, fake_score = score(params, seen_real), score(params, seen_fake)
    loss = sum(objective.critic(real_score[k], fake_score[k]) for k in real_score)
    every = cfg.gan.penalty_rows
    some_real, some_fake = seen_real[::every], seen_fake[::every]
    penalty = _penalty(cfg, lambda x: score(params, x, every), some_real, some_fake, key('penalty'))
    return loss + penalty, (loss, penalty, real_score, fake_score)

  grads, (d_loss, penalty, real_score, fake_score) = jax.grad(critic_loss, has_aux=True)(
    critic.params
  )
  d_norm = optax.tree.norm(grads)
  critic = critic.update(grads, critic_tx)

  def generator_loss(fake):
    fake_score = score(critic.params, see_fake(augmented(fake, 'fake')))
    real_score = score(critic.params, seen_real)
    game = sum(objective.generator(real_score[k], fake_score[k]) for k in fake_score)
    return game + also(fake), game

  towards, g_loss = jax.grad(generator_loss, has_aux=True)(clip)
  (grads,) = pull_back(towards)
  generator = generator.update(grads, generator_tx, decay)

  mean = lambda scores: sum(jnp.mean(s) for s in scores.values()) / len(scores)
  metrics = {
    'd_loss': d_loss,
    'g_loss': g_loss,
    'penalty': penalty,
    'real_score': mean(real_score),
    'fake_score': mean(fake_score),
    'd_grad_norm': d_norm,
    'g_grad_norm': optax.tree.norm(grads),
    'motion_ratio': _motion(clip) / _motion(real),
    'diversity': _spread(clip) / _spread(real),
  }
  if p is not None:
    metrics['augment_probability'] = p
    if cfg.gan.augment == 'adaptive':
      signs = [adversarial.mean_sign(objective, real_score[k], fake_score[k]) for k in real_score]
      shown = real.shape[0] * real.shape[1]
      p = augment.adapt(p, sum(signs) / len(signs), cfg.gan.augment_target, shown)
      critic = critic.replace(augment=p)
  return generator, critic, (clip, kept), metrics


def first_frames(cfg: Config, key: jax.Array, real: jax.Array):
  """What else the generator is given: the first frames of the real clips, and bool `[B]`, which
  drafts are to continue one. Critics see the given frame in the draft, so its clip has to follow.
  """
  if not cfg.gan.image_share:
    return None, None
  return real[:, 0], jax.random.uniform(key, (len(real),)) < cfg.gan.image_share


def likeness(cfg: Config, real: jax.Array, given: jax.Array | None) -> Callable:
  """A loss of drawn clips: how far those that continue a real clip's frame are from that clip.

  Draft and clip are paired there, so a regression is well posed; it holds what the critics would
  take long to, the place of things and their colour (conditional GANs, Isola et al. 2017).
  """
  if given is None:
    return NO_OTHER_LOSS
  share = given.astype(jnp.float32)

  def loss(clip):
    apart = jnp.mean(jnp.abs(clip - real), axis=(1, 2, 3, 4))
    return cfg.gan.image_weight * jnp.mean(share * apart)

  return loss


def draw_frames(cfg: Config, key: jax.Array) -> jax.Array:
  """Indices of `critic.frames` different frames, rising."""
  drawn = jax.random.choice(key, cfg.data.frames, (cfg.critic.frames,), replace=False)
  return jnp.sort(drawn)


def _penalty(cfg, score, real, fake, key):
  """gamma / 2 (R1 + R2) and the interpolation penalty, on every `penalty_rows`-th row.

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
  if weight := cfg.gan.interpolation_penalty:
    share = jax.random.uniform(key, (len(real),))
    penalties.append(weight * adversarial.interpolation_penalty(joined, real, fake, share))
  return sum(penalties, jnp.zeros(()))


def _spread(video):
  """Mean distance of each clip to the next of the batch."""
  return jnp.mean(jnp.abs(video - jnp.roll(video, 1, axis=0)))


def _motion(video):
  return jnp.mean(jnp.abs(jnp.diff(video, axis=1)))
