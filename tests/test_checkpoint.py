"""Checkpoints: whole, damaged, of another shape, on another mesh."""

import logging
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from hgdt_jax import checkpoint, sharding
from hgdt_jax.checkpoint import Checkpoints
from hgdt_jax.state import Net, TrainState


def _state(step, width=8, where=None):
  values = jnp.full((width, 4), float(step))
  if where is not None:
    values = jax.device_put(values, where)
  return TrainState(jnp.int32(step), {'net': Net({'w': values}, ema={'w': values + 1})})


def _like(state):
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)


def _save(workdir, *steps, keep=3, width=8):
  with Checkpoints(workdir, 'gan', keep) as checkpoints:
    for step in steps:
      checkpoints.save(_state(step, width), {'position': step})


def test_state_and_position_come_back_together(tmp_path):
  _save(tmp_path, 2, 4)
  with Checkpoints(tmp_path, 'gan') as checkpoints:
    state, position = checkpoints.restore(_like(_state(0)))
  assert int(state.step) == 4 and position == {'position': 4}
  np.testing.assert_array_equal(state.nets['net'].ema['w'], 5)


def test_nothing_saved_is_none(tmp_path):
  with Checkpoints(tmp_path, 'gan') as checkpoints:
    assert checkpoints.restore(_like(_state(0))) is None


def test_only_the_newest_are_kept(tmp_path):
  _save(tmp_path, 1, 2, 3, 4, keep=2)
  with Checkpoints(tmp_path, 'gan') as checkpoints:
    assert checkpoints.steps() == [3, 4]


def _files(path):
  return {f.relative_to(path): f.read_bytes() for f in path.rglob('*') if f.is_file()}


def _truncate(path):
  array = max((f for f in path.rglob('d/*') if f.is_file()), key=lambda f: f.stat().st_size)
  array.write_bytes(array.read_bytes()[:-7])


def _flip(path):
  array = max((f for f in path.rglob('d/*') if f.is_file()), key=lambda f: f.stat().st_size)
  content = bytearray(array.read_bytes())
  content[len(content) // 2] ^= 1
  array.write_bytes(content)


def _empty(path):
  for file in _files(path):
    (path / file).write_bytes(b'')


DAMAGES = {
  'truncated array': _truncate,
  'flipped bit': _flip,
  'no manifest': lambda path: (path / 'manifest.json').unlink(),
  'cut manifest': lambda path: (path / 'manifest.json').write_text('{"about'),
  'no arrays': lambda path: shutil.rmtree(path / 'state'),
  'no about': lambda path: (path / 'about.json').unlink(),
  'empty files': _empty,
}


@pytest.mark.parametrize('damage', DAMAGES)
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_taken(tmp_path, damage, caplog):
  _save(tmp_path, 2, 4)
  newest = tmp_path / 'checkpoints' / 'gan' / '4'
  DAMAGES[damage](newest)
  left = _files(newest)
  with caplog.at_level(logging.WARNING), Checkpoints(tmp_path, 'gan') as checkpoints:
    state, about = checkpoints.restore(_like(_state(0)))
    assert int(state.step) == 2 and about == {'position': 2}
    assert '4 is damaged' in caplog.text
    assert _files(newest.with_name('damaged-4')) == left
    checkpoints.save(_state(4), {'position': 4})  # training comes by again
  with Checkpoints(tmp_path, 'gan') as checkpoints:
    assert int(checkpoints.restore(_like(_state(0)))[0].step) == 4


def _refused(workdir):
  with Checkpoints(workdir, 'gan') as checkpoints, pytest.raises(ValueError) as told:
    checkpoints.restore(_like(_state(0)))
  assert 'gan: every checkpoint is damaged' in str(told.value)


def test_where_every_checkpoint_is_damaged_nothing_begins_anew(tmp_path):
  """Not at the next start either: only the user says that hours of training are to go."""
  _save(tmp_path, 2, 4)
  folder = tmp_path / 'checkpoints' / 'gan'
  for step in ('2', '4'):
    _flip(folder / step)
  before = _files(folder)
  for _ in range(2):
    _refused(tmp_path)
    assert _files(folder) == before
  for step in ('2', '4'):
    (folder / step).rename(folder / f'damaged-{step}')
  _refused(tmp_path)


ERRORS = [
  RuntimeError('RESOURCE_EXHAUSTED: out of memory while trying to allocate 12 bytes'),
  MemoryError(),
  OSError(24, 'Too many open files'),
  OSError(116, 'Stale file handle'),
]


@pytest.mark.parametrize('error', ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize('reads', ['train', 'sample'])
def test_an_error_that_is_no_damage_is_told_and_changes_nothing(
  tmp_path, monkeypatch, error, reads
):
  _save(tmp_path, 2, 4)
  before = _files(tmp_path)

  def fail(*_, **__):
    raise error

  like = _like(_state(0))
  monkeypatch.setattr(ocp.Checkpointer, 'restore', fail)
  with pytest.raises(OSError, match=r'gan/4 could not be restored: .*nothing was changed') as told:
    if reads == 'train':
      with Checkpoints(tmp_path, 'gan') as checkpoints:
        checkpoints.restore(like)
    else:
      checkpoint.restore_part(tmp_path, 'gan', 4, {'step': like.step})
  assert '\n' not in str(told.value)
  assert _files(tmp_path) == before


def test_a_file_that_cannot_be_read_is_no_damage(tmp_path, monkeypatch):
  _save(tmp_path, 2)
  before = _files(tmp_path)

  def fail(*_):
    raise OSError(5, 'Input/output error')

  monkeypatch.setattr(checkpoint, '_sha256', fail)
  with pytest.raises(OSError, match='Input/output'), Checkpoints(tmp_path, 'gan') as checkpoints:
    checkpoints.restore(_like(_state(0)))
  assert _files(tmp_path) == before


def test_what_a_kill_left_half_done_is_cleared_when_training_goes_on_and_by_no_reader(tmp_path):
  _save(tmp_path, 2)
  folder = tmp_path / 'checkpoints' / 'gan'
  for name in ('.part-4', '.old-1'):
    shutil.copytree(folder / '2', folder / name)
  assert checkpoint.steps(tmp_path, 'gan') == [2]
  checkpoint.restore_part(tmp_path, 'gan', 2, {'step': _like(_state(0)).step})
  assert len(list(folder.iterdir())) == 3
  with Checkpoints(tmp_path, 'gan') as checkpoints:
    assert int(checkpoints.restore(_like(_state(0)))[0].step) == 2
  assert [path.name for path in folder.iterdir()] == ['2']


@pytest.mark.parametrize(
  'place', [(checkpoint, '_manifest'), (ocp.AsyncCheckpointer, 'save')], ids=['late', 'at once']
)
def test_a_checkpoint_that_cannot_be_written_leaves_the_older_ones_and_no_part(
  tmp_path, monkeypatch, place
):
  _save(tmp_path, 2)
  before = _files(tmp_path)

  def fail(*_, **__):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(*place, fail)
  with pytest.raises(OSError, match=r'gan/4 could not be saved: .*No space left'):
    _save(tmp_path, 4)
  assert _files(tmp_path) == before
  assert [path.name for path in (tmp_path / 'checkpoints' / 'gan').iterdir()] == ['2']


def test_a_part_is_restored_without_the_rest(tmp_path):
  _save(tmp_path, 2)
  like = {'nets': {'net': {'ema': _like(_state(0)).nets['net'].ema}}}
  found = checkpoint.restore_part(tmp_path, 'gan', 2, like)
  np.testing.assert_array_equal(found['nets']['net'].pop('ema')['w'], 3)
  assert not found['nets'].pop('net') and not found.pop('nets') and not found


@pytest.mark.parametrize('damage', DAMAGES)
def test_a_reader_refuses_a_damaged_checkpoint_and_leaves_it(tmp_path, damage):
  _save(tmp_path, 2)
  DAMAGES[damage](tmp_path / 'checkpoints' / 'gan' / '2')
  before = _files(tmp_path)
  with pytest.raises(OSError, match='gan/2 is damaged'):
    checkpoint.restore_part(tmp_path, 'gan', 2, {'step': _like(_state(0)).step})
  assert _files(tmp_path) == before


def test_another_configuration_is_refused_and_nothing_is_lost(tmp_path):
  _save(tmp_path, 2, width=8)
  with Checkpoints(tmp_path, 'gan') as checkpoints:
    with pytest.raises(
      ValueError, match=r'another configuration: nets/net/ema/w is \(8, 4\) there'
    ):
      checkpoints.restore(_like(_state(0, width=16)))
    assert checkpoints.steps() == [2]


@pytest.mark.devices
def test_restores_onto_another_mesh(tmp_path):
  eight = NamedSharding(sharding.make_mesh(1, 8), P('fsdp'))
  with Checkpoints(tmp_path, 'gan') as checkpoints:
    checkpoints.save(_state(3, where=eight), {})
  two = jax.sharding.Mesh(np.array(jax.devices()[:2]), ('fsdp',))
  like = _like(_state(0, where=NamedSharding(two, P('fsdp'))))
  with Checkpoints(tmp_path, 'gan') as checkpoints:
    state, _ = checkpoints.restore(like)
  np.testing.assert_array_equal(state.nets['net'].params['w'], 3)
  assert len(state.nets['net'].params['w'].sharding.device_set) == 2
