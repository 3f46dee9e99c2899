"""The loop every stage runs in: restore, next, step, log, save. Knows no stage by name."""

import math
import time
from collections.abc import Callable

import jax

from hgdt_jax import sharding, writer
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
):
  """Trains `state` to `steps` updates, from the newest checkpoint if there is one.

  Args:
    stage: the name rows are written under.
    step_fn: compiled `(state, batch, root) -> (state, metrics)`; donates the state.
    batches: iterator with `get_state` and `set_state`.
    root: key of all randomness; the step number is folded in.

  The order is a contract. At a save of step n the state has n updates and the iterator's next
  element is batch n; the metrics of step n are fetched after step n + 1 was dispatched.

  Raises:
    FloatingPointError: a logged loss is not finite; nothing after the last checkpoint is kept.
  """
  first = int(state.step)
  rate, guard = _Rate(), FiniteGuard()
  with (
    writer.Progress(stage, steps, first) as progress,
    writer.Lagged([*writers, guard], rate) as log,
  ):
    for i in range(first, steps):  # i = updates already done
      batch = next(batches)
      state, metrics = step_fn(state, sharding.put(batch, mesh), root)
      log.flush()  # the row of the step before, if there is one
      done = i + 1
      progress.update(done)
      if done % log_every == 0 or done == steps:
        guard.expect(done, batch['id'])
        rate.rows = len(batch['id']) * jax.process_count()
        log(stage, done, metrics)
      if done % save_every == 0 or done == steps:
        log.flush()  # what is not finite is found before it is saved
        checkpoints.save(state, batches.get_state())
  return state


class FiniteGuard:
  """A writer that stops the run at the first value that is not finite."""

  def __init__(self):
    self._ids = {}

  def expect(self, step, ids):
    """The clips of the step whose values come next."""
    self._ids[step] = ids

  def write(self, stage, step, values):
    ids = self._ids.pop(step)
    if bad := sorted(name for name, value in values.items() if not math.isfinite(value)):
      raise FloatingPointError(
        f'stage {stage}, step {step}: {", ".join(bad)} not finite, on the clips {ids.tolist()}; '
        f'lower config.{stage}.learning_rate or look at these clips; '
        'the same command goes on from the last checkpoint'
      )


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
