"""The loop every stage runs in: restore, next, step, log, save. Knows no stage by name."""

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from hgdt_jax import guards, interrupts, processes, sharding, writer
from hgdt_jax.checkpoint import Checkpoints


@dataclasses.dataclass(frozen=True)
class Job:
  """All that a stage is trained with but its state.

  Attributes:
    stage: the name rows are written under.
    step: compiled `(state, batch, root) -> (state, metrics)`; donates the state.
    batches: iterator with `get_state` and `set_state`.
    checkpoints: of this stage.
    started_from: {stage: step} of the stages whose networks it took over; saved with the state.
    steps: updates in all.
    save_every: updates from one checkpoint to the next.
    log_every: updates from one row to the next.
    root: key of all randomness; the step number is folded in.
    mesh: the devices.
    writers: each gets every row.
    watch: reads every row and stops what is ill.
    rollbacks: how often an ill run returns to the last checkpoint from before it was, and goes on
      with other codes and noise.
    check: scores a state; must change nothing that training reads.
    check_at: the steps after which it is called; what it returns joins the step's row.
  """

  stage: str
  step: Callable
  batches: Any
  checkpoints: Checkpoints
  started_from: Mapping[str, int]
  steps: int
  save_every: int
  log_every: int
  root: jax.Array
  mesh: jax.sharding.Mesh
  writers: Sequence[writer.Writer]
  watch: guards.Watch
  rollbacks: int = 0
  check: Callable[[Any], Mapping[str, float]] | None = None
  check_at: Collection[int] = ()


def fit(job: Job, state, attempt: int = 0):
  """Trains `state` to `job.steps` updates.

  Args:
    job: see there.
    state: with batches and watch, where the newest checkpoint left them, or new.
    attempt: rollbacks so far, of the same checkpoint.

  The order is a contract. At a save of step n the state has n updates and the iterator's next
  element is batch n; the metrics of step n are fetched after step n + 1 was dispatched. No number
  that is not finite is saved.

  Raises:
    guards.Unhealthy: nothing after the last checkpoint is kept.
    interrupts.Interrupted: a signal came; all that was trained is saved.
  """
  like = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), state
  )
  while True:
    try:
      return _advance(job, state, attempt)
    except guards.Unhealthy as problem:
      if attempt >= job.rollbacks or not job.checkpoints.drop_from(problem.since):
        raise
      attempt += 1
      state, about = job.checkpoints.restore(like)
      go_on_from(about, job.batches, job.watch)
      logging.warning('%s. Back to step %d, with other codes and noise', problem, int(state.step))


def go_on_from(about: Mapping, batches, watch: guards.Watch) -> int:
  """Sets what stands beside a checkpoint's arrays; returns the number of its attempt."""
  batches.set_state(about['batches'])
  watch.set_state(about['watch'])
  return about['attempt']


def _advance(job, state, attempt):
  # Another attempt draws other codes and noise; a resumed one draws its own again.
  root = jax.random.fold_in(job.root, attempt) if attempt else job.root
  first, rate = int(state.step), _Rate()
  with (
    contextlib.ExitStack() as held,
    writer.progress(job.stage, job.steps, first, silent=not processes.is_first()) as progress,
    writer.Lagged([*job.writers, job.watch], rate) as log,
  ):
    stopped = None  # asked only once there is something new to save
    for i in range(first, job.steps):  # i = updates already done
      batch = next(job.batches)
      state, metrics = job.step(state, sharding.put(batch, job.mesh), root)
      log.flush()  # the row of the step before, if there is one
      done = i + 1
      if i == first:
        progress.unpause()  # it compiled: the rate starts behind that
      progress.update()
      stopped = stopped or held.enter_context(interrupts.held())
      checked = done in job.check_at
      if checked:
        with rate.paused(metrics):
          metrics = {**metrics, **job.check(state)}
      logged = done % job.log_every == 0 or done == job.steps or checked
      if logged:
        job.watch.expect(done, batch['id'])
        rate.rows = len(batch['id']) * jax.process_count()
        log(job.stage, done, metrics)
      told = _told(stopped, logged)
      if done % job.save_every == 0 or done == job.steps or told:
        log.flush()
        _save(job, state, attempt, metrics, batch['id'])
      if told:
        interrupts.tell()  # to those, too, who go by what another process heard
        break
    job.checkpoints.wait()
  return state


def _told(stopped, logged):
  """Whether a signal came: in a run of several processes to any of them, asked where all wait."""
  if jax.process_count() == 1:
    return stopped()
  return logged and processes.any_of_them(stopped())


def _save(job, state, attempt, metrics, ids):
  """A checkpoint, if all is finite: what is not would be restored for ever."""
  step = int(state.step)
  values = jax.device_get(dict(metrics)) | _not_finite(state)
  guards.refuse_not_finite(job.stage, step, values, f'on the clips {ids.tolist()}')
  about = {
    'stage': job.stage,
    'step': step,
    'started_from': dict(job.started_from),
    'attempt': attempt,
    'batches': job.batches.get_state(),
    'watch': job.watch.get_state(),
  }
  job.checkpoints.save(state, about)


def _not_finite(state):
  """{path: nan} of the state's leaves that hold a number that is not finite."""
  leaves = jax.tree.flatten_with_path(state)[0]
  found = jax.device_get([_is_finite(leaf) for _, leaf in leaves])
  bad = [path for (path, _), finite in zip(leaves, found) if not finite]
  return {jax.tree_util.keystr(path): float('nan') for path in bad}


@jax.jit  # of each shape once: one program for all leaves of a state takes longer to compile
def _is_finite(leaf):
  return jnp.all(jnp.isfinite(leaf))


class _Rate:
  """Examples per second between two rows; the first, which holds a compilation, has none."""

  def __init__(self):
    self.rows = 0  # of a batch, over all processes
    self._last = None

  def __call__(self, step):
    now, last = time.monotonic(), self._last
    self._last = (now, step)
    if last is None or now == last[0]:
      return {}
    return {'examples_per_second': self.rows * (step - last[1]) / (now - last[0])}

  @contextlib.contextmanager
  def paused(self, metrics):
    """What happens within, once the step that `metrics` are of is done, takes no time."""
    jax.block_until_ready(metrics)
    began = time.monotonic()
    yield
    if self._last is not None:
      then, step = self._last
      self._last = (then + time.monotonic() - began, step)
