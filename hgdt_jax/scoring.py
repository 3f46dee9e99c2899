"""Scores two folders of clips: reads them, drops what cannot be used, scores, writes and prints."""

import collections
import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import platform
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import av
import jax
import numpy as np
import tqdm

from hgdt_jax.metrics import score
from input_pipeline import folder, video_files

_READERS = min(8, os.cpu_count() or 1)  # threads; decoders release the interpreter


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


class Unreadable(ValueError):
  """A file whose header was fine and whose frames are not."""

  def __init__(self, path: pathlib.Path, reason: str):
    super().__init__(f'{path}: {reason}')
    self.path, self.reason = path, reason


@dataclasses.dataclass(frozen=True)
class File:
  """A clip file, what is known of it, and the first frames of its clips."""

  path: pathlib.Path
  info: video_files.Info
  starts: tuple[int, ...]


class FolderClips:
  """A `ClipSet` of files: decoded in threads, a batch ahead of its use."""

  def __init__(self, files: Sequence[File], cut: Cut, batch: int, facts: dict[str, Any]):
    windows = [(i, start) for i, file in enumerate(files) for start in file.starts]
    self._windows = windows[: cut.max_clips or None]
    self._files, self._cut, self._batch = files, cut, batch
    self.groups = np.array([i for i, _ in self._windows], int)
    self.facts = facts | _facts([files[i].info for i in np.unique(self.groups)], cut)

  @functools.cached_property
  def fingerprint(self) -> str:
    """Hash of the files' content, the windows and the decoder: any changed byte changes it."""
    digest = hashlib.sha256(f'{self._cut} {self._windows} av {av.__version__}'.encode())
    for i in np.unique(self.groups):
      for path in _parts(self._files[i].path):
        with path.open('rb') as file:
          digest.update(f'{i} {path.name} '.encode('utf-8', 'surrogateescape'))
          digest.update(hashlib.file_digest(file, 'sha256').digest())
    return digest.hexdigest()

  def batches(self) -> Iterator[np.ndarray]:
    """Cut off early where the size of frames changes. Raises Unreadable."""
    batch: list[np.ndarray] = []
    for clip in self._clips():
      if batch and (len(batch) == self._batch or clip.shape != batch[0].shape):
        yield np.stack(batch)
        batch = []
      batch.append(clip)
    if batch:
      yield np.stack(batch)

  def _clips(self):
    waiting = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
      for i, start in self._windows:
        waiting.append(pool.submit(self._read, self._files[i], start))
        if len(waiting) > self._batch:
          yield waiting.popleft().result()
      while waiting:
        yield waiting.popleft().result()

  def _read(self, file, start):
    frames = start + self._cut.stride * np.arange(self._cut.frames)
    try:
      return video_files.read(file.path, frames, self._cut.size or None, file.info)
    except video_files.BadClip as error:
      raise Unreadable(file.path, str(error)) from error


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
  unreadable: dict[pathlib.Path, str] = {}
  while True:  # again without it for every file that turns out to be damaged inside
    kept, dropped = zip(*(_usable(files, cut, unreadable) for files in listed))
    for root, files, lost in zip((real, fake), kept, dropped):
      _check_any(root, files, lost)
    sets = [FolderClips([f for f in files if f], cut, batch, facts | {'data': root.name})
            for root, files in zip((real, fake), kept)]  # fmt: skip
    try:
      scores = score.score_sets(
        *sets,
        names,
        weights_dir,
        uncertainty,
        pairs=_pairs(kept, cut, batch, facts),
        cache=cache,
        progress=_bar,
      )
      return Result(scores, [*dropped[0], *dropped[1]])
    except Unreadable as error:
      unreadable[error.path] = error.reason


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


def _usable(listed, cut, unreadable):
  """Returns files, None in place of each that cannot be used, and those with the reason."""
  files, dropped = [], []
  for entry, info in listed:
    reason = unreadable.get(entry.path) or (info if isinstance(info, str) else '')
    if not reason and not cut.starts(info.frames):
      reason = f'too short: {info.frames} frames, {cut.span} needed'
    if reason:
      dropped.append((entry.path, reason))
    usable = not reason
    files.append(File(entry.path, info, tuple(cut.starts(info.frames))) if usable else None)
  return files, dropped


def _check_any(root, files, dropped):
  if any(files):
    return
  endings = ' '.join(video_files.VIDEOS + video_files.ARRAYS)
  if not dropped:
    raise ValueError(f'{root}: no clips in it; it may hold {endings} and folders of images')
  path, reason = dropped[0]
  raise ValueError(f'{root}: none of its {len(dropped)} clips can be used; {path.name}: {reason}')


def _pairs(kept, cut, batch, facts):
  """Two sets of the files that pair, with the clips that both have; None if they do not pair."""
  if len(kept[0]) != len(kept[1]):
    return None
  both = [pair for pair in zip(*kept) if all(pair)]
  common = [sorted(set(a.starts) & set(b.starts)) for a, b in both]
  sides = zip(*both) if both else ((), ())
  return tuple(
    FolderClips(
      [dataclasses.replace(f, starts=tuple(s)) for f, s in zip(files, common)], cut, batch, facts
    )
    for files in sides
  )


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


def _parts(path):
  """The files a clip is made of."""
  return sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]


def _bar(batches, label, total):
  """A progress bar, on a terminal only."""
  with tqdm.tqdm(total=total, desc=label, unit='clip', disable=None, file=sys.stderr) as bar:
    for batch in batches:
      yield batch
      bar.update(len(batch[0] if isinstance(batch, tuple) else batch))
