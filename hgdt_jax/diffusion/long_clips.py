"""Clips longer than the network's: overlapping windows, denoised jointly at each step."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from hgdt_jax.diffusion.parameterization import Denoise


def windowed(denoise_at: Callable[[Int[Array, '']], Denoise], window: int, overlap: int) -> Denoise:
  """A denoise function for clips of `window` frames or more, from those of `window` frames.

  `denoise_at(start)` denoises the window that begins at that frame: what it closes over of single
  frames, as their latents, it cuts there; labels are those of the clip.

  Each step cuts the same noisy long clip into windows, so that they share their noise, and averages
  their predictions with weights that fade over the overlap (MultiDiffusion, Bar-Tal et al. 2023,
  over time). Wrap the result in `replacement` to condition long clips. Raises ValueError if the
  windows would not overlap.
  """
  if not 0 < overlap < window:
    raise ValueError(f'overlap is {overlap} frames; it must lie between 1 and {window - 1}')

  def long_denoise(x_t, t):
    starts = window_starts(x_t.shape[1], window, overlap)
    weights = jnp.asarray(_weights(x_t.shape[1], starts, window), x_t.dtype)  # [N, window]

    def one(start):
      return denoise_at(start)(jax.lax.dynamic_slice_in_dim(x_t, start, window, axis=1), t)

    def blend(parts):  # [N, B, window, ...]
      total = jnp.zeros(x_t.shape, parts.dtype)
      for start, weight, part in zip(starts, weights, parts):
        weight = weight.reshape((1, window) + (1,) * (part.ndim - 2))
        total = total.at[:, start : start + window].add(weight * part)
      return total

    x0, eps = jax.lax.map(one, jnp.array(starts))
    return blend(x0), blend(eps)

  return long_denoise


def window_starts(frames: int, window: int, overlap: int) -> list[int]:
  """First frames of the windows: evenly spread, neighbours sharing at least `overlap` frames."""
  if frames < window:
    raise ValueError(f'the clip has {frames} frames, fewer than the {window} of one window')
  count = 1 + -(-(frames - window) // (window - overlap))
  return [round(start) for start in np.linspace(0, frames - window, count)]


def _weights(frames: int, starts: list[int], window: int) -> np.ndarray:
  """Weight of each window's frames, [N, window], summing to one at every frame of the clip.

  A raised cosine, highest in the middle, where a frame has most context on both sides.
  """
  bump = np.sin(np.pi * (np.arange(window) + 0.5) / window) ** 2
  total = np.zeros(frames)
  for start in starts:
    total[start : start + window] += bump
  return np.stack([bump / total[start : start + window] for start in starts])
