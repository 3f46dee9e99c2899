"""Peak memory is that of a few batches, however many clips there are."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
_EPOCHS = """
import resource, sys
from absl import flags
from input_pipeline import Batches, make_source

flags.FLAGS.mark_as_parsed()
kind, path, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
options = {'synthetic': {'count': count}, 'folder': {'test_share': 0.0, 'cache_bytes': 0}}
source = make_source(
  kind, path=path, frames=4, size=16, split='train', seed=0, **options.get(kind, {})
)
assert len(source) == count
batches = Batches(source, batch=10, seed=0)
for _ in range(3 * count // 10):
  next(batches)
batches.close()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(kind, path, count):
  """Peak memory of three epochs in a process of its own, in MB."""
  done = subprocess.run(
    [sys.executable, '-c', _EPOCHS, kind, str(path), str(count)],
    cwd=ROOT, capture_output=True, text=True, timeout=3000,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr[-2000:]
  return int(done.stdout.split()[-1]) / 1024


def make(kind, path, count):
  if kind == 'folder':
    video = np.zeros((4, 16, 16, 3), np.uint8)
    for k in range(count):
      np.save(path / f'{k}.npy', video)
  if kind == 'arrayrecord':
    from input_pipeline import make_source, prepare

    source = make_source('synthetic', frames=4, size=16, split='train', count=count)
    prepare.prepare({'train': source}, path, shard_clips=1000)
  return path


def assert_flat(kind, tmp_path, many):
  few = 10
  peaks = {}
  for count in (few, many):
    path = tmp_path / str(count)
    path.mkdir()
    peaks[count] = peak(kind, make(kind, path, count), count)
  print(kind, {count: round(mb, 1) for count, mb in peaks.items()}, 'MB')
  assert peaks[many] < 1.1 * peaks[few], peaks


@pytest.mark.long
def test_memory_of_a_prepared_set(tmp_path):
  assert_flat('arrayrecord', tmp_path, 1500)


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['synthetic', 'folder', 'arrayrecord'])
def test_memory_of_10_000_clips(kind, tmp_path):
  assert_flat(kind, tmp_path, 10_000)
