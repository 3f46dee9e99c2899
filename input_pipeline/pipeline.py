"""From a source of clips to batches whose order depends on the seed and the step alone."""

import contextlib
import os
import warnings
from collections.abc import Callable
from typing import NamedTuple, Protocol

import grain
import numpy as np
from absl import flags

from input_pipeline import transforms
from input_pipeline.arrayrecord import ArrayRecords
from input_pipeline.clip import BadClip
from input_pipeline.faces import MUG, CKPlus
from input_pipeline.folder import Folder
from input_pipeline.synthetic import Synthetic
from input_pipeline.tfds_source import Tfds

_ENDLESS = 2**40  # records: a length that grain can count and no training reaches
_BUFFER = 4  # batches read ahead; grain's own default, 500, is meant for single records


class Source(Protocol):
  """Random access to clips. Picklable, and the same in every process.

  Sources of files have a `census` too, for `census.of_sources`, and `are_ids`, which says that the
  classes are rather names of videos or persons.
  """

  classes: tuple[str, ...]  # names of the labels
  fingerprint: str  # equal for sources that hold the same clips
  timing: dict  # 'stride' from frame to frame of the clips, and their rate 'fps'; None: not known

  def __len__(self) -> int: ...

  def __getitem__(self, i: int) -> dict:
    """Returns {'video': uint8 [T, H, W, C], 'label': int32, 'id': int64}, always the same.

    Raises BadClip if this clip cannot be read but others may be.
    """

  def sample(self, i: int, rng: np.random.Generator) -> dict:
    """Returns clip i with what a source draws anew each epoch: the start of a window, say."""


class Kind(NamedTuple):
  """What the registry `SOURCES` holds.

  Attributes:
    meaning: in a line.
    make: `(path, *, frames, size, split, seed, **options)` -> `Source`; ValueError or
      FileNotFoundError with one line that says what to change.
    options: the names of its options.
  """

  meaning: str
  make: Callable[..., Source]
  options: tuple[str, ...] = ()


def _synthetic(path, *, frames, size, split, seed, count=4096, channels=3):
  del path
  return Synthetic(frames, size, count, seed, split, channels)


def _on_disk(cls, what):
  def make(path, *, seed, **options):
    del seed  # which clips are held out must not change from run to run: `split_seed` says
    if not path:
      raise ValueError(f'this source needs a path: {what}')
    return cls(path, **options)

  return make


_FILES = ('stride', 'fps', 'windows', 'short', 'max_bad', 'rejected_csv')  # of any files of clips
_SPLIT = ('test_share', 'split_seed')
SOURCES = {
  'synthetic': Kind(
    'moving shapes, drawn as they are asked for', _synthetic, ('count', 'channels')
  ),
  'folder': Kind(
    'videos, arrays or folders of frames',
    _on_disk(Folder, 'a folder of clips'),
    (*_FILES, *_SPLIT, 'labels', 'npy_order'),
  ),
  'arrayrecord': Kind(
    'what python -m input_pipeline.prepare made of another source',
    _on_disk(ArrayRecords, 'a folder made by python -m input_pipeline.prepare'),
  ),
  'tfds': Kind(
    'a set of tensorflow_datasets',
    _on_disk(Tfds, 'the name of a tensorflow_datasets set, or its folder'),
    ('stride', 'short', 'data_dir', 'key', 'train_split', 'test_split'),
  ),
  'ckplus': Kind(
    'CK+: faces, by emotion',
    _on_disk(CKPlus, 'the folder of CK+'),
    (*_FILES, *_SPLIT, 'unlabelled'),
  ),
  'mug': Kind('MUG: faces, by emotion', _on_disk(MUG, 'the folder of MUG'), (*_FILES, *_SPLIT)),
}


def make_source(kind, *, path='', frames, size, split, seed=0, **options) -> Source:
  """Returns the source called `kind`: clips of `frames` frames, `size` x `size`, of one split.

  `seed` is that of the synthetic source, whose options are count (4096) and channels (3); for the
  options of the others see `Folder`, `ArrayRecords`, `Tfds`, `CKPlus`, `MUG`.
  Raises ValueError or FileNotFoundError with one line that says what to change.
  """
  if kind not in SOURCES:
    raise ValueError(f'source {kind!r}: want one of {", ".join(SOURCES)}')
  found = SOURCES[kind]
  if unknown := sorted(set(options) - set(found.options)):
    raise ValueError(
      f'source {kind}: no option {unknown[0]!r}; it has {", ".join(found.options) or "none"}'
    )
  return found.make(path, frames=frames, size=size, split=split, seed=seed, **options)


class Batches:
  """Endless batches {'video': uint8 [b, T, H, W, C], 'label': int32 [b], 'id': int64 [b]}.

  Epochs follow each other without a gap, each in an order of its own. The global sequence of rows
  depends on the source, `seed`, `batch` and the transforms only; process p of P is handed rows
  p b to (p + 1) b - 1 of each global batch, b = batch / P. `flip` and `jitter` are those of
  `transforms.augment`. A clip that cannot be read is replaced by the next one that can. Worker
  processes (`workers`) pay when decoding is heavy; without them threads read ahead. Neither changes
  what is read.

  The state is the number of batches handed out, whatever was read ahead. ChildProcessError, an
  OSError, is raised where a worker was killed; the state still holds.
  """

  def __init__(
    self,
    source,
    *,
    batch,
    seed,
    process_index=0,
    process_count=1,
    workers=0,
    flip=False,
    jitter=0.0,
  ):
    if batch < 1 or batch % process_count:
      raise ValueError(f'batch is {batch}, want a multiple of the {process_count} process(es)')
    if not 0 <= process_index < process_count:
      raise ValueError(f'process {process_index} of {process_count}')
    if not 0 <= seed < 2**32:
      raise ValueError(f'seed is {seed}, want 0 to 2**32 - 1')
    if not 0 <= jitter < 1:
      raise ValueError(f'jitter is {jitter}, want 0 to below 1')
    if not len(source):
      raise ValueError('the source holds no clips')
    changes = {'flip': flip, 'jitter': jitter}
    self._rows = _Rows(source, batch, seed, process_index, process_count, changes)
    self._workers = workers
    self._position = 0
    self._iterator = None  # made when first asked, so that a state can be set at no cost

  def __iter__(self):
    return self

  def __next__(self):
    if self._iterator is None:
      self._iterator = self._start()
    try:
      batch = next(self._iterator)
    except RuntimeError as e:
      if not self._workers or 'Worker process' not in str(e):
        raise
      self.close()
      raise ChildProcessError(
        f'a loader process ended before its time ({str(e).partition(".")[0]}); if the machine is '
        f'short of memory, use fewer than workers={self._workers}'
      ) from e
    self._position += 1
    return batch

  def get_state(self) -> dict:
    """Returns all that is needed to go on from here; it is JSON, and the same in every process."""
    rows = self._rows
    return {
      'position': self._position,
      'seed': rows.seed,
      'batch': rows.batch,
      'source': f'{rows.source.fingerprint} {rows.changes}',
    }

  def set_state(self, state: dict) -> None:
    """Goes on from a state, of any number of processes and workers. Reads nothing.

    Raises ValueError for a state of another seed or batch size: the order would be another. Warns
    if the source changed: the order is that of the new one.
    """
    own = self.get_state()
    if missing := own.keys() - state.keys():
      raise ValueError(f'not a state of the input pipeline: {", ".join(sorted(missing))} missing')
    for name in ('seed', 'batch'):
      if state[name] != own[name]:
        raise ValueError(
          f'cannot go on: the saved {name} is {state[name]}, now it is {own[name]}; '
          f'set it back, or start a new run'
        )
    if not isinstance(state['position'], int) or state['position'] < 0:
      raise ValueError(f'not a state of the input pipeline: position {state["position"]!r}')
    if state['source'] != own['source']:
      warnings.warn(
        f'the clips changed since the state was saved: then {state["source"]}, '
        f'now {own["source"]}; going on with the new ones',
        stacklevel=2,
      )
    self.close()
    self._position = state['position']

  def close(self) -> None:
    """Ends threads and worker processes. The next `next` starts them again."""
    if self._iterator is not None:
      self._iterator.close()
      self._iterator = None

  def _start(self):
    rows = self._rows
    b = rows.batch // rows.process_count
    data = grain.MapDataset.range(self._position * b, _ENDLESS).map(rows).batch(b)
    threads = min(_BUFFER, os.cpu_count() or 1)
    read = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=_BUFFER)
    data = data.to_iter_dataset(read_options=read)
    if self._workers:
      _let_workers_start()
      options = grain.MultiprocessingOptions(num_workers=self._workers, per_worker_buffer_size=2)
      data = data.mp_prefetch(options)
    return iter(data)


def _let_workers_start():
  """Grain's worker processes read absl's flags, which nobody has parsed outside of `app.run`."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()


class _Rows:
  """Maps the k-th row of this process to its record: the whole of what decides the order."""

  def __init__(self, source, batch, seed, process_index, process_count, changes):
    self.source, self.batch, self.seed, self.changes = source, batch, seed, changes
    self.process_index, self.process_count = process_index, process_count
    self.order = grain.MapDataset.range(len(source)).seed(seed).shuffle().repeat()

  def __call__(self, k):
    b = self.batch // self.process_count
    step, row = divmod(int(k), b)
    place = step * self.batch + self.process_index * b + row  # in the global sequence
    epoch, record = place // len(self.source), int(self.order[place])
    record, item = self._readable(epoch, record)
    if any(self.changes.values()):
      video = transforms.augment(item['video'], self._rng(epoch, record, 1), **self.changes)
      item = item | {'video': video}
    return item

  def _readable(self, epoch, record):
    """Returns the record, or the first after it that can be read, with its clip."""
    for _ in range(len(self.source)):
      try:
        return record, self.source.sample(record, self._rng(epoch, record, 0))
      except BadClip as e:
        last, record = e, (record + 1) % len(self.source)
    raise ValueError(f'no clip can be read any more; the last: {last}')

  def _rng(self, epoch, record, stream):
    return np.random.default_rng((self.seed, epoch, record, stream))


def fixed(source, count) -> dict:
  """Returns clips of a source for evaluation, stacked: the same ones, in the same order, always.

  They are the first `count` of one fixed permutation, so that fewer are a part of more; clips that
  cannot be read are passed over. If the source holds fewer than `count`: all, with a warning.
  """
  items = []
  for i in np.random.default_rng(0).permutation(len(source)):
    if len(items) < count:
      with contextlib.suppress(BadClip):
        items.append(source[int(i)])
  if not items:
    raise ValueError(f'{count} clips asked for, none of {len(source)} can be read')
  if len(items) < count:
    warnings.warn(f'{count} clips asked for, the source holds {len(items)}', stacklevel=2)
  return {key: np.stack([item[key] for item in items]) for key in items[0]}
