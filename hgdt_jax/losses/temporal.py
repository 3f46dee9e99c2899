"""Losses that tie a frame to the one before it. Flows are as in `hgdt_jax.warp`."""

import jax
import jax.numpy as jnp

from hgdt_jax.warp import warp


def photometric(frames: jax.Array, flow: jax.Array, visible: jax.Array, hidden_price: float):
  """Trains a flow and its occlusion gate on real clips.

  Args:
    frames: `[B, T, H, W, C]` in [-1, 1], at the flow's resolution.
    flow: `[B, T-1, H, W, 2]`, from each frame to the one before it.
    visible: `[B, T-1, H, W, 1]` in [0, 1], where the warp is said to hold.
    hidden_price: of calling a pixel hidden, else hiding everything would be free: an error above it
      is cheaper to hide.

  Returns:
    A scalar: the Charbonnier error of the warped frame, where visible, plus the price of what is
    called hidden, plus a little smoothness of the flow.
  """
  error = warp_error(frames, flow)
  smooth = sum(jnp.mean(jnp.abs(jnp.diff(flow, axis=axis))) for axis in (2, 3))
  return jnp.mean(visible * error + hidden_price * (1 - visible)) + 0.01 * smooth


def consistency(frames: jax.Array, flow: jax.Array, mask: jax.Array):
  """Mean warp error of `frames` over `mask` `[B, T-1, H, W, 1]`. A frozen clip minimises it."""
  error = warp_error(frames, flow)
  return jnp.sum(error * mask) / jnp.maximum(jnp.sum(mask), 1.0)


def warp_error(frames, flow):
  """`[B, T-1, H, W, 1]`: distance of each frame to its warped predecessor, mean over channels."""
  b, t, h, w, c = frames.shape
  before = frames[:, :-1].reshape(b * (t - 1), h, w, c)
  warped = warp(before, flow.reshape(-1, h, w, 2)).reshape(b, t - 1, h, w, c)
  return jnp.mean(jnp.sqrt(jnp.square(frames[:, 1:] - warped) + 1e-6), axis=-1, keepdims=True)


def motion(video: jax.Array) -> jax.Array:
  """Mean absolute difference of neighbouring frames of `[B, T, H, W, C]`."""
  return jnp.mean(jnp.abs(jnp.diff(video, axis=1)))
