"""Batches: one order for all machines, exact resume, clear errors."""

import json
import multiprocessing
import warnings

import numpy as np
import pytest

import input_pipeline
from input_pipeline import Batches, fixed, make_source
from input_pipeline.folder import Folder


@pytest.fixture(scope='module')
def source():
  return make_source('synthetic', frames=2, size=8, split='train', seed=0, count=20)


@pytest.fixture(scope='module')
def folder(tmp_path_factory, clips):
  root = tmp_path_factory.mktemp('clips')
  for k in range(7):
    np.save(root / f'{k}.npy', clips.numbered(12, 8, 8))
  return Folder(root, 4, 8, 'train', test_share=0, windows=1)


def take(batches, count):
  got = [next(batches) for _ in range(count)]
  batches.close()
  return got


def assert_same(one, other):
  assert len(one) == len(other)
  for a, b in zip(one, other):
    assert a.keys() == b.keys()
    for key in a:
      assert a[key].dtype == b[key].dtype
      np.testing.assert_array_equal(a[key], b[key])


def test_a_batch_is_what_the_contract_says(source):
  (batch,) = take(Batches(source, batch=4, seed=0), 1)
  assert {k: (v.shape, v.dtype.name) for k, v in batch.items()} == {
    'video': ((4, 2, 8, 8, 3), 'uint8'),
    'label': ((4,), 'int32'),
    'id': ((4,), 'int64'),
  }
  for row in range(4):
    np.testing.assert_array_equal(batch['video'][row], source[batch['id'][row]]['video'])


def test_each_epoch_holds_every_clip_once_in_a_new_order(source):
  ids = np.concatenate([b['id'] for b in take(Batches(source, batch=8, seed=0), 10)])
  epochs = ids.reshape(4, 20)
  assert (np.sort(epochs) == np.arange(20)).all()
  assert len({tuple(epoch) for epoch in epochs}) == 4


def test_the_order_depends_on_the_seed(source):
  one, same, other = (take(Batches(source, batch=4, seed=s), 5) for s in (1, 1, 2))
  assert_same(one, same)
  assert any((a['id'] != b['id']).any() for a, b in zip(one, other))


def test_resume_is_exact_under_read_ahead(folder):
  whole = take(Batches(folder, batch=4, seed=3, flip=True), 9)
  first = Batches(folder, batch=4, seed=3, flip=True)
  got = [next(first) for _ in range(5)]
  state = json.loads(json.dumps(first.get_state()))
  first.close()
  second = Batches(folder, batch=4, seed=3, flip=True)
  second.set_state(state)
  assert second.get_state() == state
  assert_same(got + take(second, 4), whole)


@pytest.mark.parametrize('position', [0, 1, 5, 11])
@pytest.mark.parametrize('processes', [1, 2, 4])
def test_every_resume_point_and_process_count_gives_the_same_bytes(folder, processes, position):
  assert_order(folder, workers=0, processes=processes, position=position)


def test_worker_processes_give_the_same_bytes(folder):
  assert_order(folder, workers=2, processes=1, position=5)


@pytest.mark.slow
@pytest.mark.parametrize('position', [0, 1, 5, 11])
@pytest.mark.parametrize('processes', [1, 2, 4])
@pytest.mark.parametrize('workers', [1, 2, 4])
def test_every_worker_count_gives_the_same_bytes(folder, workers, processes, position):
  assert_order(folder, workers, processes, position)


def assert_order(folder, workers, processes, position):
  """Steps from `position` on, joined over processes, against one process without workers."""
  options = {'batch': 4, 'seed': 3, 'flip': True, 'jitter': 0.3}
  whole = take(Batches(folder, **options), 14)[position:]
  parts = []
  for p in range(processes):
    own = Batches(folder, **options, workers=workers, process_index=p, process_count=processes)
    own.set_state(own.get_state() | {'position': position})
    parts.append(take(own, len(whole)))
  joined = [{k: np.concatenate([r[k] for r in rows]) for k in rows[0]} for rows in zip(*parts)]
  assert_same(joined, whole)


def test_a_state_can_be_set_on_a_running_iterator(source):
  batches = Batches(source, batch=4, seed=0)
  start = batches.get_state()
  first = [next(batches) for _ in range(3)]
  batches.set_state(start)
  assert_same(take(batches, 3), first)


def test_resume_reads_no_skipped_record(source):
  class Counting:
    classes, fingerprint = source.classes, source.fingerprint
    read = 0

    def __len__(self):
      return len(source)

    def sample(self, i, rng):
      self.read += 1
      return source.sample(i, rng)

  counting = Counting()
  batches = Batches(counting, batch=4, seed=0)
  batches.set_state(batches.get_state() | {'position': 1_000_000})
  take(batches, 1)
  assert counting.read <= 4 * 10  # one batch and what is read ahead


def test_states_of_other_runs_are_refused(source):
  state = Batches(source, batch=4, seed=0).get_state()
  with pytest.raises(ValueError, match='saved seed is 0, now it is 1'):
    Batches(source, batch=4, seed=1).set_state(state)
  with pytest.raises(ValueError, match='saved batch is 4, now it is 8'):
    Batches(source, batch=8, seed=0).set_state(state)
  with pytest.raises(ValueError, match='position missing'):
    Batches(source, batch=4, seed=0).set_state({k: state[k] for k in ('seed', 'batch', 'source')})
  with pytest.raises(ValueError, match='position -1'):
    Batches(source, batch=4, seed=0).set_state(state | {'position': -1})


def test_a_changed_source_is_a_warning(source):
  batches = Batches(source, batch=4, seed=0)
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    batches.set_state(batches.get_state())
  with pytest.warns(UserWarning, match='the clips changed'):
    Batches(source, batch=4, seed=0, flip=True).set_state(batches.get_state())


def test_windows_and_flips_are_drawn_anew_each_epoch(folder, clips):
  plain = take(Batches(folder, batch=7, seed=0), 12)
  assert len({int(b['video'][k, 0, -1, -1, 0]) for b in plain for k in range(7)}) == 9
  for step in plain:
    greys = step['video'][:, :, -1, -1, 0].astype(int)
    assert (np.diff(greys) == 5).all(), 'a window is consecutive frames'
  flipped = take(Batches(folder, batch=7, seed=0, flip=True), 12)
  dark_left = np.concatenate([b['video'][..., 0, 0, 0] == 0 for b in flipped])
  assert (dark_left.all(1) | ~dark_left.any(1)).all(), 'all frames of a clip alike'
  assert 0.3 < dark_left[:, 0].mean() < 0.7


def test_wrong_arguments_are_named(source):
  with pytest.raises(ValueError, match='batch is 6, want a multiple of the 4'):
    Batches(source, batch=6, seed=0, process_count=4)
  with pytest.raises(ValueError, match='process 2 of 2'):
    Batches(source, batch=6, seed=0, process_index=2, process_count=2)
  with pytest.raises(ValueError, match='seed is -1'):
    Batches(source, batch=6, seed=-1)
  with pytest.raises(ValueError, match="source 'films': want one of synthetic, folder"):
    make_source('films', frames=2, size=8, split='train')
  with pytest.raises(ValueError, match='needs a path'):
    make_source('folder', frames=2, size=8, split='train')


def test_fixed_is_fixed_and_fewer_are_a_part_of_more(source):
  five, nine = fixed(source, 5), fixed(source, 9)
  assert five['video'].shape == (5, 2, 8, 8, 3) and len(set(nine['id'].tolist())) == 9
  np.testing.assert_array_equal(nine['video'][:5], five['video'])
  assert five['id'].tolist() != list(range(5)), 'not the first of a sorted folder: one class'
  with pytest.warns(UserWarning, match='the source holds 20'):
    assert len(fixed(source, 30)['id']) == 20


def test_public_names():
  assert set(input_pipeline.__all__) == {
    'SOURCES',
    'Batches',
    'Kind',
    'Source',
    'fixed',
    'make_source',
  }


def test_a_killed_worker_is_told_in_a_line_and_nothing_is_lost(folder):
  """As where the machine is out of memory: its state goes on with new workers, or none."""
  batches = Batches(folder, batch=2, seed=0, workers=1)
  before = next(batches)
  for child in multiprocessing.active_children():
    child.kill()
  with pytest.raises(ChildProcessError, match=r'a loader process ended .*fewer than workers=1'):
    for _ in range(100):  # what was read ahead is handed out first
      state = batches.get_state()
      next(batches)
  expected = take(Batches(folder, batch=2, seed=0), state['position'] + 1)
  np.testing.assert_array_equal(before['video'], expected[0]['video'])
  np.testing.assert_array_equal(next(batches)['video'], expected[-1]['video'])
  batches.close()
