"""Adversarial objectives and gradient penalties, as functions of logits.

Every objective has two losses, functions of `real` and `fake`: logits, high for what the critic
takes for real.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

Score = Callable[[Float[Array, 'b t h w c']], Float[Array, '...']]


class Objective(NamedTuple):
  """What the registry `OBJECTIVES` holds: the losses of both players.

  Attributes:
    meaning: in a line.
    critic: (real logits, fake logits) -> its loss.
    generator: the same, of the other.
    neutral: the logit of an undecided critic; None where only differences of logits mean anything.
  """

  meaning: str
  critic: Callable[[Float[Array, '*s'], Float[Array, '*s']], Float[Array, '']]
  generator: Callable[[Float[Array, '*s'], Float[Array, '*s']], Float[Array, '']]
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


def category(logits: Float[Array, 'b k'], label: Int[Array, ' b']) -> Float[Array, '']:
  """Mean cross entropy of logits over the rows that have a label; 0 where none has."""
  known = label >= 0
  each = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.where(known, label, 0))
  return jnp.sum(jnp.where(known, each, 0.0)) / jnp.maximum(jnp.sum(known), 1)


def mean_sign(
  objective: Objective, real: Float[Array, '*s'], fake: Float[Array, '*f']
) -> Float[Array, '']:
  """Share of real logits above the neutral one less the share below, -1 to 1.

  Near 1 the critic knows the real clips by heart. Source: Karras et al. 2020 (ADA), eq. 1, r_t.
  Where no logit is neutral, the mean logit of the fakes takes its place.
  """
  neutral = jnp.mean(fake) if objective.neutral is None else objective.neutral
  return jnp.mean(jnp.sign(real - neutral))


def gradient_penalty(
  score: Score, video: Float[Array, 'b t h w c'], weight: Float[Array, ' b'] | None = None
) -> Float[Array, '']:
  """Mean squared norm of d score / d video over the batch; R1 on real clips, R2 on fakes.

  Args:
    score: gives logits, whose sum is differentiated: of a critic that computes in float32, for the
      gradient of this gradient keeps little of what bfloat16 leaves.
    video: where.
    weight: of each clip in the mean; None: all the same.

  Source: Mescheder et al. 2018, eq. 9, without its factor gamma / 2.
  """
  return jnp.average(_squared_norms(score, video), weights=weight)


def interpolation_penalty(
  score: Score,
  real: Float[Array, 'b t h w c'],
  fake: Float[Array, 'b t h w c'],
  share: Float[Array, ' b'],
  weight: Float[Array, ' b'] | None = None,
) -> Float[Array, '']:
  """Mean squared distance from 1 of the norm of d score / d video between real and fake clips.

  Args:
    score: as in `gradient_penalty`.
    real: clips.
    fake: the same.
    share: in [0, 1], of the fake in each clip where the gradient is taken.
    weight: as in `gradient_penalty`.

  Source: Gulrajani et al. 2017 (WGAN-GP), eq. 3, without its factor lambda.
  """
  share = share.reshape(-1, *(1 for _ in real.shape[1:]))
  squared = _squared_norms(score, real + share * (fake - real))
  distance = jnp.square(jnp.sqrt(squared + 1e-12) - 1)  # at 0, sqrt has no gradient
  return jnp.average(distance, weights=weight)


def _squared_norms(score, video):
  """Squared norm of d score / d video of each clip, summed in float32."""
  gradient = jax.grad(lambda x: jnp.sum(score(x).astype(jnp.float32)))(video.astype(jnp.float32))
  return jnp.sum(jnp.square(gradient), axis=tuple(range(1, gradient.ndim)))
