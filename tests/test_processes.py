"""The whole main job in two processes on loopback."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import pytest

from hgdt_jax import checkpoint, processes, writer

ROOT = pathlib.Path(__file__).parents[1]
TINY = [
  *('--config.data.frames=4', '--config.data.classes=0', '--config.data.size=16'),
  *('--config.data.batch=4', '--config.data.clips=32'),
  *(
    '--config.draft.generator.width=8',
    '--config.draft.generator.max_width=8',
    '--config.draft.generator.patch=4',
  ),
  *(
    '--config.draft.critic.width=8',
    '--config.draft.critic.max_width=8',
    '--config.draft.critic.frame_patch=4',
  ),
  *('--config.gan.steps=4', '--config.checkpoint.every=2', '--config.log_every=2'),
  *('--config.evaluation.clips=4', '--config.evaluation.batch=4'),
  *('--config.evaluation.flow_clips=2', '--config.evaluation.checks=1'),
  "--config.stages=('gan',)",
]


def _started(workdir, *arguments):
  environment = os.environ | {'PYTHONPATH': str(ROOT)}
  command = [sys.executable, '-m', 'hgdt_jax.main', f'--workdir={workdir}', *TINY, *arguments]
  pipe = subprocess.PIPE
  return subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)


def _finished(running):
  try:
    return [(*process.communicate(timeout=400), process.returncode) for process in running]
  finally:
    for process in running:
      process.kill()


def _by_two(workdir):
  with socket.socket() as free:
    free.bind(('localhost', 0))
    address = f'localhost:{free.getsockname()[1]}'
  joined = ('--distributed', f'--coordinator={address}', '--processes=2')
  return _finished([_started(workdir, *joined, f'--process={i}') for i in range(2)])


def _scores(workdir):
  rows = json.loads((workdir / 'results.json').read_text())['results']
  return {(row['method'], name): v for row in rows for name, v in row['metrics'].items()}


@pytest.mark.long
def test_the_main_job_of_two_processes_ends_with_the_scores_of_one(tmp_path):
  """The first writes, prints and draws the page; checkpoints of two restore in one."""
  done = _by_two(tmp_path / 'two')
  assert [code for *_, code in done] == [0, 0], done
  (said, told, _), (nothing, silence, _) = done
  assert 'gan: 100% 4/4' in told and 'report: ' in said
  lines = (nothing + silence).splitlines()
  assert all(line.startswith('[Gloo]') for line in lines), lines
  ((_, told, code),) = _finished([_started(tmp_path / 'one')])
  assert code == 0, told
  one, two = (_scores(tmp_path / name) for name in ('one', 'two'))
  assert one.keys() == two.keys()
  for name, value in one.items():  # a few pixels may round to another grey level
    assert two[name] == pytest.approx(value, rel=2e-2, abs=1e-4), name
  steps = [row['step'] for row in writer.read_rows(tmp_path / 'two')]
  assert steps == [2, 4] and checkpoint.steps(tmp_path / 'two', 'gan') == [4]
  ((said, told, code),) = _finished([_started(tmp_path / 'two')])  # and goes on in one process
  assert code == 0 and 'gan: step' not in told, told
  again = _scores(tmp_path / 'two')
  for name, value in two.items():
    assert again[name] == pytest.approx(value, rel=2e-2, abs=1e-4), name


def test_one_process_is_the_first_and_asks_nobody():
  assert processes.is_first() and processes.any_of_them(True) and not processes.any_of_them(False)
  assert processes.from_first(lambda: {'a': [1]}) == {'a': [1]}
  processes.wait('alone')
