"""Checkpoints: train state and what goes on with it in one unit, `checkpoints/STAGE/STEP/`.

state/         orbax: the arrays, which restore onto any mesh
about.json     what training goes on from beside them: see `Checkpoints.save`
manifest.json  size and sha256 of every other file: orbax restores a flipped bit without a word

The folder appears under its number once all of it is written, so one that has no manifest, or
another file than the manifest says, was damaged since. Damage is all that sets a checkpoint aside.
"""

import concurrent.futures
import hashlib
import json
import logging
import os
import pathlib
import shutil

import jax
import numpy as np
import orbax.checkpoint as ocp

from hgdt_jax import atomic, processes

_STATE, _ABOUT, _MANIFEST = 'state', 'about.json', 'manifest.json'
_PART, _OLD, _DAMAGED = '.part-', '.old-', 'damaged-'  # in front of a step's number


class OtherConfiguration(ValueError):
  """A whole checkpoint, of other arrays than asked for."""


class NotRestored(OSError):
  """A whole checkpoint that could not be restored; nothing was changed on disk."""


def folder(workdir: str | os.PathLike, stage: str) -> pathlib.Path:
  return pathlib.Path(workdir).resolve() / 'checkpoints' / stage


def steps(workdir: str | os.PathLike, stage: str) -> list[int]:
  """The steps of a stage that were saved, rising. Changes nothing."""
  where = folder(workdir, stage)
  names = os.listdir(where) if where.is_dir() else []
  return sorted(int(name) for name in names if name.isdecimal())


def about(workdir: str | os.PathLike, stage: str, step: int) -> dict:
  """What was saved beside the arrays; nothing in the first format."""
  path = folder(workdir, stage) / str(step)
  return {} if _is_of_first_format(path) else json.loads((path / _ABOUT).read_text())


def restore_part(workdir: str | os.PathLike, stage: str, step: int, like):
  """Some of the arrays of a checkpoint, and no others. Changes nothing.

  Args:
    like: nested dicts of shapes, dtypes and shardings, a part of the state's.

  Raises:
    NotRestored: it is damaged, or there was another error.
    OtherConfiguration: the checkpoint's arrays are others.
  """
  path = folder(workdir, stage) / str(step)
  if problem := damage(path):
    raise NotRestored(f'{path} is damaged: {problem}; the main job, started again, mends the stage')
  restore_args = ocp.checkpoint_utils.construct_restore_args(like)
  args = ocp.args.PyTreeRestore(like, restore_args=restore_args, partial_restore=True)
  with ocp.PyTreeCheckpointer() as orbax:
    _check_shapes(orbax, path, like, whole=False)
    return _restored(orbax, path, args)


def damage(path: pathlib.Path) -> str:
  """What is missing, short or changed in a checkpoint's folder; '' if nothing is.

  Raises:
    OSError: its files cannot be read, which says nothing of them.
  """
  if not (path / _MANIFEST).is_file():
    return '' if _is_of_first_format(path) else f'{_MANIFEST} is missing'
  try:
    manifest = json.loads((path / _MANIFEST).read_text())
  except ValueError:
    return f'{_MANIFEST} is not whole'
  for name, (size, digest) in manifest.items():
    file = path / name
    if not file.is_file():
      return f'{name} is missing'
    if file.stat().st_size != size:
      return f'{name} has {file.stat().st_size} bytes, not {size}'
    if _sha256(file) != digest:
      return f'{name} has changed'
  return ''


class Checkpoints:
  """The checkpoints of one stage, to train on from. The number of one is the updates it has seen.

  Saving goes on beside training; `wait` (or leaving the `with` block) makes sure that it is done.
  """

  def __init__(self, workdir: str | os.PathLike, stage: str, keep: int = 2):
    self._workdir, self._stage, self._keep = workdir, stage, keep
    self._folder = folder(workdir, stage)
    self._orbax = ocp.AsyncCheckpointer(ocp.StandardCheckpointHandler())
    self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix='checkpoint')
    self._saving: concurrent.futures.Future | None = None
    processes.from_first(self._clear)

  def steps(self) -> list[int]:
    """The steps that were saved, rising."""
    return steps(self._workdir, self._stage)

  def save(self, state, about: dict) -> None:
    """Saves `state` under its own step with `about`, JSON: what else training goes on from.

    Raises:
      NotSaved: this checkpoint or the one before could not be written; those that are there stay.
    """
    step = int(state.step)
    self.wait()
    if step in self.steps():
      return
    part = self._folder / f'{_PART}{step}'
    try:
      if processes.is_first():
        part.mkdir(parents=True)
      self._orbax.save(part / _STATE, args=ocp.args.StandardSave(state))
    except Exception as error:  # orbax raises many kinds for a full disk, say
      shutil.rmtree(part, ignore_errors=True)
      raise NotSaved(part, error) from error
    self._saving = self._thread.submit(self._seal, part, self._folder / str(step), about)

  def wait(self) -> None:
    """Until what was begun is on disk. Raises NotSaved."""
    saving, self._saving = self._saving, None
    if saving is not None:
      saving.result()
      processes.wait(f'{self._stage} saved')

  def drop_from(self, step: int) -> bool:
    """Deletes what was saved at `step` or later, if something older is left to return to."""
    self.wait()
    late = [saved for saved in self.steps() if saved >= step]
    if len(late) == len(self.steps()):
      return False
    processes.from_first(lambda: [self._delete(saved) for saved in late])
    return True

  def restore(self, like):
    """The newest whole checkpoint as (state, about), or None where none was ever saved.

    Args:
      like: the state's shapes, dtypes and shardings. Another mesh than the saved one is fine.

    Damaged ones that are newer are set aside, with a warning.

    Raises:
      ValueError: there are checkpoints, and every one is damaged; nothing is changed then.
      OtherConfiguration: the newest whole checkpoint's arrays are not those of `like`.
      NotRestored: it could not be restored for another reason; nothing is changed then.
    """
    step = processes.from_first(self._newest_whole)
    if step is None:
      return None
    path = self._folder / str(step)
    _check_shapes(self._orbax, path, like)
    state = _restored(self._orbax, path, ocp.args.StandardRestore(like))
    return state, json.loads((path / _ABOUT).read_text())

  def __enter__(self):
    return self

  def __exit__(self, kind, *exception):
    try:
      self.wait()
    finally:
      self._thread.shutdown()
      self._orbax.close()

  def _clear(self):
    """Removes what a killed run left half-written or half-deleted."""
    self._folder.mkdir(parents=True, exist_ok=True)
    for path in self._folder.iterdir():
      if path.name.startswith((_PART, _OLD)):
        shutil.rmtree(path)

  def _seal(self, part, path, about):
    """Once the arrays are written: the other files, then the name, then older ones go."""
    try:
      self._orbax.wait_until_finished()
      if not processes.is_first():
        return
      atomic.write_json(part / _ABOUT, about)
      atomic.write_json(part / _MANIFEST, _manifest(part))
      part.rename(path)
    except Exception as error:
      shutil.rmtree(part, ignore_errors=True)
      raise NotSaved(part, error) from error
    for step in self.steps()[: -self._keep]:
      self._delete(step)

  def _delete(self, step):
    # Under another name first: a kill must not leave one that looks damaged.
    old = self._folder / f'{_OLD}{step}'
    (self._folder / str(step)).rename(old)
    shutil.rmtree(old)

  def _newest_whole(self):
    """Its step, with newer ones set aside; None where none was ever saved. In process 0 only."""
    damaged = {}
    for step in reversed(self.steps()):
      if problem := damage(self._folder / str(step)):
        damaged[step] = problem
        continue
      for each, problem in damaged.items():
        aside = self._set_aside(each)
        logging.warning('%s/%d is damaged (%s); now %s', self._folder, each, problem, aside.name)
      return step
    if damaged or any(path.name.startswith(_DAMAGED) for path in self._folder.iterdir()):
      found = '; '.join(f'{step}: {problem}' for step, problem in damaged.items())
      raise ValueError(
        f'{self._folder}: every checkpoint is damaged ({found or "all were set aside"}); put back '
        'a copy, or remove the folder to train the stage from its first step'
      )
    return None

  def _set_aside(self, step):
    taken, number = self._folder / f'{_DAMAGED}{step}', 1
    while taken.exists():
      taken, number = self._folder / f'{_DAMAGED}{step}-{number}', number + 1
    return (self._folder / str(step)).rename(taken)


class NotSaved(OSError):
  """A checkpoint could not be written; nothing of it is left, and older ones are as they were."""

  def __init__(self, part: pathlib.Path, error: Exception):
    step = part.name.removeprefix(_PART)
    super().__init__(
      f'{part.parent}/{step} could not be saved: {_line(error)}; '
      'mend that, and the same command goes on from the checkpoint before'
    )


def _is_of_first_format(path):
  """Of hgdt_jax 0.1, which wrote no manifest."""
  return (path / '_CHECKPOINT_METADATA').is_file()


def _restored(orbax, path, args):
  try:
    return orbax.restore(path / _STATE, args=args)
  except Exception as error:  # of memory, the file table, a network drive: all but damage
    raise NotRestored(
      f'{path} could not be restored: {_line(error)}; nothing was changed, and the same command '
      'tries again'
    ) from error


def _check_shapes(orbax, path, like, whole=True):
  """Tells another configuration, which is the user's to mend, from all else."""
  try:
    saved = orbax.metadata(path / _STATE).item_metadata.tree
  except Exception as error:
    raise NotRestored(f'{path} could not be read: {_line(error)}; nothing was changed') from error
  saved = {name: tuple(leaf.shape) for name, leaf in _leaves(saved)}
  wanted = {name: tuple(np.shape(leaf)) for name, leaf in _leaves(like)}
  for name in sorted(saved.keys() | wanted.keys() if whole else wanted):
    if saved.get(name) != wanted.get(name):
      raise OtherConfiguration(
        f'{path} was trained with another configuration: {name} is '
        f'{saved.get(name, "absent")} there and {wanted.get(name, "absent")} now; '
        'use the configuration in config.json, or another workdir'
      )


def _leaves(tree):
  """(path, leaf) pairs; paths are equal for a state and for the plain dicts orbax makes of it."""
  for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
    names = (
      getattr(entry, 'key', getattr(entry, 'name', getattr(entry, 'idx', ''))) for entry in path
    )
    yield '/'.join(map(str, names)), leaf


def _manifest(path):
  files = sorted(file for file in path.rglob('*') if file.is_file())
  return {file.relative_to(path).as_posix(): [file.stat().st_size, _sha256(file)] for file in files}


def _sha256(path):
  with path.open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def _line(error):
  return ' '.join(str(error).split())[:300] or type(error).__name__
