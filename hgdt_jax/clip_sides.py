"""Which folder is meant by the one that was named, and which of its files are one clip twice."""

import hashlib
import pathlib
from collections.abc import Iterable

from input_pipeline import animations, video_files
from input_pipeline import splits as names_of_splits

_OF_A_RUN = ('grid.mp4', 'grid.gif', 'strip.png')  # beside the folder `clips` of a method
_PREVIEWS = ('.gif', '.webp', '.apng')
_ENDINGS = (*video_files.VIDEOS, *video_files.ARRAYS, *animations.ENDINGS)


def samples(root: pathlib.Path) -> pathlib.Path:
  """`root/clips` of what a run shows of a method (`samples/METHOD`), `root` of anything else.

  ValueError for the folder of all methods, or a whole workdir: which one is meant is not known.
  """
  if _is_method(root):
    return root / 'clips'
  for folder in (root, root / 'samples'):
    methods = [f.name for f in _folders(folder) if _is_method(f)]
    if methods:
      raise ValueError(f'{folder}: samples of {len(methods)} methods; name one of them: '
                       + ', '.join(str(folder / name) for name in methods))  # fmt: skip
  return root


def called(root: pathlib.Path) -> str:
  """The name of a set of clips: its folder's, or the method's whose clips they are."""
  root = root.resolve()
  return root.parent.name if root.name == 'clips' and _is_method(root.parent) else root.name


def split(root: pathlib.Path, name: str) -> pathlib.Path:
  """The folder of the split `name` of `root`, which may be that folder itself; '' is all of it.

  ValueError where there is none: what a split is that no folder shows is for the run that drew it.
  """
  is_it = lambda folder: folder.name.lower() == name.lower() or _kind(folder) == name.lower()
  if not name or is_it(root):
    return root
  folders = _folders(root)
  found = [folder for folder in folders if is_it(folder)]
  if len(found) > 1:
    raise ValueError(f'--split={name}: is {" or ".join(map(str, found))}? Name that folder')
  if not found:
    there = ', '.join(folder.name for folder in folders) or 'no folders'
    raise ValueError(
      f'--split={name}: {root} has no folder of that name (it has {there}); name the folder that '
      'holds the clips of the split, or leave --split out'
    )
  return found[0]


def splits(root: pathlib.Path) -> list[str]:
  """The splits that lie side by side in `root`; none where there is no more than one."""
  found = [folder.name for folder in _folders(root) if _kind(folder)]
  return found if len(found) > 1 else []


def _kind(folder):
  """'train', 'val' or 'test' where the folder's name says so."""
  found = names_of_splits.of_folder(folder.name)
  return found[0] if found else ''


def name_of(root: pathlib.Path, path: pathlib.Path) -> str:
  """What a clip is called: its path under `root`, without the ending of a file."""
  named = path.with_suffix('') if path.suffix.lower() in _ENDINGS else path
  return named.relative_to(root).as_posix()


def twice(root: pathlib.Path, paths: Iterable[pathlib.Path]) -> dict[pathlib.Path, str]:
  """Files that show what another of their name shows, and why: `a.gif` beside `a.mp4`.

  Kept are arrays before folders of frames before videos before previews.
  """
  kept: dict[str, pathlib.Path] = {}
  left_out = {}
  for path in sorted(paths, key=lambda path: (_rank(path), path)):
    first = kept.setdefault(name_of(root, path), path)
    if first != path:
      left_out[path] = f'the same clip as {first.name}, by its name'
  return left_out


def draw(seed: int, name: str) -> bytes:
  """Sorts clips at random: by it, a file that is added or left out moves no other."""
  return hashlib.sha256(f'{seed} {name}'.encode('utf-8', 'surrogateescape')).digest()


def _is_method(folder):
  return (folder / 'clips').is_dir() and any((folder / name).exists() for name in _OF_A_RUN)


def _folders(root):
  if not root.is_dir():
    return []
  return sorted(f for f in root.iterdir() if f.is_dir() and not f.name.startswith('.'))


def _rank(path):
  suffix = path.suffix.lower()
  if suffix in video_files.ARRAYS:
    return 0
  if suffix in _PREVIEWS:
    return 3
  return 2 if suffix in video_files.VIDEOS else 1
