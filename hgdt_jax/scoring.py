"""Scores two folders of clips: reads them, drops what cannot be used, scores, writes and prints."""

import collections
import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pathlib
import platform
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import av
import jax
import numpy as np
import tqdm

from hgdt_jax.metrics import clip_sets, score, statistics_cache
from input_pipeline import folder, video_files

_READERS = min(8, os.cpu_count() or 1)  # threads; decoders release the interpreter
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
    max_clips: the first so many, in sorted order; 0 for all.
  """

  frames: int = 16
  stride: int = 1
  window_stride: int = 0
  size: int = 0
  max_clips: int = 0

  def starts(self, length: int) -> range:
    """First frames of the clips in a file of `length` frames; empty where it is too short."""
    last = length - self.span
    if self.window_stride:
      return range(0, last + 1, self.window_stride)
    return range(min(1, last + 1))

  @property
  def span(self) -> int:
    return (self.frames - 1) * self.stride + 1


@dataclasses.dataclass(frozen=True)
class File:
  """A clip file, what is known of it, and the first frames of its clips."""

  path: pathlib.Path
  info: video_files.Info
  starts: range


class Decoder:
  """Cuts clips from files, or from pairs of files; in threads, a batch ahead of their use.

  A file is used whole or not at all: none of its clips is given before all could be decoded. One
  that is damaged inside is left out, with the file it pairs with, and the walk goes on.

  Args:
    files: tuples of files that go together; their clips begin at the frames that all of them have.
    cut: how clips are cut.
    batch: clips in a batch, at most.
    left_out: by path, why a file is not used; those found to be damaged are added.
  """

  def __init__(
    self,
    files: Sequence[tuple[File, ...]],
    cut: Cut,
    batch: int,
    left_out: dict[pathlib.Path, str],
  ):
    starts = [min((file.starts for file in together), key=len) for together in files]
    self._files = list(zip(files, starts))
    self.cut, self._batch, self._left_out = cut, batch, left_out
    self._most = cut.max_clips or sys.maxsize
    self._lost: set[int] = set()  # indices of files that a walk has left out

  def used(self) -> list[tuple[tuple[File, ...], range]]:
    """Files, and the first frames of the clips that are taken of them."""
    used, left = [], self._most
    for i, (files, starts) in enumerate(self._files):
      if i not in self._lost and starts[:left]:
        used.append((files, starts[:left]))
        left -= len(starts[:left])
    return used

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
    pool = concurrent.futures.ThreadPoolExecutor(_READERS)
    try:
      left = self._read_ahead(pool, ahead, unread, self._most)
      while ahead:
        reading = ahead.popleft()
        whole = self._is_whole(pool, reading)
        refund = 0 if whole else len(reading.starts)
        left = self._read_ahead(pool, ahead, unread, left + refund)
        if whole:
          yield from self._clips_of(pool, reading)
    finally:
      pool.shutdown(cancel_futures=True)

  def _read_ahead(self, pool, ahead, unread, left):
    """Begins files until a batch is under way; returns how many of `left` clips are left then."""
    while unread and left > 0 and sum(len(reading.starts) for reading in ahead) <= self._batch:
      files, starts = self._files[unread[0]]
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

  def _is_whole(self, pool, reading):
    """Whether all the clips of a file can be decoded; one that is damaged is left out."""
    try:
      collections.deque(self._clips_of(pool, reading), maxlen=0)
    except _Damaged as error:
      for future in reading.clips or ():
        future.cancel()
      self._lost.add(reading.index)
      self._left_out[error.path] = error.reason
      return False
    return True

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

  def _read(self, files, start):
    frames = start + self.cut.stride * np.arange(self.cut.frames)
    clips = []
    for file in files:
      try:
        clip = video_files.read(file.path, frames, self.cut.size or None, file.info)
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


class FolderClips:
  """A `ClipSet`: the first or second of the files that a `Decoder` reads."""

  def __init__(self, decoder: Decoder, facts: dict[str, Any], side: int = 0):
    self.decoder, self._facts, self._side = decoder, facts, side
    self._digests: dict[pathlib.Path, str] = {}

  @property
  def groups(self) -> np.ndarray:
    counts = [len(starts) for _, starts in self.decoder.used()]
    return np.repeat(np.arange(len(counts)), counts)

  @property
  def facts(self) -> dict[str, Any]:
    infos = [files[self._side].info for files, _ in self.decoder.used()]
    return self._facts | _facts(infos, self.decoder.cut)

  @property
  def fingerprint(self) -> str:
    """Hash of the files' content, the windows and the decoder: any changed byte changes it."""
    digest = hashlib.sha256(f'{self.decoder.cut} av {av.__version__}'.encode())
    for files, starts in self.decoder.used():
      path = files[self._side].path
      if path not in self._digests:
        self._digests[path] = _digest(path)
      digest.update(f' {starts} {self._digests[path]}'.encode())
    return digest.hexdigest()

  def batches(self) -> Iterator[np.ndarray]:
    for batch in self.decoder.batches():
      yield batch[self._side]


class FolderPairs(clip_sets.Pairs):
  """Two `FolderClips` of one `Decoder`, which leaves out both files where one is damaged."""

  def batches(self):
    return clip_sets.equal_shapes(self.real.decoder.batches())


@dataclasses.dataclass(frozen=True)
class Result:
  """Scores by name, and the files left out as (path, reason)."""

  scores: dict[str, score.Score]
  dropped: list[tuple[pathlib.Path, str]]


def score_folders(
  real: pathlib.Path,
  fake: pathlib.Path,
  names: Sequence[str],
  cut: Cut,
  weights_dir: pathlib.Path | None = None,
  uncertainty: score.Uncertainty = score.VALUES_ONLY,
  cache: pathlib.Path | None = None,
  batch: int = 16,
  **facts,
) -> Result:
  """Scores every clip under `fake` against those under `real` by the metrics `names`.

  Paired metrics take the i-th file of one folder with the i-th of the other, sorted by name, and
  their clips from the same frames; a pair of which one file cannot be used is left out whole.

  Raises:
    FileNotFoundError: a folder, or the weights of a network, is missing.
    ValueError: no usable clips, or as `metrics.score.score_sets`.
  """
  listed = [_look_at(root) for root in (real, fake)]
  left_out: dict[pathlib.Path, str] = {}
  kept = [_usable(files, cut, left_out) for files in listed]
  for root, files in zip((real, fake), kept):
    _check_any(root, files, left_out)
  decode = lambda files: Decoder(files, cut, batch, left_out)
  sets = [
    FolderClips(decode([(file,) for file in files if file]), facts | {'data': root.name})
    for root, files in zip((real, fake), kept)
  ]
  pairs = None
  if len(kept[0]) == len(kept[1]):
    both = decode([pair for pair in zip(*kept) if all(pair)])
    pairs = FolderPairs(*(FolderClips(both, facts, side) for side in (0, 1)))
  on_disk = statistics_cache.Folder(cache) if cache else None
  scores = score.score_sets(
    *sets, names, weights_dir, uncertainty, pairs=pairs, cache=on_disk, progress=_bar
  )
  paths = [entry.path for files in listed for entry, _ in files]
  return Result(scores, [(path, left_out[path]) for path in paths if path in left_out])


def write_results(path: pathlib.Path, rows: Sequence[dict[str, Any]]) -> None:
  """Writes results.json whole or not at all; `rows` are from `protocol.results_row`."""
  path.parent.mkdir(parents=True, exist_ok=True)
  content = {'results': list(rows), 'environment': environment()}
  temporary = path.with_name(f'.{path.name}.part')
  temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + '\n', encoding='utf-8')
  os.replace(temporary, path)


def environment() -> dict[str, Any]:
  """Versions and devices that numbers may depend on."""
  return {
    'python': platform.python_version(),
    'jax': jax.__version__,
    'numpy': np.__version__,
    'av': av.__version__,
    'devices': sorted({device.device_kind for device in jax.local_devices()}),
    'device_count': jax.local_device_count(),
  }


def table(scores: dict[str, score.Score]) -> str:
  """The scores for a person: value, interval, clips, protocol, then warnings."""
  rows = [('metric', 'value', '95% interval', 'real clips', 'real / fake', 'protocol')]
  for name, one in scores.items():
    stamp = one.stamp
    interval = '{:.4f} .. {:.4f}'.format(*stamp['interval']) if 'interval' in stamp else ''
    reference = f'{stamp["real_value"]:.4f}' if 'real_value' in stamp else ''
    counts = f'{stamp["clips_real"]} / {stamp["clips_fake"]}'
    rows.append((name, f'{one.value:.4f}', interval, reference, counts, _protocol_in_short(stamp)))
  widths = [max(map(len, column)) for column in zip(*rows)]
  shown = [i for i, column in enumerate(zip(*rows[1:])) if any(column)]
  lines = ['  '.join(row[i].ljust(widths[i]) for i in shown).rstrip() for row in rows]
  warnings = [
    f'{name}: {one.stamp["warning"]}' for name, one in scores.items() if 'warning' in one.stamp
  ]
  return '\n'.join(lines + [''] * bool(warnings) + warnings)


def _protocol_in_short(stamp):
  resolution = stamp.get('resolution') or f'{stamp["resolution_real"]}|{stamp["resolution_fake"]}'
  parts = [f'{stamp["frames"]} frames', f'stride {stamp["stride"]}', resolution]
  if 'network' in stamp:
    parts.append(f'{stamp["network"].split(",")[0]} {stamp["network_sha256"][:8]}')
  if 'ddof' in stamp:
    parts.append(f'ddof {stamp["ddof"]}')
  return ', '.join(parts)


def _look_at(root) -> list[tuple[folder.files.Entry, video_files.Info | str]]:
  """Every clip under `root` in sorted order, with what is known of it or why it is bad."""
  if not root.is_dir():
    raise FileNotFoundError(f'{root}: {"not a folder" if root.exists() else "no such folder"}')
  entries = folder.list_clips(root)
  with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
    return list(zip(entries, pool.map(_probe, entries)))


def _probe(entry):
  try:
    return video_files.probe(entry.path)
  except video_files.BadClip as error:
    return str(error)


def _usable(listed, cut, left_out) -> list[File | None]:
  """None in place of each file that cannot be used, with the reason in `left_out`."""
  files = []
  for entry, info in listed:
    reason = info if isinstance(info, str) else ''
    if not reason and not cut.starts(info.frames):
      reason = f'too short: {info.frames} frames, {cut.span} needed'
    if reason:
      left_out[entry.path] = reason
    files.append(None if reason else File(entry.path, info, cut.starts(info.frames)))
  return files


def _check_any(root, files, left_out):
  if any(files):
    return
  if not files:
    endings = ' '.join(video_files.VIDEOS + video_files.ARRAYS)
    raise ValueError(f'{root}: no clips in it; it may hold {endings} and folders of images')
  path, reason = next((p, r) for p, r in left_out.items() if p.is_relative_to(root))
  raise ValueError(f'{root}: none of its {len(files)} clips can be used; {path.name}: {reason}')


def _facts(infos, cut):
  """What the stamp says of files: `infos` of those used."""
  native = sorted({f'{info.width}x{info.height}' for info in infos})
  rates = sorted({round(info.fps, 3) for info in infos if info.fps})
  facts = {'frames': cut.frames, 'stride': cut.stride, 'window_stride': cut.window_stride}
  if cut.size:
    facts |= {'resolution': f'{cut.size}x{cut.size}', 'resolution_of_files': ', '.join(native)}
    facts['resize_of_files'] = 'short side, bilinear, antialias, centre crop'
  else:
    facts['resolution'] = ', '.join(native)
  return facts | ({'fps': rates[0] if len(rates) == 1 else rates} if rates else {})


def _digest(path) -> str:
  """Hash of the names and bytes of the files that a clip is made of."""
  digest = hashlib.sha256()
  parts = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
  for part in parts:
    digest.update(f'{part.name} '.encode('utf-8', 'surrogateescape'))
    with part.open('rb') as file:
      digest.update(hashlib.file_digest(file, 'sha256').digest())
  return digest.hexdigest()


def _bar(batches, label, total):
  """A progress bar, on a terminal only."""
  with tqdm.tqdm(total=total, desc=label, unit='clip', disable=None, file=sys.stderr) as bar:
    for batch in batches:
      yield batch
      bar.update(len(batch[0] if isinstance(batch, tuple) else batch))
