"""The loop every stage runs in: restore, next, step, log, save. Knows no stage by name."""

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Mapping

import jax

from hgdt_jax import guards, sharding, writer
from hgdt_jax.checkpoint import Checkpoints


def fit(
  stage: str,
  state,
  step_fn: Callable,
  batches,
  checkpoints: Checkpoints,
  *,
  steps: int,
  save_every: int,
  log_every: int,
  root: jax.Array,
  mesh: jax.sharding.Mesh,
  writers,
  watch: guards.Watch,
  check: Callable[..., Mapping[str, float]] | None = None,
  check_at: Collection[int] = (),
  rollbacks: int = 0,
):
  """Trains `state` to `steps` updates, from the newest checkpoint if there is one.

  Args:
    stage: the name rows are written under.
    step_fn: compiled `(state, batch, root) -> (state, metrics)`; donates the state.
    batches: iterator with `get_state` and `set_state`.
    root: key of all randomness; the step number is folded in.
    watch: reads every row and stops what is ill.
    check: scores a state; must change nothing that training reads.
    check_at: the steps after which it is called; what it returns joins the step's row.
    rollbacks: how often an ill run returns to the last checkpoint from before it was, and goes on
      with other codes and noise.

  The order is a contract. At a save of step n the state has n updates and the iterator's next
  element is batch n; the metrics of step n are fetched after step n + 1 was dispatched.

  Raises:
    guards.Unhealthy: nothing after the last checkpoint is kept.
  """
  like = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), state
  )
  left = rollbacks
  while True:
    try:
      return _advance(
        stage,
        state,
        step_fn,
        batches,
        checkpoints,
        steps=steps,
        save_every=save_every,
        log_every=log_every,
        root=root,
        mesh=mesh,
        writers=writers,
        watch=watch,
        check=check,
        check_at=check_at,
      )
    except guards.Unhealthy as problem:
      if not left or not checkpoints.drop_from(problem.since):
        raise
      left -= 1
      state, position = checkpoints.restore(like)
      batches.set_state(position)
      root = jax.random.fold_in(root, left)
      watch.forget()
      logging.getLogger(__name__).warning(
        '%s. Back to step %d, with other codes and noise', problem, int(state.step)
      )


def _advance(
  stage,
  state,
  step_fn,
  batches,
  checkpoints,
  *,
  steps,
  save_every,
  log_every,
  root,
  mesh,
  writers,
  watch,
  check,
  check_at,
):
  first, rate = int(state.step), _Rate()
  with (
    writer.Progress(stage, steps, first) as progress,
    writer.Lagged([*writers, watch], rate) as log,
  ):
    for i in range(first, steps):  # i = updates already done
      batch = next(batches)
      state, metrics = step_fn(state, sharding.put(batch, mesh), root)
      log.flush()  # the row of the step before, if there is one
      done = i + 1
      progress.update(done)
      checked = done in check_at
      if checked:
        with rate.paused(metrics):
          metrics = {**metrics, **check(state)}
      if done % log_every == 0 or done == steps or checked:
        watch.expect(done, batch['id'])
        rate.rows = len(batch['id']) * jax.process_count()
        log(stage, done, metrics)
      if done % save_every == 0 or done == steps:
        log.flush()  # what is not finite is found before it is saved
        checkpoints.save(state, batches.get_state())
  return state


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
