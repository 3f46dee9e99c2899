"""Which frames of a file make a clip."""

import dataclasses
import itertools

import numpy as np

from input_pipeline.clip import BadClip, Info

SHORT = ('drop', 'loop', 'pad')
_EARLY = 1e-6  # seconds: past rounding errors


@dataclasses.dataclass(frozen=True)
class Sampling:
  """Clips of `frames` frames: every `stride`-th, or those nearest to `fps` instants a second.

  With `fps`, a file whose own rate is lower repeats frames; one without a clock is refused. No clip
  spans a gap in the file's time that is longer than the clip. A file too short is dropped, or
  played in a `loop`, or its last frame held (`pad`). It gives `windows` clips at different starts;
  0 means as many as fit when each overlaps the last by half.
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
    return len(self._starts(info))

  def nth_start(self, info: Info, n: int) -> int:
    """Returns the n-th frame that a clip may start at: 0 <= n < `starts(info)`."""
    return int(self._starts(info)[n])

  def spaced(self, info: Info, hop: int) -> list[int]:
    """Returns the frames that clips start at, every `hop` frames of the file; the first for hop 0.

    With `fps`, `hop` counts instants of that rate. After a gap it is counted anew. Raises as
    `starts`.
    """
    starts = self._starts(info)
    if not hop:
      return [int(starts[0])]
    found = []
    for first, stop in self._parts(info):
      inside = starts[(starts >= first) & (starts < stop)]
      if not self.fps:
        found += inside[::hop].tolist()
      elif len(inside):
        seconds = _seconds(info)[inside]
        times = np.arange(seconds[0], seconds[-1] + _EARLY, hop / self.fps)
        found += inside[np.unique(_nearest(seconds, times))].tolist()
    return found

  def indices(self, info: Info, start: int) -> np.ndarray:
    """Returns the frames of the clip that starts at frame `start`: int [frames]."""
    first, stop = next(part for part in self._parts(info) if start < part[1])
    if not self.fps:
      steps = start - first + self.stride * np.arange(self.frames)
      count = stop - first
      return first + (steps % count if self.short == 'loop' else np.minimum(steps, count - 1))
    seconds = _seconds(info)[first:stop]
    times = seconds[start - first] + np.arange(self.frames) / self.fps
    if self.short != 'loop':
      return first + _nearest(seconds, times)
    length = seconds[-1] - seconds[0] + _frame_time(seconds)
    times = (times - seconds[0] + _EARLY) % length
    return first + _nearest(np.append(seconds - seconds[0], length), times) % len(seconds)

  def beginning(self, info: Info) -> np.ndarray:
    """Returns the frames of the first clip of the file, fewer where no part of it holds a whole."""
    parts = self._parts(info)
    longest = max(parts, key=lambda part: part[1] - part[0])
    first, stop = next((part for part in parts if self._fitting(info, *part)), longest)
    if not self.fps:
      return np.arange(first, stop, self.stride)[: self.frames]
    seconds = _seconds(info)[first:stop]
    times = seconds[0] + np.arange(self.frames) / self.fps
    there = times[times <= seconds[-1] + _frame_time(seconds) / 2 + _EARLY]
    return first + _nearest(seconds, there)

  def clips(self, info: Info) -> int:
    """Returns how many clips the file gives."""
    if self.windows:
      return min(self.windows, self.starts(info))
    start = self.nth_start(info, 0)
    hop = max(1, int(self.indices(info, start)[-1] + 1 - start) // 2)
    return 1 + (self.starts(info) - 1) // hop

  def start(self, info: Info, clip: int) -> int:
    """Returns where clip number `clip` starts: spread evenly; the centre, if there is one only."""
    starts, clips = self._starts(info), self.clips(info)
    last = len(starts) - 1
    return int(starts[last // 2 if clips == 1 else round(clip * last / (clips - 1))])

  def _starts(self, info):
    parts = self._parts(info)
    starts = np.concatenate([first + np.arange(self._fitting(info, first, stop))
                             for first, stop in parts])  # fmt: skip
    if len(starts):
      return starts
    if self.short == 'drop':
      needed = f'{self.frames} at {self.fps:g} a second' if self.fps else str(self._span)
      cut = f' in {len(parts)} parts (gaps in its time)' if len(parts) > 1 else ''
      raise TooShort(f'too short: {info.frames} frames{cut}, {needed} needed')
    return np.array([max(parts, key=lambda part: part[1] - part[0])[0]])

  @property
  def _span(self):
    return (self.frames - 1) * self.stride + 1

  def _fitting(self, info, first, stop):
    """How many frames of a part a clip that stays in the part may start at: its first so many."""
    if not self.fps:
      return max(0, stop - first - self._span + 1)
    seconds = _seconds(info)[first:stop]
    ends = seconds + (self.frames - 1) / self.fps
    return int((ends <= seconds[-1] + _frame_time(seconds) / 2 + _EARLY).sum())

  def _parts(self, info):
    """(first, stop) of the frames between gaps that are longer than a clip: each gap is a cut."""
    if info.stamps is None:
      if self.fps:
        raise BadClip('no clock in it, so it cannot be read at a target fps; use stride')
      return [(0, info.frames)]
    seconds = _seconds(info)
    usual = _frame_time(seconds)
    clip = self.frames / self.fps if self.fps else self._span * usual
    cuts = np.flatnonzero(np.diff(seconds) > max(clip, 2 * usual)) + 1 if usual else []
    bounds = [0, *map(int, cuts), info.frames]
    return list(itertools.pairwise(bounds))


class TooShort(BadClip):
  """Nothing is wrong with the file, but the clip asked for does not fit."""


def _seconds(info):
  return (info.stamps - info.stamps[0]) * info.tick


def _nearest(seconds, times):
  """Index of the stamp nearest to each time: the earlier of two that are as near, but for rounding.

  Containers round stamps to a millisecond or so, and cameras jitter: the last frame shown by a time
  would often be the one before it.
  """
  after = np.searchsorted(seconds, times).clip(1, max(1, len(seconds) - 1))
  if len(seconds) == 1:
    return np.zeros(len(times), np.int64)
  later = seconds[after] - times < times - seconds[after - 1] - _EARLY
  return np.searchsorted(seconds, seconds[after - 1 + later], side='right') - 1


def _frame_time(seconds):
  return float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0
