"""Which frames of a file make a clip."""

import dataclasses

import numpy as np

from input_pipeline.clip import BadClip, Info

SHORT = ('drop', 'loop', 'pad')


@dataclasses.dataclass(frozen=True)
class Sampling:
  """Clips of `frames` frames: every `stride`-th, or those that `fps` a second would show.

  With `fps`, a file whose own rate is lower repeats frames; one without a clock is refused. A file
  too short is dropped, or played in a `loop`, or its last frame held (`pad`). It gives `windows`
  clips at different starts; 0 means as many as fit when each overlaps the last by half.
  """

  frames: int
  stride: int = 1
  fps: float = 0.0  # 0: `stride` says
  short: str = 'drop'
  windows: int = 0

  def __post_init__(self):
    least = {'frames': 1, 'stride': 1, 'fps': 0, 'windows': 0}
    for name, low in least.items():
      if getattr(self, name) < low:
        raise ValueError(f'{name} is {getattr(self, name)}, want at least {low}')
    if self.fps and self.stride != 1:
      raise ValueError(f'stride is {self.stride} and fps is {self.fps}: want one of them only')
    if self.short not in SHORT:
      raise ValueError(f'short is {self.short!r}, want one of {", ".join(SHORT)}')

  def starts(self, info: Info) -> int:
    """Returns how many frames of the file a clip may start at. Raises BadClip if there is none."""
    if self.fps:
      seconds = _seconds(info)
      fits = seconds + (self.frames - 1) / self.fps <= seconds[-1] + _frame_time(seconds) / 2
      starts, asked = int(fits.sum()), f'{self.frames} at {self.fps:g} a second'
    else:
      span = (self.frames - 1) * self.stride + 1
      starts, asked = info.frames - span + 1, str(span)
    if starts > 0:
      return starts
    if self.short == 'drop':
      raise TooShort(f'too short: {info.frames} frames, {asked} needed')
    return 1

  def indices(self, info: Info, start: int) -> np.ndarray:
    """Returns the frames of the clip that starts at frame `start`: int [frames]."""
    if self.fps:
      seconds = _seconds(info)
      length = seconds[-1] + _frame_time(seconds)
      times = seconds[start] + np.arange(self.frames) / self.fps + 1e-6  # past rounding errors
      if self.short == 'loop':
        times %= length
      return np.searchsorted(seconds, times, side='right') - 1  # the last frame shown by then
    frames = start + self.stride * np.arange(self.frames)
    return frames % info.frames if self.short == 'loop' else np.minimum(frames, info.frames - 1)

  def clips(self, info: Info) -> int:
    """Returns how many clips the file gives."""
    if self.windows:
      return min(self.windows, self.starts(info))
    first = self.indices(info, 0)
    hop = max(1, int(first[-1] + 1) // 2)
    return 1 + (self.starts(info) - 1) // hop

  def start(self, info: Info, clip: int) -> int:
    """Returns where clip number `clip` starts: spread evenly; the centre, if there is one only."""
    last, clips = self.starts(info) - 1, self.clips(info)
    return last // 2 if clips == 1 else round(clip * last / (clips - 1))


class TooShort(BadClip):
  """Nothing is wrong with the file, but the clip asked for does not fit."""


def _seconds(info):
  if info.stamps is None:
    raise BadClip('no clock in it, so it cannot be read at a target fps; use stride')
  return (info.stamps - info.stamps[0]) * info.tick


def _frame_time(seconds):
  return float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
