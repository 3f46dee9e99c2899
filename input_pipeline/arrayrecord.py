"""Clips prepared by `python -m input_pipeline.prepare`: decoded once, read at the disk's speed.

A prepared folder holds
  prepared.json   shape of the clips [T, H, W, C], names of the classes, and per split its shards,
                  number of clips and timing (see `pipeline.Source`)
  index.csv       a row a clip: see `COLUMNS`; `id` counts from 0 within the split
  rejected.csv    what was left out, and why
  SPLIT-k-of-n.array_record   the clips, each the bytes of its uint8 array
"""

import csv
import json
import pathlib

import grain
import numpy as np
from array_record.python import array_record_module

from input_pipeline import files
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
    about = json.loads((root / 'prepared.json').read_text(encoding='utf-8'))
    if about['version'] != VERSION:
      raise ValueError(
        f'{root}: prepared as version {about["version"]}, want {VERSION}; do it again'
      )
    if split not in about['splits']:
      raise ValueError(f'{root}: no {split} split in it; it has {", ".join(about["splits"])}')
    self._shape = tuple(about['shape'])
    if self._shape[1] != size:
      raise ValueError(f'{root}: prepared at size {self._shape[1]}, not {size}; prepare it again')
    if not 1 <= frames <= self._shape[0]:
      raise ValueError(f'{root}: prepared with {self._shape[0]} frames, {frames} asked for')
    self.classes = tuple(about['classes'])
    self.fingerprint = f'{about["fingerprint"]} frames={frames} split={split}'
    # Sets prepared by earlier versions do not say.
    self.timing = about['splits'][split].get('timing', {'stride': None, 'fps': None})
    self._frames, self._split = frames, split
    self._labels = _labels(root, split, self.classes)
    shards = [root / name for name in about['splits'][split]['shards']]
    for shard in shards:
      if not shard.is_file():
        raise FileNotFoundError(f'{shard}: missing; the folder is not whole, prepare it again')
    self._records = grain.sources.ArrayRecordDataSource([str(shard) for shard in shards])
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
    video = np.frombuffer(content, np.uint8).reshape(self._shape)[start : start + self._frames]
    return {'video': video, 'label': self._labels[i], 'id': np.int64(i)}


def _labels(root, split, classes):
  numbers = {name: k for k, name in enumerate(classes)}
  with (root / 'index.csv').open(encoding='utf-8', errors='surrogateescape', newline='') as file:
    labels = [numbers[row['label']] for row in csv.DictReader(file) if row['split'] == split]
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
