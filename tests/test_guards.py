"""Guards: what they find, when they act, and the way back."""

import json
import logging
import os
import pathlib
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hgdt_jax import checkpoint, guards, interrupts, loop, sharding
from hgdt_jax.checkpoint import Checkpoints
from hgdt_jax.state import Net, TrainState

BOUNDS = guards.Bounds(motion=0.1, diversity=0.1, d_loss=0.02)
HEALTHY = {'gan/d_loss': 1.0, 'gan/motion_ratio': 1.0, 'gan/diversity': 1.0}


def _watch(action='stop', patience=3):
  return guards.Watch(BOUNDS, patience, action)


def _write(watch, step, **values):
  watch.expect(step, np.array([7, 8]))
  watch.write('gan', step, HEALTHY | {f'gan/{name}': value for name, value in values.items()})


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_what_is_not_finite_stops_at_once_whatever_the_action(value):
  with pytest.raises(guards.Unhealthy, match=r'step 5: gan/g_loss not finite, on the clips \[7, 8'):
    _write(_watch('warn'), 5, g_loss=value)


@pytest.mark.parametrize(
  'name, says', [('motion_ratio', 'hardly move'), ('diversity', 'collapse'), ('d_loss', 'effort')]
)
def test_a_symptom_counts_once_it_lasts(name, says):
  watch = _watch()
  for step in (10, 20):
    _write(watch, step, **{name: 0.001})
  _write(watch, 30)  # a healthy row starts the count anew
  for step in (40, 50):
    _write(watch, step, **{name: 0.001})
  with pytest.raises(guards.Unhealthy, match=f'{says}.* since step 40.*7, 8') as caught:
    _write(watch, 60, **{name: 0.001})
  assert caught.value.since == 40


def test_a_warning_is_given_once(caplog):
  watch = _watch('warn')
  with caplog.at_level(logging.WARNING):
    for step in range(10):
      _write(watch, step, diversity=0.0)
  assert len(caplog.records) == 1


def test_a_bound_of_zero_is_off():
  watch = guards.Watch(guards.Bounds(0, 0, 0), 1, 'stop')
  _write(watch, 1, motion_ratio=0.0, diversity=0.0, d_loss=-1.0)


def test_a_stage_without_critic_is_not_measured_by_drafts():
  watch = _watch(patience=1)
  watch.expect(1, np.zeros(1))
  watch.write('aligner', 1, {'aligner/motion_ratio': 0.0})


class _Batches:
  """Counts; batch 5 is ill until it has been seen once."""

  def __init__(self):
    self.position, self.seen = 0, []

  def __next__(self):
    self.position += 1
    self.seen.append(self.position - 1)
    return {'id': np.full(8, self.position - 1), 'x': np.full(8, float(self.position - 1))}

  def get_state(self):
    return {'position': self.position}

  def set_state(self, state):
    self.position = state['position']


def _like(state):
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)


def _fit(
  directory: pathlib.Path,
  ill,
  rollbacks=0,
  roots=None,
  writers=(),
  batches=None,
  metrics=None,
  **more,
):
  """Trains to step 8, from what the directory holds; `ill` says when the loss is not a number."""
  mesh, batches = sharding.make_mesh(-1, 1), batches or _Batches()
  net = Net(params=jax.device_put(jnp.zeros(()), sharding.replicated(mesh)))
  state = jax.device_put(TrainState.create(net=net), sharding.replicated(mesh))

  def step(state, batch, root):
    if roots is not None:
      roots.append(tuple(jax.random.key_data(root).tolist()))
    params = state.nets['net'].params + jnp.mean(batch['x'])
    value = jnp.where(ill(batches), jnp.nan, params)
    net = state.nets['net'].replace(params=params)
    row = metrics(value) if metrics else {'gan/loss': value}
    return TrainState(state.step + 1, {'net': net}), row

  with Checkpoints(directory, 'gan', 3) as checkpoints:
    job = loop.Job(
      stage='gan',
      step=step,
      batches=batches,
      checkpoints=checkpoints,
      started_from={},
      steps=8,
      **({'log_every': 1, 'save_every': 2} | more),
      root=jax.random.key(0),
      mesh=mesh,
      writers=writers,
      watch=_watch(),
      rollbacks=rollbacks,
    )
    attempt = 0
    if found := checkpoints.restore(_like(state)):
      state, about = found
      attempt = loop.go_on_from(about, batches, job.watch)
    state = loop.fit(job, state, attempt)
  return state, batches.seen


def test_a_run_returns_to_the_last_checkpoint_and_ends_as_if_nothing_had_been(tmp_path):
  once = lambda batches: batches.seen.count(5) == 1 and batches.seen[-1] == 5
  roots = []
  state, seen = _fit(tmp_path, once, rollbacks=1, roots=roots)
  assert int(state.step) == 8
  assert float(state.nets['net'].params) == sum(range(8))
  assert seen.count(4) == 2 and seen.count(3) == 1  # back to step 4, no further
  back = len(seen) - seen[::-1].index(4) - 1
  assert len(set(roots[:back])) == len(set(roots[back:])) == 1
  assert roots[back] != roots[0]  # other codes and noise, or the same would happen again


def test_a_run_that_stays_ill_stops(tmp_path):
  always = lambda batches: batches.seen[-1] == 5
  with pytest.raises(guards.Unhealthy, match='step 6'):
    _fit(tmp_path, always, rollbacks=2)


class Killed(BaseException):
  """Not an Exception, so that nothing on the way catches it."""


def test_a_rollback_survives_a_kill(tmp_path):
  """Killed after it, the run goes on with the codes and noise of its second attempt."""
  once = lambda batches: batches.seen.count(5) == 1 and batches.seen[-1] == 5
  expected, roots = [], []
  _fit(tmp_path / 'whole', once, rollbacks=1, roots=expected)

  def kill(batches):
    if batches.seen[-1] == 7:
      raise Killed
    return once(batches)

  with pytest.raises(Killed):
    _fit(tmp_path / 'killed', kill, rollbacks=1)
  always = lambda batches: True
  with pytest.raises(guards.Unhealthy, match='step 7'):  # the one rollback there was is spent
    _fit(tmp_path / 'killed', always, rollbacks=1)
  _fit(tmp_path / 'killed', lambda batches: False, rollbacks=1, roots=roots)
  assert roots == expected[-2:]


def test_a_guard_counts_on_over_a_resume():
  watch, resumed = _watch(), _watch()
  for step in (10, 20):
    _write(watch, step, diversity=0.001)
  resumed.set_state(json.loads(json.dumps(watch.get_state())))
  with pytest.raises(guards.Unhealthy, match='since step 10'):
    _write(resumed, 30, diversity=0.001)


def _saved(directory):
  return checkpoint.steps(directory, 'gan')


def test_what_is_not_finite_is_not_saved_between_two_rows_either(tmp_path):
  rare = lambda batches: batches.seen[-1] == 3  # step 4 is saved, and no row is due before 8
  with pytest.raises(guards.Unhealthy, match=r'step 4: gan/loss not finite'):
    _fit(tmp_path, rare, log_every=8)
  assert _saved(tmp_path) == [2]


def test_a_state_that_is_not_finite_is_not_saved_however_fine_the_loss(tmp_path):
  class Batches(_Batches):
    def __next__(self):
      batch = super().__next__()
      return batch | {'x': batch['x'] + (np.inf if self.position == 4 else 0)}

  healthy = lambda batches: False
  step = lambda loss: {'gan/loss': 0.0}
  with pytest.raises(guards.Unhealthy, match=r"step 4: .*'net'.*params.* not finite, on the clips"):
    _fit(tmp_path, healthy, batches=Batches(), metrics=step)
  assert _saved(tmp_path) == [2]


def test_a_save_between_two_rows_adds_none(tmp_path):
  rows = _Rows()
  _fit(tmp_path, lambda batches: False, writers=[rows], log_every=5, save_every=2)
  assert sorted(rows) == [5, 8]


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_what_was_trained_and_the_run_goes_on_from_there(
  tmp_path, monkeypatch, number
):
  monkeypatch.setattr(interrupts, '_told', None)
  before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
  for each in (signal.SIGTERM, signal.SIGINT):
    signal.signal(each, interrupts._come)

  def stop(batches):
    if batches.seen[-1] == 4:
      os.kill(os.getpid(), number)
    return False

  try:
    with pytest.raises(interrupts.Interrupted) as stopped:
      _fit(tmp_path, stop)
  finally:
    for each, handler in zip((signal.SIGTERM, signal.SIGINT), before):
      signal.signal(each, handler)
  assert stopped.value.code == 128 + number
  assert _saved(tmp_path)[-1] == 5
  monkeypatch.setattr(interrupts, '_told', None)
  state, seen = _fit(tmp_path, lambda batches: False)
  assert seen == [5, 6, 7] and float(state.nets['net'].params) == sum(range(8))


def test_without_a_checkpoint_there_is_no_way_back(tmp_path):
  with pytest.raises(guards.Unhealthy, match='step 1'):
    _fit(tmp_path, lambda batches: True, rollbacks=2)


class _Rows(dict):
  """A writer that keeps its rows."""

  def write(self, stage, step, values):
    self[step] = values


def test_a_check_joins_the_row_of_its_step_and_leaves_training_alone(tmp_path):
  rows, healthy = _Rows(), lambda batches: False
  check = lambda state: {'gan/held_out/score': float(state.nets['net'].params)}
  more = dict(writers=[rows], log_every=4, check=check, check_at={3, 8})
  state, _ = _fit(tmp_path / 'checked', healthy, **more)
  plain, _ = _fit(tmp_path / 'plain', healthy)
  assert state.nets['net'].params == plain.nets['net'].params
  assert sorted(rows) == [3, 4, 8]
  scores = {step: row.get('gan/held_out/score') for step, row in rows.items()}
  assert scores == {3: sum(range(3)), 4: None, 8: sum(range(8))}


def test_a_check_does_not_count_in_the_rate(monkeypatch):
  now = iter([0.0, 10.0, 17.0, 20.0])
  monkeypatch.setattr(loop.time, 'monotonic', lambda: next(now))
  rate = loop._Rate()
  rate.rows = 4
  rate(10)
  with rate.paused({}):  # seven of the twenty seconds
    pass
  assert rate(36) == {'examples_per_second': 4 * 26 / 13}
