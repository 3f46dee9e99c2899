"""How a clip changes over time: warping error, flicker, motion, temporal profiles. numpy float64.

A frozen clip is perfect by every consistency measure, so read each of them beside
`motion_magnitude` (as a ratio of generated to real).
"""

import itertools

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy import ndimage
from skimage import color, registration


def warping_error(
  video: Shaped[np.ndarray, 't h w c'],
  flow: Float[np.ndarray, '...'],
  mask: Shaped[np.ndarray, '...'],
) -> float:
  """Mean squared difference of each frame from its predecessor warped onto it (Lai et al. 2018).

  Args:
    video: uint8; the error is on pixel values in [0, 1], mean over channels.
    flow: `[T - 1, H, W, 2]`, backward and in pixels: what is seen at p = (x, y) in frame t + 1 was
      at `p + flow[t, y, x]` in frame t, (dx, dy). Sampled bilinearly.
    mask: `[T - 1, H, W]`, true where the flow holds: not occluded, not from outside the frame.

  Returns:
    The mean over frames of the mean over valid pixels; frames without a valid pixel are left out,
    nan where no frame has one.
  """
  video = _clip(video) / 255.0
  wanted = (len(video) - 1, *video.shape[1:3])
  if flow.shape != (*wanted, 2) or mask.shape != wanted:
    raise ValueError(
      f'clip {list(video.shape)} needs flow {[*wanted, 2]} and mask {list(wanted)}, '
      f'got {list(flow.shape)} and {list(mask.shape)}'
    )
  errors = []
  for before, after, f, m in zip(video[:-1], video[1:], flow, mask.astype(bool)):
    if m.any():
      errors.append(np.square(warp(before, f) - after)[m].mean())
  return float(np.mean(errors)) if errors else float('nan')


def warp(
  frame: Float[np.ndarray, 'h w c'], flow: Float[np.ndarray, 'h w 2']
) -> Float[np.ndarray, 'h w c']:
  """`frame` sampled bilinearly at `p + flow`; outside, the nearest pixel."""
  y, x = np.mgrid[: frame.shape[0], : frame.shape[1]]
  at = np.stack([y + flow[..., 1], x + flow[..., 0]])
  channels = np.moveaxis(frame, -1, 0)
  return np.stack([ndimage.map_coordinates(c, at, order=1, mode='nearest') for c in channels], -1)


def estimate_flow(
  video: Shaped[np.ndarray, 't h w c'],
) -> tuple[Float[np.ndarray, 't-1 h w 2'], Bool[np.ndarray, 't-1 h w']]:
  """Backward flow and validity mask, as `warping_error` takes them, of a uint8 clip.

  TV-L1 (Zach et al. 2007, scikit-image) on luminance, at full resolution. A pixel is valid where
  its source lies inside the frame and the forward flow leads back:
  `|f + f'|^2 < .01 (|f|^2 + |f'|^2) + .5` (Sundaram et al. 2010).
  """
  grey = _luminance(_clip(video))
  pairs = list(itertools.pairwise(grey))
  backward = np.stack([_flow(after, before) for before, after in pairs])
  forward = np.stack([_flow(before, after) for before, after in pairs])
  mask = np.stack([_consistent(b, f) for b, f in zip(backward, forward)])
  return backward, mask


def temporal_flickering(video: Shaped[np.ndarray, 't h w c']) -> float:
  """VBench's score, `(255 - MAE) / 255`, 1 is still, of a uint8 clip.

  MAE is the mean absolute difference of consecutive frames, mean over frames, 0..255. VBench takes
  it on clips filtered to be static; on moving clips it mixes flicker with motion.
  """
  return float((255.0 - _differences(video).mean()) / 255.0)


def motion_magnitude(video: Shaped[np.ndarray, 't h w c']) -> float:
  """Mean absolute difference of consecutive frames, in [0, 1], of a uint8 clip.

  Zero for a frozen clip; noise counts as motion, so a ratio above 1 may mean flicker.
  """
  return float(_differences(video).mean() / 255.0)


def temporal_profile_consistency(video: Shaped[np.ndarray, 't h w c']) -> float:
  """Mean Pearson correlation of neighbouring lines in the temporal profiles, 1 is still.

  A temporal profile is one row (or column) of pixels over time, an image whose texture is smooth
  where motion is, and broken by jumps and flicker. The literature shows profiles as pictures and
  gives no number; this one is ours: every row and every column of the luminance of a uint8 clip,
  each frame's line against the next frame's, lines without contrast left out. nan where no line has
  contrast.
  """
  grey = _luminance(_clip(video)) * 255.0
  values = [_line_correlation(grey[:-1], grey[1:], axis) for axis in (1, 2)]
  values = np.concatenate(values)
  return float(values.mean()) if values.size else float('nan')


def _line_correlation(before, after, axis):
  """Correlations of the lines along `axis` of two stacks of frames, `[lines with contrast]`."""
  before = before - before.mean(axis=axis, keepdims=True)
  after = after - after.mean(axis=axis, keepdims=True)
  power = np.mean(before**2, axis=axis) * np.mean(after**2, axis=axis)
  contrast = power > 1.0  # both lines vary by about a grey level or more
  return np.mean(before * after, axis=axis)[contrast] / np.sqrt(power[contrast])


def _flow(target, source):
  """(dx, dy) such that `target(p)` looks like `source(p + flow)`, `[H, W, 2]`."""
  dy, dx = registration.optical_flow_tvl1(target, source, attachment=40, tightness=0.1)
  return np.stack([dx, dy], axis=-1)


def _consistent(flow, back):
  """True where following `flow` and then `back` returns, `[H, W]`."""
  height, width = flow.shape[:2]
  returned = warp(back, flow)
  gap = np.sum(np.square(flow + returned), axis=-1)
  size = np.sum(np.square(flow), axis=-1) + np.sum(np.square(returned), axis=-1)
  y, x = np.mgrid[:height, :width]
  x, y = x + flow[..., 0], y + flow[..., 1]
  inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
  return inside & (gap < 0.01 * size + 0.5)


def _differences(video):
  return np.abs(np.diff(_clip(video), axis=0))


def _luminance(video):
  """float64 `[T, H, W]` in [0, 1]."""
  return color.rgb2gray(video / 255.0) if video.shape[-1] == 3 else video.mean(axis=-1) / 255.0


def _clip(video):
  """float64 `[T, H, W, C]` in 0..255; ValueError where it is not a clip of two frames or more."""
  video = np.asarray(video)
  if video.ndim != 4 or video.dtype != np.uint8:
    raise ValueError(f'a clip is uint8 [T, H, W, C], got {video.dtype} {list(video.shape)}')
  if len(video) < 2:
    raise ValueError('temporal metrics need at least 2 frames, got 1')
  return video.astype(np.float64)
