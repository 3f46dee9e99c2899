"""Checkpoints: train state and data position in one unit, `checkpoints/STAGE/STEP/`."""

import logging
import os
import pathlib
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint.checkpoint_managers import preservation_policy


class Checkpoints:
  """The checkpoints of one stage. The number of a checkpoint is the updates it has seen.

  Saving goes on beside training; `wait` (or leaving the `with` block) makes sure that it is done.
  """

  def __init__(self, workdir: str | os.PathLike, stage: str, keep: int = 2):
    self._directory = epath.Path(os.path.abspath(workdir)) / 'checkpoints' / stage
    self._directory.mkdir(parents=True, exist_ok=True)
    options = ocp.CheckpointManagerOptions(
      preservation_policy=preservation_policy.LatestN(keep), enable_async_checkpointing=True
    )
    handlers = {'state': ocp.StandardCheckpointHandler(), 'data': ocp.JsonCheckpointHandler()}
    self._manager = ocp.CheckpointManager(self._directory, options=options, item_handlers=handlers)

  def steps(self) -> list[int]:
    """The steps that were saved, rising."""
    return sorted(self._manager.all_steps())

  def save(self, state, position: dict) -> None:
    """Saves `state` under its own step with `position`, the JSON state of the batches."""
    step = int(state.step)
    if step in self.steps():
      return
    saved = self._manager.save(
      step,
      args=ocp.args.Composite(state=ocp.args.StandardSave(state), data=ocp.args.JsonSave(position)),
    )
    if not saved:
      raise RuntimeError(f'{self._directory}/{step}: the checkpoint was not saved')

  def drop_from(self, step: int) -> bool:
    """Deletes what was saved at `step` or later, if something older is left to return to."""
    self.wait()
    late = [saved for saved in self.steps() if saved >= step]
    if len(late) == len(self.steps()):
      return False
    for saved in late:
      self._manager.delete(saved)
    return True

  def restore(self, like):
    """The newest whole checkpoint as (state, position), or None where there is none.

    Args:
      like: the state's shapes, dtypes and shardings. Another mesh than the saved one is fine.

    A damaged checkpoint is moved aside and the one before it is taken, with a warning. One that is
    whole but of other shapes belongs to another configuration.

    Raises:
      ValueError: the newest checkpoint's arrays are not those of `like`.
    """
    for step in reversed(self.steps()):
      try:
        self._check_shapes(step, like)
        found = self._manager.restore(
          step,
          args=ocp.args.Composite(
            state=ocp.args.StandardRestore(like), data=ocp.args.JsonRestore()
          ),
        )
        return found.state, found.data
      except OtherConfiguration:
        raise
      except Exception as error:  # orbax raises many kinds for a file that is cut short or missing
        logging.warning('%s/%d is damaged and left out: %s', self._directory, step, _line(error))
        self._set_aside(step)
    return None

  def wait(self) -> None:
    self._manager.wait_until_finished()

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    self._manager.wait_until_finished()
    self._manager.close()

  def _check_shapes(self, step, like):
    """Tells another configuration, which is the user's to mend, from damage, which is not."""
    saved = self._manager.item_metadata(step).state
    saved = {path: tuple(leaf.shape) for path, leaf in _leaves(saved)}
    if not saved:
      raise FileNotFoundError('it lists no arrays')
    wanted = {path: tuple(np.shape(leaf)) for path, leaf in _leaves(like)}
    for path in sorted(saved.keys() | wanted.keys()):
      if saved.get(path) != wanted.get(path):
        raise OtherConfiguration(
          f'{self._directory}/{step} was trained with another configuration: {path} is '
          f'{saved.get(path, "absent")} there and {wanted.get(path, "absent")} now; '
          'use the configuration in config.json, or another workdir'
        )

  def _set_aside(self, step):
    path = pathlib.Path(self._directory) / str(step)
    target = path.with_name(f'damaged-{step}')
    shutil.rmtree(target, ignore_errors=True)
    path.rename(target)
    self._manager.reload()


class OtherConfiguration(ValueError):
  """A whole checkpoint, of other arrays than asked for."""


def _leaves(tree):
  """(path, leaf) pairs; paths are equal for a state and for the plain dicts orbax makes of it."""
  for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
    names = (
      getattr(entry, 'key', getattr(entry, 'name', getattr(entry, 'idx', ''))) for entry in path
    )
    yield '/'.join(map(str, names)), leaf


def _line(error):
  return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
