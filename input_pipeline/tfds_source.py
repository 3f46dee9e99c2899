"""Sets of `tensorflow_datasets`, read with random access.

TensorFlow itself is needed to prepare most sets, and to read a `Video` feature: then it is imported
by tfds, never here. A set prepared once more by `input_pipeline.prepare` reads without it, and many
times faster. The whole way, of which only the last line needs no TensorFlow:

  pip install "hgdt_jax[tfds]" tensorflow
  tfds build ucf101 --file_format=array_record   # downloads and prepares; 7 GB, hours
  python -m input_pipeline.prepare --source=tfds --path=ucf101 --out=DIR --size=64 --frames=16
  python -m hgdt_jax.main --config.data.source=arrayrecord --config.data.path=DIR ...

`moving_mnist` has a test split only: add `--splits=train --train_split=test`. For
`bair_robot_pushing_small` add `--key=image_main`.
"""

import importlib.util
import pathlib

import numpy as np

from input_pipeline import resize
from input_pipeline.clip import Info
from input_pipeline.sampling import Sampling


class Tfds:
  """Clips of the tfds set `path`: a name (`ucf101`, `bair_robot_pushing_small`) or its folder.

  A folder is that of one version of a prepared set. By name, `data_dir` says where sets are (else
  tfds knows). Nothing is downloaded. `train_split` and `test_split` are in tfds's notation, such as
  `train[:90%]`. `key` names the video; by default it is the one feature that is a video.

  One clip a record, drawn anew each epoch in training, the centre otherwise. Items are those of
  every source.

  Raises ValueError or FileNotFoundError with one line if the set cannot be read.
  """

  def __init__(
    self,
    path,
    frames,
    size,
    split,
    stride=1,
    short='drop',
    data_dir='',
    key='',
    train_split='train',
    test_split='test',
  ):
    names = {'train': train_split, 'test': test_split}
    if split not in names:
      raise ValueError(f'split {split!r}: want one of {", ".join(names)}')
    self.sampling = Sampling(frames, stride, short=short, windows=1)
    self.size, self._split, self._name = size, split, f'{path} {names[split]}'
    self._data, features = _open(path, names[split], data_dir)
    if not len(self._data):
      raise ValueError(f'tfds set {self._name}: no records in it')
    self._key = key or _only_video(self._name, self._record(0))
    names = getattr(features['label'], 'names', None) if 'label' in features else None
    self.classes = tuple(names or ('',))
    self._labelled = len(self.classes) > 1

  def __len__(self):
    return len(self._data)

  def __getitem__(self, i):
    return self._item(i, lambda starts: (starts - 1) // 2)

  def sample(self, i, rng):
    """Clip i at a start drawn from `rng` (train), or `self[i]` (test)."""
    return self._item(i, rng.integers) if self._split == 'train' else self[i]

  def origin(self, i):
    del i
    return {'file': self._name, 'start': 0, 'fps': 0}

  @property
  def timing(self):
    """The stride; records have no clock."""
    return {'stride': self.sampling.stride, 'fps': None}

  @property
  def fingerprint(self):
    return f'tfds-1 {self._name} {self.sampling} size={self.size} records={len(self)}'

  def _item(self, i, choose):
    i = range(len(self))[i]
    record = self._record(i)
    if self._key not in record:
      raise ValueError(f'tfds set {self._name}: no feature {self._key}; it has {", ".join(record)}')
    video = record[self._key]
    info = Info(len(video), 0, 0, 0.0)
    frames = self.sampling.indices(info, int(choose(self.sampling.starts(info))))
    images = [resize.from_array(resize.to_rgb(np.asarray(video[k])), self.size) for k in frames]
    label = int(record['label']) if self._labelled else 0
    return {'video': np.stack(images), 'label': np.int32(label), 'id': np.int64(i)}

  def _record(self, i):
    try:
      return _flat(self._data[i])
    except ImportError as e:
      raise ValueError(_NEEDS_TENSORFLOW.format(self._name, e.name)) from e


_NEEDS_TENSORFLOW = (
  'tfds set {}: {} is needed to read it and is not installed: pip install tensorflow, or prepare '
  'the set where it is, with python -m input_pipeline.prepare'
)


def _open(path, split, data_dir):
  """Returns the random-access records, and the features."""
  try:
    import tensorflow_datasets as tfds  # an extra
  except ImportError as e:
    raise ValueError(
      'the tfds source needs tensorflow-datasets: pip install "hgdt_jax[tfds]"'
    ) from e
  if not path:
    raise ValueError('the tfds source needs a path: the name of a set, ucf101 say, or its folder')
  try:
    if pathlib.Path(path).is_dir():
      data = tfds.builder_from_directory(str(path)).as_data_source(split=split)
    else:
      data = tfds.data_source(path, split=split, data_dir=data_dir or None, download=False)
  except ImportError as e:
    raise ValueError(_NEEDS_TENSORFLOW.format(path, e.name)) from e
  except Exception as e:  # of many kinds, and many lines long
    reason = next((line.strip() for line in str(e).splitlines() if line.strip()), type(e).__name__)
    missing = importlib.util.find_spec('tensorflow') is None
    raise ValueError(
      f'tfds set {path}, split {split}: cannot be read ({reason}); prepare it with '
      f'tfds build {path} --file_format=array_record'
      + (' (that needs tensorflow for most sets, which is not installed)' if missing else '')
    ) from e
  return data, data.dataset_info.features


def _flat(record):
  """{'a': {'b': x}} -> {'a/b': x}."""
  flat = {}
  for key, value in record.items():
    inner = _flat(value) if isinstance(value, dict) else None
    flat |= {f'{key}/{k}': v for k, v in inner.items()} if inner else {key: value}
  return flat


def _only_video(name, record):
  videos = [key for key, value in record.items() if _is_video(value)]
  if len(videos) != 1:
    what = f'more than one video ({", ".join(videos)}): say which by key' if videos else 'no video'
    raise ValueError(f'tfds set {name}: {what}; its features are {", ".join(record)}')
  return videos[0]


def _is_video(value):
  """Whether it is [T, H, W, C] bytes: an array, or a list of frames."""
  if isinstance(value, np.ndarray):
    return value.dtype == np.uint8 and value.ndim == 4
  frame = value[0] if isinstance(value, list) and value else None
  return isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.ndim == 3
