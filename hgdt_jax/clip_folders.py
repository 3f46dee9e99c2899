"""Two folders of clips as sets to score: what of them can be used, and why the rest cannot."""

import hashlib
import itertools
import pathlib
from collections.abc import Iterator
from typing import Any

import av
import numpy as np

from hgdt_jax.clip_decoder import Cut, Decoder, File
from hgdt_jax.metrics import clip_sets
from input_pipeline import census, layout, probes, video_files
from input_pipeline.discovery import Entry
from input_pipeline.files import check_folder


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


class Folders:
  """The clips under two folders, of all files that can be used.

  Args:
    real: folder of real clips.
    fake: folder of generated ones.
    cut: how clips are cut from files.
    batch: clips in a batch, at most.
    **facts: what else the stamp is to say of the data.

  Attributes:
    real: the clips of one folder.
    fake: those of the other.
    pairs: the i-th file of one folder with the i-th of the other, sorted by name, and their clips
      from the same frames; a pair of which one file cannot be used is left out whole. None where
      one folder has more files.

  Raises:
    FileNotFoundError: a folder is missing.
    ValueError: one has no usable clips.
  """

  def __init__(self, real: pathlib.Path, fake: pathlib.Path, cut: Cut, batch: int, **facts):
    self._layouts = [
      layout.of(check_folder(root, or_zip=True), order=cut.npy_order) for root in (real, fake)
    ]
    listed = [_look_at(layout) for layout in self._layouts]
    self._cut, self._listed = cut, listed
    self._paths = [entry.path for one in listed for entry, _ in one]
    self._left_out: dict[pathlib.Path, str] = {}
    kept = [_usable(one, cut, self._left_out) for one in listed]
    for found, usable in zip(self._layouts, kept):
      _check_any(found, usable, self._left_out)
    decode = lambda files: Decoder(files, cut, batch, self._left_out)
    self.real, self.fake = (
      FolderClips(decode([(file,) for file in files if file]), facts | {'data': root.name})
      for root, files in zip((real, fake), kept)
    )
    self.pairs = None
    if len(kept[0]) == len(kept[1]):
      both = decode([pair for pair in zip(*kept) if all(pair)])
      self.pairs = FolderPairs(*(FolderClips(both, facts, side) for side in (0, 1)))

  @property
  def censuses(self) -> tuple[census.Census, census.Census]:
    """What the two folders were taken for; every clip in them is scored, whatever its split."""
    real, fake = (self._census(*one) for one in zip(self._layouts, self._listed))
    return real, fake

  def _census(self, layout, listed):
    infos, parts = dict(listed), {}
    for name, entries in layout.by_name.items():
      used = [(entry, infos[entry]) for entry in entries if entry.path not in self._left_out]
      clips = sum(len(self._cut.starts(info.frames)) for _, info in used)
      left_out = [(e.name, self._left_out[e.path]) for e in entries if e.path in self._left_out]
      parts[name] = census.Part(clips, tuple(used), tuple(left_out))
    rule = layout.split_rule or 'no folder is named after a split'
    return census.Census(layout, parts, f'{rule}; all are scored')

  @property
  def left_out(self) -> list[tuple[pathlib.Path, str]]:
    """Files that are not used, and why; a walk adds those that it finds to be damaged."""
    return [(path, self._left_out[path]) for path in self._paths if path in self._left_out]


def _look_at(found) -> list[tuple[Entry, video_files.Info | str]]:
  """Every clip of a layout in sorted order, with what is known of it or why it is bad."""
  entries = sorted(itertools.chain(*found.by_name.values()), key=lambda entry: entry.name)
  looks = probes.look_at(entries)
  return [(e, str(i) if isinstance(i, video_files.BadClip) else i) for e, i in zip(entries, looks)]


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


def _check_any(found, usable, left_out):
  layout.check_any(found)
  if any(usable):
    return
  root = found.root
  path, reason = next((p, r) for p, r in left_out.items() if p.is_relative_to(root))
  raise ValueError(f'{root}: none of its {len(usable)} clips can be used; {path.name}: {reason}')


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
  for name, opened in video_files.parts(path):
    digest.update(f'{name} '.encode('utf-8', 'surrogateescape'))
    with opened as file:
      digest.update(hashlib.file_digest(file, 'sha256').digest())
  return digest.hexdigest()
