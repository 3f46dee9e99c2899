"""How stages read a batch."""

import jax
import jax.numpy as jnp

from hgdt_jax import pixels


def clips(batch) -> jax.Array:
  """float32 `[B, T, H, W, C]` in [-1, 1]."""
  return pixels.to_clip(batch['video'])


def labels(cfg, batch) -> jax.Array:
  """int32 `[B]`; -1 for all where the model is unconditional."""
  return batch['label'] if cfg.data.classes else jnp.full_like(batch['label'], -1)


def dropped(label: jax.Array, rate: float, key: jax.Array) -> jax.Array:
  """Labels with a share `rate` replaced by -1, for classifier-free guidance."""
  return jnp.where(jax.random.uniform(key, label.shape) < rate, -1, label)
