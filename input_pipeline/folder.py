"""A folder of clips: video files, folders of frames, npz and npy."""

import os
import pathlib

from input_pipeline import clip, files, images, tables, video_files
from input_pipeline.files import SPLITS, Entry


class Folder(files.FileClips):
  """Every clip under `path`, at any depth; the first sub-folder is its class ('' in a flat folder).

  Splits: if `path` holds both `train/` and `test/`, those. Else each file goes to the test split
  with chance `test_share`, by a hash of (split_seed, its name under `path`), so that adding a file
  moves no other. At least one file is in each split as soon as there are two.

  `labels` names a CSV instead: a column `path` (under the folder), and any of `label`, `split`
  (train or test) and `group` (clips of one person, say, which a hashed split must keep together).
  Clips that it does not name are not used. No path in it may leave the folder by name; links are
  followed wherever they lead, for a set is often linked together from several disks.

  The other arguments and the items are those of `files.FileClips`.

  Raises FileNotFoundError for a missing folder, ValueError for one with no clip that can be used.
  """

  def __init__(
    self, path, frames, size, split, stride=1, test_share=0.1, split_seed=0, labels='', **options
  ):
    root = files.check_folder(path)
    if labels:
      parts = _from_csv(root, pathlib.Path(labels), test_share, split_seed)
    elif all((root / s).is_dir() for s in SPLITS):
      parts = {s: list_clips(root / s) for s in SPLITS}
    else:
      parts = files.split_entries(list_clips(root), test_share, split_seed)
    if not any(parts.values()):
      endings = ' '.join(video_files.VIDEOS + video_files.ARRAYS)
      raise ValueError(f'{root}: no clips in it; it may hold {endings} and folders of images')
    entries, classes = files.choose(root, parts, split)
    options |= {'frames': frames, 'size': size, 'split': split, 'stride': stride}
    super().__init__(root, entries, classes, **options)


def list_clips(root: pathlib.Path) -> list[Entry]:
  """Every clip under `root`, sorted by name. Hidden files and folders are passed over.

  A folder that holds images and no clip files is one clip. Links are followed, each folder once.
  Raises ValueError where folders are nested too deep.
  """
  found, seen = [], set()
  for folder, subfolders, names in os.walk(root, followlinks=True):
    here = pathlib.Path(folder)
    if os.path.realpath(here) in seen:
      subfolders[:] = []
      continue
    seen.add(os.path.realpath(here))
    if len(here.parts) - len(root.parts) > clip.MAX_DEPTH:
      raise ValueError(f'{root}: folders within folders, more than {clip.MAX_DEPTH} deep')
    subfolders[:] = sorted(s for s in subfolders if not s.startswith('.'))
    paths = [here / name for name in names if not name.startswith('.')]
    clips = [p for p in paths if video_files.is_clip_file(p)]
    if not clips and here != root and any(map(images.is_image, paths)):
      clips = [here]
    found += clips
  return sorted((_entry(root, p) for p in found), key=lambda entry: entry.name)


def _entry(root, path):
  relative = path.relative_to(root)
  label = relative.parts[0] if len(relative.parts) > 1 else ''
  return Entry(path, relative.as_posix(), label)


def _from_csv(root, table, test_share, seed):
  if not table.is_file():
    raise FileNotFoundError(f'{table}: no such file (labels of {root})')
  numbered = tables.rows(table, errors='strict')
  _, columns = next(numbered, (0, []))
  if 'path' not in columns:
    raise ValueError(f'{table}: no column named path; it has {", ".join(columns) or "none"}')
  rows, entries = [], []
  for line, cells in numbered:
    if not cells:
      continue
    row = dict.fromkeys(columns, '') | dict(zip(columns, cells))
    rows.append(row)
    relative = pathlib.PurePosixPath(row['path'])
    if relative.is_absolute() or '..' in relative.parts or not relative.parts:
      raise ValueError(f'{table}, line {line}: path {row["path"]!r}, want one under {root}')
    if 'split' in columns and row['split'] not in SPLITS:
      raise ValueError(f'{table}, line {line}: split {row["split"]!r}, want {" or ".join(SPLITS)}')
    entry = _entry(root, root / relative)
    label = row['label'] if 'label' in columns else entry.label
    entries.append(Entry(entry.path, entry.name, label, row.get('group', '')))
  if 'split' not in columns:
    return files.split_entries(entries, test_share, seed)
  parts = {s: [] for s in SPLITS}
  for entry, row in zip(entries, rows):
    parts[row['split']].append(entry)
  return parts
