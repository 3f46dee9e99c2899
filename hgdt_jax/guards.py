"""Guards: what no healthy run shows, found while it trains and told with its likely cause."""

import logging
import math
from collections.abc import Mapping
from typing import NamedTuple

ACTIONS = ('warn', 'stop', 'rollback')  # on what is ill; the last is a stop that the loop catches


class Bounds(NamedTuple):
  """Below these an adversarial stage is ill; 0 switches a guard off.

  Attributes:
    motion: of drafts, as a share of real motion.
    diversity: distance between the drafts of a batch, as a share of that between real clips.
    d_loss: the critic's loss; near 0 it tells drafts from clips without effort.
  """

  motion: float
  diversity: float
  d_loss: float


class Unhealthy(Exception):
  """Training went wrong; one line that says where, how, the likely cause and what to do.

  Attributes:
    since: the step of the first row that showed it.
  """

  def __init__(self, message: str, since: int):
    super().__init__(message)
    self.since = since


class _Symptom(NamedTuple):
  value: str  # its name in the row, without the stage
  says: str
  cause: str


_SYMPTOMS = {
  'motion': _Symptom(
    'motion_ratio',
    'drafts hardly move',
    'show judges more frames, or penalise them less (config.draft)',
  ),
  'diversity': _Symptom(
    'diversity', 'drafts are all alike: collapse', 'penalise judges more: r1 and r2 of config.draft'
  ),
  'd_loss': _Symptom(
    'd_loss',
    'the critic tells drafts from clips without effort',
    'penalise judges more (r1 and r2 of config.draft), or lower the learning rate',
  ),
}


class Watch:
  """A writer that reads every row.

  A value that is not finite stops the run at once, whatever the action. A bound counts once
  `patience` rows in a row lie below it.

  Args:
    action: 'warn' says so on the log, once a symptom and stage; the others raise `Unhealthy`.
  """

  def __init__(self, bounds: Bounds, patience: int, action: str):
    self._bounds, self._patience, self._action = bounds._asdict(), patience, action
    self._ids: dict[int, object] = {}
    self._since: dict[str, list[int]] = {}

  def expect(self, step: int, ids) -> None:
    """The clips of the step whose values come next."""
    self._ids[step] = ids

  def get_state(self) -> dict:
    """Returns all that is needed to act after a resume as without one; it is JSON."""
    return {name: list(rows) for name, rows in self._since.items() if rows}

  def set_state(self, state: Mapping[str, list[int]]) -> None:
    self._ids.clear()
    self._since = {name: list(rows) for name, rows in state.items()}

  def write(self, stage: str, step: int, values: Mapping[str, float]) -> None:
    """Raises Unhealthy."""
    clips = f'on the clips {self._ids.pop(step).tolist()}'
    refuse_not_finite(stage, step, values, clips)
    if f'{stage}/d_loss' not in values:
      return
    for name, bound in self._bounds.items():
      symptom = _SYMPTOMS[name]
      value = values.get(f'{stage}/{symptom.value}', math.inf)
      rows = self._since.setdefault(f'{stage}/{name}', [])
      if not bound or value >= bound:
        rows.clear()
        continue
      rows.append(step)
      if len(rows) == self._patience:
        self._tell(
          f'stage {stage}, step {step}: {symptom.says} ({symptom.value} {value:.3g}, below '
          f'{bound:g} since step {rows[0]}), {clips}; {symptom.cause}',
          rows[0],
        )

  def _tell(self, message, since):
    if self._action != 'warn':
      raise Unhealthy(message, since)
    logging.getLogger(__name__).warning('%s', message)


def refuse_not_finite(stage: str, step: int, values: Mapping[str, float], clips: str) -> None:
  """Raises Unhealthy where a value is not finite; `clips` says what the step trained on."""
  if bad := sorted(name for name, value in values.items() if not math.isfinite(value)):
    raise Unhealthy(
      f'stage {stage}, step {step}: {", ".join(bad)} not finite, {clips}; '
      f'lower config.{stage}.learning_rate or look at these clips; '
      'the same command goes on from the last checkpoint',
      step,
    )
