"""Between pixels, uint8 of 0 to 255, and clips, float32 in [-1, 1]: the one place for it."""

import jax
import jax.numpy as jnp
import numpy as np


def to_clip(pixels: np.ndarray | jax.Array):
  """Of any shape; on the host or a device, as it comes."""
  return pixels.astype(np.float32) / 127.5 - 1.0


def of_clip(clip: jax.Array) -> jax.Array:
  """Rounded; what is out of range is clipped."""
  return jnp.clip(jnp.round((clip + 1.0) * 127.5), 0, 255).astype(jnp.uint8)
