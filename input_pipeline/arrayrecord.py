"""Clips prepared by `python -m input_pipeline.prepare`: decoded once, read at the disk's speed.

A prepared folder holds
  prepared.json   shape of the clips [T, H, W, C], names of the classes, and per split its shards,
                  number of clips and timing (see `pipeline.Source`); what the folder was taken
                  for that it was made of (see `census.Census`)
  index.csv       a row a clip: see `COLUMNS`; `id` counts from 0 within the split
  rejected.csv    what was left out, and why
  SPLIT-k-of-n.array_record   the clips, each the bytes of its uint8 array
"""

import math
import pathlib
import re

import grain
import numpy as np
from array_record.python import array_record_module

from input_pipeline import clip, files, tables
from input_pipeline.clip import BadClip

COLUMNS = ('split', 'id', 'file', 'start', 'fps', 'label', 'sha256')
VERSION = 1


class ArrayRecords:
  """Random access to a prepared folder.

  `size` must be the one it was prepared with. If it was prepared with more frames than `frames`,
  clips are cut from it: at a random start in training, at the centre otherwise.

  Raises FileNotFoundError for a folder that is missing or not prepared to the end, ValueError for
  one that holds other clips than asked for.
  """

  def __init__(self, path, frames, size, split):
    root = files.check_folder(path)
    if not (root / 'prepared.json').is_file():
      raise FileNotFoundError(
        f'{root}: no prepared.json in it; make it with '
        f'python -m input_pipeline.prepare --out={root} (which goes on if it was stopped)'
      )
    about = read_about(root / 'prepared.json')
    if split not in about['splits']:
      raise ValueError(f'{root}: no {split} split in it; it has {", ".join(about["splits"])}')
    self._shape = tuple(about['shape'])
    if self._shape[1] != size:
      raise ValueError(f'{root}: prepared at size {self._shape[1]}, not {size}; prepare it again')
    if not 1 <= frames <= self._shape[0]:
      raise ValueError(f'{root}: prepared with {self._shape[0]} frames, {frames} asked for')
    self.classes = tuple(about['classes'])
    # What the folder was taken for that it was prepared from, if it was one.
    self.prepared_from = about.get('census', {})
    self.are_ids = bool(self.prepared_from.get('classes_are_ids'))
    self.fingerprint = f'{about["fingerprint"]} frames={frames} split={split}'
    # Sets prepared by earlier versions do not say.
    self.timing = about['splits'][split].get('timing', {'stride': None, 'fps': None})
    self._frames, self._split = frames, split
    self._labels = _labels(root, split, self.classes)
    shards = [root / name for name in about['splits'][split]['shards']]
    for shard in shards:
      if not shard.is_file():
        raise FileNotFoundError(f'{shard}: missing; the folder is not whole, prepare it again')
    try:
      self._records = grain.sources.ArrayRecordDataSource([str(shard) for shard in shards])
    except RuntimeError as e:
      names = ', '.join(shard.name for shard in shards[:3])
      raise ValueError(
        f'{root}: a shard of {names} is damaged ({_first_line(e)}); prepare it again'
      ) from e
    if len(self._records) != len(self._labels):
      raise ValueError(
        f'{root}: {len(self._records)} clips in the shards, {len(self._labels)} in index.csv'
      )

  def __len__(self):
    return len(self._labels)

  def __getitem__(self, i):
    return self._item(i, (self._shape[0] - self._frames) // 2)

  def sample(self, i, rng):
    if self._split != 'train' or self._frames == self._shape[0]:
      return self[i]
    return self._item(i, int(rng.integers(self._shape[0] - self._frames + 1)))

  def _item(self, i, start):
    i = range(len(self))[i]
    try:
      content = self._records[i]
    except RuntimeError as e:  # a block whose hash does not fit its bytes
      raise BadClip(f'clip {i} of the {self._split} split is damaged ({_first_line(e)})') from e
    if len(content) != math.prod(self._shape):
      raise BadClip(
        f'clip {i} of the {self._split} split is damaged ({len(content)} bytes, '
        f'{math.prod(self._shape)} wanted)'
      )
    video = np.frombuffer(content, np.uint8).reshape(self._shape)[start : start + self._frames]
    return {'video': video, 'label': self._labels[i], 'id': np.int64(i)}


def read_about(path: pathlib.Path) -> dict:
  """What prepared.json says, each entry of its type. Raises ValueError if it says anything else."""
  about = tables.read_json(path, 'prepare it again')
  version = about.get('version') if isinstance(about, dict) else None
  if version != VERSION:
    raise ValueError(f'{path.parent}: prepared as version {version}, want {VERSION}; do it again')
  about.setdefault('census', {})  # sets prepared by earlier versions have none
  for key, (is_right, wanted) in _ABOUT.items():
    if key not in about or not is_right(about[key]):
      said = repr(about[key])[:60] if key in about else 'missing'
      raise ValueError(f'{path}: {key} is {said}, want {wanted}; prepare it again')
  return about


def _is_shape(shape):
  return (
    isinstance(shape, list)
    and len(shape) == 4
    and all(type(n) is int and 0 < n <= clip.MAX_BYTES for n in shape)
    and shape[1] == shape[2]
    and shape[3] == 3
    and math.prod(shape) <= clip.MAX_BYTES
  )


def _is_classes(names):
  return (
    isinstance(names, list)
    and all(isinstance(name, str) for name in names)
    and 0 < len(set(names)) == len(names)
  )


def _is_splits(splits):
  return isinstance(splits, dict) and all(
    isinstance(part, dict)
    and isinstance(part.get('shards'), list)
    and all(isinstance(name, str) and _SHARD.fullmatch(name) for name in part['shards'])
    and type(part.get('clips')) is int
    and _is_timing(part.get('timing', {'stride': None, 'fps': None}))
    for part in splits.values()
  )


def _is_timing(timing):
  if not isinstance(timing, dict) or not {'stride', 'fps'} <= timing.keys():
    return False
  stride, fps = timing['stride'], timing['fps']
  rates = fps if isinstance(fps, list) else [] if fps is None else [fps]
  is_stride = stride is None or (type(stride) is int and stride >= 1)
  is_rates = all(type(rate) in (int, float) and rate > 0 for rate in rates)
  return is_stride and is_rates and (stride is not None or not isinstance(fps, list))


_SHARD = re.compile(r'[\w-][\w.-]*\.array_record')  # one name, in the folder itself
_ABOUT = {
  'shape': (_is_shape, f'[T, H, W, 3], H and W equal, of {clip.MAX_BYTES} bytes at most'),
  'classes': (_is_classes, 'a list of names, each once'),
  'splits': (
    _is_splits,
    '{split: {"shards": [NAME.array_record in this folder], "clips": N, "timing": of it}}',
  ),
  'fingerprint': (lambda text: isinstance(text, str), 'a text'),
  'census': (lambda facts: isinstance(facts, dict), 'a section'),
}


def _labels(root, split, classes):
  table, numbers = root / 'index.csv', {name: k for k, name in enumerate(classes)}
  if not table.is_file():
    raise FileNotFoundError(f'{table}: missing; the folder is not whole, prepare it again')
  rows = tables.rows(table)
  _, head = next(rows, (0, []))
  if not {'split', 'label'} <= set(head):
    raise ValueError(f'{table}: no columns named split and label; prepare it again')
  labels = []
  for line, cells in rows:
    row = dict(zip(head, cells))
    if row.get('split') != split:
      continue
    if row.get('label') not in numbers:
      raise ValueError(
        f'{table}, line {line}: label {row.get("label")!r}, which is none of the classes in '
        'prepared.json; prepare it again'
      )
    labels.append(numbers[row['label']])
  return np.array(labels, np.int32)


def _first_line(error):
  return str(error).partition('\n')[0][:200]


def write_shard(path: pathlib.Path, clips):
  """Writes uint8 clips (an iterable) under a temporary name, then renames: all of it or nothing."""
  partial = path.with_name(f'{path.name}.partial')
  # clips compress by a fifth at best, and reading them is then four times slower
  writer = array_record_module.ArrayRecordWriter(str(partial), 'group_size:1,uncompressed')
  count = 0
  try:
    for video in clips:
      writer.write(np.ascontiguousarray(video, np.uint8).tobytes())
      count += 1
  finally:
    writer.close()
  if count:
    partial.replace(path)
  else:
    partial.unlink()
