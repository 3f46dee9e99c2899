"""Whether the object of a synthetic clip keeps its shape, scale and colour, and how it moves.

numpy float64. A `probe` reads the object in every frame; what it reads is compared within the clip,
so that motion is not taken for noise, nor noise for motion, as in differences of pixels. A frozen
clip is perfect by all that is called drift: read it beside `motion`. The probe has errors of its
own, and the source swings in size and light, so that nothing is 0 on real clips: their values are
the reference.

Differences from frame to frame find what flickers and cannot see what creeps. The slow ones compare
the first with the last quarter of a clip and cannot see what comes back.
"""

import numpy as np
from jaxtyping import Float, Float64, UInt8

from hgdt_jax.metrics import probe

NAME = 'drift'  # of the measure
CLEAR = 1.6  # radii from the object's centre at which the background begins
_KEPT = 0.7  # of its pixels; those that change most may be of an occluder
LEAST_FRAMES = 3

# What each column of `measure` is, for the stamps of scores.
DEFINITIONS = {
  'shape': "total variation between a frame's class probabilities and the clip's mean of them",
  'scale': 'absolute change of the log radius from frame to frame',
  'scale_slow': 'absolute change of the mean log radius, first to last quarter of the clip',
  'colour': "L2 change of the object's colour in [0, 1] from frame to frame",
  'colour_slow': "L2 change of the object's mean colour in [0, 1], first to last quarter",
  'background': (
    'absolute change from frame to frame in grey levels of 0..255, mean over the steadiest '
    f'{_KEPT:.0%} of the pixels {CLEAR} radii away from the centre in both frames'
  ),
  'motion': 'path of the centre from frame to frame, in pixels of the clip',
  'jitter': "length of the second difference of the centre's path, in pixels of the clip",
}
COLUMNS = tuple(DEFINITIONS)


def measure(
  clips: UInt8[np.ndarray, 'b t s s c'], seen: probe.Reading
) -> Float64[np.ndarray, f'b {len(COLUMNS)}']:
  """Rows in the order of `COLUMNS`, each a mean over the frames of a clip.

  Args:
    clips: of 3 frames or more.
    seen: what was read of each frame.

  Returns:
    The rows. None of them says whether the object is a good one: a blot that stays the same drifts
    nowhere. Beside that,
    - shape sees class alone, of the four there are, and nothing while the probe stays sure;
    - scale and colour take what passes in front of the object for a change, in real clips too;
    - background sees no change in less than three tenths of the background, none within 1.6 radii
      of the object, and is nan where nothing lies outside;
    - motion has in it whatever trembles, and jitter the bounces off the walls.

  Raises:
    ValueError: fewer than 3 frames.
  """
  if clips.shape[1] < LEAST_FRAMES:
    raise ValueError(f'drift needs at least {LEAST_FRAMES} frames, got {clips.shape[1]}')
  classes, radius, centre, colour = (np.asarray(field, np.float64) for field in seen)
  log_radius = np.log(radius)[..., None]
  path = centre * clips.shape[2]
  columns = {
    'shape': np.abs(classes - classes.mean(axis=1, keepdims=True)).sum(axis=-1).mean(axis=1) / 2,
    'scale': _steps(log_radius),
    'scale_slow': _slow(log_radius),
    'colour': _steps(colour),
    'colour_slow': _slow(colour),
    'background': flicker(clips, centre, radius),
    'motion': _steps(path),
    'jitter': np.linalg.norm(np.diff(path, n=2, axis=1), axis=-1).mean(axis=1),
  }
  return np.stack([columns[name] for name in COLUMNS], axis=-1)


def flicker(
  clips: UInt8[np.ndarray, 'b t s s c'],
  centre: Float[np.ndarray, 'b t 2'],
  radius: Float[np.ndarray, 'b t'],
) -> Float64[np.ndarray, ' b']:
  """Mean absolute change of a still background from frame to frame, in 0..255.

  Args:
    clips: whose background.
    centre: of what is not background, (x, y) in shares of the side.
    radius: of the same; the background is what lies `CLEAR` of them away in both frames.

  Returns:
    The mean over pairs of frames of the mean over the steadiest pixels, 70% of the background's: an
    occluder that passes is among the others. nan where there is no background at all.
  """
  b, t, size = clips.shape[:3]
  middle = (np.arange(size, dtype=np.float32) + 0.5) / size
  x, y = np.moveaxis(centre.astype(np.float32), -1, 0)[..., None]
  across, down = np.square(middle - x)[:, :, None, :], np.square(middle - y)[:, :, :, None]
  outside = across + down > np.square(CLEAR * radius.astype(np.float32))[..., None, None]
  still = outside[:, 1:] & outside[:, :-1]
  change = np.abs(np.diff(clips.astype(np.int16), axis=1)).sum(axis=-1, dtype=np.int16)
  last = np.iinfo(np.int16).max  # above any sum over three channels
  ranked = np.sort(np.where(still, change, last).reshape(b, t - 1, -1), axis=-1, kind='stable')
  kept = np.ceil(_KEPT * still.sum(axis=(2, 3))).astype(int)  # [B, T - 1]
  total = np.where(np.arange(size**2) < kept[..., None], ranked, 0).sum(axis=-1)
  means = total / np.maximum(kept, 1) / clips.shape[-1]  # 0 without a background
  pairs = (kept > 0).sum(axis=1)
  return np.where(pairs > 0, means.sum(axis=1) / np.maximum(pairs, 1), np.nan)


def _steps(values):
  """`[B, T, D]` -> `[B]`: mean distance from frame to frame."""
  return np.linalg.norm(np.diff(values, axis=1), axis=-1).mean(axis=1)


def _slow(values):
  """`[B, T, D]` -> `[B]`: distance between the means of the first and the last quarter."""
  some = max(values.shape[1] // 4, 1)
  return np.linalg.norm(values[:, -some:].mean(axis=1) - values[:, :some].mean(axis=1), axis=-1)
