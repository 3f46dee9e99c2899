"""Losses that tie a frame to the one before it. Flows are as in `hgdt_jax.warp`."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from hgdt_jax.warp import warp


def photometric(
  frames: Float[Array, 'b t h w c'],
  flow: Float[Array, 'b t-1 h w 2'],
  visible: Float[Array, 'b t-1 h w 1'],
  hidden_price: float,
) -> Float[Array, '']:
  """Trains a flow and its occlusion gate on real clips.

  Args:
    frames: in [-1, 1], at the flow's resolution.
    flow: from each frame to the one before it.
    visible: in [0, 1], where the warp is said to hold.
    hidden_price: of calling a pixel hidden, else hiding everything would be free: an error above it
      is cheaper to hide.

  Returns:
    The Charbonnier error of the warped frame, where visible, plus the price of what is called
    hidden, plus a little smoothness of the flow.
  """
  error = warp_error(frames, flow)
  smooth = sum(jnp.mean(jnp.abs(jnp.diff(flow, axis=axis))) for axis in (2, 3))
  return jnp.mean(visible * error + hidden_price * (1 - visible)) + 0.01 * smooth


def consistency(
  frames: Float[Array, 'b t h w c'],
  flow: Float[Array, 'b t-1 h w 2'],
  mask: Float[Array, 'b t-1 h w 1'],
) -> Float[Array, '']:
  """Mean warp error of `frames` over `mask`. A frozen clip minimises it."""
  error = warp_error(frames, flow)
  return jnp.sum(error * mask) / jnp.maximum(jnp.sum(mask), 1.0)


def warp_error(
  frames: Float[Array, 'b t h w c'], flow: Float[Array, 'b t-1 h w 2']
) -> Float[Array, 'b t-1 h w 1']:
  """Distance of each frame to its warped predecessor, mean over channels."""
  b, t, h, w, c = frames.shape
  before = frames[:, :-1].reshape(b * (t - 1), h, w, c)
  warped = warp(before, flow.reshape(-1, h, w, 2)).reshape(b, t - 1, h, w, c)
  return jnp.mean(jnp.sqrt(jnp.square(frames[:, 1:] - warped) + 1e-6), axis=-1, keepdims=True)


def motion(video: Float[Array, 'b t h w c']) -> Float[Array, '']:
  """Mean absolute difference of neighbouring frames."""
  return jnp.mean(jnp.abs(jnp.diff(video, axis=1)))
