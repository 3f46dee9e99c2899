"""Two folders of clips as sets to score: what of them can be used, and why the rest cannot."""

import hashlib
import itertools
import pathlib
import warnings
from collections.abc import Iterator
from typing import Any

import av
import numpy as np

from hgdt_jax import clip_sides, pairing
from hgdt_jax.clip_decoder import Cut, Decoder, File
from hgdt_jax.metrics import clip_sets, ranges
from input_pipeline import census, layout, probes, video_files
from input_pipeline.discovery import Entry
from input_pipeline.files import check_folder


class FolderClips:
  """A `ClipSet`: the real (side 0) or generated (1) files that a `Decoder` reads."""

  def __init__(self, decoder: Decoder, facts: dict[str, Any], side: int = 0):
    self.decoder, self._facts, self._side = decoder, facts, side
    self._digests: dict[pathlib.Path, str] = {}
    self._kinds: dict[pathlib.Path, str] = {}

  @property
  def groups(self) -> np.ndarray:
    counts = [len(starts) for _, starts in self.decoder.used()]
    return np.repeat(np.arange(len(counts)), counts)

  @property
  def facts(self) -> dict[str, Any]:
    files = [self._own(files) for files, _ in self.decoder.used()]
    stored = {'stored_as': ', '.join(sorted({self._kind(file) for file in files}))}
    cut = self.decoder.cut
    infos = [file.info for file in files]
    return self._facts | _facts(infos, cut, cut.fps[self._side]) | stored

  def _kind(self, file):
    if file.path not in self._kinds:
      self._kinds[file.path] = video_files.kind(file.path, file.info)
    return self._kinds[file.path]

  @property
  def fingerprint(self) -> str:
    """Hash of the files' content, the windows and the decoder: any changed byte changes it."""
    digest = hashlib.sha256(f'{self.decoder.cut} av {av.__version__}'.encode())
    for files, starts in self.decoder.used():
      path = self._own(files).path
      if path not in self._digests:
        self._digests[path] = _digest(path)
      digest.update(f' {starts} {self._digests[path]}'.encode())
    return digest.hexdigest()

  def batches(self) -> Iterator[np.ndarray]:
    paths = [self._own(files).path for files, _ in self.decoder.used()]
    stored = all(path.suffix.lower() in video_files.ARRAYS for path in paths)
    batches = map(self._own, self.decoder.batches())
    yield from ranges.watched(batches, self._facts.get('data', 'clips'), stored)

  def _own(self, together):
    """The part of this side, of what is of both or of this side alone."""
    return together[self._side] if len(together) > 1 else together[0]


class FolderPairs(clip_sets.Pairs):
  """Two `FolderClips` of one `Decoder`, which cuts off both files where one is damaged."""

  def batches(self):
    return clip_sets.equal_shapes(self.real.decoder.batches())

  def check(self):
    decoder = self.real.decoder
    for (real, fake), _ in decoder.used() if not decoder.cut.size else ():
      sizes = [(file.info.height, file.info.width) for file in (real, fake)]
      if sizes[0] != sizes[1]:
        raise ValueError(
          f'paired clips differ in shape: {real.path} is {real.info.width}x{real.info.height}, '
          f'{fake.path} {fake.info.width}x{fake.info.height}; give one size for both (--size)'
        )


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
    pairs: the files that `pairing.of` puts together, and their clips from the same frames; a pair
      of which one file cannot be used is left out whole, and one of which a file is damaged gives
      the clips before that. None where a file has no counterpart.
    pairing: which belong together, by what rule, and which are alone.

  Raises:
    FileNotFoundError: a folder is missing.
    ValueError: one has no usable clips.
  """

  def __init__(self, real: pathlib.Path, fake: pathlib.Path, cut: Cut, batch: int, **facts):
    self._layouts = [
      layout.of(check_folder(root, or_zip=True), order=cut.npy_order) for root in (real, fake)
    ]
    roots = [found.root for found in self._layouts]
    self._cut, self._listed = cut, [_look_at(found) for found in self._layouts]
    self._paths = [entry.path for listed in self._listed for entry, _ in listed]
    self._left_out: dict[pathlib.Path, str] = {}
    self._cut_off: dict[pathlib.Path, tuple[int, str]] = {}
    for root, listed in zip(roots, self._listed):
      self._left_out |= clip_sides.twice(root, [entry.path for entry, _ in listed])
    once = [[one for one in f if one[0].path not in self._left_out] for f in self._listed]
    names = [[clip_sides.name_of(r, e.path) for e, _ in f] for r, f in zip(roots, once)]
    kept = [_usable(listed, cut, self._left_out, side) for side, listed in enumerate(once)]
    for found, usable in zip(self._layouts, kept):
      _check_any(found, usable, self._left_out)

    def decode(root, files):
      if cut.max_clips:
        key = lambda together: clip_sides.name_of(root, together[0].path)
        files = sorted(files, key=lambda together: clip_sides.draw(cut.seed, key(together)))
      return Decoder(files, cut, batch, self._left_out, self._cut_off)

    self.real, self.fake = (
      FolderClips(
        decode(root, [(file,) for file in files if file]),
        facts | {'data': clip_sides.called(root)},
        side,
      )
      for side, (root, files) in enumerate(zip(roots, kept))
    )
    self.pairing, self.pairs = pairing.of(*names), None
    if not any(self.pairing.alone):
      pairs = [(kept[0][i], kept[1][j]) for i, j in self.pairing.pairs]
      both = decode(real, [pair for pair in pairs if all(pair)])
      facts = facts | {'paired_by': self.pairing.rule}
      self.pairs = FolderPairs(*(FolderClips(both, facts, side) for side in (0, 1)))
    if not any(cut.fps):
      _warn_of_rates(*kept)

  @property
  def censuses(self) -> tuple[census.Census, census.Census]:
    """What the two folders were taken for; clips are scored whatever their split."""
    real, fake = (self._census(side) for side in (0, 1))
    return real, fake

  def _census(self, side):
    layout, listed = self._layouts[side], self._listed[side]
    infos, parts = dict(listed), {}
    for name, entries in layout.by_name.items():
      used = [(entry, infos[entry]) for entry in entries if entry.path not in self._left_out]
      clips = sum(len(self._cut.windows(info, side)) for _, info in used)
      left_out = [(e.name, self._left_out[e.path]) for e in entries if e.path in self._left_out]
      parts[name] = census.Part(clips, tuple(used), tuple(left_out))
    rule = layout.split_rule or 'no folder is named after a split'
    most = self._cut.max_clips
    scored = f'{most} of all, drawn by --seed, are scored' if most else 'all are scored'
    return census.Census(layout, parts, f'{rule}; {scored}')

  @property
  def left_out(self) -> list[tuple[pathlib.Path, str]]:
    """Files that are not used, or not to their end, and why; a walk adds those it finds damaged."""
    cut_off = {
      path: f'from its clip {count + 1} on, those before that are used: {reason}'
      for path, (count, reason) in self._cut_off.items()
    }
    reasons = cut_off | self._left_out
    return [(path, reasons[path]) for path in self._paths if path in reasons]


def _look_at(found) -> list[tuple[Entry, video_files.Info | str]]:
  """Every clip of a layout in sorted order, with what is known of it or why it is bad."""
  entries = sorted(itertools.chain(*found.by_name.values()), key=lambda entry: entry.name)
  looks = probes.look_at(entries)
  return [(e, str(i) if isinstance(i, video_files.BadClip) else i) for e, i in zip(entries, looks)]


def _usable(listed, cut, left_out, side) -> list[File | None]:
  """None in place of each file that cannot be used, with the reason in `left_out`."""
  files = []
  for entry, info in listed:
    try:
      if isinstance(info, str):
        raise video_files.BadClip(info)
      windows = cut.windows(info, side)
    except video_files.BadClip as error:
      left_out[entry.path] = str(error)
      files.append(None)
    else:
      files.append(File(entry.path, info, windows))
  return files


def _check_any(found, usable, left_out):
  layout.check_any(found)
  if any(usable):
    return
  root = found.root
  path, reason = next((p, r) for p, r in left_out.items() if p.is_relative_to(root))
  raise ValueError(f'{root}: none of its {len(usable)} clips can be used; {path.name}: {reason}')


def _warn_of_rates(real, fake):
  """Warns where the two sides have different rates, and so would be told apart by speed."""
  rates = [
    sorted({round(f.info.fps, 2) for f in side if f and f.info.fps}) for side in (real, fake)
  ]
  if rates[0] == rates[1]:
    return
  real, fake = (' to '.join(f'{r:g}' for r in dict.fromkeys((*s[:1], *s[-1:]))) for s in rates)
  if real and fake:
    told = (
      f'real clips have {real} frames a second, generated ones {fake}: scores compare motion at '
      'different speeds; give --fps to read both at one rate'
    )
  else:
    clockless, timed = ('generated', 'real') if real else ('real', 'generated')
    told = (
      f'{clockless} clips have no clock, so their rate is not known; {timed} ones have '
      f'{real or fake} frames a second: scores compare motion at one speed only if both were meant '
      'for one rate; two numbers for --fps (0: as it comes) read one side at another'
    )
  warnings.warn(told, stacklevel=3)


def _facts(infos, cut, fps):
  """What the stamp says of files: `infos` of those used."""
  native = sorted({f'{info.width}x{info.height}' for info in infos})
  rates = [fps] if fps else sorted({round(info.fps, 3) for info in infos if info.fps})
  stride = None if fps else cut.stride  # at a rate no one stride says which frames are taken
  facts = {'frames': cut.frames, 'stride': stride, 'window_stride': cut.window_stride}
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
