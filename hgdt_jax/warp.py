"""The backward warp that the aligner and its losses share.

A flow is `[..., H, W, 2]`, (dx, dy) in pixels of its own map: what is seen at p in frame t was at
p + flow in frame t - 1 (backward flow).
"""

import jax
import jax.numpy as jnp


def warp(x: jax.Array, flow: jax.Array) -> jax.Array:
  """Bilinear sampling of `x` `[N, H, W, C]` at p + flow `[N, H, W, 2]`; edges are repeated."""
  n, height, width, c = x.shape
  px = jnp.clip(jnp.arange(width, dtype=flow.dtype)[None, None] + flow[..., 0], 0, width - 1)
  py = jnp.clip(jnp.arange(height, dtype=flow.dtype)[None, :, None] + flow[..., 1], 0, height - 1)
  # The last whole pixel but one, so that the four corners below are always inside.
  left = jnp.clip(jnp.floor(px), 0, width - 2)
  top = jnp.clip(jnp.floor(py), 0, height - 2)
  ax, ay = (px - left)[..., None], (py - top)[..., None]  # [N, H, W, 1]
  corner = (top * width + left).astype(jnp.int32).reshape(n, -1, 1)
  flat = x.reshape(n, height * width, c)

  def at(offset):
    return jnp.take_along_axis(flat, corner + offset, axis=1).reshape(x.shape)

  upper = (1 - ax) * at(0) + ax * at(1)
  lower = (1 - ax) * at(width) + ax * at(width + 1)
  return ((1 - ay) * upper + ay * lower).astype(x.dtype)
