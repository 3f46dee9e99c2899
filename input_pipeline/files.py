"""Clips cut from files on disk: what every folder-like source has in common."""

import hashlib
import itertools
import pathlib
import re

import numpy as np

from input_pipeline import census, probes, rejected, video_files, zips
from input_pipeline.clip import BadClip
from input_pipeline.sampling import Sampling, TooShort

_SHOWN = 3  # rejected files that an error message names


class FileClips:
  """Random access to windows of the files in `entries`; see `sampling.Sampling` for which.

  They are those of one split of a `Layout`; `split_rule` says how it came about.

  `self[i]` is the same clip always. `sample(i, rng)` draws the start from `rng` if the split is
  'train'. An item is {'video': uint8 [T, H, W, 3], 'label': int32, 'id': int64}; labels index
  `classes`. Frames are resized as in `resize`.

  Files that cannot be used are left out: see `rejected` and `short`, and the CSV file
  `rejected_csv` (if named) has a row for each. A clip that fails when it is decoded raises BadClip,
  every time: whether it does must not depend on what was read before.

  Decoded files are kept in memory if all of them fit in `cache_bytes` (in each worker process).

  Raises ValueError with a summary if no file is usable, or if more than the share `max_bad` of the
  files is bad at the start (short ones do not count, nor does what is found when frames are read).
  """

  def __init__(
    self,
    layout,
    entries,
    classes,
    *,
    split_rule,
    frames,
    size,
    split,
    stride=1,
    fps=0.0,
    short='drop',
    windows=0,
    max_bad=0.5,
    rejected_csv='',
    cache_bytes=2**28,
  ):
    if size < 1:
      raise ValueError(f'size is {size}, want at least 1')
    self.sampling = Sampling(frames, stride, fps, short, windows)
    self.size, self.split, self.classes = size, split, tuple(classes)
    self.are_ids = layout.are_ids  # the classes: see `Layout`
    self._layout, self._split_rule = layout.told(), split_rule
    self._root, self._max_bad, self._csv = str(layout.root), max_bad, rejected_csv
    self._count, self._cache = len(entries), None
    self._left_out = {}  # BadClip by entry: one each, whichever thread finds it
    self._files = self._look_at(entries, layout)
    self._write_rejected()
    if not self._files:
      raise ValueError(f'{self._root}: no usable clip for the {split} split, {self._summary()}')
    self._check_share()
    self._clips = np.array([self.sampling.clips(info) for _, info in self._files])
    self._ends = np.cumsum(self._clips)
    if sum(info.frames for _, info in self._files) * size * size * 3 <= cache_bytes:
      self._cache = {}

  def __len__(self):
    return int(self._ends[-1])

  def __getitem__(self, i):
    """Returns clip i. Raises BadClip if its file cannot be decoded."""
    file, start = self._locate(i)
    return self._item(i, file, start)

  def sample(self, i, rng):
    """Clip i at a start drawn from `rng` (train), or `self[i]` (test)."""
    file, start = self._locate(i)
    if self.split == 'train':
      info = self._files[file][1]
      start = self.sampling.nth_start(info, int(rng.integers(self.sampling.starts(info))))
    return self._item(i, file, start)

  def origin(self, i):
    """Returns where clip `self[i]` comes from: file, first frame, rate (0: unknown)."""
    file, start = self._locate(i)
    entry, info = self._files[file]
    fps = self.sampling.fps or info.fps / self.sampling.stride
    return {'file': entry.name, 'start': start, 'fps': round(fps, 3)}

  @property
  def timing(self):
    """Stride and rate of the clips; [lowest, highest] where files differ, None where not known.

    At a target rate no one stride says which frames are taken.
    """
    if self.sampling.fps:
      return {'stride': None, 'fps': self.sampling.fps}
    stride = self.sampling.stride
    rates = sorted({round(info.fps / stride, 3) for _, info in self._files if info.fps})
    fps = [rates[0], rates[-1]] if len(rates) > 1 else rates[0] if rates else None
    return {'stride': stride, 'fps': fps}

  @property
  def rejected(self):
    """Files left out: a list of (path, reason)."""
    return [(str(entry.path), str(reason)) for entry, reason in list(self._left_out.items())]

  @property
  def short(self):
    """How many of these are merely too short."""
    return sum(isinstance(reason, TooShort) for reason in list(self._left_out.values()))

  @property
  def census(self):
    """What the folder was taken for, of this split; those of both are `census.joined`."""
    left_out = tuple((e.name, str(reason)) for e, reason in list(self._left_out.items()))
    part = census.Part(len(self), tuple(self._files), left_out)
    return census.Census(self._layout, {self.split: part}, self._split_rule)

  @property
  def fingerprint(self):
    """Says whether two sources hold the same clips."""
    digest = hashlib.sha256()
    for entry, info in self._files:
      digest.update(f'{entry.name}\0{entry.label}\0{info}\n'.encode('utf-8', 'surrogateescape'))
    bits = next((f' bits={info.bits}' for _, info in self._files if info.bits), '')
    return (
      f'files-1 {self.sampling} size={self.size} split={self.split} records={len(self)}{bits}'
      f' sha256={digest.hexdigest()[:16]}'
    )

  def __getstate__(self):
    return self.__dict__ | {'_cache': None if self._cache is None else {}}

  def _look_at(self, entries, layout):
    """Probes every file; returns the usable ones with what is known of them."""
    files = []
    folder = [*itertools.chain(*layout.by_name.values())]
    for entry, info in zip(entries, probes.look_at(entries, folder)):
      try:
        if isinstance(info, BadClip):
          raise info
        self.sampling.starts(info)
        files.append((entry, info))
      except BadClip as e:
        self._leave_out(entry, e)
    return files

  def _leave_out(self, entry, error) -> bool:
    """Whether it was not left out before, by another thread perhaps."""
    reason = type(error)(str(error))  # without what its traceback holds on to
    return self._left_out.setdefault(entry, reason) is reason

  def _check_share(self):
    bad, known = len(self._left_out) - self.short, self._count - self.short
    if bad > self._max_bad * known:
      raise ValueError(
        f'{self._root}: {bad} of the {known} files of the {self.split} split are bad, more than '
        f'{self._max_bad:.0%}, {self._summary()}; mend or remove them, or raise max_bad'
      )

  def _summary(self):
    rows = self.rejected
    shown = '; '.join(f'{path}: {reason}' for path, reason in rows[:_SHOWN])
    more = len(rows) - _SHOWN
    return f'{len(rows)} left out: {shown}' + (f'; and {more} more' if more > 0 else '')

  def _write_rejected(self):
    if self._csv:
      rejected.append(self._csv, [(self.split, *row) for row in self.rejected])

  def file_of(self, i: int) -> int:
    """The number of the file that clip i was cut from: clips of one file are not independent."""
    return self._locate(i)[0]

  def _locate(self, i):
    i = range(len(self))[i]
    file = int(np.searchsorted(self._ends, i, side='right'))
    clip = i - int(self._ends[file] - self._clips[file])
    return file, self.sampling.start(self._files[file][1], clip)

  def _item(self, i, file, start):
    entry, info = self._files[file]
    try:
      video = self._read(entry, info, self.sampling.indices(info, start))
    except BadClip as e:
      if self._leave_out(entry, e):
        self._write_rejected()
      raise BadClip(f'{entry.name}: {e}') from e
    label = self.classes.index(entry.label)
    return {'video': video, 'label': np.int32(label), 'id': np.int64(range(len(self))[i])}

  def _read(self, entry, info, frames):
    if self._cache is None:
      return video_files.read(entry.path, frames, self.size, info)
    if entry.name not in self._cache:
      try:
        whole = video_files.read(entry.path, np.arange(info.frames), self.size, info)
      except BadClip:
        whole = None  # damaged: the frames before that are read each time, as without a cache
      self._cache[entry.name] = whole
    whole = self._cache[entry.name]
    return video_files.read(entry.path, frames, self.size, info) if whole is None else whole[frames]


def check_folder(path, or_zip=False) -> pathlib.Path:
  """Returns the path of a folder, `~` expanded, or of a zip; FileNotFoundError if it is none."""
  root = pathlib.Path(path).expanduser()
  if root.is_dir() or (or_zip and zips.is_zip(root)):
    return root
  if re.match(r'\w{2,}:/', str(path)):  # pathlib makes one of two slashes
    raise FileNotFoundError(f'{path}: an address is no folder; copy the clips to this machine')
  if root.is_file():
    raise FileNotFoundError(f'{root}: not a folder; give the one that it is in')
  raise FileNotFoundError(f'{root}: no such folder')
