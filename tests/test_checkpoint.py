"""Checkpoints: whole, damaged, of another shape, on another mesh."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from hgdt_jax import sharding
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


@pytest.mark.parametrize('damage', ['empty', 'cut', 'gone'])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, damage, caplog):
  _save(tmp_path, 2, 4)
  newest = tmp_path / 'checkpoints' / 'gan' / '4'
  files = [f for f in newest.rglob('*') if f.is_file()]
  for file in files:
    if damage == 'gone':
      file.unlink()
    else:
      file.write_bytes(b'' if damage == 'empty' else file.read_bytes()[: file.stat().st_size // 2])
  with caplog.at_level(logging.WARNING), Checkpoints(tmp_path, 'gan') as checkpoints:
    state, position = checkpoints.restore(_like(_state(0)))
    assert int(state.step) == 2 and position == {'position': 2}
    assert '4 is damaged' in caplog.text
    checkpoints.save(_state(4), {'position': 4})  # training comes by again
  with Checkpoints(tmp_path, 'gan') as checkpoints:
    assert int(checkpoints.restore(_like(_state(0)))[0].step) == 4


def test_another_configuration_is_refused_and_nothing_is_lost(tmp_path):
  _save(tmp_path, 2, width=8)
  with Checkpoints(tmp_path, 'gan') as checkpoints:
    with pytest.raises(
      ValueError, match=r'another configuration: nets/net/ema/w is \(8, 4\) there'
    ):
      checkpoints.restore(_like(_state(0, width=16)))
    assert checkpoints.steps() == [2]


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
