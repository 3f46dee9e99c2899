"""Adversarial objectives and gradient penalties, as functions of logits.

Every objective has two losses, functions `(real, fake) -> scalar`, where `real` and `fake` are
logits of equal shape, high for what the critic takes for real.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax


class Objective(NamedTuple):
  """What the registry `OBJECTIVES` holds: the losses of both players.

  Attributes:
    meaning: in a line.
    critic: (real logits, fake logits) -> its loss.
    generator: the same, of the other.
    neutral: the logit of an undecided critic; None where only differences of logits mean anything.
  """

  meaning: str
  critic: Callable[[jax.Array, jax.Array], jax.Array]
  generator: Callable[[jax.Array, jax.Array], jax.Array]
  neutral: float | None = 0.0


OBJECTIVES = {
  'nonsaturating': Objective(
    'Goodfellow et al. 2014, the non-saturating form',
    critic=lambda real, fake: jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fake)),
    generator=lambda real, fake: jnp.mean(jax.nn.softplus(-fake)),
  ),
  'hinge': Objective(
    'Lim and Ye 2017',
    critic=lambda real, fake: jnp.mean(jax.nn.relu(1 - real)) + jnp.mean(jax.nn.relu(1 + fake)),
    generator=lambda real, fake: -jnp.mean(fake),
  ),
  'least_squares': Objective(
    'Mao et al. 2017',
    critic=lambda real, fake: jnp.mean(jnp.square(real - 1)) + jnp.mean(jnp.square(fake)),
    generator=lambda real, fake: jnp.mean(jnp.square(fake - 1)),
    neutral=0.5,
  ),
  'wasserstein': Objective(
    'Arjovsky et al. 2017; bounded only under a penalty, best of interpolations',
    critic=lambda real, fake: jnp.mean(fake) - jnp.mean(real),
    generator=lambda real, fake: -jnp.mean(fake),
    neutral=None,
  ),
  'relativistic': Objective(
    'Huang et al. 2024 (R3GAN), after Jolicoeur-Martineau 2018: each real with a fake',
    critic=lambda real, fake: jnp.mean(jax.nn.softplus(fake - real)),
    generator=lambda real, fake: jnp.mean(jax.nn.softplus(real - fake)),
    neutral=None,
  ),
}


def category(logits: jax.Array, label: jax.Array) -> jax.Array:
  """Mean cross entropy of logits `[B, K]` over the rows that have a label; 0 where none has."""
  known = label >= 0
  each = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.where(known, label, 0))
  return jnp.sum(jnp.where(known, each, 0.0)) / jnp.maximum(jnp.sum(known), 1)


def mean_sign(objective: Objective, real: jax.Array, fake: jax.Array) -> jax.Array:
  """Share of real logits above the neutral one less the share below, -1 to 1.

  Near 1 the critic knows the real clips by heart. Source: Karras et al. 2020 (ADA), eq. 1, r_t.
  Where no logit is neutral, the mean logit of the fakes takes its place.
  """
  neutral = jnp.mean(fake) if objective.neutral is None else objective.neutral
  return jnp.mean(jnp.sign(real - neutral))


def gradient_penalty(
  score: Callable[[jax.Array], jax.Array], video: jax.Array, weight: jax.Array | None = None
) -> jax.Array:
  """Mean squared norm of d score / d video over the batch; R1 on real clips, R2 on fakes.

  Args:
    score: clips `[B, T, H, W, C]` -> logits, whose sum is differentiated: of a critic that computes
      in float32, for the gradient of this gradient keeps little of what bfloat16 leaves.
    video: where.
    weight: `[B]`, of each clip in the mean; None: all the same.

  Source: Mescheder et al. 2018, eq. 9, without its factor gamma / 2.
  """
  return jnp.average(_squared_norms(score, video), weights=weight)


def interpolation_penalty(
  score: Callable[[jax.Array], jax.Array],
  real: jax.Array,
  fake: jax.Array,
  share: jax.Array,
  weight: jax.Array | None = None,
) -> jax.Array:
  """Mean squared distance from 1 of the norm of d score / d video between real and fake clips.

  Args:
    score: as in `gradient_penalty`.
    real: `[B, T, H, W, C]`.
    fake: the same.
    share: `[B]` in [0, 1], of the fake in each clip where the gradient is taken.
    weight: as in `gradient_penalty`.

  Source: Gulrajani et al. 2017 (WGAN-GP), eq. 3, without its factor lambda.
  """
  share = share.reshape(-1, *(1 for _ in real.shape[1:]))
  squared = _squared_norms(score, real + share * (fake - real))
  distance = jnp.square(jnp.sqrt(squared + 1e-12) - 1)  # at 0, sqrt has no gradient
  return jnp.average(distance, weights=weight)


def _squared_norms(score, video):
  """Squared norm `[B]` of d score / d video, summed in float32."""
  gradient = jax.grad(lambda x: jnp.sum(score(x).astype(jnp.float32)))(video.astype(jnp.float32))
  return jnp.sum(jnp.square(gradient), axis=tuple(range(1, gradient.ndim)))
