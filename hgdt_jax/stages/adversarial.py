"""One round of the adversarial game, shared by the stages `gan`, `joint` and `fewstep`."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from hgdt_jax import augment
from hgdt_jax.config import Config
from hgdt_jax.losses import adversarial
from hgdt_jax.models import spectral
from hgdt_jax.models.critic import FULL_GROUP, Critic, group_size
from hgdt_jax.stages import batches
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

  def score(params, video, network=critic_network, take=lambda rows: rows):
    if critic.spectral:
      params = spectral.normalise(params, critic.spectral)
    return network.apply({'params': params}, video, take(t), take(label), frames)

  def critic_loss(params):
    real_score, fake_score = score(params, seen_real), score(params, seen_fake)
    loss = sum(objective.critic(real_score[k], fake_score[k]) for k in real_score)
    penalty = penalise(functools.partial(score, params))
    return loss + penalty, (loss, penalty, real_score, fake_score)

  def penalise(score):
    take, weight = penalised_rows(cfg, len(real))
    exact = functools.partial(score, network=critic_network.clone(dtype=jnp.float32), take=take)
    share = jax.random.uniform(key('penalty'), (len(real),))
    return _penalty(cfg, exact, take(seen_real), take(seen_fake), take(share), weight)

  grads, (d_loss, penalty, real_score, fake_score) = jax.grad(critic_loss, has_aux=True)(
    critic.params
  )
  d_norm = optax.tree.norm(grads)
  critic = critic.update(grads, critic_tx).gathered()

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


def penalised_rows(cfg: Config, batch: int) -> tuple[Callable, jax.Array]:
  """Every `penalty_rows`-th row of a batch, as `batches.every` gives them.

  What lazy regularisation (StyleGAN2 2020) saves, without its bursts and without a branch in the
  program: the mean over some rows of a random batch is as unbiased as the mean over all. A critic
  that compares the clips of a group is penalised on whole groups: alone, a clip has no spread.
  """
  if not cfg.critic.minibatch_stddev:
    return batches.every(cfg.gan.penalty_rows, batch)
  group = group_size(batch)
  # Some of smaller groups might be grouped otherwise than all of them.
  return batches.every(cfg.gan.penalty_rows if group == FULL_GROUP else 1, batch, group)


def _penalty(cfg, score, real, fake, share, weight):
  """gamma / 2 (R1 + R2) and the interpolation penalty, means with `weight`."""

  def joined(x):
    scores = score(x)
    return jnp.sum(scores['clip']) + jnp.sum(jnp.mean(scores['frame'], axis=1))

  penalties = [
    0.5 * gamma * adversarial.gradient_penalty(joined, video, weight)
    for gamma, video in ((cfg.gan.r1, real), (cfg.gan.r2, fake))
    if gamma
  ]
  if scale := cfg.gan.interpolation_penalty:
    penalties.append(scale * adversarial.interpolation_penalty(joined, real, fake, share, weight))
  return sum(penalties, jnp.zeros(()))


def _spread(video):
  """Mean distance of the clips of a batch to their mean."""
  return jnp.mean(jnp.abs(video - jnp.mean(video, axis=0, keepdims=True)))


def _motion(video):
  return jnp.mean(jnp.abs(jnp.diff(video, axis=1)))
