"""Metrics out: metrics.jsonl always, TensorBoard where it can be, and a line of progress.

A writer has `write(stage, step, values)` and `close()`. A run that was killed and resumed writes
the rows after the restored step again; `read_rows` keeps the last row of each (stage, step).
"""

import contextlib
import io
import json
import logging
import math
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import tqdm

# jax is imported where it is used: the report reads rows on machines without a device.

METRICS_FILE = 'metrics.jsonl'


class Writer(Protocol):
  """Takes the values of one step."""

  def write(self, stage: str, step: int, values: Mapping[str, float]) -> None: ...

  def close(self) -> None: ...


def make_writers(workdir: str | os.PathLike) -> list[Writer]:
  """JSON lines, and TensorBoard events; none in any process but the first."""
  import jax

  if jax.process_index() != 0:
    return []
  return [JsonLines(workdir), TensorBoard(workdir)]


class JsonLines:
  """metrics.jsonl: a line per step with stage, step and values; needs the standard library only.

  JSON has no word for NaN and infinity: they are written as null and read back as NaN.
  """

  def __init__(self, workdir: str | os.PathLike):
    path = pathlib.Path(workdir) / METRICS_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    cut_short = path.exists() and path.read_bytes()[-1:] not in (b'', b'\n')
    self._file = path.open('a', buffering=1, encoding='utf-8')
    if cut_short:  # the run was killed in the middle of a row: do not write on behind it
      self._file.write('\n')

  def write(self, stage: str, step: int, values: Mapping[str, float]) -> None:
    row: dict[str, Any] = {'stage': stage, 'step': int(step)}
    for name, value in values.items():
      number = float(value)
      row[name] = number if math.isfinite(number) else None
    self._file.write(json.dumps(row, allow_nan=False) + '\n')

  def close(self) -> None:
    self._file.close()


class TensorBoard:
  """Events through tensorboardX: clu's writer would need TensorFlow, for scalars.

  A value without a slash in its name is put under its stage: `gan/examples_per_second`.
  """

  def __init__(self, workdir: str | os.PathLike):
    with _absent('torch'):  # which it imports where it is, for two seconds, and has no use for
      import tensorboardX

    self._events = tensorboardX.SummaryWriter(str(workdir))

  def write(self, stage: str, step: int, values: Mapping[str, float]) -> None:
    for name, value in values.items():
      self._events.add_scalar(name if '/' in name else f'{stage}/{name}', float(value), step)

  def close(self) -> None:
    self._events.close()


@contextlib.contextmanager
def _absent(package: str) -> Iterator[None]:
  """In it, a package that nobody has imported yet is not found."""
  if package in sys.modules:
    yield
    return
  sys.modules[package] = None
  try:
    yield
  finally:
    del sys.modules[package]


class Lagged:
  """Writes a step's metrics once the next step was dispatched, so that the device never waits.

  Call it with the metrics of step n, and `flush` after the dispatch of step n + 1, when they are
  ready or nearly so; leaving the `with` block without an exception flushes too.

  Args:
    writers: each gets every row.
    measured: called with the step when its metrics are there; what it returns joins them.
  """

  def __init__(
    self,
    writers: Sequence[Writer],
    measured: Callable[[int], Mapping[str, float]] = lambda step: {},
  ):
    self._writers, self._measured = writers, measured
    self._held: tuple[str, int, Mapping[str, Any]] | None = None

  def __call__(self, stage: str, step: int, metrics: Mapping[str, Any]) -> None:
    self.flush()
    self._held = stage, step, metrics

  def flush(self) -> None:
    held, self._held = self._held, None
    if held is None:
      return
    import jax

    stage, step, metrics = held
    values = {name: float(value) for name, value in jax.device_get(dict(metrics)).items()}
    values |= self._measured(step)
    for writer in self._writers:
      writer.write(stage, step, values)

  def __enter__(self) -> 'Lagged':
    return self

  def __exit__(self, kind, *exception) -> None:
    if kind is None:  # what failed is told, not what the held step would fail with
      self.flush()


def progress(
  of: str, total: int, done: int = 0, *, unit: str = 'step', silent: bool = False, delay: float = 0
) -> tqdm.tqdm:
  """How far it is, how fast, and how long it will take: a bar where there is a cursor, else lines.

  Args:
    of: what the line starts with.
    total: steps of the whole.
    done: steps done before this run; they do not count in the rate.
    silent: for all processes of a run but one.
    delay: seconds before it is worth a word.
  """
  options = dict(desc=of, total=total, initial=done, unit=unit, disable=silent, delay=delay)
  if sys.stderr.isatty():
    return tqdm.tqdm(**options, dynamic_ncols=True)
  if in_notebook():  # where a line can be written over
    return tqdm.tqdm(**options, ncols=80, mininterval=1)
  return _Lines(**options, mininterval=30, miniters=1, ncols=0)


def in_notebook() -> bool:
  """Whether what is printed goes to the cell of one."""
  return type(sys.stderr).__module__.startswith('ipykernel.')


class _Lines(tqdm.tqdm):
  """Each on a line of its own: a log has no cursor to send back."""

  @staticmethod
  def status_printer(file):
    return lambda text: print(text, file=file, flush=True)

  def close(self):
    self.fp = io.StringIO()  # for the end of the last line, which has one
    super().close()


def read_rows(workdir: str | os.PathLike) -> list[dict[str, Any]]:
  """The rows of metrics.jsonl, the last one per (stage, step); stages in order of appearance.

  Within a stage rows are in the order of their steps. A row cut short by a kill is left out; null
  (a value that was not finite) reads as NaN. No file: no rows.
  """
  last: dict[str, dict[int, dict[str, Any]]] = {}
  for row in _parsed(pathlib.Path(workdir) / METRICS_FILE):
    last.setdefault(row['stage'], {})[row['step']] = {
      name: math.nan if value is None else value for name, value in row.items()
    }
  return [steps[step] for steps in last.values() for step in sorted(steps)]


def _parsed(path: pathlib.Path) -> Iterator[dict[str, Any]]:
  if not path.exists():
    return
  for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
    try:
      row = json.loads(line)
      valid = isinstance(row, dict) and 'stage' in row and 'step' in row
    except json.JSONDecodeError:
      valid = False
    if valid:
      yield row
    elif line.strip():
      logging.warning('%s line %d is not a row of metrics; left out', path, number)
