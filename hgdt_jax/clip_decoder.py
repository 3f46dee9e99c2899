"""Cuts clips from files in threads, and of files that are damaged inside what lies before that."""

import collections
import concurrent.futures
import dataclasses
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from input_pipeline import stacks, video_files
from input_pipeline.sampling import Sampling

READERS = min(8, os.cpu_count() or 1)  # threads; decoders release the interpreter
_HELD = 2**30  # bytes; clips of a file that take more are decoded twice, to be checked and used


@dataclasses.dataclass(frozen=True)
class Cut:
  """How clips are cut from files.

  Attributes:
    frames: of a clip; files with fewer are left out.
    stride: from one frame to the next.
    window_stride: from the start of one clip of a file to the start of the next; 0 takes one clip a
      file, from its first frame.
    size: short side to this many pixels and the centre cropped; 0 leaves frames as they are.
    max_clips: so many, of files drawn at random; 0 for all.
    npy_order: of the axes of npy files, of `stacks.ORDERS`.
    fps: of the clips, of real files and of generated ones: the frames nearest to so many instants a
      second, instead of `stride`; `window_stride` counts such instants. 0: as `stride` says.
    seed: of the draw of `max_clips`.
  """

  frames: int = 16
  stride: int = 1
  window_stride: int = 0
  size: int = 0
  max_clips: int = 0
  npy_order: str = stacks.ONE
  fps: tuple[float, float] = (0.0, 0.0)
  seed: int = 0

  def windows(self, info: video_files.Info, side: int = 0) -> np.ndarray:
    """The frames of each clip in a file of real (0) or generated clips (1): int `[clips, frames]`.

    No clip spans a gap in the file's time that is longer than itself. Raises BadClip for a file
    that is too short, or has no clock where `fps` needs one.
    """
    fps = self.fps[side]
    rule = Sampling(self.frames, 1 if fps else self.stride, fps)
    return np.stack([rule.indices(info, start) for start in rule.spaced(info, self.window_stride)])


@dataclasses.dataclass(frozen=True)
class File:
  """A clip file, what is known of it, and the frames of its clips (`Cut.windows`)."""

  path: pathlib.Path
  info: video_files.Info
  windows: np.ndarray


class Decoder:
  """Cuts clips from files, or from pairs of files; in threads, a batch ahead of their use.

  None of a file's clips is given before it is known which can be decoded. Of one that is damaged
  inside, and of the file it pairs with, the clips before the damage are used. Where there are none
  it is left out, and the walk goes on.

  Args:
    files: tuples of files that go together; the n-th clip of one goes with those of the others.
    cut: how clips are cut.
    batch: clips in a batch, at most.
    left_out: by path, why a file is not used; those found to be damaged are added.
    cut_off: by path, of files found to be damaged that still give clips, how many, and what is
      wrong; these are added.
  """

  def __init__(
    self,
    files: Sequence[tuple[File, ...]],
    cut: Cut,
    batch: int,
    left_out: dict[pathlib.Path, str],
    cut_off: dict[pathlib.Path, tuple[int, str]],
  ):
    clips = [range(min(len(file.windows) for file in together)) for together in files]
    self._files = list(zip(files, clips))
    self.cut, self._batch, self._left_out, self._cut_off = cut, batch, left_out, cut_off
    self._most = cut.max_clips or sys.maxsize
    self._lost: set[int] = set()  # indices of files that a walk has left out

  def used(self) -> list[tuple[tuple[File, ...], range]]:
    """Files, and the numbers of the clips that are taken of them."""
    used, left = [], self._most
    for i, (files, _) in enumerate(self._files):
      starts = self._whole(i)
      if i not in self._lost and starts[:left]:
        used.append((files, starts[:left]))
        left -= len(starts[:left])
    return used

  def _whole(self, i):
    """The numbers of the clips of a file (or pair) that are not known to be damaged."""
    files, starts = self._files[i]
    return starts[: min(self._cut_off.get(file.path, (len(starts),))[0] for file in files)]

  def batches(self) -> Iterator[tuple[np.ndarray, ...]]:
    """A uint8 `[B, T, H, W, C]` for each that go together; B is less where H or W changes.

    Raises:
      ValueError: every file is damaged inside, or one was when it was read again.
    """
    batch: list[tuple[np.ndarray, ...]] = []
    shapes = lambda clips: [clip.shape for clip in clips]
    for clips in self._clips():
      if batch and (len(batch) == self._batch or shapes(clips) != shapes(batch[0])):
        yield tuple(map(np.stack, zip(*batch)))
        batch = []
      batch.append(clips)
    if batch:
      yield tuple(map(np.stack, zip(*batch)))
    elif self._lost:
      path = next(f.path for f in self._files[min(self._lost)][0] if f.path in self._left_out)
      raise ValueError(f'none of {len(self._lost)} clips can be used; {path}: '
                       f'{self._left_out[path]}')  # fmt: skip

  def _clips(self):
    unread = collections.deque(range(len(self._files)))
    ahead: collections.deque[_Reading] = collections.deque()
    pool = concurrent.futures.ThreadPoolExecutor(READERS)
    try:
      left = self._read_ahead(pool, ahead, unread, self._most)
      while ahead:
        reading = ahead.popleft()
        whole = self._before_damage(pool, reading)
        refund = len(reading.starts) - len(whole.starts)
        left = self._read_ahead(pool, ahead, unread, left + refund)
        yield from self._clips_of(pool, whole)
    finally:
      pool.shutdown(cancel_futures=True)

  def _read_ahead(self, pool, ahead, unread, left):
    """Begins files until a batch is under way; returns how many of `left` clips are left then."""
    while unread and left > 0 and sum(len(reading.starts) for reading in ahead) <= self._batch:
      files, starts = self._files[unread[0]][0], self._whole(unread[0])
      if any(file.path in self._left_out for file in files):
        self._lost.add(unread.popleft())
        continue
      if len(starts) > left and ahead:
        break  # how many of its clips are wanted depends on whether those ahead are damaged
      ahead.append(self._begin(pool, unread.popleft(), files, starts[:left]))
      left -= len(starts[:left])
    return left

  def _begin(self, pool, i, files, starts):
    size = lambda info: self.cut.size**2 or info.height * info.width
    held = len(starts) * self.cut.frames * 3 * sum(size(f.info) for f in files) <= _HELD
    futures = [pool.submit(self._read, files, start) for start in starts] if held else None
    return _Reading(i, files, starts, futures)

  def _before_damage(self, pool, reading):
    """The part of it whose clips can all be decoded; one that has none is left out."""
    count = 0
    try:
      for _ in self._clips_of(pool, reading):
        count += 1
    except _Damaged as error:
      for future in reading.clips or ():
        future.cancel()
      if count:
        self._cut_off[error.path] = count, error.reason
      else:
        self._lost.add(reading.index)
        self._left_out[error.path] = error.reason
    clips = None if reading.clips is None else reading.clips[:count]
    return reading._replace(starts=reading.starts[:count], clips=clips)

  def _clips_of(self, pool, reading):
    if reading.clips is not None:
      for future in reading.clips:
        yield future.result()
      return
    waiting = collections.deque()
    for start in reading.starts:
      waiting.append(pool.submit(self._read, reading.files, start))
      if len(waiting) > self._batch:
        yield waiting.popleft().result()
    while waiting:
      yield waiting.popleft().result()

  def _read(self, files, number):
    clips = []
    for file in files:
      try:
        clip = video_files.read(file.path, file.windows[number], self.cut.size or None, file.info)
      except video_files.BadClip as error:
        raise _Damaged(file.path, str(error)) from error
      clips.append(clip)
    return tuple(clips)


class _Damaged(ValueError):
  """A file whose header was fine and whose frames are not."""

  def __init__(self, path: pathlib.Path, reason: str):
    super().__init__(f'{path}: {reason}')
    self.path, self.reason = path, reason


class _Reading(NamedTuple):
  """A file (or pair) in turn; `clips` are its futures, None where they would not fit in memory."""

  index: int
  files: tuple[File, ...]
  starts: range
  clips: list[concurrent.futures.Future] | None
