"""The temporal aligner: each frame's features meet those of the frame before it."""

import flax.linen as nn
import jax.numpy as jnp

from hgdt_jax.models import layers
from hgdt_jax.warp import warp


class Aligner(nn.Module):
  """a_t = h_t + visible_t * f(warp(a_{t-1}, flow_t), h_t), causal in t.

  The flow and the occlusion gate `visible` are predicted from the pair (h_{t-1}, h_t). `f` ends in
  zeros, so a fresh aligner changes nothing. Sows `flow` `[B, T-1, H, W, 2]` and `visible` `[B, T-1,
  H, W, 1]` in 'intermediates', for the losses that train them.
  """

  radius: float = 3.0  # the longest flow, in pixels of this map
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, h, active):
    """Features `[B, T, H, W, C]`; `active` `[B]` switches the aligner off for a row."""
    frames, features = h.shape[1], h.shape[-1]
    pair = jnp.concatenate([h[:, :-1], h[:, 1:]], axis=-1)
    pair = layers.group_norm(2 * features)(layers.fold(pair)).astype(self.dtype)
    pair = nn.silu(nn.Conv(features, (3, 3), dtype=self.dtype, name='pair0')(pair))
    pair = nn.silu(nn.Conv(features // 2, (3, 3), dtype=self.dtype, name='pair1')(pair))
    # Small weights, not zeros: the flow has to move for its own loss to say where.
    small = nn.initializers.normal(0.01)
    flow = nn.Conv(2, (3, 3), kernel_init=small, dtype=jnp.float32, name='to_flow')(pair)
    flow = layers.unfold(self.radius * jnp.tanh(flow), frames - 1)
    visible = nn.Conv(1, (3, 3), kernel_init=small, dtype=jnp.float32, name='to_visible')(pair)
    visible = layers.unfold(nn.sigmoid(visible + 1.0), frames - 1)
    self.sow('intermediates', 'flow', flow)
    self.sow('intermediates', 'visible', visible)

    # What f makes of h_t needs no earlier frame: outside of the scan, all frames at once.
    here = nn.Conv(features // 2, (3, 3), dtype=self.dtype, name='here')
    here = layers.unfold(here(layers.fold(h[:, 1:]).astype(self.dtype)), frames - 1)
    cell = nn.scan(
      AlignFrame,
      variable_broadcast='params',
      split_rngs={'params': False},
      in_axes=(1, 1, 1, 1, nn.broadcast),
      out_axes=1,
    )(self.dtype, name='frame')
    _, rest = cell(h[:, 0], h[:, 1:], here, flow, visible, active)
    return jnp.concatenate([h[:, :1], rest], axis=1)


class AlignFrame(nn.Module):
  """One step of the scan: the aligned frame t - 1 and the raw frame t -> the aligned frame t."""

  dtype: jnp.dtype

  @nn.compact
  def __call__(self, before, h, here, flow, visible, active):
    features = h.shape[-1]
    warped = warp(before, flow).astype(self.dtype)
    mixed = nn.Dense(features // 2, use_bias=False, dtype=self.dtype, name='there')(warped) + here
    f = nn.Dense(features, kernel_init=layers.zeros, dtype=self.dtype, name='out')(nn.silu(mixed))
    aligned = h + layers.expand(active, h) * visible.astype(h.dtype) * f
    return aligned, aligned
