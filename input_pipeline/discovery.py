"""What a folder holds: the clips in it, and what is passed over, each with a count."""

import collections
import dataclasses
import os
import pathlib

from input_pipeline import animations, clip, images, stacks, video_files, zips

# Folders that systems and programs make, none of which a user would call clips.
_SYSTEM = {
  *('@eadir', '#recycle', '#snapshot', '$recycle.bin', 'system volume information', 'lost+found'),
  '__macosx',
}
_THUMBNAILS = {'thumbnail', 'thumbnails', 'thumb', 'thumbs'}
_MASKS = {'mask', 'masks', 'annotation', 'annotations', 'segmentation', 'segmentations'}
_HIDDEN = 'hidden'


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
  """One file (or folder of frames) before it was looked at."""

  path: pathlib.Path
  name: str  # relative to the source's root, with forward slashes: the same on every machine
  label: str = ''
  group: str = ''  # files of one group (a subject, say) are never in both splits
  split: str = ''  # where folders or a table name it; '': it is drawn

  @property
  def parts(self) -> tuple[str, ...]:
    return tuple(self.name.split('/'))


@dataclasses.dataclass(frozen=True)
class Found:
  """What a folder holds.

  Attributes:
    entries: clips, by name.
    passed_over: files that are no clips, by ending.
    set_aside: files that were left out for where they lie, by the reason.
  """

  entries: tuple[Entry, ...]
  passed_over: dict[str, int]
  set_aside: dict[str, int]


def look(root: pathlib.Path, order: str = stacks.ONE) -> Found:
  """Every clip under `root`, a folder or a zip of folders of frames.

  A folder that holds images and no clip files is one clip. Links are followed, each folder once.
  `order` is that of the axes of `.npy` files; with an N in it each of them is N clips.
  Raises ValueError where folders are nested too deep.
  """
  walk = _Walk(root, order)
  if zips.is_zip(root):
    walk.take_zip(root)
  else:
    walk.take_folders()
  entries = sorted(walk.entries, key=lambda entry: entry.name)
  return Found(
    tuple(_without_masks(entries, walk.set_aside)),
    dict(walk.passed_over.most_common()),
    dict(walk.set_aside),
  )


class _Walk:
  def __init__(self, root, order):
    self.root, self.order, self.entries = root, order, []
    self.passed_over, self.set_aside = collections.Counter(), collections.Counter()

  def take_folders(self):
    seen = set()
    for folder, subfolders, names in os.walk(self.root, onerror=self._unread, followlinks=True):
      here, real = pathlib.Path(folder), os.path.realpath(folder)
      if real in seen:
        subfolders[:] = []
        continue
      seen.add(real)
      if len(here.parts) - len(self.root.parts) > clip.MAX_DEPTH:
        raise ValueError(f'{self.root}: folders within folders, more than {clip.MAX_DEPTH} deep')
      subfolders[:] = sorted(name for name in subfolders if not self._is_aside(here, name))
      self._take_files(here, names)

  def take_zip(self, path):
    for folder, names in zips.folders(path).items():
      inside = folder.split('/') if folder else []
      if any(part.startswith('.') for part in inside):
        self._count_up(_HIDDEN, len(names))
      elif reason := next(filter(None, map(_reason, inside)), ''):
        self._set_aside(reason, len(names))
      else:
        self._take_files(path / folder, names, zipped=True)

  def _take_files(self, here, names, zipped=False):
    """The files of one folder: as clips, or as the frames of one."""
    shown = [name for name in names if not name.startswith('.')]
    self._count_up(_HIDDEN, len(names) - len(shown))
    by_ending = collections.defaultdict(list)
    for name in shown:
      by_ending[pathlib.PurePath(name).suffix.lower()].append(name)
    clips = []
    for ending, own in by_ending.items():
      is_clip = not zipped and (
        ending in video_files.VIDEOS + video_files.ARRAYS or animations.are(here, ending, own)
      )
      if is_clip:
        clips += own
      elif ending == '.zip' and not zipped:
        for name in own:
          self._take_zip_among_others(here / name)
      elif ending not in images.ENDINGS:
        self._count_up((ending or 'without ending') + ' in a zip' * zipped, len(own))
    chosen = set(clips)
    pictures = [n for ending in images.ENDINGS for n in by_ending[ending] if n not in chosen]
    if pictures and not clips and here != self.root:
      self._add(here)
      _, beside = images.frames_of(pictures)
      self._set_aside('masks and copies beside frames', len(beside))
    else:
      for name in pictures:
        self._count_up(pathlib.PurePath(name).suffix.lower(), 1)
    for name in clips:
      self._add(here / name)

  def _take_zip_among_others(self, path):
    try:
      self.take_zip(path)
    except ValueError as e:
      self.set_aside[str(e)] += 1

  def _add(self, path):
    name = path.relative_to(self.root).as_posix()
    if path.suffix.lower() == '.npy' and 'N' in self.order:
      for number in stacks.members(path, self.order):
        self.entries.append(Entry(path / self.order / str(number), f'{name}/{number}'))
    else:
      self.entries.append(Entry(path, name))

  def _is_aside(self, here, name):
    reason = _HIDDEN if name.startswith('.') else _reason(name)
    if reason == _HIDDEN:
      self._count_up(_HIDDEN, 1)
    elif reason:
      self._set_aside(reason, sum(len(files) for _, _, files in os.walk(here / name)))
    return bool(reason)

  def _unread(self, error):
    reason = error.strerror or type(error).__name__
    self.set_aside[f'folder that cannot be read: {error.filename} ({reason})'] += 1

  def _count_up(self, ending, count):
    if count:
      self.passed_over[ending] += count

  def _set_aside(self, reason, count):
    if count:
      self.set_aside[reason] += count


def _reason(name):
  """Why a folder of this name is left out; '' if it is not."""
  if name.lower() in _SYSTEM:
    return f'in {name}'
  return 'in folders of thumbnails' if name.lower() in _THUMBNAILS else ''


def _without_masks(entries, set_aside):
  """Those that do not lie in a folder of masks, each of which stands for a clip beside it."""
  in_masks = {entry.name: k for entry in entries if (k := _mask_folder(entry)) is not None}
  if not in_masks:
    return entries
  places = {
    _without_part(entry, k)
    for entry in entries
    if entry.name not in in_masks
    for k in range(len(entry.parts) - 1)
  }
  kept = []
  for entry in entries:
    k = in_masks.get(entry.name)
    if k is not None and _without_part(entry, k) in places:
      set_aside[f'in folders of masks named {entry.parts[k]}, beside their clips'] += 1
    else:
      kept.append(entry)
  return kept


def _mask_folder(entry):
  return next((k for k, part in enumerate(entry.parts[:-1]) if part.lower() in _MASKS), None)


def _without_part(entry, k):
  parts = entry.parts
  return parts[:k], parts[k + 1 : -1], pathlib.PurePath(parts[-1]).stem
