"""Adversarial objectives and gradient penalties, as functions of logits.

Every objective is a pair `(critic_loss, generator_loss)` of functions `(real, fake) -> scalar`,
where `real` and `fake` are logits of equal shape, high for what the critic takes for real.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Objective(NamedTuple):
  critic: Callable[[jax.Array, jax.Array], jax.Array]
  generator: Callable[[jax.Array, jax.Array], jax.Array]


OBJECTIVES = {
  # Goodfellow et al. 2014, the non-saturating form.
  'nonsaturating': Objective(
    critic=lambda real, fake: jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fake)),
    generator=lambda real, fake: jnp.mean(jax.nn.softplus(-fake)),
  ),
  # Lim and Ye 2017.
  'hinge': Objective(
    critic=lambda real, fake: jnp.mean(jax.nn.relu(1 - real)) + jnp.mean(jax.nn.relu(1 + fake)),
    generator=lambda real, fake: -jnp.mean(fake),
  ),
  # Mao et al. 2017.
  'least_squares': Objective(
    critic=lambda real, fake: jnp.mean(jnp.square(real - 1)) + jnp.mean(jnp.square(fake)),
    generator=lambda real, fake: jnp.mean(jnp.square(fake - 1)),
  ),
  # Huang et al. 2024 (R3GAN), after Jolicoeur-Martineau 2018: each real is paired with a fake.
  'relativistic': Objective(
    critic=lambda real, fake: jnp.mean(jax.nn.softplus(fake - real)),
    generator=lambda real, fake: jnp.mean(jax.nn.softplus(real - fake)),
  ),
}


def gradient_penalty(score: Callable[[jax.Array], jax.Array], video: jax.Array) -> jax.Array:
  """Mean squared norm of d score / d video over the batch; R1 on real clips, R2 on fakes.

  Args:
    score: clips `[B, T, H, W, C]` -> logits, whose sum over all but the batch is differentiated.
    video: where. Computed in float32 whatever the critic computes in.

  Source: Mescheder et al. 2018, eq. 9, without its factor gamma / 2.
  """
  gradient = jax.grad(lambda x: jnp.sum(score(x).astype(jnp.float32)))(video.astype(jnp.float32))
  return jnp.mean(jnp.sum(jnp.square(gradient), axis=tuple(range(1, gradient.ndim))))
