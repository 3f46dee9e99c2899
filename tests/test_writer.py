"""Metrics written, read back, and the line of progress."""

import io
import json
import math
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from hgdt_jax import writer as writer_lib

ROOT = pathlib.Path(__file__).parents[1]


def test_a_row_has_stage_step_and_values(tmp_path):
  writer = writer_lib.JsonLines(tmp_path / 'new')
  writer.write('gan', 10, {'gan/d_loss': jnp.float32(0.5), 'examples_per_second': 33.0})
  text = (tmp_path / 'new' / 'metrics.jsonl').read_text()  # there before the file is closed
  row = {'stage': 'gan', 'step': 10, 'gan/d_loss': 0.5, 'examples_per_second': 33.0}
  assert json.loads(text) == row
  assert text.endswith('}\n')


def test_not_finite_is_valid_json_and_reads_as_nan(tmp_path):
  writer_lib.JsonLines(tmp_path).write('gan', 1, {'a': math.nan, 'b': math.inf})

  def refuse(word):
    raise AssertionError(f'{word} is not JSON')

  json.loads((tmp_path / 'metrics.jsonl').read_text(), parse_constant=refuse)
  (row,) = writer_lib.read_rows(tmp_path)
  assert math.isnan(row['a']) and math.isnan(row['b'])


def test_the_last_row_of_a_step_counts(tmp_path):
  """Killed at step 3 of the second stage, resumed from step 1."""
  for values in ({1: 1.0, 2: 2.0, 3: 3.0}, {2: 20.0, 3: 30.0, 4: 40.0}):
    writer = writer_lib.JsonLines(tmp_path)
    if 1 in values:
      writer.write('zeroth', 3, {'loss': 9.0})
    for step, value in values.items():
      writer.write('diffusion', step, {'loss': value})
    writer.close()
  rows = writer_lib.read_rows(tmp_path)
  assert [(r['stage'], r['step'], r['loss']) for r in rows] == [
    ('zeroth', 3, 9.0),
    ('diffusion', 1, 1.0),
    ('diffusion', 2, 20.0),
    ('diffusion', 3, 30.0),
    ('diffusion', 4, 40.0),
  ]


def test_a_row_cut_short_loses_only_itself(tmp_path):
  writer_lib.JsonLines(tmp_path).write('gan', 1, {'loss': 1.0})
  with (tmp_path / 'metrics.jsonl').open('a') as file:
    file.write('{"stage": "gan", "st')
  writer_lib.JsonLines(tmp_path).write('gan', 2, {'loss': 2.0})
  assert [row['step'] for row in writer_lib.read_rows(tmp_path)] == [1, 2]


def test_no_file_is_no_rows(tmp_path):
  assert writer_lib.read_rows(tmp_path) == []


def test_tensorboard_events_hold_the_values(tmp_path):
  writers = writer_lib.make_writers(tmp_path)
  for writer in writers:
    writer.write('gan', 7, {'gan/d_loss': 0.25, 'examples_per_second': 33.0})
    writer.close()
  events = list(tmp_path.glob('events.out.tfevents.*'))
  assert len(events) == 1
  content = events[0].read_bytes()
  assert b'gan/d_loss' in content and b'gan/examples_per_second' in content
  assert (tmp_path / 'metrics.jsonl').exists()


def test_a_torch_nobody_asked_for_is_not_imported(tmp_path):
  """It takes two seconds of every run; one that is there already stays."""
  (tmp_path / 'torch.py').write_text('print("imported")')
  code = """
import sys
from hgdt_jax import writer
writer.TensorBoard(sys.argv[1]).close()
import torch
writer.TensorBoard(sys.argv[1]).close()
assert sys.modules['torch'] is torch
"""
  done = subprocess.run(
    [sys.executable, '-c', code, tmp_path / 'run'],
    capture_output=True,
    text=True,
    env=os.environ | {'PYTHONPATH': f'{tmp_path}{os.pathsep}{ROOT}'},
  )
  assert (done.returncode, done.stdout) == (0, 'imported\n'), done.stderr


def test_a_broken_tensorflow_is_not_asked(tmp_path, monkeypatch):
  """One whose protobuf is of another version raises TypeError when it is imported."""
  broken = tmp_path / 'tensorflow' / '__init__.py'
  broken.parent.mkdir()
  broken.write_text('raise TypeError("Descriptors cannot be created directly")')
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.delitem(sys.modules, 'tensorflow', raising=False)
  writer = writer_lib.TensorBoard(tmp_path / 'run')
  writer.write('gan', 3, {'d_loss': 0.5})
  writer.close()
  (events,) = (tmp_path / 'run').glob('events*')
  assert b'gan/d_loss' in events.read_bytes()


def test_only_the_first_process_writes(tmp_path, monkeypatch):
  monkeypatch.setattr(jax, 'process_index', lambda: 1)
  assert writer_lib.make_writers(tmp_path / 'none') == []
  assert not (tmp_path / 'none').exists()


def test_lagged_writes_a_step_when_the_next_arrives():
  class Seen:
    def __init__(self):
      self.rows = []

    def write(self, stage, step, values):
      self.rows.append((stage, step, values))

  seen = Seen()
  with writer_lib.Lagged([seen]) as log:
    log('gan', 1, {'loss': jnp.float32(1.5)})
    assert seen.rows == []
    log('gan', 2, {'loss': jnp.float32(2.5)})
    assert seen.rows == [('gan', 1, {'loss': 1.5})]
    assert isinstance(seen.rows[0][2]['loss'], float)
  assert seen.rows[1:] == [('gan', 2, {'loss': 2.5})]
  log.flush()
  assert len(seen.rows) == 2  # nothing is written twice


def test_lagged_tells_the_first_failure():
  class Guard:
    def write(self, stage, step, values):
      raise FloatingPointError(f'step {step}')

  with pytest.raises(FloatingPointError, match='step 1'), writer_lib.Lagged([Guard()]) as log:
    log('gan', 1, {'loss': jnp.nan})
    log('gan', 2, {'loss': jnp.nan})


def test_progress_off_a_terminal_is_a_line_every_so_often(capsys, monkeypatch):
  now = [0.0]
  monkeypatch.setattr('tqdm.std.time', lambda: now[0])
  with writer_lib.progress('gan', total=400, done=100) as progress:
    now[0] = 90.0  # the first step compiled
    progress.unpause()
    for _ in range(300):
      progress.update()
      now[0] += 0.5
  lines = capsys.readouterr().err.splitlines()
  assert lines[0] == 'gan:  25% 100/400 [00:00<?, ?step/s]'
  assert lines[1] == 'gan:  40% 161/400 [00:30<01:57,  2.03step/s]'
  assert lines[-1] == 'gan: 100% 400/400 [02:30<00:00,  2.00step/s]'
  assert len(lines) == 6  # of 150 seconds


def test_progress_on_a_terminal_is_a_bar(monkeypatch):
  class Terminal(io.StringIO):
    def isatty(self):
      return True

  monkeypatch.setattr(sys, 'stderr', Terminal())
  with writer_lib.progress('gan', total=4, done=2) as progress:
    progress.update(2)
  assert sys.stderr.getvalue().split('\r')[-1].startswith('gan: 100%|##########| 4/4 ')


def test_progress_of_other_processes_is_silent(capsys):
  with writer_lib.progress('gan', total=1, silent=True) as progress:
    progress.update()
  assert capsys.readouterr().err == ''
