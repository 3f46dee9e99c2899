"""What names say of clips: which side of a split they are on, and which belong together."""

import collections
import dataclasses
import hashlib
import re

from input_pipeline import animations, video_files
from input_pipeline.discovery import Entry

SPLITS = ('train', 'test')
VALIDATION = 'val'
_FILE_ENDINGS = (*video_files.VIDEOS, *video_files.ARRAYS, *animations.ENDINGS)
_NAMES = {
  'train': ('train', 'training'),
  VALIDATION: ('val', 'valid', 'validate', 'validation'),
  'test': ('test', 'testing'),
}
_NAME = re.compile(
  r'(?P<before>(.*[^a-z])?)'
  + '({})'.format('|'.join(f'(?P<{k}>{"|".join(names)})' for k, names in _NAMES.items()))
  + r'(?P<after>([^a-z]?(set|split|data))?[^a-z]*)'
)

# What comes after the name of a video that a clip was cut from: the times of Kinetics' clips, and
# numbers such as _c01, -0003, _1, -Scene-012, and those of copies: (1), - Copy.
_OF_CUT = re.compile(
  r'(?P<video>.+?)('
  r'_\d{6}_\d{6}'
  r'|[-_. ]+((c|clip|part|seg|segment|scene|shot|cut)[-_. ]*)?\(?\d+\)?'
  r'|[-_ ]+copy([-_ ]*\(?\d+\)?)?'
  r')',
  re.IGNORECASE,
)
# What cameras and programs number anything with; a day, of those that name files by the time.
_NO_VIDEO = re.compile(
  r'(img|vid|mvi|mov|dsc[nf]?|pxl|gopr|g[hxp]|dji|clips?|videos?|movie|film|samples?|frames?|file|'
  r'scene|shot|seq|sequence|out(put)?|take|part|seg|segment|cut|[vcps]|untitled|new video|'
  r'screen[ _]recording)?([-_. ]?(19|20)\d\d-?[01]\d-?[0-3]\d)?',
  re.IGNORECASE,
)


def of_folder(name: str) -> tuple[str, tuple[str, str]] | None:
  """('train', 'val' or 'test', what its name says before and after) of a folder or zip, or None."""
  found = _NAME.fullmatch(name.lower().removesuffix('.zip'))
  if not found:
    return None
  kind = next(kind for kind in _NAMES if found[kind])
  return kind, (found['before'], found['after'])


def of_word(word: str) -> str:
  """'train', 'val' or 'test' for one of their names, in any case; else ''."""
  return next((kind for kind, names in _NAMES.items() if word.lower() in names), '')


def by_folders(entries) -> dict[str, int]:
  """Which folder of each entry, by its name, is that of a split: its place in `parts`.

  'sky_train' is one only beside 'sky_test': alone, 'crash_test' is a class.
  """
  names = {part for entry in entries for part in entry.parts[:-1]}
  said = {name: found for name in names if (found := of_folder(name))}
  kinds = collections.defaultdict(set)
  for kind, around in said.values():
    kinds[around].add(kind)
  is_split = lambda name: (
    name in said and (said[name][1] == ('', '') or {'train'} < kinds[said[name][1]])
  )
  places = {}
  for entry in entries:
    place = next((k for k, part in enumerate(entry.parts[:-1]) if is_split(part)), None)
    if place is not None:
      places[entry.name] = place
  return places


def video_of(entry: Entry) -> str:
  """A name of the video that a clip was cut from; '' where the clip's name says none."""
  found = _OF_CUT.fullmatch(_stem(entry))
  if not found or _NO_VIDEO.fullmatch(found['video']):
    return ''
  return _of_folder_if_common(entry, found['video'])


def _stem(entry):
  name, ending = entry.parts[-1], entry.path.suffix
  return name.removesuffix(ending) if ending.lower() in _FILE_ENDINGS else name


def _of_folder_if_common(entry, video):
  """A name with a number in it is that of a video wherever it stands; others are of a folder."""
  return video if re.search(r'\d', video) else '/'.join((*entry.parts[:-1], video))


def grouped(entries, are_ids: bool) -> tuple[list[Entry], str]:
  """Entries with the group that each is drawn with, and the rule in a line.

  A clip that has a group keeps it. Else it is the folder, where folders are ids and no classes; or
  the video that its name says it was cut from, if no video makes up more than half of the clips.
  """
  if any(entry.group for entry in entries):
    return list(entries), 'as the table of labels says'
  if are_ids:
    with_folder = [
      dataclasses.replace(entry, group='/'.join(entry.parts[:-1])) for entry in entries
    ]
    return with_folder, 'clips of one folder'
  videos = _videos(entries)
  counts = collections.Counter(filter(None, videos))
  most = max(counts.values(), default=0)
  if most < 2:
    return list(entries), 'each file by itself'
  if 2 * most > len(entries):
    video = counts.most_common(1)[0][0]
    return list(entries), f'each file by itself; {most} named {video}... may be of one video'
  cut = [dataclasses.replace(entry, group=video) for entry, video in zip(entries, videos)]
  return cut, 'clips cut from one video, by their names'


def _videos(entries):
  """The video that each clip was cut from; '' where names say none."""
  videos = [video_of(entry) for entry in entries]
  known = set(videos)
  for k, entry in enumerate(entries):  # the whole video, beside what was cut from it
    own = _of_folder_if_common(entry, _stem(entry))
    videos[k] = videos[k] or (own if own in known else '')
  # walk/walk_01, walk/walk_02, ... are numbered clips of a class
  of_class = collections.Counter(entry.label for entry in entries)
  of_both = collections.Counter(zip((entry.label for entry in entries), videos))
  is_class = lambda label, video: (
    label and ('/' in video or video == label) and 2 * of_both[label, video] > of_class[label]
  )
  return ['' if is_class(entry.label, video) else video for entry, video in zip(entries, videos)]


def are_ids(labels) -> bool:
  """Whether folders are rather names of videos or persons than classes; `labels`: one a clip.

  They are where there are nearly as many as clips.
  """
  count, clips = len(set(labels)), len(labels)
  if count < 3:
    return False
  numbered = sum(bool(re.search(r'\d', label)) for label in set(labels))
  few = 5 if 2 * numbered > count else 2
  return clips < 1.2 * count or (count > 10 and clips < few * count)


def draw(entries, test_share, seed) -> dict[str, list[Entry]]:
  """Parts entries into {'train': [...], 'test': [...]} by a hash of (seed, group or name).

  So adding a file moves no other, and a group is never in both. As soon as there are two groups, no
  split is empty (unless `test_share` is 0).
  """
  if not 0 <= test_share < 1:
    raise ValueError(f'test_share is {test_share}, want a share from 0 to below 1')
  draws = {key: _draw(f'{seed}\0{key}') for key in sorted({e.group or e.name for e in entries})}
  test = {key for key, draw in draws.items() if draw < test_share}
  if test_share and len(draws) > 1:
    test = test or {min(draws, key=draws.get)}
    if len(test) == len(draws):
      test.remove(max(draws, key=draws.get))
  parts = {'train': [], 'test': []}
  for entry in entries:
    parts['test' if (entry.group or entry.name) in test else 'train'].append(entry)
  return parts


def choose(root, parts, split):
  """Returns the entries of a split, and the classes of both; ValueError if it has none."""
  if split not in SPLITS:
    raise ValueError(f'split {split!r}: want one of {", ".join(SPLITS)}')
  classes = sorted({entry.label for part in parts.values() for entry in part})
  if not parts[split]:
    count = sum(map(len, parts.values()))
    raise ValueError(f'{root}: none of its {count} clips is in the {split} split; add clips')
  return parts[split], classes


def _draw(text):
  """A number in [0, 1) that depends on the text alone."""
  digest = hashlib.sha256(text.encode('utf-8', 'surrogateescape')).digest()
  return int.from_bytes(digest[:8], 'big') / 2**64
