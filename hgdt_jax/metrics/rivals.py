"""Trivial rivals of a video generator: clips that take no model, to be scored beside its own.

A method that does not beat them by a metric has shown nothing by that metric.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped
from scipy import ndimage

from hgdt_jax.metrics.clip_sets import Clips

_TRUNCATE = 4.0  # deviations that a filter reaches


class Blur(NamedTuple):
  """Blurred clips, the deviation of the Gaussian in pixels and frames, and their steadiness."""

  clips: Clips
  space_sigma: float
  time_sigma: float
  value: float


def first_frame_repeated(clips: Shaped[np.ndarray, '...']) -> Clips:
  """Frozen clips: uint8 `[N, T, H, W, C]` of the first frame alone, as many. ValueError else."""
  clips = _clips(clips)
  return np.repeat(clips[:, :1], clips.shape[1], axis=1)


def blurred(clips: Shaped[np.ndarray, '...'], space_sigma: float, time_sigma: float = 0.0) -> Clips:
  """Clips uint8 `[N, T, H, W, C]` under a Gaussian of so many pixels and frames.

  Borders are repeated. A deviation of 0 leaves that direction as it is. ValueError for a negative
  one, or for what is not clips.
  """
  clips, sigma = _clips(clips), (time_sigma, space_sigma, space_sigma, 0.0)
  if min(sigma) < 0:
    raise ValueError(f'a blur of {space_sigma} pixels and {time_sigma} frames: below 0')
  smooth = lambda clip: ndimage.gaussian_filter(
    clip.astype(np.float32), sigma, mode='nearest', truncate=_TRUNCATE
  )
  return np.stack([np.rint(smooth(clip)).clip(0, 255).astype(np.uint8) for clip in clips])


def blurred_to(
  clips: Clips,
  steadiness: Callable[[Clips], float],
  target: float,
  space: float = 0.0,
  time: float = 1.0,
  tolerance: float = 0.02,
) -> Blur:
  """The least blur of `clips` at which `steadiness` comes down to `target`.

  What a draft gains in steadiness by refining has to be more than a blur gains at once.

  Args:
    clips: to be blurred.
    steadiness: of such clips, less is steadier: the warping error, say. It is taken to fall as the
      blur grows; where it does not, the blur is one at which it crosses `target`.
    target: what it is to come down to.
    space: pixels of deviation for each unit of blur.
    time: frames of deviation for each unit; by default time alone is blurred.
    tolerance: share by which the blur may be too large.

  Raises:
    ValueError: no blur up to the size of the clips comes down to the target; or `space` and `time`
      are 0.
  """
  clips = _clips(clips)
  sizes = [size / rate for size, rate in ((clips.shape[1], time), (max(clips.shape[2:4]), space))
           if rate > 0]  # fmt: skip
  if not sizes:
    raise ValueError('a blur needs space or time above 0')

  def at(sigma):
    some = blurred(clips, space * sigma, time * sigma) if sigma else clips
    return Blur(some, space * sigma, time * sigma, float(steadiness(some)))

  low, found = 0.0, at(0.0)
  high, most, least = 0.0, max(sizes), found.value
  while not found.value <= target:
    if high >= most:
      raise ValueError(
        f'no blur comes down to {target:g}: {least:.4g} is the least, up to '
        f'{space * most:g} pixels and {time * most:g} frames'
      )
    low, high = high, min(2.0 * high or 0.125, most)
    found = at(high)
    least = min(least, found.value)
  while high - low > tolerance * high:
    middle = (low + high) / 2.0
    tried = at(middle)
    low, high, found = (low, middle, tried) if tried.value <= target else (middle, high, found)
  return found


def _clips(clips):
  clips = np.asarray(clips)
  if clips.ndim != 5 or clips.dtype != np.uint8:
    raise ValueError(f'clips are uint8 [N, T, H, W, C], got {clips.dtype} {list(clips.shape)}')
  return clips
