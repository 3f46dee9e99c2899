"""The temporal aligner: each frame's features meet those of the frames beside it."""

import flax.linen as nn
import jax.numpy as jnp

from hgdt_jax.denoisers.types import Flow
from hgdt_jax.models import layers
from hgdt_jax.warp import warp

FLOWS = ('predicted', 'matched')
DIRECTIONS = ('causal', 'both')


class Aligner(nn.Module):
  """Frames tied to the frame before; in both directions, to the frame after as well.

  'causal': a frame depends on earlier ones only, so a clip can be continued. 'both': the sum of
  what a pass from the first frame to the last and one from the last to the first add; without the
  second nothing ever reaches the first frame.
  """

  radius: float  # the longest flow, in pixels of this map
  flow: str
  direction: str
  dtype: jnp.dtype = jnp.float32

  @nn.compact
  def __call__(self, h, active):
    """Features `[B, T, H, W, C]`, `active` `[B]`, 0 where it is off -> (features, its flows)."""
    if h.shape[1] == 1:
      return h, ()  # there is no frame to tie it to
    tie = lambda name: Tie(self.radius, self.flow, self.dtype, name=name)
    out, forward = tie('forward')(h, active)
    if self.direction == 'causal':
      return out, (forward,)
    back, backward = tie('backward')(jnp.flip(h, axis=1), active)
    return out + jnp.flip(back, axis=1) - h, (forward, backward.replace(backward=True))


class Tie(nn.Module):
  """a_t = h_t + visible_t * f(warp(a_{t-1}, flow_t), h_t), causal in t.

  The flow and the occlusion gate `visible` come from the pair (h_{t-1}, h_t): the flow as two
  convolutions predict it, or ('matched') as the mean place in a window of the features before that
  look like those here, a soft argmax of their correlation. `f` ends in zeros, so a fresh aligner
  changes nothing. Gives the features and the `Flow`.
  """

  radius: float
  flow: str
  dtype: jnp.dtype

  @nn.compact
  def __call__(self, h, active):
    frames, features = h.shape[1], h.shape[-1]
    pair = jnp.concatenate([h[:, :-1], h[:, 1:]], axis=-1)
    pair = layers.group_norm(2 * features)(layers.fold(pair)).astype(self.dtype)
    # Small weights, not zeros: the flow has to move for its own loss to say where.
    small = nn.initializers.normal(0.01)
    if self.flow == 'matched':
      before, here = jnp.split(pair, 2, axis=-1)
      flow, best = self._matched(before, here)
      pair = jnp.concatenate([pair, best.astype(self.dtype)], axis=-1)
    pair = nn.silu(nn.Conv(features, (3, 3), dtype=self.dtype, name='pair0')(pair))
    pair = nn.silu(nn.Conv(features // 2, (3, 3), dtype=self.dtype, name='pair1')(pair))
    if self.flow == 'predicted':
      flow = nn.Conv(2, (3, 3), kernel_init=small, dtype=jnp.float32, name='to_flow')(pair)
      flow = self.radius * jnp.tanh(flow)
    flow = layers.unfold(flow, frames - 1)
    visible = nn.Conv(1, (3, 3), kernel_init=small, dtype=jnp.float32, name='to_visible')(pair)
    visible = layers.unfold(nn.sigmoid(visible + 1.0), frames - 1)

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
    return jnp.concatenate([h[:, :1], rest], axis=1), Flow(flow, visible)

  def _matched(self, before, here):
    """Flow `[N, H, W, 2]` of at most `radius` along each axis, and the greatest correlation."""
    reach = max(round(self.radius), 1)
    size, (height, width) = max(before.shape[-1] // 2, 8), before.shape[1:3]
    # One projection: features of one thing look alike in both frames from the start.
    project = nn.Dense(size, use_bias=False, dtype=self.dtype, name='match')
    before, here = project(before), project(here)
    before = jnp.pad(before, [(0, 0), (reach, reach), (reach, reach), (0, 0)])
    offsets = [(dx, dy) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]
    alike = jnp.stack(
      [
        jnp.sum(
          before[:, reach + dy : reach + dy + height, reach + dx : reach + dx + width] * here,
          axis=-1,
          dtype=jnp.float32,
        )
        for dx, dy in offsets
      ],
      axis=-1,
    ) / jnp.sqrt(size)
    flow = nn.softmax(alike) @ jnp.array(offsets, jnp.float32)
    return flow * (self.radius / reach), jnp.max(alike, axis=-1, keepdims=True)


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
